"""Records. A record is a JSON document plus the columns that lists filter and sort by (design.md 3).

A new kind of resource is a row in `KINDS`, not a table. Nothing here knows SQL, HTTP or a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.domain.conditions import Condition

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """A namespace: every account and region is its own."""

    account: str
    region: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the kinds table. `tail` is what stands before the name in the ARN; `global_` kinds live in region ''."""

    name: str
    service: str
    tail: str
    label: str  # as AWS's messages call it: 'Could not find endpoint configuration "ARN".'
    global_: bool = False
    separator: str = "/"  # between the tail and the name


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("model", "sagemaker", "model", "model"),
        Kind("model-package-group", "sagemaker", "model-package-group", "model package group"),
        Kind("model-package", "sagemaker", "model-package", "model package"),
        Kind("model-card", "sagemaker", "model-card", "model card"),
        Kind("model-card-version", "clary", "model-card-version", "model card version"),
        Kind("model-card-export-job", "sagemaker", "model-card", "model card export job"),
        Kind("endpoint-config", "sagemaker", "endpoint-config", "endpoint configuration"),
        Kind("endpoint", "sagemaker", "endpoint", "endpoint"),
        Kind("inference-experiment", "sagemaker", "inference-experiment", "inference experiment"),
        Kind(
            "inference-recommendations-job",
            "sagemaker",
            "inference-recommendations-job",
            "inference recommendations job",
        ),
        Kind("async-invocation", "sagemaker", "async-invocation", "asynchronous invocation"),
        Kind("sns-topic", "sns", "", "topic"),
        Kind("sns-subscription", "sns", "", "subscription"),
        Kind("sns-delivery", "sns", "", "delivery"),
        Kind("sqs-queue", "sqs", "", "queue"),
        Kind("sqs-message", "sqs", "message", "message"),
        Kind("sqs-deleted-queue", "sqs", "deleted-queue", "deleted queue"),
        Kind("lambda-function", "lambda", "function", "function", separator=":"),
        Kind("lambda-version", "lambda", "function", "version of a function", separator=":"),
        Kind("lambda-alias", "lambda", "function", "alias of a function", separator=":"),
        Kind("lambda-event", "lambda", "event", "event", separator=":"),
        Kind("event-rule", "events", "rule", "rule"),
        Kind("event-delivery", "events", "delivery", "delivery"),
        Kind("event-mark", "events", "mark", "mark"),
        Kind("event-scope", "events", "scope", "scope"),
        Kind("schedule", "scheduler", "schedule", "schedule"),
        Kind("schedule-group", "scheduler", "schedule-group", "schedule group"),
        Kind("inference-component", "sagemaker", "inference-component", "inference component"),
        Kind("processing-job", "sagemaker", "processing-job", "processing job"),
        Kind("training-job", "sagemaker", "training-job", "training job"),
        Kind("warm-pool", "clary", "warm-pool", "warm pool"),
        Kind("hyper-parameter-tuning-job", "sagemaker", "hyper-parameter-tuning-job", "tuning job"),
        Kind("transform-job", "sagemaker", "transform-job", "transform job"),
        Kind("transform-fleet", "sagemaker", "transform-fleet", "fleet of a transform job"),
        Kind("domain", "sagemaker", "domain", "domain"),
        Kind("user-profile", "sagemaker", "user-profile", "user profile"),
        Kind("space", "sagemaker", "space", "space"),
        Kind("image", "sagemaker", "image", "image"),
        Kind("image-version", "sagemaker", "image-version", "image version"),
        Kind("code-repository", "sagemaker", "code-repository", "code repository"),
        Kind("hub", "sagemaker", "hub", "hub"),
        Kind("hub-content", "sagemaker", "hub-content", "hub content"),
        Kind("mlflow-tracking-server", "sagemaker", "mlflow-tracking-server", "MLflow tracking server"),
        Kind("mlflow-app", "sagemaker", "mlflow-app", "MLflow app"),
        Kind("query-execution", "athena", "query-execution", "query execution"),
        Kind("external-table", "glue", "table", "table"),
        Kind("feature-group", "sagemaker", "feature-group", "feature group"),
        Kind("lineage-group", "sagemaker", "lineage-group", "lineage group"),
        Kind("resource-policy", "sagemaker", "resource-policy", "resource policy"),
        Kind("experiment", "sagemaker", "experiment", "experiment"),
        Kind("trial", "sagemaker", "experiment-trial", "trial"),
        Kind("trial-component", "sagemaker", "experiment-trial-component", "trial component"),
        Kind("metric-batch", "sagemaker", "metric-batch", "batch of metrics"),
        Kind("artifact", "sagemaker", "artifact", "artifact"),
        Kind("action", "sagemaker", "action", "action"),
        Kind("context", "sagemaker", "context", "context"),
        Kind("association", "sagemaker", "association", "association"),
        Kind("alarm", "cloudwatch", "alarm", "alarm", separator=":"),
        Kind("alarm-history", "cloudwatch", "alarm-history", "history entry", separator=":"),
        Kind("dashboard", "cloudwatch", "dashboard", "dashboard", global_=True),
        Kind("scalable-target", "application-autoscaling", "scalable-target", "scalable target"),
        Kind("scaling-policy", "autoscaling", "scalingPolicy", "scaling policy", separator=":"),
        Kind("scheduled-action", "autoscaling", "scheduledAction", "scheduled action", separator=":"),
        Kind("scaling-activity", "application-autoscaling", "scaling-activity", "scaling activity"),
        Kind("latency-objective", "clary", "latency-objective", "latency objective"),
        Kind("retraining", "clary", "retraining", "retraining"),
        Kind("used", "clary", "used", "record of use"),
        Kind("machine", "clary", "machine", "machine"),
        Kind("join-token", "clary", "join-token", "join token that was used"),
        Kind("pipeline", "sagemaker", "pipeline", "pipeline"),
        Kind("pipeline-definition", "sagemaker", "pipeline-definition", "pipeline definition"),
        Kind("pipeline-execution", "sagemaker", "pipeline", "pipeline execution"),
        Kind("data-quality-job-definition", "sagemaker", "data-quality-job-definition", "data quality job definition"),
        Kind(
            "model-quality-job-definition", "sagemaker", "model-quality-job-definition", "model quality job definition"
        ),
        Kind("model-bias-job-definition", "sagemaker", "model-bias-job-definition", "model bias job definition"),
        Kind(
            "model-explainability-job-definition",
            "sagemaker",
            "model-explainability-job-definition",
            "model explainability job definition",
        ),
        Kind("monitoring-schedule", "sagemaker", "monitoring-schedule", "monitoring schedule"),
        Kind("monitoring-execution", "sagemaker", "monitoring-execution", "monitoring execution"),
        Kind("role", "iam", "role", "role", global_=True),
        Kind("policy", "iam", "policy", "policy", global_=True),
    )
}


@dataclass(frozen=True, slots=True)
class Record:
    """One resource as stored. `document` keys: `request` (the Create call's params as given), `tags`
    ([{"Key", "Value"}]) and whatever the kind's own domain module defines. JSON values only; times are epoch seconds."""

    kind: str
    scope: Scope
    name: str
    arn: str
    status: str  # "" for kinds without one
    created: float  # epoch seconds
    modified: float  # epoch seconds
    document: Document
    version: int = 0  # 0: not stored yet; every save adds one


@dataclass(frozen=True, slots=True)
class Query:
    """One page of a list: filters, order, and where the page before ended.

    `after` is the (sort value, name) of the last record seen. `statuses` empty means any. Matches of `where` are equality on
    top-level keys of the document (for the rarer filters); `condition` is whatever else (`domain/conditions.py`)."""

    kind: str
    scope: Scope
    name_contains: str = ""
    created_after: float | None = None
    created_before: float | None = None
    modified_after: float | None = None
    modified_before: float | None = None
    statuses: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    sort_by: str = "created"  # created | modified | name | status
    descending: bool = True
    limit: int = 10
    after: tuple[float | str, str] | None = None
    condition: Condition | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to save a record; a save with a lost lease is refused (Stale)."""

    record: Record
    owner: str
    until: float  # epoch seconds
