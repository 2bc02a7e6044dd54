"""Shows a rendered stack as a tree."""
