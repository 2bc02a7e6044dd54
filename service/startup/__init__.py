"""What must be there before a worker starts, and the wait for it."""
