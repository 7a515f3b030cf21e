"""What two versions of a model differ in: metrics, data, parameters, code, and how they are served. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SECTIONS = ("version", "metrics", "data", "parameters", "code", "serving")
_OWN = ("sagemaker_submit_directory", "sagemaker_program")  # hyperparameters that name code
_MOST = 1000  # figures of one report
Facts = dict[str, dict[str, str]]


def facts(package: Mapping[str, Any], job: Mapping[str, Any] | None, reports: Mapping[str, Any]) -> Facts:
    """Section -> what -> value. `package` is DescribeModelPackage's answer, `job` is DescribeTrainingJob's of the job that made the model
    (None: it is not known), `reports` are the documents that ModelMetrics names, by their place there."""
    job = job or {}
    hyper: Mapping[str, str] = job.get("HyperParameters") or {}
    spec = job.get("AlgorithmSpecification") or {}
    channels = job.get("InputDataConfig") or ()
    metadata = package.get("MetadataProperties") or {}
    return {
        "version": _texts(
            {
                "approval": package.get("ModelApprovalStatus"),
                "approval description": package.get("ApprovalDescription"),
                "stage": (package.get("ModelLifeCycle") or {}).get("Stage"),
                "description": package.get("ModelPackageDescription"),
                **{
                    f"metadata {name}": text for name, text in (package.get("CustomerMetadataProperties") or {}).items()
                },
            }
        ),
        "metrics": {
            **_texts(
                {f"training {each['MetricName']}": each["Value"] for each in job.get("FinalMetricDataList") or ()}
            ),
            **_texts(
                {
                    f"{place} {name}": value
                    for place, report in reports.items()
                    for name, value in figures(report).items()
                }
            ),
        },
        "data": _texts({each["ChannelName"]: _source(each) for each in channels if each["ChannelName"] != "code"}),
        "parameters": _texts({name: text for name, text in hyper.items() if not name.startswith("sagemaker_")}),
        "code": _texts(
            {
                "training image": spec.get("TrainingImage"),
                **{name.removeprefix("sagemaker_"): _unquoted(hyper.get(name)) for name in _OWN},
                "code": next((_source(each) for each in channels if each["ChannelName"] == "code"), None),
                **{name: metadata.get(name) for name in ("CommitId", "Repository", "GeneratedBy", "ProjectId")},
                "source": package.get("SourceUri"),
            }
        ),
        "serving": _texts(_containers(package)),
    }


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in values.items()
        if value not in (None, "")
    }


def _unquoted(text: str | None) -> Any:
    """Hyperparameters of the SDK are JSON."""
    try:
        return json.loads(text) if text is not None else None
    except ValueError:
        return text


def _source(channel: Mapping[str, Any]) -> str:
    source = channel.get("DataSource") or {}
    return str((source.get("S3DataSource") or {}).get("S3Uri", ""))


def _containers(package: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    containers = (package.get("InferenceSpecification") or {}).get("Containers") or ()
    for at, each in enumerate(containers, 1):
        mark = f" {at}" if len(containers) > 1 else ""
        found |= {f"image{mark}": each.get("Image"), f"model data{mark}": model_data(each)}
        found |= {f"environment{mark} {name}": text for name, text in (each.get("Environment") or {}).items()}
    return found


def model_data(container: Mapping[str, Any]) -> str:
    """Where a container's model is; "" for none."""
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return str(container.get("ModelDataUrl") or source.get("S3Uri") or "")


def figures(report: Any) -> dict[str, float]:
    """All numbers of a report, by their path: `binary_classification_metrics.auc.value` as `binary_classification_metrics.auc`."""
    found: dict[str, float] = {}
    left: list[tuple[str, Any]] = [("", report)]
    while left and len(found) < _MOST:
        path, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{path}.{name}" if path else str(name), each) for name, each in reversed(value.items())]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[path.removesuffix(".value")] = float(value)
    return found


def reports_of(package: Mapping[str, Any]) -> dict[str, str]:
    """Place in ModelMetrics -> S3 URI: `ModelQuality Statistics`."""
    metrics = package.get("ModelMetrics") or {}
    return {
        f"{group} {name}": source["S3Uri"]
        for group, members in metrics.items()
        for name, source in members.items()
        if source and source.get("S3Uri")
    }


def differences(one: Facts, other: Facts) -> dict[str, dict[str, tuple[str, str]]]:
    """Section -> what -> both values, of what is not the same."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for section in SECTIONS:
        left, right = one.get(section, {}), other.get(section, {})
        rows = {name: (left.get(name, ""), right.get(name, "")) for name in dict.fromkeys([*left, *right])}
        unlike = {name: both for name, both in rows.items() if both[0] != both[1]}
        if unlike:
            found[section] = unlike
    return found
