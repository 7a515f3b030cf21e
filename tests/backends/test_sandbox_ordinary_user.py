"""The same tests as an ordinary user: without root, by user namespaces. Where the tests run as root, they run once more as another
user, in a mount namespace in which that user can reach the interpreter and the sources."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import FACTS, needs_sandbox

UID = 65_432
ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    needs_sandbox,
    pytest.mark.skipif(not FACTS.root, reason="the tests run as an ordinary user anyway"),
]


def open_to_all(paths: list[str]) -> list[str]:
    """bwrap options that put these paths where any user can reach them, whatever folders above them are closed."""
    argv: list[str] = []
    closed: list[Path] = []
    for path in paths:
        above = [folder for folder in reversed(Path(path).parents) if not folder.stat().st_mode & 0o001]
        if above and above[0] not in closed:
            closed.append(above[0])
            argv += ["--perms", "0755", "--tmpfs", str(above[0])]
    for path in paths:
        for folder in reversed(Path(path).parents):
            if any(shut in folder.parents for shut in closed):
                argv += ["--perms", "0755", "--dir", str(folder)]
        if any(folder in Path(path).parents for folder in closed):
            argv += ["--bind", path, path]
    return argv


def as_user(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    os.chown(folder, UID, UID)
    paths = list(
        dict.fromkeys([sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix, str(ROOT), str(folder)])
    )
    outer = [FACTS.bwrap, "--die-with-parent", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", *open_to_all(paths)]
    for right in ("cap_setuid", "cap_setgid", "cap_setpcap"):
        outer += ["--cap-add", right]
    down = [
        FACTS.setpriv,
        "--reuid",
        str(UID),
        "--regid",
        str(UID),
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}
    argv = [*outer, "--", *down, *command]
    return subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that belongs to the other user, outside of pytest's own, which is closed to it."""
    with tempfile.TemporaryDirectory(prefix="clary-user-", dir="/tmp") as path:
        yield Path(path)


def test_as_an_ordinary_user(folder: Path) -> None:
    tried = as_user(folder, sys.executable, "-c", "from clary.backends import host; print(host.find().problem)")
    assert tried.returncode == 0, tried.stderr
    if tried.stdout.strip():
        pytest.skip(f"NO SANDBOX FOR ORDINARY USERS HERE: {tried.stdout.strip()}")
    names = (
        "test_local.py",
        "test_sandbox_escapes.py",
        "test_sandbox_limits.py",
        "test_networks.py",
        "shim/test_way.py",
    )
    tests = [str(ROOT / "tests/backends" / name) for name in names]
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(folder / "t")]
    done = as_user(folder, sys.executable, "-m", "pytest", *options, *tests)
    assert done.returncode == 0, done.stdout[-6000:]
