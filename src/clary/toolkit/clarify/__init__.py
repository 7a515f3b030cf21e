"""SageMaker Clarify: bias of data and of a model, attributions of its predictions, reports. Runs as `python -m clary.toolkit.clarify` in
the runtime `clarify`, which has numpy, pyarrow and boto3."""
