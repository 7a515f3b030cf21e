"""What a record keeps of a job: nothing is lost on the way, and records from before there were specs are read."""

from __future__ import annotations

import json
from dataclasses import replace

from clary.domain.jobs import training
from clary.domain.jobs.channels import Channel
from clary.domain.jobs.hosts import Host
from clary.domain.jobs.kinds import JOB_KINDS, spec_of
from clary.domain.jobs.spec import JobSpec, Output, Sync
from clary.domain.resources import KINDS, Record, Scope
from clary.domain.s3 import Location
from clary.domain.stored import dumped, loaded

SPEC = JobSpec(
    "image",
    "role",
    "/logs",
    (Host("algo-1", "ml.m5.large"), Host("algo-2", "ml.m5.xlarge", "group")),
    60,
    inputs=(Channel("c", Location("b", "k"), "s3://b/k", "Pipe", attributes=("x", "y"), seed=3),),
    code=Location("b", "code.tar.gz"),
    command=("python3", "x.py"),
    environment={"A": "1"},
    outputs=(Output("o", "/opt/ml/model", Location("b", "o"), packed=False),),
    syncs=(Sync("s", "/opt/ml/s", Location("b", "s"), restore=False, running=False),),
    metrics=({"Name": "n", "Regex": "(.)"},),
    max_wait=5,
)
REQUEST = {
    "TrainingJobName": "Job",
    "RoleArn": "role",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
}


def test_a_spec_is_read_back_as_it_was_stored() -> None:
    assert loaded(JobSpec, json.loads(json.dumps(dumped(SPEC)))) == SPEC


def test_defaults_are_not_stored_and_later_members_are_passed_over() -> None:
    bare = JobSpec("image", "role", "/logs", (Host("algo-1", "ml.m5.large"),), 60)
    stored = dumped(bare)
    assert sorted(stored) == ["hosts", "image", "log_group", "max_runtime", "role"]
    assert loaded(JobSpec, {**stored, "later": 1}) == bare


def test_a_record_from_before_is_parsed_from_its_request() -> None:
    record = Record(training.KIND, Scope("0", "r"), "Job", "arn", "InProgress", 0, 0, {"request": REQUEST})
    assert spec_of(record) == training.parse(REQUEST)
    assert spec_of(Record(training.KIND, Scope("0", "r"), "Job", "arn", "", 0, 0, {"spec": dumped(SPEC)})) == SPEC


def test_every_kind_of_job_is_a_kind_of_resource() -> None:
    assert all(name in KINDS and row.name == name for name, row in JOB_KINDS.items())


def test_a_spec_is_made_once_and_again_where_another_is_stored() -> None:
    record = Record("training-job", Scope("0", "r"), "Job", "arn:once", "InProgress", 1.0, 1.0, {"spec": dumped(SPEC)})
    first = spec_of(record)
    read_again = replace(record, document=json.loads(json.dumps(record.document)), version=2)
    assert spec_of(read_again) is first
    other = replace(record, document={"spec": {**dumped(SPEC), "max_wait": 6}}, version=3)
    assert spec_of(other).max_wait == 6
    assert spec_of(record) == first == SPEC
