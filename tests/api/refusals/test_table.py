"""What Clary will not have is refused with a reason, in every service that lists it."""

from __future__ import annotations

import pytest

from clary.api import registry
from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import ApiError
from clary.api.refusals.table import REFUSED, empty


@pytest.mark.parametrize(("service", "name"), sorted(each for each in REFUSED if empty(*each) is None))
async def test_a_refusal_names_the_operation_and_another_way(ports: Ports, service: str, name: str) -> None:
    assert registry.find(service, name) is None
    where = {"account": "0" * 12, "region": "eu-west-1", "principal": "p"}
    with pytest.raises(ApiError) as caught:
        await answer(ports, service, name, {}, **where)
    assert caught.value.code == "UnknownOperationException"
    assert caught.value.message == f"{service} {name} is not supported. {REFUSED[service, name]}"


def test_every_refused_operation_is_one_of_aws() -> None:
    assert [(s, n) for s, n in REFUSED if n not in registry.model(s).operation_names] == []


WHERE = {"account": "0" * 12, "region": "eu-west-1", "principal": "p"}


@pytest.mark.parametrize("name", sorted(name for service, name in REFUSED if empty(service, name) is not None))
async def test_a_list_of_what_is_never_there_is_empty(ports: Ports, name: str) -> None:
    answered = await answer(ports, "sagemaker", name, {}, **WHERE)
    shape = registry.operation_model("sagemaker", name).output_shape
    assert list(answered.values()) == [[]]
    assert set(shape.required_members) <= set(answered)


def test_what_makes_describes_or_needs_a_parent_is_never_answered_empty() -> None:
    assert empty("sagemaker", "CreateLabelingJob") is None
    assert empty("sagemaker", "DescribeCluster") is None
    assert empty("sagemaker", "ListClusterNodes") is None  # of a cluster, which is not there
    assert empty("sagemaker", "ListProcessingJobs") is None  # planned: an empty list would say that there are none
    assert empty("sagemaker", "ListTrainingPlans") == {"TrainingPlanSummaries": []}


def test_of_sagemaker_178_operations_are_refused() -> None:
    """`reference/lifecycle.md` 12 counts 177; presigned URLs of a hub that is not here are one more."""
    assert sum(service == "sagemaker" for service, _ in REFUSED) == 178
