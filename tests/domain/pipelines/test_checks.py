from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.pipelines import checks
from clary.domain.pipelines.checks import Check, Previous

REQUEST = {
    "ProcessingInputs": [{"InputName": "data"}],
    "Environment": {"a": "b"},
    "ProcessingOutputConfig": {"Outputs": [{"OutputName": "o", "S3Output": {"S3Uri": "s3://b/out/"}}]},
}
BASELINES = {
    "ModelDataQuality": {"Constraints": {"S3Uri": "s3://b/old/c.json"}, "Statistics": {"S3Uri": "s3://b/old/s.json"}},
    "Bias": {"PreTrainingConstraints": {"S3Uri": "s3://b/old/analysis.json"}},
}


def check(kind: str = "DATA_QUALITY", **more: Any) -> Check:
    return Check.of("C", {"CheckType": kind, "Arguments": REQUEST, "ModelPackageGroupName": "g", **more})


def test_the_earlier_baseline_is_laid_beside_the_data() -> None:
    asked = check()
    previous = asked.previous(BASELINES)
    assert previous == Previous("s3://b/old/c.json", "s3://b/old/s.json")
    job = asked.job(previous)
    assert job["Environment"] == {
        "a": "b",
        "baseline_constraints": "/opt/ml/processing/baseline/constraints/c.json",
        "baseline_statistics": "/opt/ml/processing/baseline/statistics/s.json",
    }
    assert [each["InputName"] for each in job["ProcessingInputs"]] == [
        "data",
        "baseline_constraints",
        "baseline_statistics",
    ]
    assert asked.told(previous) == {
        "CheckType": "DATA_QUALITY",
        "ModelPackageGroupName": "g",
        "SkipCheck": False,
        "RegisterNewBaseline": False,
        "CalculatedBaselineConstraints": "s3://b/out/constraints.json",
        "CalculatedBaselineStatistics": "s3://b/out/statistics.json",
        "BaselineUsedForDriftCheckConstraints": "s3://b/old/c.json",
        "BaselineUsedForDriftCheckStatistics": "s3://b/old/s.json",
    }
    assert asked.report == "s3://b/out/constraint_violations.json"


def test_a_new_baseline_is_the_one_that_drift_is_checked_against() -> None:
    asked = check("DATA_BIAS", RegisterNewBaseline=True)
    told = asked.told(asked.previous(BASELINES))
    assert told["BaselineUsedForDriftCheckConstraints"] == told["CalculatedBaselineConstraints"]
    assert told["CalculatedBaselineConstraints"] == "s3://b/out/analysis.json"
    assert "CalculatedBaselineStatistics" not in told


def test_what_is_supplied_goes_before_the_group() -> None:
    asked = check(SuppliedBaselineConstraints="s3://b/mine/c.json")
    assert asked.asks_group  # for the statistics
    assert asked.previous(BASELINES) == Previous("s3://b/mine/c.json", "s3://b/old/s.json")
    assert not check("DATA_BIAS", SuppliedBaselineConstraints="s3://b/mine/c.json").asks_group


def test_a_skipped_check_compares_nothing() -> None:
    asked = check(SkipCheck="true", RegisterNewBaseline=True, ModelName="m")
    previous = asked.previous(None)
    assert asked.report == ""
    assert asked.job(previous)["ProcessingInputs"] == REQUEST["ProcessingInputs"]
    assert asked.job(previous)["Environment"] == {"a": "b", "clary_model_name": "m"}


@pytest.mark.parametrize(("skip", "register"), [(False, False), (False, True), (True, False)])
def test_without_an_earlier_baseline_the_first_run_must_skip_and_register(skip: bool, register: bool) -> None:
    asked = check(SkipCheck=skip, RegisterNewBaseline=register)
    with pytest.raises(
        Invalid, match="has no previous baseline to check DATA_QUALITY against: none is supplied, and the"
    ):
        asked.previous({})


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"violations": {}}'])
def test_a_report_that_is_none(content: bytes) -> None:
    with pytest.raises(Invalid, match="The report of violations is not JSON"):
        checks.violations(content)


def test_the_reason_names_the_report_and_the_first_violation() -> None:
    listed = [{"feature_name": "age", "description": "Baseline drift distance: 0.4 exceeds threshold: 0.1"}]
    assert checks.reason("DATA_QUALITY", "s3://b/v.json", listed) == (
        "CompletedWithViolations: DATA_QUALITY check found 1 violations (s3://b/v.json). The first: age: Baseline drift distance: 0.4 "
        "exceeds threshold: 0.1"
    )


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"CheckType": "DATA_BIAS"}, "it must be of DATA_QUALITY, MODEL_QUALITY"),
        ({"CheckType": "DATA_QUALITY", "SkipCheck": "no"}, "SkipCheck of step 'C' must be true or false"),
    ],
)
def test_steps_that_are_refused(step: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        checks.parsed("C", "QualityCheck", {"Arguments": {}, **step})
    assert words in caught.value.message
