"""What the handlers of all jobs have alike: how one is recorded, found, stopped and deleted, and what is checked before. Words of a kind
come from its row (`domain/jobs/kinds.py`), or from its handlers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence

from clary.api import records, tagging
from clary.api.call import Call, Params
from clary.domain.costs import kept
from clary.domain.costs.jobs import of_job
from clary.domain.errors import AlreadyExists, IllegalTransition, InUse, Invalid, NotFound
from clary.domain.fields.table import Field
from clary.domain.jobs import channels, growth, hosts
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import JOB_KINDS, JobKind
from clary.domain.jobs.spec import JobSpec
from clary.domain.lifecycle import JOB, JobFact, JobStatus, admits
from clary.domain.machine import admission
from clary.domain.objects import public_buckets
from clary.domain.resources import Record


async def record(
    call: Call, row: JobKind, name: str, spec: JobSpec, params: Params, recorded: Sequence[Field]
) -> Record:
    """Store the job that a Create asks for as InProgress; its log tells which of its fields (`recorded`) have no effect."""
    request = {member: value for member, value in params.items() if member != "Tags"}
    names = ", ".join(field.path for field in recorded)
    notes = [f"No effect here, only recorded: {names}. See docs/fields.md."] if names else []
    tags = tagging.checked(params.get("Tags"))
    growth.check(tags)
    document = jobs.document(row, spec, request, tags, call.new_id(), notes, call.now)
    made = records.new(call, row.name, name, document, JobStatus.IN_PROGRESS)
    taken = (
        f"{row.noun.capitalize()} names must be unique within an AWS account and region, and a {row.noun} with this name already "
        f"exists ({made.arn})"
    )
    return await records.add(call, made, taken)


async def find(call: Call, kind: str, name: str, missing: str) -> Record:
    """The caller's job, by its name in any case. NotFound says `missing`."""
    found = await records.any_case(call, kind, name)
    if found is None:
        raise NotFound(missing)
    return found


async def stop(
    call: Call, noun: str, read: Callable[[], Awaitable[Record]], asked: Callable[[Record, float], Record]
) -> None:
    """Mark the job that `read` answers for stopping; without effect if it is already stopping."""

    def change(old: Record) -> Record:
        if old.status == JobStatus.STOPPING:
            return old
        try:
            return asked(old, call.now)
        except IllegalTransition:
            raise Invalid(f"The request was rejected because the {noun} is in status {old.status}.") from None

    await records.amend(call, read, change)


async def delete(call: Call, noun: str, ended: Record) -> None:
    """Remove the record of a job that has ended; what it used is kept. InUse for another."""
    if not admits(JOB, ended.status, JobFact.DELETE_ASKED):
        raise InUse(f"The request was rejected because the {noun} is in status {ended.status}.")
    row = of_job(ended, call.now) if ended.kind in JOB_KINDS else None
    if row is not None:
        with contextlib.suppress(AlreadyExists):  # of a deletion that was not finished
            await call.store.add(kept.of_deleted(str(ended.document["id"]), row))
    await call.store.remove(ended)


def check_size(call: Call, spec: JobSpec, noun: str) -> None:
    """Under the policy `strict`: the machine could reserve all hosts at once, if nothing else were on it."""
    machine = call.settings.machine
    if call.settings.capacity == "strict" and machine is not None:
        admission.check_reservable([hosts.size_of(host) for host in spec.hosts], machine, noun)


async def check_inputs(call: Call, spec: JobSpec) -> None:
    """Buckets that exist: where the data is missing, AWS's own text says so."""
    artifacts = call.ports.artifacts.of(call.scope.account)
    for channel in spec.inputs:
        if not await artifacts.exists(channel.location.bucket):
            text = channels.no_objects(channel, call.scope.region, spec.role)
            raise Invalid(text + public_buckets.missing(channel.location.bucket))
