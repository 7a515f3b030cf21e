"""The files of a run: what a removal that is cut off leaves behind tells no lies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from clary.backends.state import Base, Folder, Index, remove

NO_DESCRIPTORS = """
import os, resource, sys
from pathlib import Path
from clary.backends.shim.proc import started_ticks
from clary.backends.state import Folder
folder = Folder(Path(sys.argv[1]))
folder.write("run.json", {"pid": os.getpid(), "ticks": started_ticks(os.getpid()), "started_at": 0.0})
lock = folder.lock()
taken = os.open("/dev/null", os.O_RDONLY)
answers, most = set(), resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for spare in range(8):
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken + 1 + spare, most))
    try:
        answers.add(folder.lost())
    except OSError:
        answers.add("not known")
print(sorted(map(str, answers)))
"""

CUT_OFF = """
import os, shutil, sys
from pathlib import Path
from clary.backends.state import Folder, remove
shutil.rmtree = lambda path, ignore_errors=False: os._exit(9) if Path(path).exists() else None
remove(Folder(Path(sys.argv[1])))
"""


def test_a_run_is_removed_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "shim")
    folder.path.mkdir()
    folder.write("run.json", {"pid": 1, "ticks": 1, "started_at": 0.0})
    folder.write("exit.json", {"state": "exited"})
    assert subprocess.run([sys.executable, "-c", CUT_OFF, str(folder.path)], check=False).returncode == 9
    assert folder.read("run.json") is None
    folder.path.mkdir()  # a new run of the same key
    folder.write("run.json", {"pid": 2, "ticks": 1, "started_at": 0.0})
    remove(folder)
    assert list(tmp_path.iterdir()) == []
    remove(folder)


def test_a_run_that_cannot_be_looked_at_is_not_lost(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "shim")
    folder.path.mkdir()
    command = [sys.executable, "-c", NO_DESCRIPTORS, str(folder.path)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "['False', 'not known']\n"


def test_an_index_that_was_moved_finds_the_runs_beside_it(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    index = Index(tmp_path / "one" / "runs", Base(tmp_path / "one"))
    index.add("a", str(tmp_path / "one" / "jobs" / "a"))
    index.add("b", "/elsewhere/b")
    (tmp_path / "one").rename(tmp_path / "two")
    moved = Index(tmp_path / "two" / "runs", Base(tmp_path / "two"))
    assert moved.root("a") == str(tmp_path / "two" / "jobs" / "a")
    assert moved.root("b") == "/elsewhere/b"
    assert moved.root("c") is None
