"""Experiments, trials and trial components, and the metrics that are put into them. Pure."""
