"""A job that the kernel killed for its memory starts again one size larger, once per size. Pure.

It does where the job can go on: a built-in algorithm (its run can be repeated, and it goes on from its checkpoints where it has some), or
a script whose author says so by the tag `clary:grow-on-out-of-memory`. The request stays as it was sent; the record's spec has the new
size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.errors import Invalid, LimitExceeded
from clary.domain.jobs.hosts import Host, size_of
from clary.domain.jobs.kinds import kind_of, spec_of
from clary.domain.jobs.spec import JobSpec
from clary.domain.machine import capacity, instances
from clary.domain.machine.capacity import Book
from clary.domain.machine.workload import Observation
from clary.domain.resources import Record
from clary.domain.stored import dumped

TAG = "clary:grow-on-out-of-memory"
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Growth:
    """`to`: the larger type by the type that was too small; empty where there is none, and then `why` tells that."""

    to: Mapping[str, str]
    why: str


def check(tags: Sequence[Mapping[str, str]]) -> None:
    """Invalid where the tag has another value than true or false."""
    value = _value(tags)
    if value is not None and value not in _WORDS:
        raise Invalid(f"The tag {TAG} takes true or false, not {value!r}.")


def _value(tags: Sequence[Mapping[str, str]]) -> str | None:
    return next((str(tag.get("Value", "")) for tag in tags if tag["Key"] == TAG), None)


def growth(record: Record, runs: Mapping[str, Observation], book: Book) -> Growth | None:
    """How the job grows after that end of its hosts. None: it does not, or none of them was killed for memory."""
    spec = spec_of(record)
    killed = [spec.host(name) for name, run in runs.items() if run.oom_killed and run.exit_code]
    if not killed or not _grows(record, spec):
        return None
    to: dict[str, str] = {}
    for host in killed:
        limit = int(record.document["fits"][host.instance_type]["memory"])
        larger = instances.larger(host.instance_type)
        if not larger:
            return Growth({}, f"there is no larger type than {host.instance_type}")
        if _memory(Host(host.name, larger), book, kind_of(record).noun) <= limit:
            return Growth(
                {}, f"this machine has no more memory for {larger} than the {limit >> 20} MiB that were too little"
            )
        to[host.instance_type] = larger
    names, types = ", ".join(host.name for host in killed), ", ".join(to.values())
    first = killed[0].instance_type
    limit = int(record.document["fits"][first]["memory"])
    return Growth(to, f"{names} ran out of memory at {limit >> 20} MiB ({first}); starting again on {types}")


def _memory(host: Host, book: Book, noun: str) -> int:
    """Bytes that it would get here; 0: it never fits."""
    try:
        return capacity.fit(size_of(host), book.machine, book.policy, noun).memory
    except LimitExceeded:
        return 0


def _grows(record: Record, spec: JobSpec) -> bool:
    return _WORDS.get(_value(record.document.get("tags") or ()) or "", spec.built_in)


def grown(document: Mapping[str, Any], spec: JobSpec, to: Mapping[str, str]) -> dict[str, Any]:
    """The document of the job with larger hosts."""
    hosts = tuple(replace(host, instance_type=to.get(host.instance_type, host.instance_type)) for host in spec.hosts)
    return {**document, "spec": dumped(replace(spec, hosts=hosts)), "grown": int(document.get("grown", 0)) + 1}
