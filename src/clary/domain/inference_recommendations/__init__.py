"""Inference recommendations jobs: what is asked, what is recorded, what happens next. Pure."""
