"""A replay in a process of its own: what it answers, and what becomes of one that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clary.app.replays import Question, answered, ask, packed, unpacked
from clary.domain.errors import Unavailable
from clary.domain.objectives.what_if import Both, Known, parse, play_both
from clary.domain.scaling.recorded import Service, day_of

BEGIN = 1_800_000_000.0
POLICY = {
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 600.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    },
    "MinCapacity": 1,
    "MaxCapacity": 4,
}
QUESTION = Question(
    BEGIN,
    BEGIN + 600,
    [(BEGIN + place, 12.0) for place in range(300, 600)],
    [(BEGIN + 60 * place, 700.0) for place in range(5)],
    [Service(BEGIN, 0.1, 0.09, 0.2)],
    Known(2, 0.0, 2000, 1.0, 4, (2.0, 3.0), 3.0, ((BEGIN, 1.0), (BEGIN + 300, 2.0)), 0.5, "fast"),
    parse({"LatencyObjective": 500, "MinCapacity": 1, "MaxCapacity": 4}),
    60,
)


def here(question: Question) -> Both | None:
    day = day_of(question.seconds, question.minutes, question.services, question.begin, question.end)
    return play_both(day, question.known, question.asked, question.width)


def child(code: str, budget: int = 5, patience: float = 300.0) -> Both | None:
    begin = "import sys; from clary.app.replays import give_way; give_way(int(sys.argv[1]), int(sys.argv[2]))\n"
    return ask(QUESTION, budget, patience, (sys.executable, "-c", begin + code))


@pytest.mark.parametrize("question", [QUESTION, QUESTION._replace(asked=parse(POLICY))], ids=["objective", "tracking"])
def test_it_plays_as_this_process_would(question: Question) -> None:
    assert unpacked(packed(question)) == question
    both = ask(question)
    assert both is not None
    assert both == here(question)


def test_nothing_to_play_is_no_failure() -> None:
    assert ask(QUESTION._replace(seconds=[], minutes=[])) is None


def test_it_gives_way_to_everything_else() -> None:
    with pytest.raises(Unavailable, match="status 19"):
        child("import os; sys.exit(os.nice(0))")


def test_one_that_fails_says_with_what() -> None:
    with pytest.raises(Unavailable, match="the replay failed with status 1: RuntimeError: no luck"):
        child("raise RuntimeError('no luck')")
    broken = QUESTION._replace(asked=replace(QUESTION.asked, least=None))
    with pytest.raises(Unavailable, match="the replay failed with status 1: AssertionError"):
        ask(broken)


def test_one_that_uses_up_its_cpu_is_ended_and_says_what_to_do() -> None:
    with pytest.raises(Unavailable, match="it may use 1 s of CPU; --since names a shorter time"):
        child("while True: pass", budget=1)


def test_one_that_does_not_come_to_an_end_is_ended() -> None:
    with pytest.raises(Unavailable, match=r"not done after 0\.2 s"):
        child("import signal; signal.pause()", patience=0.2)


def test_it_does_not_outlive_who_waits_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    plays = f"import signal; told = open({str(pipe)!r}, 'w'); told.write('x'); told.flush(); signal.pause()"
    waits = f"from tests.app.test_replays import child; child({plays!r})"
    parent = subprocess.Popen([sys.executable, "-c", waits])
    with pipe.open() as told:
        assert told.read(1) == "x"
        parent.kill()
        parent.wait()
        assert told.read() == "", "the pipe ends with its only writer"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(Unavailable, match="could not be started"):
        ask(QUESTION, command=("/nowhere/python",))


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"was": [1, 0, 1]}', b'{"was": [1, 0, 1, []], "what_if": 7}'])
def test_an_answer_that_is_none(answer: bytes) -> None:
    with pytest.raises(Unavailable, match="no result"):
        answered(answer)
