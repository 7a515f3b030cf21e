from __future__ import annotations

from typing import Any

import pytest

from clary.domain.pipelines import steps

ENDPOINT = steps.CHILDREN["Endpoint"]


@pytest.mark.parametrize(
    ("answer", "ended", "words"),
    [
        ({"EndpointStatus": "Creating"}, "", ""),
        ({"EndpointStatus": "Updating", "EndpointConfigName": "old"}, "", ""),
        ({"EndpointStatus": "InService", "EndpointConfigName": "new"}, "Succeeded", ""),
        ({"EndpointStatus": "InService", "EndpointConfigName": "old"}, "Failed", "serves old, not new"),
        ({"EndpointStatus": "InService", "EndpointConfigName": "new", "FailureReason": "F"}, "Failed", "before. F"),
        ({"EndpointStatus": "Failed", "FailureReason": "F"}, "Failed", "F"),
        ({"EndpointStatus": "Deleting", "EndpointArn": "arn"}, "Failed", "arn is Deleting."),
    ],
)
def test_how_an_endpoint_step_ends(answer: dict[str, str], ended: str, words: str) -> None:
    found = steps.outcome(ENDPOINT, "new", answer)
    assert found[0] == ended
    assert words in found[1]


def test_how_jobs_and_models_end() -> None:
    training = steps.CHILDREN["Training"]
    assert steps.outcome(training, "", {"TrainingJobStatus": "Failed", "FailureReason": "F"}) == ("Failed", "F")
    assert steps.outcome(training, "", {"TrainingJobStatus": "Stopping"}) == ("", "")
    assert steps.outcome(steps.CHILDREN["Model"], "", {"ModelName": "m"}) == ("Succeeded", "")


@pytest.mark.parametrize(
    ("has", "wanted", "covered"),
    [
        ({"a": 1, "b": 2}, {"a": 1.0}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([{"a": 1, "weight": 1.0}], [{"a": 1}], True),
        ([1, 2], [1], False),
        (None, {}, False),
    ],
)
def test_what_covers_what(has: Any, wanted: Any, covered: bool) -> None:
    assert steps.covers(has, wanted) is covered
