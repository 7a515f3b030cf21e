"""Models: their containers, packages and formats."""
