"""What a job had of the machine agrees with what is billed of it."""

from __future__ import annotations

from tests.domain.jobs.test_life import NOW, job, request, training

from clary.domain.costs.jobs import of_job
from clary.domain.costs.use import Use, given, tags_of, total
from clary.domain.jobs.record import billed_seconds


def test_a_job_that_waits_has_used_nothing() -> None:
    assert of_job(job(), NOW) is None


def test_an_ended_job_used_its_hosts_for_the_billed_time() -> None:
    two = request(ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 30})
    work = {"channels": {"bytes": 700}, "environment": {}}
    record = training(
        "Completed", two, ended=NOW + 90, unbilled=9.0, work=work, stored=42, tags=[{"Key": "team", "Value": "shop"}]
    )
    row = of_job(record, NOW + 1000)
    assert row is not None
    billed = billed_seconds(record.document)
    assert billed == 90
    assert row.use == Use(seconds=90, vcpu_seconds=2 * 2 * 90, gb_seconds=2 * 8 * 90, gpu_seconds=0, bytes=742)
    assert (row.kind, row.name, row.at, row.tags) == ("training job", "Job", NOW + 90, {"team": "shop"})


def test_a_running_job_used_what_it_had_until_now() -> None:
    row = of_job(training(), NOW + 11)
    assert row is not None
    assert (row.use.seconds, row.use.vcpu_seconds, row.at) == (20, 40, NOW + 11)


def test_uses_add_up_and_keep_their_json() -> None:
    both = total([given(10, 2, 1 << 30, 1), Use(bytes=7)])
    assert both == Use(10, 20, 10, 10, 7)
    assert Use.from_json(both.to_json()) == both


def test_a_tag_without_a_value_is_one() -> None:
    assert tags_of({"tags": [{"Key": "a"}]}) == {"a": ""}
    assert tags_of({}) == {}
