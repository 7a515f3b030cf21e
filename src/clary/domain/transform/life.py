"""How a transform job goes on: the pure `decide` over its record and what is seen. `record.py` tells the phases.

What is decided first is what the job ends as (`outcome`); then complete outputs are stored, and only then its status moves. So a job that
fails or is stopped keeps the outputs of the objects that were whole, and none of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.endpoints.turn import NO_CAPACITY
from clary.domain.lifecycle import JOB, EndpointStatus, JobFact, JobStatus, advance
from clary.domain.resources import Record
from clary.domain.transform.record import (
    Begin,
    Command,
    Discard,
    DropFleet,
    ForgetDriver,
    ForgetWork,
    MakeFleet,
    SeenFleet,
    SeenTransform,
    StartDriver,
    StopDriver,
)

REASON_LENGTH = 1024
MOST_DEATHS = 10  # of drivers in a row, without a single output between them
SOON = 1.0  # seconds between looks while a job is active (events come first)
NO_ROOM_AGAIN = 2.0  # seconds until a fleet that found no place is tried again
_LOST = (EndpointStatus.FAILED, EndpointStatus.OUT_OF_SERVICE)
_LOG = " See job logs for more information"


@dataclass(slots=True)
class TransformTurn:
    record: Record
    seen: SeenTransform
    now: float
    commands: list[Command] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        return dict(self.record.document)

    @property
    def stopping(self) -> bool:
        return self.record.status == JobStatus.STOPPING

    @property
    def ended(self) -> bool:
        """Whether the driver that was started runs no more."""
        return self.seen.run is None or self.seen.run.state.is_terminal

    def put(self, **changes: Any) -> None:
        self.record = replace(self.record, document={**self.record.document, **changes})

    def outcome(self, fact: JobFact, failure: str = "") -> None:
        """What the job ends as."""
        text = failure if len(failure) <= REASON_LENGTH else failure[: REASON_LENGTH - 4] + " ..."
        self.put(outcome=fact.value, phase="ending", **({"failure": text} if text else {}))

    def begun(self, name: str) -> str:
        """The state of a piece of work, which is begun where it was not."""
        work = self.seen.work.get(name)
        if work is None:
            self.commands.append(Begin(name))
            return "running"
        return work.state


def decide(record: Record, seen: SeenTransform, now: float) -> Decision[Command]:
    """One turn of a transform job. Pure."""
    turn = TransformTurn(record, seen, now)
    phase = record.document["phase"]
    if phase == "starting":
        _start(turn)
    elif phase == "running":
        _run(turn)
    if turn.record.document["phase"] == "ending":
        _end(turn)
    return Decision(
        turn.record,
        tuple(turn.commands),
        SOON if turn.record.status in (JobStatus.IN_PROGRESS, JobStatus.STOPPING) else None,
    )


def _start(turn: TransformTurn) -> None:
    """The objects are placed while the replicas come up; the driver starts when both are there."""
    if turn.stopping:
        turn.outcome(JobFact.ENDED)
        return
    placed = turn.begun("place")
    if placed == "failed":
        work = turn.seen.work["place"]
        turn.outcome(JobFact.GAVE_UP, f"{'ClientError' if work.client else 'InternalServerError'}: {work.message}")
        return
    fleet = turn.seen.fleet
    if fleet is None:
        if turn.now >= float(turn.record.document.get("retry", 0.0)):
            turn.commands.append(MakeFleet())
        return
    if fleet.status == EndpointStatus.FAILED and fleet.failure.startswith(NO_CAPACITY):
        turn.commands.append(DropFleet())  # another job or endpoint has the place: wait for it, as jobs do
        turn.put(retry=turn.now + NO_ROOM_AGAIN, waiting=fleet.failure)
    elif fleet.status in _LOST:
        turn.outcome(JobFact.GAVE_UP, _not_up(fleet))
    elif placed == "done" and fleet.up and fleet.workers:
        attempt = int(turn.record.document["attempt"]) + 1
        turn.commands.append(StartDriver(attempt, fleet.workers))
        turn.put(phase="running", attempt=attempt, started=turn.record.document.get("started", turn.now), waiting="")


def _run(turn: TransformTurn) -> None:
    document, seen = turn.record.document, turn.seen
    if document.get("unstartable"):
        turn.outcome(JobFact.GAVE_UP, f"InternalServerError: {document['unstartable']}")
        return
    if not turn.ended:
        lost = seen.fleet is None or seen.fleet.status in _LOST
        if turn.stopping or lost:
            turn.commands.append(StopDriver(document["handle"]))
        if lost and not document.get("cause"):
            turn.put(cause=_not_up(seen.fleet))
        if seen.ready:
            _publish(turn)
        return
    if seen.run is not None and seen.run.exit_code == 0:
        turn.outcome(JobFact.SUCCEEDED)
    elif document.get("cause"):
        turn.outcome(JobFact.GAVE_UP, str(document["cause"]))
    elif turn.stopping:
        turn.outcome(JobFact.ENDED)
    elif seen.verdict:
        turn.outcome(JobFact.GAVE_UP, _told(turn))
    else:
        _again(turn)


def _publish(turn: TransformTurn) -> str:
    """Store the outputs that are complete. The state of that work."""
    state = turn.begun("publish")
    if state == "done":
        turn.commands.append(ForgetWork("publish"))
        turn.put(deaths=0)
    elif state == "failed":
        work = turn.seen.work["publish"]
        turn.commands.append(ForgetWork("publish"))
        if work.client:
            turn.outcome(JobFact.GAVE_UP, f"ClientError: {work.message}")
            if not turn.ended:
                turn.commands.append(StopDriver(turn.record.document["handle"]))
    return state


def _again(turn: TransformTurn) -> None:
    """The driver died: another goes on behind the outputs that are complete."""
    document, run = turn.record.document, turn.seen.run
    deaths = int(document["deaths"]) + 1
    if deaths > MOST_DEATHS:
        how = "was lost" if run is None or run.exit_code is None else f"ended with exit code {run.exit_code}"
        turn.outcome(
            JobFact.GAVE_UP,
            f"InternalServerError: the process that carries the job out {how}, {deaths} times in a row.{_LOG}",
        )
        return
    turn.commands.append(ForgetDriver(document["handle"]))
    turn.put(phase="starting", handle="", deaths=deaths)


def _end(turn: TransformTurn) -> None:
    """Store what is complete, then let go of everything; the status moves last."""
    if turn.record.document["handle"] and not turn.ended:
        turn.commands.append(StopDriver(turn.record.document["handle"]))
        return
    if turn.seen.ready and not turn.record.document.get("unstored"):
        state = _publish(turn)
        if state == "failed" and turn.seen.work["publish"].client:
            turn.put(unstored=True)
        return
    fact = JobFact(turn.record.document["outcome"])
    if turn.record.document.get("started"):
        work = turn.seen.work.get("finish")
        if turn.begun("finish") == "running":
            return
        if work is not None and work.state == "failed":
            if not work.client:
                turn.commands.append(ForgetWork("finish"))  # the object store is away: again
                return
            if fact is JobFact.SUCCEEDED:
                turn.outcome(JobFact.GAVE_UP, f"ClientError: {work.message}")
                fact = JobFact.GAVE_UP
    status = advance(JOB, turn.record.status, fact)
    turn.commands += [DropFleet(), Discard(turn.record.document["handle"])]
    turn.put(ended=turn.now)
    turn.record = replace(turn.record, status=status, modified=turn.now)


def _told(turn: TransformTurn) -> str:
    """FailureReason of what the driver wrote; where the kernel ended the model's process for its memory, that is the reason."""
    verdict, fleet = turn.seen.verdict, turn.seen.fleet
    blame, where, message = (str(verdict.get(name, "")) for name in ("blame", "where", "message"))
    text = f"{blame}: {where}: {message}"
    if fleet is not None and blame == "AlgorithmError":
        instance = turn.record.document["request"]["TransformResources"]["InstanceType"]
        if fleet.kills or "out of memory" in fleet.failure:
            text = (
                f"{blame}: The model ran out of memory on {instance} at {where}. Use an instance type with more memory, a smaller "
                f"MaxPayloadInMB, or fewer MaxConcurrentTransforms. ({message})"
            )
        elif fleet.failure:
            text += f" The replica: {fleet.failure}"
    return f"{text[: REASON_LENGTH - len(_LOG) - 1].rstrip('.')}.{_LOG}"


def _not_up(fleet: SeenFleet | None) -> str:
    if fleet is None:
        return "InternalServerError: the job's replicas are not there any more."
    return f"AlgorithmError: {fleet.failure or 'the model could not be served.'}"
