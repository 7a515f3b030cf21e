"""Loops of the model registry."""
