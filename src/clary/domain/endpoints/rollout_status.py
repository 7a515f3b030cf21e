"""How a change of an endpoint is shown by DescribeEndpoint: VariantStatus, true at each moment. Pure.

AWS leaves VariantStatus out once an endpoint is in service. Clary gives it there too while a variant has fewer replicas than it wants:
its StatusMessage says what it waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from clary.domain.endpoints import deployment
from clary.domain.endpoints.deployment import Rollout
from clary.domain.endpoints.fleets import STARTED, Fleet, Plant, Variant
from clary.domain.lifecycle import EndpointStatus, RolloutPhase
from clary.domain.resources import Record

_SIMPLE = {EndpointStatus.CREATING: "Creating", EndpointStatus.DELETING: "Deleting"}


def size_of(group: Sequence[Variant]) -> dict[str, Any]:
    """Name, weights and counts of a production variant, given as its containers, as summaries of it show them."""
    variant = group[0]
    size: dict[str, Any] = {
        "VariantName": variant.name,
        "CurrentWeight": variant.routed,
        "DesiredWeight": variant.weight,
    }
    if variant.serverless:  # has, on AWS too, no desired count
        config = dict(variant.serverless)
        return {**size, "CurrentInstanceCount": 0, "CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
    return {**size, "CurrentInstanceCount": min(v.ready for v in group), "DesiredInstanceCount": variant.count}


def status_of(record: Record, plant: Plant, fleet: Fleet, group: Sequence[Variant]) -> dict[str, Any]:
    """One member of VariantStatus: AWS's status, a sentence for people, and when that began."""
    simple = _SIMPLE.get(EndpointStatus(record.status))
    rollout = plant.rollout
    if simple is not None or rollout is None or plant.incoming is None:
        return {"Status": simple or "Updating", "StartTime": plant.changed or fleet.created}
    status, message = _of_rollout(rollout, fleet.id == plant.incoming.id, group)
    return {"Status": status, "StatusMessage": message, "StartTime": rollout.since}


def waiting(fleet: Fleet, group: Sequence[Variant], now: float) -> dict[str, Any] | None:
    """The same of a variant in service that has fewer replicas than it wants, and why; None where it has them all."""
    behind = [v for v in group if v.ready < v.count]
    if not behind or group[0].serverless:
        return None
    variant = behind[0]
    since = max((r.since for r in variant.live), default=fleet.created)
    message = f"{variant.ready} of {variant.count} replica(s) ready: {_reason(variant, now)}"
    return {"Status": "Creating", "StatusMessage": message[:1024], "StartTime": since}


def _reason(variant: Variant, now: float) -> str:
    if variant.failure and variant.retry > now:
        return f"{variant.failure.rstrip('.')}. The next start is at {_clock(variant.retry)}."
    if variant.prepared is None:
        doing = "the model is being unpacked"
    elif any(r.phase == STARTED for r in variant.live):
        doing = "a replica loads the model"
    else:
        doing = "the environment is being built or the replica started"
    return f"{doing} (last failure: {variant.failure})" if variant.failure else doing


def _of_rollout(rollout: Rollout, new: bool, group: Sequence[Variant]) -> tuple[str, str]:
    variant, ready = group[0], min(v.ready for v in group)
    share = rollout.share(variant.name)
    traffic = f"{100 * (share if new else 1 - share):.4g} % of the traffic"
    number = max(0, rollout.step) + 1
    step = f"{rollout.kind}, step {number} of {len(rollout.steps)}"
    if rollout.back:
        return ("Deleting" if new else "Updating"), f"{step} back: {traffic}, {ready} replica(s) ready"
    match RolloutPhase(rollout.phase):
        case RolloutPhase.STARTING if new:
            wanted = rollout.wanted.get(variant.name, variant.count)
            status = "Creating" if rollout.step < 0 else "Updating"
            number = min(len(rollout.steps), rollout.step + 2)
            step = f"{rollout.kind}, step {number} of {len(rollout.steps)}"
            return status, f"{step}: {ready} of {wanted} replica(s) ready; {traffic}"
        case RolloutPhase.SHIFTING:
            return "ActivatingTraffic", f"{step}: {traffic}"
        case RolloutPhase.BAKING:
            return "Baking", f"{step}: {traffic} until {_clock(deployment.due(rollout))}"
        case RolloutPhase.KEEPING:
            return "Baking", f"{traffic}; the old fleet is kept until {_clock(deployment.due(rollout))}"
    return "Updating", traffic


def _clock(at: float | None) -> str:
    return datetime.fromtimestamp(at or 0.0, UTC).strftime("%H:%M:%S UTC")
