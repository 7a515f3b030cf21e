"""Tuning jobs: ranges, studies, when trials are stopped, what becomes of the job. Pure."""
