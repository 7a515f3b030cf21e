"""Runs that no record names are ended at the start; all others are left alone."""

from __future__ import annotations

from clary.domain.machine.workload import Workload
from clary.domain.resources import Record, Scope
from clary.loops.core import orphans
from clary.testing.backends import MemoryBackend
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "eu-west-1")


def workload(key: str) -> Workload:
    return Workload(key=key, root="/nowhere", command=("true",), environment={}, mounts=(), log_path=None)


async def test_only_what_no_living_record_names_is_stopped() -> None:
    store, backend = MemoryStore(), MemoryBackend()
    for name, status in (("alive", "InProgress"), ("over", "Completed")):
        arn = f"arn:aws:sagemaker:eu-west-1:000000000000:training-job/{name}"
        document = {"id": name, "request": {}}
        await store.add(Record("training-job", SCOPE, name, arn, status, 1.0, 1.0, document))
    keys = ("job-alive-1-algo-1", "job-over-1-algo-1", "replica-i-0123", "model-abc")
    for key in keys:
        await backend.start(backend.plan(workload(key)))
    ended = await orphans.sweep(store, backend, "me", 2.0, [("training-job", ("InProgress",)), ("endpoint", ())])
    assert sorted(ended) == ["job-over-1-algo-1", "replica-i-0123"]
    assert [handle for handle, _ in backend.stops] == ended
