"""The building blocks of the stack, one Pulumi component each."""
