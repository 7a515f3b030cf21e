"""Machines for nodes, on this one: each a network, PID, mount, UTS and IPC namespace with an address of its own on a bridge, which can be
cut off, and lose its power. Needs root and namespaces; knows nothing of Clary."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

NET = "10.77"


def missing() -> str:
    """Why this machine cannot make such machines; "" where it can."""
    if os.geteuid() != 0:
        return "only root makes namespaces with a bridge between them"
    for command in (["ip", "-V"], ["nsenter", "--version"], ["unshare", "--net", "--pid", "--fork", "true"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return f"there is no {command[0]} here"
        if done.returncode:
            return f"{' '.join(command)}: {done.stderr.strip()}"
    return ""


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


class Machine:
    """One of them. `boot` it, `start` processes in it, `cut` and `heal` its cable, `kill` it (no process is left, and nobody is told)."""

    def __init__(self, bridge: str, number: int) -> None:
        self._namespace, self._cable = f"{bridge}n{number}", f"{bridge}v{number}"
        self._bridge = bridge
        self.address = f"{NET}.{int(bridge[1:], 16) % 250}.{number}"
        self._init: subprocess.Popen[bytes] | None = None
        self._inside = 0
        self._started: list[subprocess.Popen[bytes]] = []

    def make(self) -> None:
        _run("ip", "netns", "add", self._namespace)
        inside = ("ip", "-n", self._namespace)
        _run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        _run("ip", "link", "set", self._cable, "master", self._bridge, "up")
        _run(*inside, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        _run(*inside, "link", "set", "lo", "up")
        _run(*inside, "route", "add", "default", "via", self.address.rpartition(".")[0] + ".254")
        self.boot()

    def boot(self) -> None:
        self.heal()
        words = [
            "nsenter",
            f"--net=/run/netns/{self._namespace}",
            "unshare",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--uts",
            "--ipc",
        ]
        script = "mount -t tmpfs none /dev/shm; echo up; exec sleep infinity"
        self._init = subprocess.Popen(
            [*words, "--mount-proc", "sh", "-c", script],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == b"up\n"
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self._inside = int(children[0])

    def start(self, argv: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A process there, whose output goes to `log`."""
        words = [
            "nsenter",
            "-t",
            str(self._inside),
            "--net",
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--wd=/",
            "--",
            *argv,
        ]
        with log.open("ab") as out:
            made = subprocess.Popen(
                words, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=dict(environment), start_new_session=True
            )
        self._started.append(made)
        return made

    def cut(self) -> None:
        _run("ip", "link", "set", self._cable, "down")

    def heal(self) -> None:
        _run("ip", "link", "set", self._cable, "up")

    def kill(self) -> None:
        self.cut()
        self._end()

    def _end(self) -> None:
        if self._init is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._inside, signal.SIGKILL)
        self._init.wait(timeout=30)
        if self._init.stdout is not None:
            self._init.stdout.close()
        for process in self._started:
            process.wait(timeout=30)
        self._init, self._started = None, []

    def remove(self) -> None:
        self._end()
        subprocess.run(["ip", "netns", "del", self._namespace], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._cable], capture_output=True, check=False)


@contextlib.contextmanager
def machines(number: int) -> Iterator[tuple[str, list[Machine]]]:
    """This machine's address on their bridge, and so many machines; all is gone at the end."""
    bridge = f"c{os.getpid() % 0xFFFFFF:x}"
    host = f"{NET}.{int(bridge[1:], 16) % 250}.254"
    made = [Machine(bridge, index + 1) for index in range(number)]
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{host}/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for each in made:
            each.make()
        yield host, made
    finally:
        for each in made:
            each.remove()
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


def wait(condition: object, seconds: float, what: str) -> None:
    """Until a function's answer is true; an AssertionError that tells `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.1)
