"""What would be otherwise on AWS."""

from __future__ import annotations

import pytest

from clary.domain import parity
from clary.domain.errors import Invalid
from clary.domain.parity import Wanted

JOB = {
    "TrainingJobName": "j",
    "AlgorithmSpecification": {
        "TrainingImage": "1.dkr.ecr.r.amazonaws.com/sagemaker-xgboost:1.7-1",
        "TrainingInputMode": "File",
    },
    "VpcConfig": {"SecurityGroupIds": ["sg"], "Subnets": ["s"]},
    "EnableManagedSpotTraining": False,
}


def test_recorded_fields_are_told_once_with_the_reason() -> None:
    (vpc,) = parity.fields("CreateTrainingJob", JOB)
    assert (vpc.kind, vpc.what) == ("field", "VpcConfig")
    assert "here it is only recorded: " in vpc.why
    assert list(parity.fields("CreateTrainingJob", {**JOB, "VpcConfig": {}})) == []
    assert list(parity.fields("CreateNothing", JOB)) == []


def test_own_tags_and_images() -> None:
    tags = [{"Key": "team", "Value": "a"}, {"Key": "clary:alias", "Value": "champion"}]
    assert [each.what for each in parity.tags(tags)] == ["clary:alias=champion"]
    found = ["r/clary-prepare:1", "r/sagemaker-xgboost:1.7-1", "r/mine:2", "r/mine:2"]
    told = {each.what: each.why for each in parity.images(found, {"sagemaker-xgboost": "xgboost 3.1"})}
    assert told == {
        "r/clary-prepare:1": "is Clary's own: AWS has no such image",
        "r/sagemaker-xgboost:1.7-1": "AWS runs what 1.7-1 holds; here xgboost 3.1 runs for every tag",
    }


def test_limits() -> None:
    assert list(parity.serving("aws", parity.PAYLOAD)) == []
    assert [each.what for each in parity.serving("model", parity.PAYLOAD + 1)] == ["long predictions", "large requests"]
    assert list(parity.job(None)) == list(parity.job(parity.LONGEST)) == []
    assert [each.kind for each in parity.job(parity.LONGEST + 1)] == ["limit"]


def test_instances_and_what_they_cost() -> None:
    wanted = [Wanted("ml.m5.large", 2), Wanted("ml.m5.large", 1, 1800.0), Wanted("ml.c5.xlarge", 1)]
    first, second, third = parity.sizes(wanted, {"ml.m5.large": 0.1})
    assert first.why == "on AWS 2 vCPU and 8 GB each; 0.2 an hour, 144 in 30 days"
    assert second.why.endswith("; 0.05 for its 1800 s")
    assert third.why.endswith("; no price is given for it (--prices)")


@pytest.mark.parametrize("said", [[], 1, {"ml.m5.large": "1"}, {"ml.m5.large": -1}, {"ml.m5.large": True}])
def test_what_is_no_table_of_prices(said: object) -> None:
    with pytest.raises(Invalid, match=r"^p\.json"):
        parity.price_table(said, "p.json")
