"""Metrics: datapoints, statistics, metric math, and the forms that they are read in."""
