"""What the broker of a stack carries, from its render and the figures of the benchmark."""
