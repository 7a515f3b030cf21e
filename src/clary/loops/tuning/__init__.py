"""The loop of tuning jobs."""
