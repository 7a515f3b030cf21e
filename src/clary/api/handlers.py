"""The modules whose import registers operations. A new noun is a module and a line here."""

from __future__ import annotations

import importlib
from pathlib import Path

MODULES: tuple[str, ...] = (
    "clary.api.alarms",
    "clary.api.autoscaling",
    "clary.api.autoscaling_actions",
    "clary.api.autoscaling_policies",
    "clary.api.cloudwatch",
    "clary.api.cloudwatch_tags",
    "clary.api.dashboards",
    "clary.api.iam",
    "clary.api.iam_policies",
    "clary.api.iam_users",
    "clary.api.logs",
    "clary.api.metric_data",
    "clary.api.sagemaker_runtime",
    "clary.api.sns",
    "clary.api.sts",
    "clary.api.sagemaker.inference_components",
    "clary.api.sagemaker.model_package_groups",
    "clary.api.sagemaker.model_packages",
    "clary.api.sagemaker.models",
    "clary.api.sagemaker.endpoint_configs",
    "clary.api.sagemaker.endpoints",
    "clary.api.sagemaker.tags",
    "clary.api.sagemaker.training_jobs",
)


def load() -> None:
    """Import every handler module; called once by the process that serves the API, and by tests."""
    for name in MODULES:
        importlib.import_module(name)


def unlisted() -> list[str]:
    """Handler modules on disk that MODULES forgot (a test wants this empty)."""
    folder = Path(__file__).parent / "sagemaker"
    found = {f"clary.api.sagemaker.{path.stem}" for path in folder.glob("[a-z]*.py")}
    return sorted(found - set(MODULES))
