"""The loop of inference recommendations jobs."""
