"""Dataclasses come back from JSON as they were."""

from __future__ import annotations

import json

from clary.domain.machine.workload import (
    ContainerImage,
    Files,
    Laid,
    LeftBy,
    LogTarget,
    ModelFiles,
    Mount,
    MountMode,
    Objects,
    Result,
    Selected,
    Workload,
)
from clary.domain.resources import Scope
from clary.domain.s3 import Location
from clary.domain.stored import dumped, loaded, loaded_as

WORKLOAD = Workload(
    "key",
    ("python", "-m", "x"),
    {"A": "1"},
    mounts=(Mount("/env", "/env", MountMode.OVERLAY),),
    files=(
        Files("in", "/in", MountMode.READ_WRITE, {"a": "b"}, objects=(Objects("0", "bucket", {"k": "n"}, "below"),)),
        Files(
            "algo-1.c",
            "/c",
            selected=Selected("0", Location("bucket", "p/"), attributes=("a",), sharded=(1, 2), seed=3),
        ),
        Files("code", "/code", left=LeftBy("other", "out", "code")),
    ),
    results=(Result("in", "a", "0", Location("bucket", "key"), "text/csv"),),
    logs=LogTarget(Scope("0", "r"), "group", "stream"),
    cpu=0.5,
    network=False,
    hosts={"algo-1": "127.0.0.1"},
    container=ContainerImage("image", ("serve",), {}, (Mount("/m", "/opt"),), network=False),
    max_runtime=3.0,
)


def test_a_workload_comes_back() -> None:
    assert loaded(Workload, json.loads(json.dumps(dumped(WORKLOAD)))) == WORKLOAD
    laid = Laid(3, True, 2, "digest", (("key", "etag"), ("other", "etag")))
    assert loaded(Laid, json.loads(json.dumps(dumped(laid)))) == laid


def test_what_has_its_default_is_left_out_and_what_is_later_passed_over() -> None:
    bare = Workload("key", ("true",), {})
    assert set(dumped(bare)) == {"key", "command", "environment"}
    assert loaded(Workload, {**dumped(bare), "later": 1}) == bare


def test_mappings_of_dataclasses_and_bytes_come_back() -> None:
    model = ModelFiles("d", "0", {"model": Objects("0", "bucket", {"k": "n"})}, {"code": Location("bucket", "key")})
    assert loaded(ModelFiles, json.loads(json.dumps(dumped(model)))) == model
    assert loaded_as(bytes, json.loads(json.dumps(dumped(b"\x00\xff")))) == b"\x00\xff"
    assert loaded_as(Laid | None, None) is None
