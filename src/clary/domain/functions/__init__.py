"""Lambda functions. Pure."""
