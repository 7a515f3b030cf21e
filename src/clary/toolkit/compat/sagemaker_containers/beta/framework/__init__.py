"""`from sagemaker_containers.beta.framework import content_types, encoders, worker, env` of published scripts, and
`framework.training_env()`."""

from __future__ import annotations

from clary.toolkit.compat.sagemaker_containers import training_env as training_env
