"""The loop of asynchronous inference."""
