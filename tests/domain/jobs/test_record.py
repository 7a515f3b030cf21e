"""The values of a tuning job's objective that its training jobs keep."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.domain.jobs import record as jobs
from clary.domain.jobs import training
from clary.domain.jobs.log_metrics import Sample
from clary.domain.jobs.spec import JobSpec
from clary.domain.resources import Record, Scope
from clary.domain.stored import dumped

PARENT = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/t"


def child(metric: str, **more: Any) -> Record:
    spec = JobSpec("image", "role", "group", (), 60, objective=metric)
    document = {"request": {}, "spec": dumped(spec), "parent": PARENT, **more}
    return Record(training.KIND, Scope("000000000000", "us-east-1"), "j", "arn:j", "InProgress", 1.0, 1.0, document)


SAMPLES = [Sample("loss", 3.0, 1.0), Sample("acc", 0.5, 1.0), Sample("loss", 2.0, 2.0)]


def test_every_value_is_kept_in_order() -> None:
    first = jobs.objective(child("loss"), SAMPLES)
    assert first == {"objective": [3.0, 2.0]}
    again = jobs.objective(child("loss", **first), [Sample("loss", 1.0, 3.0)])
    assert again == {"objective": [3.0, 2.0, 1.0]}


def test_an_ordinary_job_keeps_none() -> None:
    assert jobs.objective(child(""), SAMPLES) == {}
    alone = child("loss")
    document = {name: value for name, value in alone.document.items() if name != "parent"}
    assert jobs.objective(replace(alone, document=document), SAMPLES) == {}


def test_there_is_a_bound() -> None:
    known = [0.0] * (jobs.OBJECTIVE_LIMIT - 1)
    found = jobs.objective(child("loss", objective=known), SAMPLES)["objective"]
    assert len(found) == jobs.OBJECTIVE_LIMIT
    assert found[-1] == 3.0
