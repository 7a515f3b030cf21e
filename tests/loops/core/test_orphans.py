"""Runs that no record names are ended at the start; all others are left alone."""

from __future__ import annotations

from clary.domain.endpoints.fleets import Plant
from clary.domain.machine.capacity import Fit
from clary.domain.machine.grants import of_hosts, of_replica
from clary.domain.machine.instances import GIB
from clary.domain.machine.workload import Workload
from clary.domain.resources import Record, Scope
from clary.loops.core import orphans
from clary.loops.core.ledger import Ledger
from clary.testing.backends import MemoryBackend
from clary.testing.store import MemoryStore

SCOPE = Scope("000000000000", "eu-west-1")
FIT = Fit(1.0, GIB, 0)


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


def made(name: str, kind: str = "training-job", status: str = "InProgress") -> Record:
    arn = f"arn:aws:sagemaker:eu-west-1:000000000000:{kind}/{name}"
    document = {"id": name, "request": {}} if kind == "training-job" else {"plant": Plant(seed="s").to_json()}
    return Record(kind, SCOPE, name, arn, status, 1.0, 1.0, document)


async def test_runs_of_another_control_planes_records_are_left_alone() -> None:
    """Both have one backend: the other's lease on the record does not make its run an orphan."""
    store, backend = MemoryStore(), MemoryBackend()
    theirs, mine = await store.add(made("theirs")), await store.add(made("mine"))
    await store.claim("training-job", "other", 1.0, 30.0, ("InProgress",), 1, [theirs.arn])
    granted = [grant for record in (theirs, mine) for grant in of_hosts("", record, [("algo-1", FIT)], 1.0)]
    for key in ("job-theirs-0-algo-1", "job-mine-0-algo-1", "job-nobodys-0-algo-1"):
        await backend.start(backend.plan(workload(key)))
    living = [("training-job", ("InProgress",))]
    assert await orphans.sweep(store, backend, "me", 2.0, living, granted) == ["job-nobodys-0-algo-1"]


async def test_grants_of_records_that_are_gone_are_removed_and_no_others() -> None:
    store = MemoryStore()
    ledger = Ledger(store)
    made_ones = (made("job"), made("over", status="Completed"), made("shop", "endpoint", "InService"))
    job, over, shop = [await store.add(each) for each in made_ones]
    gone = made("gone", "endpoint", "Deleting")
    for record in (job, over):
        await ledger.look()
        await ledger.change(of_hosts("", record, [("algo-1", FIT)], 1.0))
    for record in (shop, gone):
        await ledger.look()
        await ledger.change([of_replica("", record, f"{record.name}-r", FIT, 1.0)])
    living = [("training-job", ("InProgress",)), ("endpoint", ("InService",))]
    leftovers = orphans.Leftovers(store, Ledger(store), living)
    assert await leftovers.remove() == []  # whoever removed them may be about to give back
    assert await leftovers.remove() == [f"{over.arn}#algo-1", "gone-r"]
    assert [grant.arn for grant in (await store.granted("")).grants] == [job.arn, shop.arn]
    assert await leftovers.remove() == []
