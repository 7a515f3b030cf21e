"""Inference experiments (shadow tests): what the endpoint serves in each phase, and when a phase is over. Pure.

An experiment owns its endpoint's config while it runs: the source variant as production, the other one as its shadow, with a share of
copies. When it stops, each variant is retained, removed or promoted. Source: CreateInferenceExperiment, StopInferenceExperiment (API
reference), "Shadow tests" (developer guide).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.endpoints import life
from clary.domain.errors import Invalid
from clary.domain.lifecycle import INFERENCE_EXPERIMENT, EndpointStatus, advance
from clary.domain.lifecycle import InferenceExperimentFact as Fact
from clary.domain.lifecycle import InferenceExperimentStatus as Status
from clary.domain.resources import Record

KIND = "inference-experiment"
ACTIVE = (Status.CREATING, Status.CREATED, Status.STARTING, Status.RUNNING, Status.UPDATING, Status.STOPPING)
ENDED = (Status.COMPLETED, Status.CANCELLED)
CHANGING = (Status.CREATING, Status.STARTING, Status.UPDATING, Status.STOPPING)
DURATION = 7 * 86400.0  # seconds that one without an end runs, as on AWS
RETAIN, REMOVE, PROMOTE = "Retain", "Remove", "Promote"
_MOVING = (EndpointStatus.CREATING, EndpointStatus.UPDATING, EndpointStatus.ROLLING_BACK)
_GONE = "The endpoint {} was deleted, or could not be served."


@dataclass(frozen=True, slots=True)
class Served:
    """The endpoint as it is: its status, the config that it serves, and why it failed. `base` is CreateEndpointConfig's request of what it
    serves; None where that was deleted."""

    status: str
    config: str
    failure: str = ""
    base: Mapping[str, Any] | None = None


def config_of(endpoint: Record) -> str:
    """The name of the config that it serves."""
    return life.config_of(endpoint, life.plant_of(endpoint))


def served(endpoint: Record, config: Record | None) -> Served:
    """An endpoint, and the config of that name, if that is still there."""
    plant = life.plant_of(endpoint)
    base = config.document["request"] if config is not None else None
    return Served(endpoint.status, life.config_of(endpoint, plant), plant.failure, base)


@dataclass(frozen=True, slots=True)
class Serve:
    """Make a config, and an endpoint that serves it (or update the one that is there)."""

    endpoint: str
    config: str
    request: Mapping[str, Any]  # CreateEndpointConfig's
    new: bool


# -- what was asked -----------------------------------------------------------------------------------------------------------------


def source_of(request: Mapping[str, Any]) -> str:
    return str(request["ShadowModeConfig"]["SourceModelVariantName"])


def shadow_of(request: Mapping[str, Any]) -> str:
    return str(request["ShadowModeConfig"]["ShadowModelVariants"][0]["ShadowModelVariantName"])


def check(request: Mapping[str, Any], now: float) -> None:
    """Invalid unless there are a source and a shadow variant, each described once, and an end that is to come."""
    named = [variant["VariantName"] for variant in request["ModelVariants"]]
    source, shadow = source_of(request), shadow_of(request)
    if source == shadow:
        raise Invalid(
            f"SourceModelVariantName and ShadowModelVariantName are both '{source}': a variant cannot shadow itself."
        )
    if sorted(named) != sorted((source, shadow)):
        raise Invalid(
            f"ModelVariants must describe the source variant '{source}' and the shadow variant '{shadow}', each once; they are "
            f"{', '.join(named)}."
        )
    share = request["ShadowModeConfig"]["ShadowModelVariants"][0]["SamplingPercentage"]
    if share < 0:
        raise Invalid(f"SamplingPercentage is a share from 0 to 100, not {share}.")
    for variant in request["ModelVariants"]:
        if variant["InfrastructureConfig"]["RealTimeInferenceConfig"]["InstanceCount"] < 1:
            raise Invalid(f"InstanceCount of variant '{variant['VariantName']}' must be 1 or more.")
    schedule = request.get("Schedule") or {}
    begin, end = schedule.get("StartTime", now), schedule.get("EndTime")
    if end is not None and end <= max(now, begin):
        raise Invalid("EndTime of Schedule must be later than StartTime, and than now.")


def check_endpoint(request: Mapping[str, Any], served: Served) -> None:
    """Invalid unless an endpoint that is there can be this experiment's: it serves one production variant, the source, on instances."""
    rows = (served.base or {}).get("ProductionVariants") or []
    source = source_of(request)
    if (
        [row["VariantName"] for row in rows] != [source]
        or not rows[0].get("ModelName")
        or rows[0].get("ServerlessConfig")
    ):
        raise Invalid(
            f"The endpoint {request['EndpointName']} must serve one production variant, on instances, with the name of the source variant "
            f"'{source}'."
        )
    if (served.base or {}).get("AsyncInferenceConfig"):
        raise Invalid(f"The endpoint {request['EndpointName']} is asynchronous, and those have no shadows.")


def check_actions(request: Mapping[str, Any], actions: Mapping[str, str], desired: Sequence[Mapping[str, Any]]) -> None:
    """Invalid unless each variant of the experiment has one action, and one variant is left to serve."""
    source, shadow = source_of(request), shadow_of(request)
    if sorted(actions) != sorted((source, shadow)):
        raise Invalid(f"ModelVariantActions must name the variants '{source}' and '{shadow}', each once.")
    if actions[source] == PROMOTE:
        raise Invalid(f"'{source}' is the production variant already: it can be retained or removed.")
    if actions[source] == REMOVE and actions[shadow] != PROMOTE:
        raise Invalid(
            f"With '{source}' removed nothing would serve: promote '{shadow}', or delete the endpoint after the experiment."
        )
    if actions[source] == RETAIN and actions[shadow] == PROMOTE:
        raise Invalid(f"Promoting '{shadow}' takes the place of '{source}': its action must be Remove.")
    unknown = {variant["VariantName"] for variant in desired} - {source, shadow}
    if unknown:
        raise Invalid(f"DesiredModelVariants has '{min(unknown)}', which is no variant of the experiment.")


def updated(record: Record, params: Mapping[str, Any], now: float) -> Record:
    """After UpdateInferenceExperiment. Invalid where it may not change any more: once it started, only the description, the end of the
    schedule, the sampling and where data is stored."""
    if record.status in ENDED or record.status in CHANGING:
        raise Invalid(f"The inference experiment {record.name} cannot be updated while it is {record.status}.")
    request = dict(record.document["request"])
    changes = {name: value for name, value in params.items() if name != "Name" and value is not None}
    changed = {**request, **changes}
    if record.status == Status.RUNNING:
        _check_running(request, changed, now)
    check(changed, now)
    found = replace(record, modified=now, document={**record.document, "request": changed})
    served = ("ShadowModeConfig", "DataStorageConfig")
    if record.status == Status.RUNNING and any(request.get(name) != changed.get(name) for name in served):
        return _next(found, Fact.UPDATE_ASKED, now)
    return found


def _check_running(before: Mapping[str, Any], after: Mapping[str, Any], now: float) -> None:
    start = (before.get("Schedule") or {}).get("StartTime")
    moved = (after.get("Schedule") or {}).get("StartTime", start)
    same = source_of(before) == source_of(after) and shadow_of(before) == shadow_of(after)
    if not same or before["ModelVariants"] != after["ModelVariants"] or moved != start:
        raise Invalid(
            "The inference experiment runs: only Description, EndTime, SamplingPercentage and DataStorageConfig can be updated. Stop it to "
            "change its variants."
        )


def stop_asked(record: Record, params: Mapping[str, Any], now: float) -> Record:
    """After StopInferenceExperiment, or at the end of the schedule."""
    state = params.get("DesiredState") or Status.COMPLETED
    if record.status == Status.CREATED:
        return _ended(record, Fact.CANCELLED, params.get("Reason", ""), now)
    if record.status in ENDED or record.status in (Status.CREATING, Status.STOPPING):
        raise Invalid(f"The inference experiment {record.name} cannot be stopped while it is {record.status}.")
    desired = params.get("DesiredModelVariants") or []
    check_actions(record.document["request"], params["ModelVariantActions"], desired)
    stop = {"actions": dict(params["ModelVariantActions"]), "desired": list(desired), "state": state}
    document = {**record.document, "stop": stop, "reason": params.get("Reason", "")}
    return _next(replace(record, document=document), Fact.STOP_ASKED, now)


def start_asked(record: Record, now: float) -> Record:
    """After StartInferenceExperiment."""
    if record.status != Status.CREATED:
        raise Invalid(f"The inference experiment {record.name} cannot be started while it is {record.status}.")
    return _next(record, Fact.DUE, now)


# -- what is served -----------------------------------------------------------------------------------------------------------------


def config_name(record: Record) -> str:
    """Of the phase that it is in: each phase that changes the endpoint has a config of its own."""
    return f"{record.name[:44]}-{record.document['id']}-{record.document['phase']}"


def config_request(record: Record, base: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """CreateEndpointConfig's request for its phase. `base`: what the endpoint was served by before the experiment, whose other settings
    (managed scaling, routing, roles) stay."""
    request = record.document["request"]
    found: dict[str, Any] = {
        name: value for name, value in (base or {}).items() if name not in ("ShadowProductionVariants", "Tags")
    }
    before: Mapping[str, Any] = next(iter(found.get("ProductionVariants") or ()), {})
    found["EndpointConfigName"] = config_name(record)
    rows = {variant["VariantName"]: _row(variant) for variant in request["ModelVariants"]}
    source, shadow = source_of(request), shadow_of(request)
    production, copies = {**before, **rows[source]}, rows[shadow]
    if record.status == Status.STOPPING:
        return _after(record, found, production, copies)
    share = request["ShadowModeConfig"]["ShadowModelVariants"][0]["SamplingPercentage"] / 100
    found["ProductionVariants"] = [{**production, "InitialVariantWeight": 1.0}]
    found["ShadowProductionVariants"] = [{**copies, "InitialVariantWeight": share}]
    if request.get("DataStorageConfig"):
        found["DataCaptureConfig"] = _capture(request["DataStorageConfig"])
    return found


def _row(variant: Mapping[str, Any]) -> dict[str, Any]:
    infrastructure = variant["InfrastructureConfig"]["RealTimeInferenceConfig"]
    return {
        "VariantName": variant["VariantName"],
        "ModelName": variant["ModelName"],
        "InstanceType": infrastructure["InstanceType"],
        "InitialInstanceCount": infrastructure["InstanceCount"],
    }


def _after(
    record: Record, found: dict[str, Any], production: Mapping[str, Any], copies: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Once the experiment is over."""
    stop, request = record.document["stop"], record.document["request"]
    own = {variant["VariantName"]: _row(variant) for variant in stop["desired"]}
    production = {**production, **own.get(production["VariantName"], {})}
    copies = {**copies, **own.get(copies["VariantName"], {})}
    action = stop["actions"][shadow_of(request)]
    kept = copies if action == PROMOTE else production
    found["ProductionVariants"] = [{**kept, "InitialVariantWeight": 1.0}]
    if action == RETAIN:
        share = request["ShadowModeConfig"]["ShadowModelVariants"][0]["SamplingPercentage"] / 100
        found["ShadowProductionVariants"] = [{**copies, "InitialVariantWeight": share}]
    return found


def _capture(storage: Mapping[str, Any]) -> Mapping[str, Any]:
    kms = {"KmsKeyId": storage["KmsKey"]} if storage.get("KmsKey") else {}
    types = {"CaptureContentTypeHeader": storage["ContentType"]} if storage.get("ContentType") else {}
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": storage["Destination"],
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        **kms,
        **types,
    }


# -- the decision -------------------------------------------------------------------------------------------------------------------


def decide(record: Record, served: Served | None, now: float) -> Decision[Serve]:
    """`served`: its endpoint, None when there is none."""
    if record.status == Status.CREATING:
        return _checked(record, served, now)
    if record.status == Status.CREATED:
        start = (record.document["request"].get("Schedule") or {}).get("StartTime")
        if start is None or start > now:
            return Decision(record, again=None if start is None else start - now)
        return Decision(_next(record, Fact.DUE, now))
    if record.status == Status.RUNNING:
        return _running(record, served, now)
    return _changing(record, served, now)


def _checked(record: Record, served: Served | None, now: float) -> Decision[Serve]:
    """Ready to start: at once, where the schedule names no start."""
    found = _next(record, Fact.CHECKED, now)
    if served is not None:
        found = replace(found, document={**found.document, "base": dict(served.base or {})})
    scheduled = (record.document["request"].get("Schedule") or {}).get("StartTime") is not None
    return Decision(found if scheduled else _next(found, Fact.DUE, now))


def _running(record: Record, served: Served | None, now: float) -> Decision[Serve]:
    if served is None or served.status == EndpointStatus.FAILED:
        why = _GONE.format(record.document["request"]["EndpointName"])
        return Decision(_ended(record, Fact.GAVE_UP, why, now))
    end = ends(record)
    if now < end:
        return Decision(record, again=end - now)
    request = record.document["request"]
    actions = {source_of(request): RETAIN, shadow_of(request): REMOVE}
    return Decision(stop_asked(record, {"ModelVariantActions": actions}, now))


def ends(record: Record) -> float:
    """When it is over by itself, in epoch seconds."""
    end = (record.document["request"].get("Schedule") or {}).get("EndTime")
    return float(end) if end is not None else float(record.document["started"]) + DURATION


def _changing(record: Record, served: Served | None, now: float) -> Decision[Serve]:
    """Bring the endpoint to the config of this phase, and wait for it."""
    wanted = config_name(record)
    if served is not None and served.status in _MOVING:
        return Decision(record)  # its next change wakes the experiment
    if served is not None and served.config == wanted and served.status == EndpointStatus.IN_SERVICE:
        return Decision(_served(record, now))
    asked = record.document.get("asked") == wanted
    lost = served is None and record.status != Status.STARTING
    if asked or lost or (served is not None and served.status == EndpointStatus.DELETING):
        failure = (served.failure if served else "") or _GONE.format(record.document["request"]["EndpointName"])
        return Decision(_ended(record, Fact.GAVE_UP, failure, now))
    request = config_request(record, record.document.get("base"))
    return Decision(record, (Serve(record.document["request"]["EndpointName"], wanted, request, served is None),))


def absorbed(record: Record, command: Serve, outcome: Unable | None, now: float) -> Record:
    """After the command: the endpoint was asked, or could not be."""
    if outcome is not None:
        return _ended(record, Fact.GAVE_UP, outcome.why, now)
    return replace(record, document={**record.document, "asked": command.config})


def _served(record: Record, now: float) -> Record:
    if record.status == Status.STOPPING:
        state = record.document["stop"]["state"]
        fact = Fact.CANCELLED if state == Status.CANCELLED else Fact.COMPLETED
        return _ended(record, fact, record.document.get("reason", ""), now)
    found = _next(record, Fact.SERVING, now)
    started = {"started": found.document.get("started", now)}
    return replace(found, document={**found.document, **started})


def _next(record: Record, fact: Fact, now: float) -> Record:
    """The status that follows; one that changes the endpoint is a phase of its own."""
    status = advance(INFERENCE_EXPERIMENT, record.status, fact)
    document = dict(record.document)
    if status in (Status.STARTING, Status.UPDATING, Status.STOPPING):
        document["phase"] = document.get("phase", 0) + 1
    return replace(record, status=status, modified=now, document=document)


def _ended(record: Record, fact: Fact, reason: str, now: float) -> Record:
    """Ended, or (an update that the endpoint turned back) running on, with the reason."""
    found = _next(record, fact, now)
    document = {**found.document, "reason": reason[:1024]}
    if found.status in ENDED:
        document["completed"] = now
    return replace(found, document=document)
