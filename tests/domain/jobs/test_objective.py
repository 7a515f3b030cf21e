"""The values of a tuning job's objective that its training jobs keep."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.jobs import record as jobs
from clary.domain.jobs.log_metrics import Sample

PARENT = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/t"


def document(metric: str | None, **more: Any) -> dict[str, Any]:
    parameters = {} if metric is None else {"_tuning_objective_metric": metric}
    return {"request": {"HyperParameters": parameters}, "parent": PARENT, **more}


SAMPLES = [Sample("loss", 3.0, 1.0), Sample("acc", 0.5, 1.0), Sample("loss", 2.0, 2.0)]


@pytest.mark.parametrize("metric", ["loss", '"loss"'])
def test_every_value_is_kept_in_order(metric: str) -> None:
    first = jobs.objective(document(metric), SAMPLES)
    assert first == {"objective": [3.0, 2.0]}
    assert jobs.objective(document(metric, **first), [Sample("loss", 1.0, 3.0)]) == {"objective": [3.0, 2.0, 1.0]}


def test_an_ordinary_job_keeps_none() -> None:
    assert jobs.objective(document(None), SAMPLES) == {}
    alone = document("loss")
    del alone["parent"]
    assert jobs.objective(alone, SAMPLES) == {}


def test_there_is_a_bound() -> None:
    known = [0.0] * (jobs.OBJECTIVE_LIMIT - 1)
    found = jobs.objective(document("loss", objective=known), SAMPLES)["objective"]
    assert len(found) == jobs.OBJECTIVE_LIMIT
    assert found[-1] == 3.0
