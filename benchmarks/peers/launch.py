"""Starting and ending the peers: an environment of its own for each, outside the repo, and a process that answers on a port.

Each framework runs with the settings that its own documentation gives for throughput on one machine: as many worker processes as
cores, its own batching where it has one. Their programs are the files beside this one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from clary.backends.own_limits import cpus

HERE = Path(__file__).parent
START_WITHIN = 120.0
BARE = ("--require-hashes", "-r", str(HERE / "requirements" / "bare.txt"))


class Peer:
    """A server that is not Clary. A context manager: started on entering, ended on leaving."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        path: str,
        ready: str,
        environment: dict[str, str] | None = None,
        encode: Callable[[bytes], tuple[bytes, str]] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self._command = list(command)
        self._path = path
        self._ready = ready
        self._environment = {**os.environ, **(environment or {})}
        self._encode = encode
        self._process: subprocess.Popen[bytes] | None = None

    def request(self, body: bytes, content_type: str) -> bytes:
        """A raw request with this body, in the peer's own form."""
        if self._encode is not None:
            body, content_type = self._encode(body)
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: {content_type}\r\nAccept: */*\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def __enter__(self) -> Peer:
        log = (
            open(os.devnull, "w")
            if not os.environ.get("PEER_LOGS")
            else open(f"{os.environ['PEER_LOGS']}/{self.name}.log", "w")
        )
        with log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + START_WITHIN
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with exit code {self._process.returncode}")
            if time.monotonic() > end:
                self.__exit__()
                raise RuntimeError(f"{self.name} was not ready within {START_WITHIN:g} s")
            time.sleep(0.2)
        return self

    def _answers(self) -> bool:
        if not self._ready:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=2):
                return True
            return False
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self._ready}", timeout=2):
                return True
        except OSError:  # also an answer that is an error: a model that is still loading is not ready
            return False

    def __exit__(self, *error: object) -> None:
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)


def environment(folder: str, name: str, packages: Sequence[str], python: str = sys.executable) -> str:
    """An environment with these packages, one for each base interpreter; its interpreter back. Made once."""
    root = Path(folder) / (name if python == sys.executable else f"{name}-{Path(python).name}")
    interpreter = root / "bin" / "python"
    stamp = root / "packages.json"
    wanted = [
        os.path.realpath(python),
        *(Path(part).read_text() if part.endswith(".txt") else part for part in packages),
    ]
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
        shutil.rmtree(root, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", python, str(root)], check=True)
        done = subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(interpreter), *packages], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(
                f"{name} could not be installed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ''}"
            )
        stamp.write_text(json.dumps(wanted))
    return str(interpreter)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare(folder: str, booster: Path, kind: str, workers: int = 1, python: str = sys.executable) -> Peer:
    """The bare uvicorn app (`bare.py`)."""
    python = environment(folder, "bare", BARE, python)
    port = free_port()
    command = [python, str(HERE / "bare.py"), str(port), str(booster), kind, str(workers)]
    return Peer(f"bare {kind}", command, port, "/invocations", "")


def frameworks(folder: str, booster: Path, python: str = sys.executable) -> Iterator[Peer]:
    """The six frameworks on this interpreter, one at a time. RuntimeError of an install: raised when a peer is entered."""
    for name in ("litserve", "bentoml", "mlserver", "mlflow", "rayserve", "kserve"):
        yield _framework(folder, booster, name, python)


def _framework(folder: str, booster: Path, name: str, base: str) -> Peer:
    from benchmarks.peers.frameworks import TABLE

    entry = TABLE[name]
    port = free_port()
    try:
        python = environment(folder, name, entry.packages, base)
    except RuntimeError as error:
        return Absent(name, str(error))
    values = {
        "MODEL": str(booster),
        "PORT": str(port),
        "WORKERS": str(cpus()),
        "FOLDER": str(Path(folder) / name),
    }
    command = [
        part.format(python=python, bin=str(Path(python).parent), here=str(HERE), **values) for part in entry.command
    ]
    return Peer(
        name,
        command,
        port,
        entry.path,
        entry.ready,
        {**values, "PATH": f"{Path(python).parent}:{os.environ['PATH']}"},
        entry.encode,
    )


class Absent(Peer):
    """A peer that could not be installed."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, [], 0, "", "")
        self._reason = reason

    def __enter__(self) -> Peer:
        raise RuntimeError(self._reason)
