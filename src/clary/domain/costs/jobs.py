"""What a training or processing job used, from its record. Pure."""

from __future__ import annotations

from clary.domain.costs.use import Row, Use, given, tags_of, total
from clary.domain.jobs import record as jobs
from clary.domain.jobs.kinds import kind_of, spec_of
from clary.domain.resources import Record


def of_job(record: Record, now: float) -> Row | None:
    """What a training or processing job has used until it ended, or until now. None: it had no place yet."""
    document = record.document
    if "started" not in document or "fits" not in document:
        return None
    billed = jobs.billed_seconds(document)
    running = "ended" not in document
    if billed is None:
        waits = float(document.get("unbilled", 0.0))
        billed = max(0, round(now - float(document["started"]) - waits))
    fits = [document["fits"][host.instance_type] for host in spec_of(record).hosts]
    parts = (given(billed, float(fit["cpu"]), int(fit["memory"]), int(fit["gpus"])) for fit in fits)
    hosts = total(parts)
    read = int(document["work"].get("channels", {}).get("bytes", 0))
    use = Use(billed, hosts.vcpu_seconds, hosts.gb_seconds, hosts.gpu_seconds, read + int(document.get("stored", 0)))
    at = now if running else float(document["ended"])
    return Row(kind_of(record).noun, record.name, *_place(record), at, use, tags_of(document))


def _place(record: Record) -> tuple[str, str]:
    return record.scope.account, record.scope.region
