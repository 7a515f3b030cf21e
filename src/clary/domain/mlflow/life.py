"""What is done next for an MLflow server: start its process, start it again when it ended, end it, remove what it kept. Pure.

A server that does not come up fails, with the way to its log; one that has been up is started again for ever, with longer and longer
pauses. Its database stays until the server is deleted, whatever happens to the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.lifecycle import MlflowFact, MlflowStatus
from clary.domain.machine.workload import Observation
from clary.domain.mlflow.servers import LOGS, SERVES, WANTED, advanced, put, registers
from clary.domain.resources import Record

UP = 180.0  # seconds from the start of the process until it must answer; its imports take most of it on a busy machine
LOOK = 0.5  # seconds between looks at one that comes up
WATCH = 10.0  # the same of one that serves; that its process ended is told
REGISTER = 2.0  # the same of one whose versions are registered
TRIES = 3  # processes of one that never answered
_STEADY = 60.0  # seconds of service after which earlier deaths are forgiven
_LONGEST = 60.0  # seconds of pause between two starts


@dataclass(frozen=True, slots=True)
class SeenServer:
    """How its process is (None: there is none), and whether it answers."""

    run: Observation | None = None
    answers: bool = False


@dataclass(frozen=True, slots=True)
class StartServer:
    attempt: int


@dataclass(frozen=True, slots=True)
class EndServer:
    """End the process, and forget it."""

    handle: str


@dataclass(frozen=True, slots=True)
class EraseServer:
    """Remove its database, and whatever else it kept here. Artifacts in S3 stay."""


@dataclass(frozen=True, slots=True)
class RegisterVersions:
    """Make model packages of the registered models' versions that are new."""


Command = StartServer | EndServer | EraseServer | RegisterVersions


def decide(record: Record, seen: SeenServer, now: float) -> Decision[Command]:
    """One turn of a server or app."""
    handle = record.document["handle"]
    ending: tuple[Command, ...] = (EndServer(handle),) if handle else ()
    if record.status == MlflowStatus.DELETING:
        return Decision(record, (*ending, EraseServer()), remove=True)
    if record.status == MlflowStatus.STOPPING:
        return Decision(put(advanced(record, MlflowFact.STOPPED, now), handle=""), ending)
    if record.document.get("restart"):  # what it is told has changed
        return Decision(put(record, handle="", restart=False, deaths=0, retry=now), ending, again=0.0)
    if not handle:
        return _start(record, now)
    if seen.run is None or seen.run.state.is_terminal:
        return _ended(record, seen.run, now)
    return _running(record, seen, now)


def _start(record: Record, now: float) -> Decision[Command]:
    due = record.document.get("retry", 0.0)
    if now < due:
        return Decision(record, again=due - now)
    attempt = record.document["attempt"] + 1
    return Decision(put(record, attempt=attempt, started=now), (StartServer(attempt),), again=LOOK)


def _running(record: Record, seen: SeenServer, now: float) -> Decision[Command]:
    started = record.document.get("started", now)
    if record.status not in SERVES:
        if seen.answers:
            return Decision(advanced(record, MlflowFact.ANSWERS, now), again=WATCH)
        if now - started > UP:
            failed = advanced(record, MlflowFact.GAVE_UP, now, f"It did not answer within {UP:g} s. {_log(record)}")
            return Decision(put(failed, handle=""), (EndServer(record.document["handle"]),))
        return Decision(record, again=LOOK)
    if not seen.answers:
        return _silent(record, now)
    if record.document.get("silent"):
        record = put(record, silent=0.0)
    if record.document["deaths"] and now - started > _STEADY:
        record = put(record, deaths=0)
    if registers(record):
        return Decision(record, (RegisterVersions(),), again=REGISTER)
    return Decision(record, again=WATCH)


def _silent(record: Record, now: float) -> Decision[Command]:
    """One that served does not answer: it comes up again after Clary's own end, or hangs, and then it is ended and started again."""
    since = record.document.get("silent") or now
    if now - since <= UP:
        return Decision(put(record, silent=since), again=LOOK)
    handle = record.document["handle"]
    record = put(record, handle="", silent=0.0, retry=now, ended=f"did not answer for {UP:g} s")
    return Decision(record, (EndServer(handle),), again=0.0)


def _ended(record: Record, run: Observation | None, now: float) -> Decision[Command]:
    """Its process ended by itself, or somebody killed it."""
    deaths = record.document["deaths"] + 1
    handle, how = record.document["handle"], _how(run)
    record = put(
        record, handle="", deaths=deaths, retry=now + min(_LONGEST, LOOK * 2 ** min(deaths - 1, 10)), ended=how
    )
    if record.status not in SERVES and deaths >= TRIES:
        record = advanced(
            record, MlflowFact.GAVE_UP, now, f"Its process {how}, {deaths} times in a row. {_log(record)}"
        )
        return Decision(record, (EndServer(handle),))
    return Decision(record, (EndServer(handle),), again=LOOK)


def _how(run: Observation | None) -> str:
    if run is None or run.exit_code is None:
        return "was lost"
    if run.oom_killed:
        return "needed more memory than its size has: choose a larger TrackingServerSize"
    return f"ended with exit code {run.exit_code}"


def _log(record: Record) -> str:
    return f"Its log is the stream {record.document['id']} of the log group {LOGS}."


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]], now: float) -> Record:
    """The record, with what its commands answered: of a start the process's handle, or Unable; of a registration how far it is."""
    for command, outcome in outcomes:
        if isinstance(command, StartServer) and isinstance(outcome, Unable):
            record = _not_started(record, outcome.why, now)
        elif isinstance(command, StartServer):
            record = put(record, handle=outcome)
        elif isinstance(command, RegisterVersions) and outcome is not None:
            record = put(record, registered=outcome[0], registered_keys=outcome[1])
    return record


def _not_started(record: Record, why: str, now: float) -> Record:
    deaths = record.document["deaths"] + 1
    record = put(record, deaths=deaths, retry=now + min(_LONGEST, 2.0**deaths), ended=f"could not be started: {why}")
    if record.status in WANTED and record.status not in SERVES and deaths >= TRIES:
        return advanced(record, MlflowFact.GAVE_UP, now, f"It could not be started: {why}"[:1024])
    return record
