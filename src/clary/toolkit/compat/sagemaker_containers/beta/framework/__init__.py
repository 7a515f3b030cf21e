"""`from sagemaker_containers.beta.framework import content_types, encoders, worker, env` of published scripts."""
