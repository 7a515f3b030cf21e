"""The loops of batch transform."""
