"""A fork of `clary up` has what it was given, and nothing else of its parent. Played in a process of its own: pytest's has threads."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# A parent as `clary up` is one: an event loop with signal handlers, descriptors, and garbage whose end would close a descriptor.
PARENT = """
import asyncio, gc, json, os, signal, socket, sys
from pathlib import Path
from clary.app.children import Child, Spec

class Owner:  # in a cycle: only a collection ends it
    def __init__(self): self.me, self.socket = self, socket.socket()

async def main(log, argv):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: print("TERM", flush=True))
    gc.disable()
    Owner()
    kept, wasted = os.pipe(), os.pipe()
    spec = Spec("part", [w.replace("KEPT", str(kept[1])) for w in argv], Path(log), [kept[1]], module="tests.app.forked")
    ended = asyncio.Event()
    def report(name, sentence):
        print(sentence, flush=True)
    child = Child(spec, report)
    child.start()
    told = await loop.run_in_executor(None, os.read, kept[0], 65536) if "KEPT" in argv else b"{}"
    facts = json.loads(told) | {"kept": kept[1], "supervisor": os.getpid()}
    print(json.dumps(facts), flush=True)
    await asyncio.sleep(60)

asyncio.run(main(sys.argv[1], sys.argv[2:]))
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path / "log"), *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_has_what_it_was_given_and_nothing_else(parent: Any, tmp_path: Path) -> None:
    process = parent("tell", "KEPT", "x" * 10)
    facts = json.loads(line(process))
    assert facts["parent"] == facts["supervisor"] == process.pid
    assert facts["session"] == facts["pid"]
    assert facts["threads"] == 1
    # its own: the readiness pipe, and what it was given
    assert facts["kept"] in facts["descriptors"]
    assert len(facts["descriptors"]) == 2
    assert facts["handlers"] == []
    assert facts["blocked"] == []
    assert facts["taken_back"] == []
    assert facts["preloaded"] == [process.pid]  # in the parent, for all that come
    assert facts["words"] == ["tell", str(facts["kept"]), "x" * 10]
    assert (tmp_path / "log").read_text() == "in the log\n"
    words = Path(f"/proc/{facts['pid']}/cmdline").read_text().rstrip("\0").split("\0")
    assert words == ["tests.app.forked", *facts["words"]]
    assert Path(f"/proc/{facts['pid']}/comm").read_text() == "forked\n"


def test_a_signal_is_the_forks_own(parent: Any) -> None:
    process = parent("tell", "KEPT")
    facts = json.loads(line(process))
    os.kill(facts["pid"], signal.SIGTERM)
    assert line(process) == "ended by SIGTERM (in the log); started again"  # and no TERM of the parent


def test_it_ends_with_its_parent_however_that_ends(parent: Any) -> None:
    process = parent("tell", "KEPT")
    facts = json.loads(line(process))
    watched = os.pidfd_open(facts["pid"])
    process.kill()
    assert select.select([watched], [], [], 20)[0], "it outlives its parent"
    os.close(watched)


@pytest.mark.parametrize(
    ("argv", "said", "logged"),
    [
        (("exit", "3"), "ended with exit code 3; again in 1 s", ""),
        (("fail",), "ended with exit code 1 (OSError: no disk); again in 1 s", "OSError: no disk"),
        (("say",), "ended with exit code 1 (said); again in 1 s", "said"),
    ],
)
def test_how_it_ends_is_told(parent: Any, tmp_path: Path, argv: tuple[str, ...], said: str, logged: str) -> None:
    process = parent(*argv)
    lines = [line(process), line(process)]
    assert said in lines
    deadline = time.monotonic() + 20
    while logged not in (text := (tmp_path / "log").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert logged in text
