"""Loops that watch models in production."""
