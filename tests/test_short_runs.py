from __future__ import annotations

from clary.domain.machine.workload import Observation, RunState
from clary.short_runs import how


def test_how_a_run_ended_in_words() -> None:
    assert how(Observation(RunState.EXITED, exit_code=3, detail="no space")) == "ended with exit code 3 no space"
    assert how(Observation(RunState.EXITED, exit_code=1)) == "ended with exit code 1"
    assert how(Observation(RunState.LOST)) == "was cut off: its process is not there any more"
