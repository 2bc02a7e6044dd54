"""Pure planners: numbers, names and documents, without Pulumi and without I/O."""
