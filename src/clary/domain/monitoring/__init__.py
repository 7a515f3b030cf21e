"""Watching models in production: what is captured, how far it is from what it was, and what that says about the model."""
