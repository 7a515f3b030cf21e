"""The same two graphs as programs of Metaflow and Prefect: so many steps, one after the other or all at once, each a process of its own.

A step of Metaflow is a process by itself, which does nothing else. A task of Prefect starts one: `python -c pass`.
"""

from __future__ import annotations

_FLOW = """from metaflow import FlowSpec, step


class {name}(FlowSpec):
{steps}

if __name__ == "__main__":
    {name}()
"""
_STEP = """    @step
    def {name}(self{given}):
        {does}
"""
PREFECT = """import subprocess
import sys

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

STEPS, AT_ONCE = int(sys.argv[2]), int(sys.argv[3])


@task
def work(before):
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return before + 1


@flow
def chain():
    done = 0
    for _ in range(STEPS):
        done = work(done)
    return done


@flow(task_runner=ThreadPoolTaskRunner(max_workers=AT_ONCE))
def fan():
    return sum(each.result() for each in work.map([0] * STEPS))


assert {"chain": chain, "fan": fan}[sys.argv[1]]() == STEPS
"""


def metaflow(graph: str, steps: int) -> str:
    """A program: `run --max-workers N`. Metaflow reads a flow's graph from its text, so a chain is written out."""
    return _chain(steps) if graph == "chain" else _fan(steps)


def _chain(steps: int) -> str:
    names = ["start", *(f"s{n}" for n in range(1, steps - 1)), "end"]
    follows = [f"self.next(self.{name})" for name in names[1:]]
    text = "\n".join(
        _STEP.format(name=name, given="", does=does) for name, does in zip(names, [*follows, "pass"], strict=True)
    )
    return _FLOW.format(name="Chain", steps=text)


def _fan(steps: int) -> str:
    """Start, join and end are three steps more, which the benchmark takes off in proportion."""
    parts = [
        ("start", "", f'self.each = list(range({steps}))\n        self.next(self.work, foreach="each")'),
        ("work", "", "self.next(self.join)"),
        ("join", ", inputs", "self.next(self.end)"),
        ("end", "", "pass"),
    ]
    return _FLOW.format(name="Fan", steps="\n".join(_STEP.format(name=n, given=g, does=d) for n, g, d in parts))
