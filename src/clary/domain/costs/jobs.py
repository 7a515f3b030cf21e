"""What a training or processing job used, from its record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from clary.domain.costs.use import Use, UseRow, given, tags_of, total
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import kind_of, spec_of
from clary.domain.resources import Record


def of_job(record: Record, now: float) -> UseRow | None:
    """What a training or processing job has used until it ended, or until now. None: it had no place yet."""
    document = record.document
    if "started" not in document or "fits" not in document:
        return None
    billed = jobs.billed_seconds(document)
    running = "ended" not in document
    if billed is None:
        waits = float(document.get("unbilled", 0.0))
        billed = max(0, round(now - float(document["started"]) - waits))
    earlier = document.get("sizes", ())
    left = max(0.0, billed - sum(float(each["seconds"]) for each in earlier))
    # A job that grew and waits for its new place has none.
    types = [host.instance_type for host in spec_of(record).hosts]
    fits = [document["fits"][type_] for type_ in types if type_ in document["fits"]]
    hosts = total(_given(seconds, fit) for seconds, of in ((left, fits), *_sizes(earlier)) for fit in of)
    read = int(document["work"].get("channels", {}).get("bytes", 0))
    use = Use(billed, hosts.vcpu_seconds, hosts.gb_seconds, hosts.gpu_seconds, read + int(document.get("stored", 0)))
    at = now if running else float(document["ended"])
    return UseRow(kind_of(record).noun, record.name, *_place(record), at, use, tags_of(document))


def _sizes(earlier: Iterable[Mapping[str, Any]]) -> list[tuple[float, list[Mapping[str, Any]]]]:
    return [(float(each["seconds"]), each["fits"]) for each in earlier]


def _given(seconds: float, fit: Mapping[str, Any]) -> Use:
    return given(seconds, float(fit["cpu"]), int(fit["memory"]), int(fit["gpus"]))


def _place(record: Record) -> tuple[str, str]:
    return record.scope.account, record.scope.region
