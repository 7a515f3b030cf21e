"""What becomes of one replica: from its phase and what is seen of it to its next phase, or its end with a reason. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from clary.domain.endpoints.async_inference import LONGEST
from clary.domain.endpoints.commands import ForgetReplica, SeenEndpoint, StopReplica
from clary.domain.endpoints.fleets import DRAINING, PLANNED, READY, STARTED, STOPPING, Fleet, Replica, Variant
from clary.domain.endpoints.routes import STREAM_SECONDS
from clary.domain.machine.workload import Observation
from clary.domain.names import log_group

STARTUP_SECONDS = 600.0  # until a model must be loaded, when the variant does not say (AWS: 4 min to an hour)
UNSEEN_SECONDS = 30.0  # a live process that the front does not see for so long is replaced
DRAIN_MARGIN = 10.0  # beyond the longest that an answer may take, until a draining replica is stopped anyway
REASON_LENGTH = 1024


def replica_key(replica: str) -> str:
    """The key of a replica's workload. Keys of replicas begin with `replica-`."""
    return f"replica-{replica}"


@dataclass(frozen=True, slots=True)
class ReplicaVerdict:
    """`replica` None: it is gone. `failure`: it died (or must be stopped) before its time, and how. `fatal`: the model itself
    is at fault, another start would end alike."""

    replica: Replica | None
    commands: tuple[StopReplica | ForgetReplica, ...] = ()
    failure: str = ""
    fatal: bool = False


def longest_answer(fleet: Fleet, variant: Variant) -> float:
    """Seconds that a request which a replica of this variant has may take: any may be a stream, and an invocation of an asynchronous
    endpoint brings a deadline of its own."""
    if fleet.asynchronous:
        return LONGEST
    if fleet.private:
        return float(fleet.private["timeout"])
    return max(STREAM_SECONDS, *(v.container.timeout for v in fleet.variants if v.name == variant.name))


def judge(
    replica: Replica, variant: Variant, seen: SeenEndpoint, revision: int, now: float, longest: float
) -> ReplicaVerdict:
    """One replica's next step. `revision` is that of the route that last told the front about it, `longest` the `longest_answer`."""
    if replica.phase == PLANNED:
        return ReplicaVerdict(replica)
    run = seen.runs.get(replica.id)
    ended = run is None or run.state.is_terminal
    if replica.phase == STOPPING:
        return _gone(replica) if ended else ReplicaVerdict(replica)
    if ended:
        failure = "" if replica.phase == DRAINING else _how_it_ended(run, variant)
        view = seen.replica(replica.id)
        if view is not None and view.state == "failed" and failure:
            return ReplicaVerdict(None, _gone(replica).commands, view.failure or failure, fatal=True)
        return ReplicaVerdict(None, _gone(replica).commands, failure, fatal=_is_fatal(run))
    if replica.phase == DRAINING:
        return _draining(replica, seen, revision, now, longest)
    return _working(replica, variant, seen, now)


def stop(replica: Replica, now: float) -> ReplicaVerdict:
    """End it without a drain: it never served, or nobody can ask for it any more."""
    if replica.phase == STOPPING:
        return ReplicaVerdict(replica)
    if replica.phase == PLANNED and not replica.handle:
        # The start may have happened in a turn whose save was lost; the backend knows it by its id then.
        return ReplicaVerdict(None, (StopReplica(replica.id, ""), ForgetReplica(replica.id, "")))
    return ReplicaVerdict(replace(replica, phase=STOPPING, since=now), (StopReplica(replica.id, replica.handle),))


def _gone(replica: Replica) -> ReplicaVerdict:
    return ReplicaVerdict(None, (ForgetReplica(replica.id, replica.handle),))


def _draining(replica: Replica, seen: SeenEndpoint, revision: int, now: float, longest: float) -> ReplicaVerdict:
    told = seen.view is not None and seen.view.revision >= revision
    view = seen.replica(replica.id)
    empty = told and (view is None or view.in_flight == 0)
    if empty or now - replica.since > longest + DRAIN_MARGIN:
        return stop(replica, now)
    return ReplicaVerdict(replica)


def _working(replica: Replica, variant: Variant, seen: SeenEndpoint, now: float) -> ReplicaVerdict:
    view = seen.replica(replica.id)
    if view is not None and view.state == "failed":
        ending = stop(replica, now)
        return ReplicaVerdict(
            ending.replica, ending.commands, view.failure or "the model could not be loaded", fatal=True
        )
    if view is not None and view.state == "ready":
        if replica.phase == STARTED:
            return ReplicaVerdict(replace(replica, phase=READY, since=now, unseen=0.0))
        return ReplicaVerdict(replace(replica, unseen=0.0))
    if replica.phase == STARTED:
        limit = float(variant.config.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS))
        if now - replica.since > limit:
            ending = stop(replica, now)
            return ReplicaVerdict(
                ending.replica, ending.commands, f"the model was not loaded within {limit:g} s", fatal=True
            )
        return ReplicaVerdict(replica)
    if seen.view is None:  # the front is away, not the replica
        return ReplicaVerdict(replica)
    if not replica.unseen:
        return ReplicaVerdict(replace(replica, unseen=now))
    if now - replica.unseen > UNSEEN_SECONDS:
        ending = stop(replica, now)
        return ReplicaVerdict(ending.replica, ending.commands, f"it was silent for {UNSEEN_SECONDS:g} s")
    return ReplicaVerdict(replica)


def _is_fatal(run: Observation | None) -> bool:
    """A start that the backend refused will be refused again; a process that died may live the next time."""
    if run is None or (
        run.failure is not None and not run.failure.client
    ):  # what was our fault may go well the next time
        return False
    return run.started_at is None and bool(run.detail)


def _how_it_ended(run: Observation | None, variant: Variant) -> str:
    if run is None:
        return "its process is not there any more"
    if run.oom_killed:
        return f"it ran out of memory on {variant.size or 'its instance'}; use an instance type with more memory"
    if run.detail:
        return run.detail
    if run.stopped:
        return "it was stopped together with Clary"
    if run.exit_code is None:
        return "its process was lost"
    if run.exit_code > 128:
        return f"its process was ended by signal {run.exit_code - 128}"
    return f"its process ended with exit code {run.exit_code}"


def ping_failure(variant: Variant, endpoint: str, replica: str) -> str:
    """FailureReason when a container did not come up: AWS's sentence, then what the user needs: the log stream and the end of
    the traceback (at most 1,024 characters; the cause wins over its beginning)."""
    head = (
        f"The {variant.container.label} container for production variant {variant.name} did not pass the ping health check. Please check "
        f"CloudWatch logs for this endpoint."
    )
    if replica:
        stream = f"{variant.name}/{replica}"
        if variant.container.hostname:
            stream += f"/{variant.container.hostname}"
        head += f" Log stream: {stream} in {log_group(endpoint)}."
    cause = variant.failure.strip()
    room = REASON_LENGTH - len(head) - len(" Cause: ...")
    if len(cause) > room:
        cause = "..." + cause[-room:]
    return f"{head} Cause: {cause}" if cause else head
