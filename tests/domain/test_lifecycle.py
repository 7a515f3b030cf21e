from __future__ import annotations

from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from clary.api.registry import model
from clary.domain.errors import IllegalTransition
from clary.domain.lifecycle import (
    ENDPOINT,
    EXECUTION,
    JOB,
    ROLLOUT,
    STEP,
    EndpointFact,
    EndpointStatus,
    ExecutionFact,
    ExecutionStatus,
    JobFact,
    JobStatus,
    RolloutFact,
    RolloutPhase,
    StepFact,
    StepStatus,
    advance,
    render_svg,
)

TABLES: list[tuple[Any, type[StrEnum], type[StrEnum], str]] = [
    (ENDPOINT, EndpointStatus, EndpointFact, "EndpointStatus"),
    (JOB, JobStatus, JobFact, "TrainingJobStatus"),
    (STEP, StepStatus, StepFact, "StepStatus"),
]
FINAL = (
    EndpointStatus.DELETING,  # the record goes, or the rollout does
    JobStatus.DELETING,
    RolloutPhase.DONE,
    ExecutionStatus.SUCCEEDED,
    StepStatus.SUCCEEDED,
    StepStatus.FAILED,
    StepStatus.STOPPED,
)
WALKED = [
    *TABLES,
    (ROLLOUT, RolloutPhase, RolloutFact, ""),  # a phase is none of botocore's
    (EXECUTION, ExecutionStatus, ExecutionFact, ""),  # botocore has one more, which Clary's never enter
]


@pytest.mark.parametrize(("table", "statuses", "facts", "shape"), TABLES)
def test_statuses_are_botocores(table: Any, statuses: Any, facts: Any, shape: str) -> None:
    assert {s.value for s in statuses} == set(model("sagemaker").shape_for(shape).enum)


@pytest.mark.parametrize(("table", "statuses", "facts", "shape"), WALKED)
def test_every_pair_is_in_the_table_or_raises(table: Any, statuses: Any, facts: Any, shape: str) -> None:
    for status, fact in product(statuses, facts):
        if (status, fact) in table:
            assert advance(table, status, fact) == table[status, fact]
        else:
            with pytest.raises(IllegalTransition):
                advance(table, status, fact)


@pytest.mark.parametrize(("table", "statuses", "facts", "shape"), WALKED)
def test_every_status_leads_on_but_the_final_ones(table: Any, statuses: Any, facts: Any, shape: str) -> None:
    assert set(statuses) - {status for status, _ in table} == {s for s in FINAL if type(s) is statuses}
    assert {fact for _, fact in table} == set(facts)


def test_an_unknown_status_is_an_error() -> None:
    with pytest.raises(ValueError, match="Dreaming"):
        advance(ENDPOINT, "Dreaming", EndpointFact.ALL_READY)


def test_the_picture_is_current() -> None:
    picture = Path(__file__).parents[2] / "docs" / "lifecycle.svg"
    assert picture.read_text() == render_svg(), "draw it again: scripts/generated.py"
