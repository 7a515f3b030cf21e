"""The loop of jobs, and the work that it does in the background."""
