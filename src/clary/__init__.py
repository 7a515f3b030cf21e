"""Clary: Amazon SageMaker behind its own API, on your own machines."""

__version__ = "0.1.0"
