"""Real images: podman or docker as the user's own container engine, and what it is told for one workload.

Owns the engine's command lines. The container has a network namespace of its own, which the workload's sandbox enters: so its port 8080
is nobody else's, and without a network it is still reached. Entering needs root; without it there is no engine here.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clary.domain.errors import Invalid, Unschedulable
from clary.domain.images import unknown
from clary.domain.machine.workload import MountMode, Workload

ENV_FILE = "@env@"  # stands in a plan for the file of the container's environment
NONE = "none"
_ENGINES = ("podman", "docker")
_PULL_SECONDS = 3600.0
_WORDS = 500
_ID = re.compile(r"[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class Engine:
    """`argv`: the program, and options that belong before its command (`podman --runtime runc`)."""

    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        return os.path.basename(self.argv[0])

    async def ensure(self, image: str, log: Callable[[str], None] | None) -> str:
        """Have the image on this machine; its id (64 hexadecimal digits) back, "" where the engine tells none. Invalid in the engine's
        words when it cannot be pulled."""
        found = await self._id(image)
        if found is not None:
            return found
        code, words = await self._run(("pull", image), log)
        if code != 0:
            said = "\n".join(words).strip()[-_WORDS:] or f"exit code {code}"
            what, instead = unknown(image)
            raise Invalid(f"{what}, and {self.name} could not pull it. {instead}. {self.name} said: {said}")
        return await self._id(image) or ""

    async def _id(self, image: str) -> str | None:
        """None: it is not on this machine."""
        code, lines = await self._run(("image", "inspect", "--format", "{{.Id}}", image), None)
        ids = [found[0] for line in lines if (found := _ID.search(line))]  # docker writes `sha256:` before it
        return (ids[-1] if ids else "") if code == 0 else None

    async def _run(self, words: tuple[str, ...], log: Callable[[str], None] | None) -> tuple[int, list[str]]:
        process = await asyncio.create_subprocess_exec(
            *self.argv,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment(),
        )
        assert process.stdout is not None
        lines: list[str] = []
        try:
            async with asyncio.timeout(_PULL_SECONDS):
                async for line in process.stdout:
                    lines.append(line.decode("utf-8", "replace").rstrip())
                    if log is not None:
                        log(lines[-1])
                return await process.wait(), lines
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def find(setting: str) -> Engine | None:
    """The engine that the setting names (a program with its options), or the first that is installed; None with `none`, without one,
    and where Clary is not root."""
    if setting == NONE or os.geteuid() != 0:
        return None
    words = shlex.split(setting) or [next((name for name in _ENGINES if shutil.which(name)), "")]
    program = shutil.which(words[0]) if words[0] else None
    return Engine((program, *words[1:])) if program else None


def environment() -> dict[str, str]:
    """What the engine itself sees: nothing of a user's."""
    kept = (
        "PATH",
        "HOME",
        "XDG_RUNTIME_DIR",
        "DOCKER_HOST",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    )
    return {name: os.environ[name] for name in kept if name in os.environ}


def name_of(key: str) -> str:
    """The container of a workload."""
    return "clary-" + hashlib.sha256(key.encode()).hexdigest()[:24]


def arguments(workload: Workload, engine: Engine | None) -> tuple[str, ...]:
    """The engine's whole command line; empty for a workload without a container. Unschedulable where it cannot be."""
    container = workload.container
    if container is None:
        return ()
    if engine is None:
        raise Unschedulable("there is no podman or docker here that Clary may use (it must run as root for that)")
    if workload.gpus:
        raise Unschedulable("a container image on GPUs is not available; use a runtime (clary runtime list)")
    argv = [
        *engine.argv,
        "run",
        "--rm",
        "--name",
        name_of(workload.key),
        "--hostname",
        "localhost",
        "--log-driver",
        "none",
    ]
    argv += ["--network", "bridge" if container.network else "none", "--security-opt", "no-new-privileges"]
    argv += _limits(max(workload.cpu, workload.burst), workload.memory)
    argv += ["--pids-limit", str(workload.pids), "--env-file", ENV_FILE]
    for mount in container.mounts:
        if ":" in mount.source + mount.target:
            raise Unschedulable(f"a path with a colon cannot be mounted into a container: {mount.source}")
        argv += ["--volume", f"{mount.source}:{mount.target}:{'rw' if mount.mode is MountMode.READ_WRITE else 'ro'}"]
    return (*argv, container.image, *container.command)


def _limits(cpu: float, memory: int) -> list[str]:
    return ["--cpus", f"{cpu:g}", "--memory", f"{memory}b", "--memory-swap", f"{memory}b"]


def resize(spec: Mapping[str, Any], cpu: float, memory: int) -> None:
    """The container of a run, if it has one, in its new size. Unschedulable in the engine's words when it cannot be."""
    beside = spec.get("beside")
    if not beside:
        return
    argv = [*beside["update"], *_limits(cpu, memory), beside["name"]]
    done = subprocess.run(
        argv, env=beside["env"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unschedulable(f"the container engine cannot resize the container: {done.stderr.strip()[-_WORDS:]}")


def env_file(variables: Mapping[str, str]) -> str:
    """The container's environment as engines read it: a line each, as it stands."""
    for name, value in variables.items():
        if "\n" in value or "\r" in value:
            raise Unschedulable(
                f"the environment variable {name} has several lines, which container engines cannot take"
            )
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def beside(workload: Workload, argv: tuple[str, ...], engine: Engine | None, folder: Path) -> dict[str, Any] | None:
    """What the shim reads of it; writes the file of its environment."""
    if workload.container is None or engine is None:
        return None
    path = folder / "container.env"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(env_file(workload.container.environment))
    name = name_of(workload.key)
    return {
        "run": [str(path) if word == ENV_FILE else word for word in argv],
        "inspect": [*engine.argv, "inspect", "--format", "{{.State.Pid}}", name],
        "stop": [*engine.argv, "stop", "--time"],
        "update": [*engine.argv, "update"],
        "remove": [*engine.argv, "rm", "--force", "--volumes", name],
        "name": name,
        "env": environment(),
    }
