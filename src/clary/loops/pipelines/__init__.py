"""The loops of pipelines: executions, which are parents of what their steps make, and the removal of a pipeline with all that it holds."""
