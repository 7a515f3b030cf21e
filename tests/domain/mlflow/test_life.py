"""What is done next for an MLflow server, turn by turn."""

from __future__ import annotations

from tests.domain.mlflow.test_servers import server

from clary.domain.decisions import Unable
from clary.domain.machine.workload import Observation, RunState
from clary.domain.mlflow import life, servers
from clary.domain.mlflow.life import EndServer, EraseServer, RegisterVersions, SeenServer, StartServer, absorb, decide
from clary.domain.resources import Record

RUNNING = Observation(RunState.RUNNING)
DIED = Observation(RunState.EXITED, exit_code=1)


def started(record: Record, now: float = 0.0) -> Record:
    """After a turn that started its process."""
    decision = decide(record, SeenServer(), now)
    [command] = decision.commands
    assert isinstance(command, StartServer)
    return absorb(decision.record, [(command, f"mlflow-abc-{command.attempt}")], now)


def test_it_is_created_when_it_answers() -> None:
    record = started(server("Creating"))
    assert record.document["handle"] == "mlflow-abc-1"
    waiting = decide(record, SeenServer(RUNNING), 1.0)
    assert (waiting.record.status, waiting.commands) == ("Creating", ())
    assert decide(record, SeenServer(RUNNING, answers=True), 2.0).record.status == "Created"


def test_one_that_never_answers_fails_and_names_its_log() -> None:
    record = started(server("Creating"))
    decision = decide(record, SeenServer(RUNNING), life.UP + 1)
    assert (decision.record.status, decision.commands) == ("CreateFailed", (EndServer("mlflow-abc-1"),))
    assert servers.LOGS in decision.record.document["failure"]


def test_one_whose_process_ends_before_it_answers_is_tried_some_times() -> None:
    record, now = server("Creating"), 0.0
    for attempt in range(1, life.TRIES + 1):
        record = started(record, now)
        assert record.document["handle"] == f"mlflow-abc-{attempt}"
        decision = decide(record, SeenServer(DIED), now)
        record, now = decision.record, now + 60.0
    assert record.status == "CreateFailed"
    assert "ended with exit code 1, 3 times in a row" in record.document["failure"]


def test_one_that_served_is_started_again_with_longer_pauses_and_never_fails() -> None:
    record, now, pauses = server("Created"), 100.0, []
    for _ in range(12):
        record = started(record, now)
        record = decide(record, SeenServer(DIED), now).record
        pauses.append(record.document["retry"] - now)
        now = record.document["retry"]
    assert record.status == "Created"
    assert pauses == sorted(pauses)
    assert pauses[0] < 1.0
    assert pauses[-1] == 60.0


def test_it_says_when_memory_was_short() -> None:
    record = started(server("Created"))
    killed = Observation(RunState.EXITED, exit_code=137, oom_killed=True)
    assert "larger TrackingServerSize" in decide(record, SeenServer(killed), 1.0).record.document["ended"]


def test_service_makes_earlier_deaths_forgotten() -> None:
    record = servers.put(started(server("Created")), deaths=4)
    assert decide(record, SeenServer(RUNNING, answers=True), 10.0).record.document["deaths"] == 4
    assert decide(record, SeenServer(RUNNING, answers=True), 100.0).record.document["deaths"] == 0


def test_one_that_hangs_is_ended_and_started_again() -> None:
    record = started(server("Created"))
    record = decide(record, SeenServer(RUNNING), 10.0).record
    assert record.document["silent"] == 10.0
    answered = decide(record, SeenServer(RUNNING, answers=True), 20.0).record
    assert not answered.document["silent"]
    decision = decide(record, SeenServer(RUNNING), 11.0 + life.UP)
    assert decision.commands == (EndServer("mlflow-abc-1"),)
    assert started(decision.record, 12.0 + life.UP).document["handle"] == "mlflow-abc-2"


def test_versions_are_registered_only_while_it_answers() -> None:
    record = started(server("Created", AutomaticModelRegistration=True))
    assert decide(record, SeenServer(RUNNING), 1.0).commands == ()
    assert decide(record, SeenServer(RUNNING, answers=True), 1.0).commands == (RegisterVersions(),)
    kept = absorb(record, [(RegisterVersions(), (7, ["m/1"]))], 2.0)
    assert (kept.document["registered"], kept.document["registered_keys"]) == (7, ["m/1"])
    assert absorb(record, [(RegisterVersions(), None)], 2.0) == record


def test_an_update_ends_the_process_and_starts_another() -> None:
    record = servers.put(started(server("Created")), restart=True)
    record = servers.advanced(record, life.MlflowFact.UPDATE_ASKED, 5.0)
    decision = decide(record, SeenServer(RUNNING, answers=True), 5.0)
    assert decision.commands == (EndServer("mlflow-abc-1"),)
    record = started(decision.record, 5.0)
    assert decide(record, SeenServer(RUNNING, answers=True), 6.0).record.status == "Updated"


def test_stopping_ends_the_process_and_deleting_erases() -> None:
    record = started(server("Created"))
    stopping = servers.advanced(record, life.MlflowFact.STOP_ASKED, 1.0)
    stopped = decide(stopping, SeenServer(RUNNING, answers=True), 1.0)
    assert (stopped.record.status, stopped.commands) == ("Stopped", (EndServer("mlflow-abc-1"),))
    assert stopped.record.document["handle"] == ""
    deleting = servers.advanced(record, life.MlflowFact.DELETE_ASKED, 1.0)
    gone = decide(deleting, SeenServer(RUNNING, answers=True), 1.0)
    assert gone.remove
    assert gone.commands == (EndServer("mlflow-abc-1"), EraseServer())


def test_one_that_cannot_be_started_says_why() -> None:
    record = server("Creating")
    for _ in range(life.TRIES):
        record = absorb(record, [(StartServer(1), Unable("no such package"))], 1.0)
    assert record.status == "CreateFailed"
    assert "no such package" in record.document["failure"]
    serving = server("Created")
    for _ in range(9):
        serving = absorb(serving, [(StartServer(1), Unable("no room"))], 1.0)
    assert (serving.status, serving.document["retry"]) == ("Created", 61.0)
