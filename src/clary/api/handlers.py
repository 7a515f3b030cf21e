"""The modules whose import registers operations. A new noun is a module and a line here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

MODULES: tuple[str, ...] = (
    "clary.api.cloudwatch.alarms",
    "clary.api.application_autoscaling.targets",
    "clary.api.application_autoscaling.scheduled_actions",
    "clary.api.application_autoscaling.policies",
    "clary.api.cloudwatch.metrics",
    "clary.api.cloudwatch.tags",
    "clary.api.cloudwatch.dashboards",
    "clary.api.events.events",
    "clary.api.events.rules",
    "clary.api.scheduler.schedules",
    "clary.api.iam.roles",
    "clary.api.iam.policies",
    "clary.api.iam.users",
    "clary.api.lambda_functions.functions",
    "clary.api.lambda_functions.invocations",
    "clary.api.lambda_functions.versions",
    "clary.api.logs.groups",
    "clary.api.cloudwatch.metric_data",
    "clary.api.sagemaker_runtime.invocations",
    "clary.api.athena.queries",
    "clary.api.glue.tables",
    "clary.api.sagemaker_featurestore_runtime.records",
    "clary.api.sns.topics",
    "clary.api.sqs.messages",
    "clary.api.sqs.queues",
    "clary.api.sts.identity",
    "clary.api.sagemaker.inference_components",
    "clary.api.sagemaker.inference_experiments",
    "clary.api.sagemaker.inference_recommendations",
    "clary.api.sagemaker.model_package_groups",
    "clary.api.sagemaker.model_packages",
    "clary.api.sagemaker.code_repositories",
    "clary.api.sagemaker.domains",
    "clary.api.sagemaker.feature_groups",
    "clary.api.sagemaker.hubs",
    "clary.api.sagemaker.images",
    "clary.api.sagemaker.mlflow_apps",
    "clary.api.sagemaker.mlflow_tracking_servers",
    "clary.api.sagemaker.model_cards",
    "clary.api.sagemaker.model_card_exports",
    "clary.api.sagemaker.models",
    "clary.api.sagemaker.monitoring_definitions",
    "clary.api.sagemaker.monitoring_schedules",
    "clary.api.sagemaker.pipeline_callbacks",
    "clary.api.sagemaker.pipeline_executions",
    "clary.api.sagemaker.pipelines",
    "clary.api.sagemaker.resource_policies",
    "clary.api.sagemaker.endpoint_configs",
    "clary.api.sagemaker.endpoints",
    "clary.api.sagemaker.search",
    "clary.api.sagemaker.experiments",
    "clary.api.sagemaker.trial_components",
    "clary.api.sagemaker_metrics.batches",
    "clary.api.sagemaker.lineage",
    "clary.api.sagemaker.lineage_groups",
    "clary.api.sagemaker.associations",
    "clary.api.sagemaker.tags",
    "clary.api.sagemaker.processing_jobs",
    "clary.api.sagemaker.training_jobs",
    "clary.api.sagemaker.tuning_jobs",
    "clary.api.sagemaker.transform_jobs",
)

_REGISTERS = re.compile(r"^(@operation\(|(\w+ = )?(tagging\.)?register\()", re.MULTILINE)


def load() -> None:
    """Import every handler module; called once by the process that serves the API, and by tests."""
    for name in MODULES:
        importlib.import_module(name)


def unlisted() -> list[str]:
    """Handler modules on disk that MODULES forgot (a test wants this empty)."""
    modules = Path(__file__).parent.glob("*/[a-z]*.py")
    found = {f"clary.api.{path.parent.name}.{path.stem}" for path in modules if _REGISTERS.search(path.read_text())}
    return sorted(found - set(MODULES))
