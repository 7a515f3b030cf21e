"""`from sagemaker_training import environment` of published scripts."""
