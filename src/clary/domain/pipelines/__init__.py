"""Pipelines: definitions and their checks, expressions, and the life of an execution and its steps. Pure."""
