"""The child processes of `clary up`: started, watched, started again with back-off, ended in order.

A child has its own session and dies with the supervisor (PDEATHSIG). It says that it is ready by writing to an inherited pipe,
or is asked by a probe. Knows nothing of what the children are for.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from clary.app import forks
from clary.app.forks import PR_SET_PDEATHSIG

REFUSED = b"refused: "  # what a child that cannot start writes into the readiness pipe, and then why
STABLE_AFTER = 30.0  # seconds of life after which an earlier failure no longer counts
LONGEST_DELAY = 10.0
REFUSED_DELAY = 1.0  # of one that cannot start: trying is of little use
LONGEST_REASON = 800  # characters of what a child said last: a refusal tells what to do at its end
LONGEST_DELAY_OF_READY = 1.0  # of one that had become ready: it can work, and is needed back


@dataclass(frozen=True, slots=True)
class Spec:
    """How to start a child. `pass_fds` are inherited at the same numbers; `{ready}` in argv becomes the readiness pipe's number.
    With `module` the child is a fork of this process that runs the module's `main(argv)`; else `argv` is a program and its words."""

    name: str
    argv: Sequence[str]
    log: Path
    pass_fds: Sequence[int] = ()
    environment: dict[str, str] | None = None
    death_signal: int = signal.SIGKILL
    before: Callable[[], None] = lambda: None  # runs before every start
    stop_signal: int = signal.SIGTERM
    module: str = ""


def delay_after(failures: int, was_ready: bool = False) -> float:
    """Seconds to wait before the next start: none after a first death, then 0.5, 1, 2 ... up to 10 (1 for one that was ready)."""
    longest = LONGEST_DELAY_OF_READY if was_ready else LONGEST_DELAY
    return 0.0 if failures <= 1 else min(longest, 0.5 * 2 ** min(failures - 2, 10))


_DAILY = re.compile(r"\d{4}-\d\d-\d\d \S+ (DEBUG|INFO) |\[INFO\] ")  # as `process.begin` and granian have log lines


def ending(status: int) -> str:
    """A wait status in words: 'ended by SIGKILL', 'ended with exit code 3'."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended by signal {-code}"
    return f"ended with exit code {code}"


@dataclass(slots=True)
class Child:
    """One running child and its history. `refused`: why it could not start the last time, in its own words. `failed`: it ended by itself,
    with an error, before it was ready; it will again."""

    spec: Spec
    report: Callable[[str, str], None]  # (name, sentence)
    changed: Callable[[str], None] = lambda name: None  # it has a process, or is ready
    pid: int = 0
    started: float = 0.0  # the loop's monotonic time
    failures: int = 0
    restarts: int = 0
    refused: str = ""
    failed: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _stopping: bool = False
    _task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether it was started once; from then on it is kept running."""
        return self._task is not None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"child {self.spec.name}")

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            self.spec.before()
            self.started = loop.time()
            how = await self._run_once()
            was_ready = self.ready.is_set()
            self.ready.clear()
            self.ended.set()
            if self._stopping:
                return
            lived = loop.time() - self.started
            self.failures = 1 if lived > STABLE_AFTER else self.failures + 1
            self.restarts += 1
            pause = delay_after(self.failures, was_ready)
            if was_ready:
                pause = max(0.0, pause - lived)  # starts are what must not follow each other too fast
            if self.refused or self.failed:
                pause = max(pause, REFUSED_DELAY)
            last = self.refused or self.last_line()
            self.report(
                self.spec.name,
                how + (f" ({last})" if last else "") + (f"; again in {pause:g} s" if pause else "; started again"),
            )
            await asyncio.sleep(pause)

    async def _run_once(self) -> str:
        """From its start to its end; how it ended, in words."""
        loop = asyncio.get_running_loop()
        self.refused, self.failed = "", False
        ready_read, ready_write = os.pipe()
        os.set_blocking(ready_read, False)
        try:
            process = _spawn(self.spec, ready_write)
        except OSError as error:
            os.close(ready_read)
            return f"could not be started: {error.strerror}"
        finally:
            os.close(ready_write)
        self.pid = pid = process if isinstance(process, int) else process.pid
        self.ended.clear()
        self.changed(self.spec.name)
        pidfd = os.pidfd_open(pid)
        gone: asyncio.Future[None] = loop.create_future()

        def on_ready() -> None:
            loop.remove_reader(ready_read)
            if self._hear(ready_read):
                self.ready.set()
                self.changed(self.spec.name)

        def on_exit() -> None:
            loop.remove_reader(pidfd)
            if not gone.done():
                gone.set_result(None)

        loop.add_reader(ready_read, on_ready)
        loop.add_reader(pidfd, on_exit)
        try:
            await gone
            if not self.ready.is_set() and not self.refused:
                self._hear(ready_read)  # it may have said why just before it ended
            status = _reap(process)
            self.failed = not self.ready.is_set() and os.waitstatus_to_exitcode(status) > 0
            return ending(status)
        finally:
            loop.remove_reader(ready_read)
            loop.remove_reader(pidfd)
            os.close(ready_read)
            os.close(pidfd)
            self.pid = 0

    def _hear(self, descriptor: int) -> bool:
        """Whether it said that it is ready; why not is noted."""
        with suppress(OSError):
            said = os.read(descriptor, 65536)
            if said.startswith(REFUSED):
                self.refused = said.removeprefix(REFUSED).decode(errors="replace")
                return False
            return bool(said)
        return False

    def signal(self, number: int) -> None:
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, patience: float) -> None:
        """Ask it to end, wait that many seconds, then end its whole session."""
        self._stopping = True
        if not self.pid:
            if self._task:
                self._task.cancel()
            return
        session = self.pid
        self.signal(self.spec.stop_signal)
        try:
            await asyncio.wait_for(self.ended.wait(), patience)
        except TimeoutError:
            end_session(session)
            await self.ended.wait()

    def last_line(self) -> str:
        """The last thing it wrote, for the reason of a restart; nothing when that was only a line about its daily work."""
        with suppress(OSError), open(self.spec.log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
            return lines[-1][:LONGEST_REASON] if lines and not _DAILY.match(lines[-1]) else ""
        return ""


def _spawn(spec: Spec, ready_write: int) -> subprocess.Popen[bytes] | int:
    """A program, or the pid of a fork."""
    argv = [word.replace("{ready}", str(ready_write)) for word in spec.argv]
    if spec.module:
        return forks.fork(spec.module, argv, spec.log, (*spec.pass_fds, ready_write), spec.death_signal)

    def before_exec() -> None:
        forks.libc.prctl(PR_SET_PDEATHSIG, spec.death_signal)

    with open(spec.log, "ab") as log:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(*spec.pass_fds, ready_write),
            env=spec.environment,
            start_new_session=True,
            preexec_fn=before_exec,
        )


def _reap(process: subprocess.Popen[bytes] | int) -> int:
    """The wait status of a child that has ended (its pidfd said so)."""
    _, status = os.waitpid(process if isinstance(process, int) else process.pid, 0)
    if not isinstance(process, int):
        process.returncode = os.waitstatus_to_exitcode(status)
    return status


def end_session(leader: int, program: str = "") -> None:
    """SIGKILL every process whose session was led by `leader`: the workers of a dead nginx master among them. With `program` only
    processes of that name: the number may be somebody else's by now."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{entry}/stat", "rb") as file:
                    head, _, rest = file.read().rpartition(b")")
                name = head.partition(b"(")[2].decode(errors="replace")
                if int(rest.split()[3]) == leader and program in ("", name):
                    os.kill(int(entry), signal.SIGKILL)
