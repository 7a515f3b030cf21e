"""In what two versions differ."""

from __future__ import annotations

from typing import Any

from clary.domain.registry import comparison

PACKAGE: dict[str, Any] = {
    "ModelApprovalStatus": "Approved",
    "CustomerMetadataProperties": {"owner": "ada"},
    "MetadataProperties": {"CommitId": "abc"},
    "InferenceSpecification": {
        "Containers": [{"Image": "xgboost:1", "ModelDataUrl": "s3://b/1/model.tar.gz", "Environment": {"A": "1"}}]
    },
    "ModelMetrics": {
        "ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": "s3://b/1/report.json"}},
        "Bias": {"Report": {}},
    },
}
JOB: dict[str, Any] = {
    "HyperParameters": {
        "eta": "0.1",
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": "not json",
    },
    "AlgorithmSpecification": {"TrainingImage": "xgboost:1"},
    "InputDataConfig": [
        {"ChannelName": "train", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/train"}}},
        {"ChannelName": "code", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/code"}}},
    ],
    "FinalMetricDataList": [{"MetricName": "loss", "Value": 0.25}],
}


def test_all_that_is_known_of_a_version() -> None:
    report = {"metrics": {"auc": {"value": 0.9, "standard_deviation": "NaN"}, "good": True, "rows": 3}}
    assert comparison.facts(PACKAGE, JOB, {"ModelQuality Statistics": report}) == {
        "version": {"approval": "Approved", "metadata owner": "ada"},
        "metrics": {
            "training loss": "0.25",
            "ModelQuality Statistics metrics.auc": "0.9",
            "ModelQuality Statistics metrics.rows": "3",
        },
        "data": {"train": "s3://b/train"},
        "parameters": {"eta": "0.1"},
        "code": {
            "training image": "xgboost:1",
            "submit_directory": "not json",
            "program": "train.py",
            "code": "s3://b/code",
            "CommitId": "abc",
        },
        "serving": {"image": "xgboost:1", "model data": "s3://b/1/model.tar.gz", "environment A": "1"},
    }
    assert comparison.reports_of(PACKAGE) == {"ModelQuality Statistics": "s3://b/1/report.json"}


def test_only_what_is_not_the_same() -> None:
    one = comparison.facts(PACKAGE, JOB, {})
    job = {**JOB, "HyperParameters": {"eta": "0.2", "depth": "3"}}
    other = comparison.facts(PACKAGE, job, {})
    assert comparison.differences(one, other) == {
        "parameters": {"eta": ("0.1", "0.2"), "depth": ("", "3")},
        "code": {"submit_directory": ("not json", ""), "program": ("train.py", "")},
    }
    assert comparison.differences(one, one) == {}


def test_a_version_of_which_little_is_known() -> None:
    assert all(section == {} for section in comparison.facts({}, None, {}).values())


def test_figures_of_a_report_are_bounded() -> None:
    assert len(comparison.figures({str(at): at for at in range(5000)})) == 1000
    assert comparison.figures([1, 2]) == {}
    assert comparison.figures({"a": float("inf"), "b": None, "c": {"value": 1}}) == {"a": float("inf"), "c": 1.0}
