"""The workers of a replica, as their zygote sees them: forks, slots, deaths, back-off.

Owns the table of worker processes and the shared byte by which each says that it predicts. Refuses to speak to fronts."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import select
import signal
import sys
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from clary.toolkit import inference, loading
from clary.toolkit.worker import Worker, die_with_parent, ending

SLOTS = 4096
DRAIN_SECONDS = 25.0  # after SIGTERM workers may finish; the service allows 30 s in all
_EARLY = 1.0  # a worker that died younger than this was born in vain
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0


class RunningWorker(NamedTuple):
    """A worker that runs: its slot, the front it serves, its birth, and the pipe on which it reports its load."""

    slot: int
    front: str  # its address
    born: float
    report: int  # descriptor, -1: none


class Staff:
    """Keeps `wanted` workers alive. `handler` is the loaded model they inherit; without one each loads for itself."""

    def __init__(self, spec: Mapping[str, Any], fronts: List[str], after_fork: Callable[[], None]) -> None:
        self.wanted = max(1, int(spec.get("workers") or 1))
        self._surplus = 0  # workers that the front said it would send away
        self.threads = int(spec.get("threads") or 1)
        self.handler: Optional[inference.Handler] = None
        self._spec = spec
        self._fronts = fronts
        self._after_fork = after_fork
        self._members: Dict[int, RunningWorker] = {}
        self._killed: Dict[int, str] = {}  # pid -> why
        self._busy = mmap.mmap(-1, SLOTS)
        self._failures = 0
        self._not_before = 0.0
        self._deadline = float("inf")  # when a drain stops being patient
        self._reports: List[Tuple[int, Dict[str, Any]]] = []
        self.strays: List[
            Tuple[int, int]
        ] = []  # processes that ended and were no workers: (pid, exit code or minus the signal)

    def predicting(self) -> bool:
        """Whether any worker has a request right now."""
        return any(self._busy[member.slot] for member in self._members.values())

    def resize(self, wanted: int) -> None:
        """Keep so many from now on. Those beyond leave when the front tells them."""
        self._surplus += max(0, self.wanted - wanted)
        self.wanted = wanted

    def count(self) -> int:
        return len(self._members)

    def fill(self) -> None:
        """Fork what is missing, unless the last ones died young a moment ago."""
        while len(self._members) < min(self.wanted, SLOTS) and time.monotonic() >= self._not_before:
            self._fork()

    def wait(self) -> float:
        """Seconds until something is due: a respawn, or the end of patience; infinite for nothing."""
        now = time.monotonic()
        due = self._deadline
        if len(self._members) < self.wanted and self._deadline == float("inf"):
            due = min(due, self._not_before)
        return max(0.0, due - now)

    def _fork(self) -> None:
        self._start(self._work, reports=self.handler is None)

    def _start(self, work: Callable[[int, str, int, int], int], reports: bool) -> int:
        """Fork a process that lives by `work(slot, front, read, write)`; with `reports` the last two are a pipe to tell of its load."""
        taken = {member.slot for member in self._members.values()}
        slot = next(i for i in range(SLOTS) if i not in taken)
        front = self._fronts[slot % len(self._fronts)]
        read = write = -1
        if reports:
            read, write = os.pipe()
        self._busy[slot] = 0
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        # Held back until the child has its own way to take it: the zygote's handler, run in a child, would swallow it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for descriptor in (read, write):
                if descriptor >= 0:
                    os.close(descriptor)
            raise
        if pid == 0:
            code = 1
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
                os.setpgid(0, 0)
                die_with_parent(parent)
                self._after_fork()
                code = work(slot, front, read, write)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _own_group(pid)
        if write >= 0:
            os.close(write)
        self._members[pid] = RunningWorker(slot, front, time.monotonic(), read)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def _work(self, slot: int, front: str, read: int, write: int) -> int:
        """A worker's life, in the child."""
        handler = self.handler
        if handler is None:
            os.close(read)
            handler = self._load(write)
            if handler is None:
                return 1
        return Worker(self._spec, front, self._busy, slot, self.threads).run(handler)

    def _load(self, write: int) -> Optional[inference.Handler]:
        started = time.monotonic()
        try:
            handler = loading.load(self._spec)
        except BaseException as error:
            report_load(write, {"error": inference.load_failure(error)})
            return None
        report_load(write, {"seconds": time.monotonic() - started, "batchable": handler.batchable})
        return handler

    def loading(self) -> List[int]:
        """Descriptors of workers that have not reported their load."""
        return [member.report for member in self._members.values() if member.report >= 0]

    def reports(self) -> Iterator[Dict[str, Any]]:
        """What workers said of their loads since the last call: `{"error"}` or `{"seconds", "batchable"}`."""
        return iter([report for _, report in self._collected()])

    def _collected(self) -> List[Tuple[int, Dict[str, Any]]]:
        """The same, each with the pid of who said it."""
        for pid, member in list(self._members.items()):
            if member.report >= 0 and select.select([member.report], [], [], 0)[0]:
                self._collect(pid, member)
        found, self._reports = self._reports, []
        return found

    def _collect(self, pid: int, member: RunningWorker) -> None:
        said = b""
        while True:
            piece = os.read(member.report, 65536)
            if not piece:
                break
            said += piece
        os.close(member.report)
        self._members[pid] = member._replace(report=-1)
        if said:
            self._reports.append((pid, json.loads(said)))

    def reap(self) -> List[Tuple[int, int, bool]]:
        """Workers that ended: `(pid, exit code or minus the signal, whether it left as it was told)`."""
        ended: List[Tuple[int, int, bool]] = []
        if time.monotonic() >= self._deadline:
            self.kill_all()
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            member = self._members.get(pid)
            if member is None:
                self.strays.append((pid, code))  # the model's companion, or what its code left behind
                continue
            _end_group(pid)
            if member.report >= 0:
                self._collect(pid, member)
            del self._members[pid]
            crashed = bool(self._busy[member.slot])
            left = (
                code == 0 and not crashed
            )  # as it was told to: user code may call os._exit(0) too, but only while it predicts
            if left and self._surplus:
                self._surplus -= 1  # `resize` took it off already
            elif left:
                self.wanted = min(self.wanted, len(self._members))
            else:
                self._note(pid, code, time.monotonic() - member.born, crashed)
            ended.append((pid, code, left))
        return ended

    def _note(self, pid: int, code: int, age: float, predicting: bool) -> None:
        """Who dies young by itself is replaced ever more slowly; who was killed at a deadline, or died of a request, at once: one client's
        bad requests must not take the worker away from the others."""
        why = self._killed.pop(pid, "")
        if why:
            _tell("A worker (pid {}) was killed: {}.".format(pid, why))
            return
        doing = " while it predicted" if predicting else ""
        _tell(
            "A worker (pid {}) {}{}, {:.1f} s after it began.".format(
                pid, ending(code, self._spec.get("remedy", "")), doing, age
            )
        )
        if age < _EARLY and not predicting:
            self._failures += 1
            pause = min(_FIRST_PAUSE * 2 ** (self._failures - 1), _LONGEST_PAUSE)
            self._not_before = time.monotonic() + pause
        else:
            self._failures = 0

    def kill(self, pid: int, why: str) -> None:
        """SIGKILL one of ours and what it started, and say why once it is reaped; unknown pids are ignored."""
        if pid in self._members:
            self._killed[pid] = why
            _end_group(pid)

    def kill_busy(self, front: str) -> None:
        """SIGKILL those that predict for this front right now, and wait until they are gone."""
        for pid, member in list(self._members.items()):
            if member.front == front and self._busy[member.slot]:
                self.kill(pid, "the front that had sent it work is gone")
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # `reap` still finds it

    def watch(self) -> None:
        """Whatever else is due by the clock."""

    def drain(self) -> None:
        """The replica leaves; its front drains the workers."""

    def kill_all(self) -> None:
        for pid in self._members:
            self.kill(pid, "the replica ends, and it had not finished")

    def dismiss(self) -> None:
        """SIGTERM: each finishes what it has and ends; after DRAIN_SECONDS they are killed."""
        self._deadline = time.monotonic() + DRAIN_SECONDS
        for pid in list(self._members):
            os.kill(pid, signal.SIGTERM)


def trim() -> None:
    """Give free memory back to the system."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        pass  # musl has none


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _own_group(pid: int) -> None:
    """The worker does it too; the first one does it, before anybody needs it."""
    try:
        os.setpgid(pid, pid)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended already


def _end_group(pid: int) -> None:
    """A worker and what the model's code started in it. That would go on for nobody, and hold the worker's connection open, so that
    its front waited for an answer until the deadline."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def report_load(descriptor: int, message: Dict[str, Any]) -> None:
    """Tell the zygote, once, how the load of a model went, and close the pipe."""
    data = json.dumps(message).encode()
    while data:
        data = data[os.write(descriptor, data) :]
    os.close(descriptor)
