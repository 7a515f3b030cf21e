"""The Python interpreters of this machine that environments are made from.

Owns the choice: Clary's own for training and for whatever holds code of a user's; a newer one, where the machine has one, for what only
serves the models of a built-in algorithm, since libraries leave older Pythons behind (XGBoost 3.2 is the last one for 3.11, and takes three
times as long for a row as 3.4: docs/adr/0011-newer-python-serves.md); any of 3.9 to 3.13 for code that was pickled under that version (a
remote function). Does not know environments and uv.
"""

from __future__ import annotations

import glob
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

RELEASES = tuple(f"3.{minor}" for minor in range(9, 14))  # that the toolkit runs under
NEWER = ("python3.13", "python3.12")  # the newest first; no newer ones than Clary itself is tested with
_SECONDS = 10.0
_LOOK = """
import sys, json
from importlib.util import find_spec
whole = all(find_spec(n) for n in ("_bz2", "_ctypes", "_hashlib", "_lzma", "_sqlite3", "_ssl", "multiprocessing", "zlib"))
if whole: print(json.dumps([sys.version, *sys.version_info[:2], sys.executable, sys.base_prefix]))
"""  # a distribution may leave parts of the standard library out


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`version` is `sys.version` whole: what is built for one build of Python is not used with another. `prefixes` are its folders."""

    path: str
    version: str
    release: tuple[int, int]
    prefixes: tuple[str, ...]

    def mounts(self) -> tuple[str, ...]:
        """Its folders that are not part of the system that every sandbox has."""
        return tuple(path for path in dict.fromkeys(self.prefixes) if not (path + "/").startswith("/usr/"))


def own(python: str = "") -> Interpreter:
    """The one that Clary runs under, or another path to it."""
    path = python or os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    prefixes = (sys.base_prefix, os.path.realpath(sys.base_prefix), _prefix(path))
    return Interpreter(path, sys.version, sys.version_info[:2], prefixes)


def newer(
    path: str, than: tuple[int, int] = sys.version_info[:2], look: Callable[[str], Interpreter | None] | None = None
) -> Interpreter | None:
    """The newest interpreter in the folders of `path` (as PATH has them) that is newer; None without one. `look` tells what a file is."""
    look = look or examine
    for name in NEWER:
        if tuple(int(part) for part in name.removeprefix("python").split(".")) <= than:
            continue
        for folder in dict.fromkeys(path.split(os.pathsep)):
            found = look(os.path.join(folder, name)) if os.path.isabs(folder) else None
            if found is not None and "python{}.{}".format(*found.release) == name:
                return found
    return None


def release(
    wanted: str, path: str, home: str = "", look: Callable[[str], Interpreter | None] | None = None
) -> Interpreter | None:
    """The interpreter of that release ("3.10"): in the folders of `path`, else among those that pyenv and uv installed below `home`."""
    look = look or examine
    folders = [folder for folder in path.split(os.pathsep) if os.path.isabs(folder)]
    if home:
        for kept in (".pyenv/versions", ".local/share/uv/python"):
            folders += sorted(glob.glob(os.path.join(glob.escape(home), kept, "*", "bin")), reverse=True)
    for folder in dict.fromkeys(folders):
        found = look(os.path.join(folder, f"python{wanted}"))
        if found is not None and "{}.{}".format(*found.release) == wanted:
            return found
    return None


def examine(path: str) -> Interpreter | None:
    """What this file is; None unless it is an interpreter that works, is whole and stays: no script (a version manager's stand-in, which
    takes long to say that its version was not chosen) and no copy in a virtual environment."""
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"#!":
                return None
        command = [path, "-I", "-S", "-c", _LOOK]
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True, env={}, text=True)
        version, major, minor, executable, base = json.loads(done.stdout)
        real, prefixes = os.path.realpath(executable), (base, os.path.realpath(base))
        release = int(major), int(minor)
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        return None
    if os.path.exists(os.path.join(_prefix(real), "pyvenv.cfg")):
        return None
    return Interpreter(real, version, release, (*prefixes, _prefix(real)))


def _prefix(python: str) -> str:
    return os.path.dirname(os.path.dirname(os.path.realpath(python)))
