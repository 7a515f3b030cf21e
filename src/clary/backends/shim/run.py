"""Runs one workload in its sandbox, writes its log, ends it in time, records how it ended.

Started as `run(FOLDER, READY)` in a python of its own, with the run's lock as file descriptor 3. It outlives the control plane and
holds the lock as long as it lives; the kernel ends the sandbox when the shim dies.

Owns FOLDER/run.json (while it runs) and FOLDER/exit.json (how it ended). Reads FOLDER/spec.json, FOLDER/stop.json (a wish to end,
announced by SIGTERM) and FOLDER/limits.json (limits that it enforces itself, announced by SIGUSR1). Does not know what a workload is.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import sys
import time

from clary.backends.shim import beside, mounts, network, standby, way
from clary.backends.shim.log import Log
from clary.backends.shim.proc import (
    MARK,
    counter,
    cpu_time,
    disk_use,
    end_marked,
    family,
    parents,
    pidfd,
    remove_groups,
    resident,
    scratch,
    signal_quietly,
    started_ticks,
)
from clary.backends.shim.records import load, note, parse, reserve, save

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

    from clary.backends.shim.records import Record

READ_BYTES = 256 * 1024
LOCK_FD = 3
POLL_SECONDS = 0.25
DISK_SECONDS = 2.0
HAND_SECONDS = 0.02
OPENINGS = 5  # of a network's way out within SPELL_SECONDS, and no more
SPELL_SECONDS = 10.0
EXIT_BYTES = 8192  # set aside at the start, so that a full disk cannot keep the end from being recorded


def enter(
    spec: Record, fds: dict[str, int], pipe: int, status: int, opening: network.Opening | None, order: int | None = None
) -> NoReturn:
    """In the child: become bwrap. Never returns."""
    try:
        os.close(LOCK_FD)  # it tells that the shim lives
        if spec.get("beside"):
            beside.enter_network(spec["beside"])
        for path in spec["join"]:  # the kernel takes up to 20 ms for each: the network is made meanwhile
            with open(path, "w") as file:
                file.write("0")
        if opening is not None:
            opening.enter()
        os.umask(0o022)
        with open("/proc/self/oom_score_adj", "w") as file:
            # the machine runs out of memory: a workload goes before Clary, and a job before an endpoint's replica
            file.write("700" if spec.get("background") else "500")
        if spec.get("affinity"):
            os.sched_setaffinity(0, spec["affinity"])
        for name, value in spec["rlimits"].items():
            number = getattr(resource, "RLIMIT_" + name)
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))
        os.dup2(os.open("/dev/null", os.O_RDONLY) if order is None else order, 0)
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        for fd in [status, *fds.values()]:
            os.set_inheritable(fd, True)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        argv = [
            spec["bwrap"],
            "--json-status-fd",
            str(status),
            "--seccomp",
            str(fds["seccomp"]),
            "--args",
            str(fds["args"]),
            *(("--block-fd", str(fds["gate"])) if "gate" in fds else ()),
        ]
        os.execve(spec["bwrap"], [*argv, "--", *spec["command"]], {MARK: spec["mark"]} if "mark" in spec else {})
    except network.Unmade:
        pass  # the shim hears why
    except OSError as error:
        os.write(pipe, b"clary: cannot start the sandbox: %s\n" % str(error).encode())
    finally:
        os._exit(126)


class Run:
    """One workload from start to end."""

    def __init__(self, folder: str, spec: Record, now: float) -> None:
        self.folder = folder
        self.spec = spec
        self.log = Log(spec["log"], spec["log_limit"])
        self.started_at = now
        self.ending: Record = {}  # what of oom, timed_out, stopped, detail is known
        self.init: int | None = None  # process 1 of the sandbox, as seen from outside
        self.init_fd: int | None = None
        self.status_text = b""
        self.beside = 0  # pid of the container engine's client
        self.member: int | None = None  # what makes it a member of its network
        self.opening: network.Opening | None = None  # while that network, or its way out, is made
        self.gate: int | None = None  # what the command waits for: a byte when the way out is there
        self.anchor: int | None = None  # pidfds of that network's processes
        self.pasta: int | None = None
        self.poll = select.poll()
        self.openings: list[float] = []
        self.executed = False  # bwrap told how the command ended: the sandbox had been made
        self.status: int | None = None  # wait status of bwrap
        self.cpu_seconds = 0.0
        self.term_due: float | None = None  # these are monotonic
        self.kill_due: float | None = None
        self.runtime_due: float | None = None
        self.memory: int | None = spec["memory"]
        self.peak = 0
        self.hand: int | None = None  # of a sandbox that waits for its run: who has one asks here
        self.hand_due: float | None = None  # until its sandbox is made: who asks waits so long
        self.order: int | None = None  # ... and hears of it by this
        self.way = way.Way(spec["way"], folder, self.say) if spec.get("way") else None
        self.poll_due = time.monotonic() if self.memory or self.way else None
        self.disk_due = time.monotonic() + DISK_SECONDS if spec["disk"] else None
        self.disk_walk: Iterator[int | None] | None = None
        self.disk: int | None = None

    def start(self) -> None:
        spec = self.spec
        fds = {
            "args": os.open(spec["args"], os.O_RDONLY | os.O_CLOEXEC),
            "seccomp": os.open(spec["seccomp"], os.O_RDONLY | os.O_CLOEXEC),
        }
        self.pipe, pipe = os.pipe()
        self.status_pipe, status = os.pipe()
        if os.geteuid() == 0 and "uid" in spec:  # else nobody inside could open /dev/stdout by that name
            os.fchown(pipe, spec["uid"], -1)
        os.set_blocking(self.pipe, False)
        os.set_blocking(self.status_pipe, False)
        if spec.get("beside"):
            self.beside = beside.start(spec["beside"], pipe)
        if spec.get("network"):
            self.member = network.join(spec["network"])
            fds["gate"], self.gate = os.pipe()
            self.open_network()
        if spec.get("note"):
            self.log.note("clary: " + spec["note"])
        order: int | None = None
        if spec.get("waits"):
            self.hand = standby.listen(self.folder)
            order, self.order = standby.order_pipe()
        self.child = os.fork()
        if self.child == 0:
            enter(spec, fds, pipe, status, self.opening, order)
        if order is not None:
            os.close(order)
        if spec.get("tell"):
            where, name = spec["tell"]
            way.tell(where, name, self.child, spec["counters"].get("cpu"))
        for fd in [pipe, status, *fds.values()]:
            os.close(fd)
        if spec["max_runtime"] is not None:
            self.runtime_due = time.monotonic() + spec["max_runtime"]

    def loop(self, wake: int) -> None:
        poll = self.poll
        for fd in (self.pipe, self.status_pipe, wake, *((self.opening.said,) if self.opening else ())):
            poll.register(fd, select.POLLIN)
        self.hand_due = time.monotonic() if self.hand is not None else None
        while self.status is None:
            for fd, _ in poll.poll(self.patience()):
                if fd == self.pipe:
                    if not self.read_log():
                        poll.unregister(fd)
                elif fd == self.status_pipe:
                    if not self.read_status():
                        poll.unregister(fd)
                elif fd == wake:
                    self.heed(os.read(wake, 512))
                elif fd == self.hand:
                    self.hand_over()
                else:
                    self.keep_network(fd)
            self.tick(time.monotonic())
            self.reap()

    def offer(self, now: float) -> None:
        """Hear who has a run for this sandbox, once it is made."""
        assert self.hand is not None
        made = self.opening is None and self.gate is None and self.command() is not None
        self.hand_due = None if made or self.ending else now + HAND_SECONDS
        if made:
            self.poll.register(self.hand, select.POLLIN)

    def hand_over(self) -> None:
        """Somebody has a run for this sandbox: become its shim, or end it where that fails. The first who asks gets it."""
        assert self.hand is not None
        given = standby.accept(self.hand)
        if given is None:
            return
        self.poll.unregister(self.hand)
        os.close(self.hand)
        os.unlink(os.path.join(self.folder, standby.NAME))
        self.hand = None
        folder, lock, told = given
        problem = self.take(folder, lock)
        os.close(lock)
        if problem:
            self.kill("" if self.ending else f"the sandbox could not be given a run: {problem}")
        else:
            try:
                os.write(told, b"r")
            except BrokenPipeError:
                pass  # who asked died meanwhile: its successor finds run.json
        os.close(told)

    def take(self, folder: str, lock: int) -> str:
        """Be the shim of the run in `folder` from now on; answers why that cannot be. Written down in this order: the run has begun, then
        this one has ended. Each keeps its lock until that is so."""
        spec, command = load(folder, "spec.json"), self.command()
        if self.ending or spec is None or command is None:
            return "it is ending"
        layers = os.path.join(folder, "layers")
        os.makedirs(layers, 0o700, exist_ok=True)
        problem = mounts.attach(command, spec["further"], layers)
        if problem:
            return problem
        reserve(folder, "exit.json", EXIT_BYTES)
        now = time.time()
        save(folder, "run.json", {"pid": os.getpid(), "ticks": started_ticks(os.getpid()), "started_at": now})
        save(self.folder, "exit.json", {**self.record(), "exit_code": 0, "detail": "", "given": folder}, EXIT_BYTES)
        os.dup2(lock, LOCK_FD, inheritable=False)
        self.log.close()
        self.folder, self.spec, self.started_at = folder, spec, now
        self.log = Log(spec["log"], spec["log_limit"])
        self.way = way.Way(spec["way"], folder, self.say) if spec.get("way") else None
        self.disk_due = time.monotonic() + DISK_SECONDS if spec["disk"] else None
        self.runtime_due = None if spec["max_runtime"] is None else time.monotonic() + spec["max_runtime"]
        if spec.get("note"):
            self.log.note("clary: " + spec["note"])
        order, self.order = self.order, None
        assert order is not None
        try:
            standby.tell(order, folder)
        except OSError as error:  # the interpreter is gone: how it ended is this run's end
            self.kill(f"the sandbox did not take the run: {error}")
        if load(folder, "stop.json") is not None:
            self.heed(bytes([signal.SIGTERM]))
        return ""

    def open_network(self) -> None:
        """Have the network made, or its pasta started again."""
        assert self.member is not None
        first = not self.openings
        self.openings.append(time.monotonic())
        self.opening = network.Opening(self.spec["network"], self.member, first=first)

    def keep_network(self, fd: int) -> None:
        """One of the processes of the network, or who makes it, has something to say."""
        self.poll.unregister(fd)
        if self.opening is not None and fd == self.opening.said:
            self.network_opened(self.opening.outcome())
        elif fd == self.pasta:
            os.close(fd)
            self.pasta = None
            self.openings = [at for at in self.openings if time.monotonic() - at < SPELL_SECONDS]
            if len(self.openings) >= OPENINGS:
                self.lose_network("pasta keeps failing")
                return
            self.open_network()
            assert self.opening is not None
            self.poll.register(self.opening.said, select.POLLIN)
        else:
            self.lose_network("its anchor ended")

    def network_opened(self, problem: str) -> None:
        self.opening = None
        if problem and self.gate is None:
            self.lose_network(problem)
        elif problem:
            self.kill("" if self.ending else problem)
        else:
            self.watch_network()
            self.open_gate()

    def open_gate(self) -> None:
        """Let the command begin."""
        if self.gate is None:
            return
        try:
            os.write(self.gate, b"r")
        except BrokenPipeError:
            pass  # bwrap was ended meanwhile, or failed: `reap` tells how
        os.close(self.gate)
        self.gate = None

    def watch_network(self) -> None:
        anchor, self.pasta = network.watched(self.spec["network"])
        if anchor is None:
            self.lose_network("its anchor ended")
        elif self.anchor is None:
            self.anchor = anchor
            self.poll.register(anchor, select.POLLIN)
        else:
            os.close(anchor)
        if self.pasta is not None:
            self.poll.register(self.pasta, select.POLLIN)

    def lose_network(self, why: str) -> None:
        self.kill("" if self.ending else f"the network of the sandbox was lost: {why}")

    def patience(self) -> float | None:
        """Milliseconds until something is due, None for ever."""
        if self.disk_walk is not None:
            return 0
        turn = self.way.turn_due if self.way else None
        moments = (self.term_due, self.kill_due, self.runtime_due, self.poll_due, self.disk_due, turn, self.hand_due)
        due = [at for at in moments if at is not None]
        return max(0, min(due) - time.monotonic()) * 1000 + 1 if due else None

    def read_log(self) -> bool:
        try:
            data = os.read(self.pipe, READ_BYTES)
        except BlockingIOError:
            return True
        self.log.feed(data)
        return bool(data)

    def read_status(self) -> bool:
        try:
            data = os.read(self.status_pipe, 65536)
        except BlockingIOError:
            return True
        *lines, self.status_text = (self.status_text + data).split(b"\n")
        for line in lines:
            said = parse(line)
            if "child-pid" in said and self.init is None:
                self.init = int(said["child-pid"])
                self.init_fd = pidfd(self.init)
            self.executed = self.executed or "exit-code" in said
        return bool(data)

    def heed(self, signals: bytes) -> None:
        if signal.SIGUSR1 in signals:
            limits = load(self.folder, "limits.json") or {}
            self.memory = limits.get("memory", self.memory) if self.memory else None
        if signal.SIGTERM in signals:
            wish = load(self.folder, "stop.json") or {"grace": self.spec["grace"]}
            self.ending["stopped"] = True
            self.end(float(wish["grace"]))

    def end(self, grace: float) -> None:
        """SIGTERM to the command now, SIGKILL to everything after `grace` seconds. A second wish can only hasten it."""
        if self.way is not None:
            self.way.end()
        now = time.monotonic()
        if self.kill_due is None and grace > 0:
            self.term_due = now
        self.kill_due = min(now + grace, self.kill_due or now + grace)

    def kill(self, detail: str, **ending: bool) -> None:
        self.ending.update(ending)
        if detail:
            self.ending.setdefault("detail", detail)
            self.log.note("clary: " + detail)
        self.runtime_due = self.poll_due = self.disk_due = self.disk_walk = None
        self.end(0)

    def tick(self, now: float) -> None:
        if self.runtime_due is not None and now >= self.runtime_due:
            self.runtime_due = None
            self.ending["timed_out"] = True
            self.end(self.spec["grace"])
        if self.term_due is not None and now >= self.term_due:
            command = self.command()
            self.term_due = None if command else now + 0.005
            if command:
                signal_quietly(command, signal.SIGTERM)
        if self.kill_due is not None and now >= self.kill_due:
            self.term_due, self.kill_due = None, now + 1.0  # again, should it take longer
            signal_quietly(self.init or self.child, signal.SIGKILL)
        if self.poll_due is not None and now >= self.poll_due:
            self.poll_due = now + POLL_SECONDS
            self.watch(now)
        if self.hand_due is not None and now >= self.hand_due:
            self.offer(now)
        if self.way is not None and self.way.turn_due is not None and now >= self.way.turn_due:
            self.way.turn(now)
        if self.disk_due is not None and now >= self.disk_due:
            self.disk_due, self.disk_walk = None, disk_use(self.spec["disk_paths"])
        if self.disk_walk is not None:
            self.watch_disk(now, self.disk_walk)

    def command(self) -> int | None:
        """The pid, seen from outside, of the command: the first child of the sandbox's process 1."""
        if self.init is None:
            return None
        children = [pid for pid, parent in parents().items() if parent == self.init]
        return min(children, key=lambda pid: (started_ticks(pid) or 0, pid), default=None)

    def say(self, text: str) -> None:
        """A line of Clary's own in the run's log."""
        self.log.note("clary: " + text)

    def watch(self, now: float) -> None:
        """Where no control group counts or weighs, the shim does, several times a second."""
        acts = self.way is not None and self.way.by != "weight"
        members = family(self.child) if self.memory or acts else []
        if self.way is not None and not self.ending:
            init = members.index(self.init) + 1 if self.init in members else len(members)
            self.way.look(now, members[init:])
        if self.memory:
            self.watch_memory(members)

    def watch_memory(self, members: list[int]) -> None:
        command = self.command()
        used = resident(members) + (scratch(command, self.spec["scratch"]) if command else 0)
        self.cpu_seconds = max(self.cpu_seconds, cpu_time(members))
        self.peak = max(self.peak, used)
        if self.memory and used > self.memory:
            self.kill(f"the workload used more than its {self.memory} bytes of memory", oom=True)

    def watch_disk(self, now: float, walk: Iterator[int | None]) -> None:
        used = next(walk, 0)
        if used is None:
            return
        self.disk_walk, self.disk_due = None, now + DISK_SECONDS
        if used != self.disk:
            self.disk = used
            note(self.folder, "disk.json", {"bytes": used})
        if used > self.spec["disk"]:
            self.kill(f"the workload wrote more than the {self.spec['disk']} bytes of disk that it may use")

    def reap(self) -> None:
        pid, status, usage = os.wait4(self.child, os.WNOHANG)
        if pid == self.child:
            self.status = status
            self.cpu_seconds = max(self.cpu_seconds, usage.ru_utime + usage.ru_stime)
            self.peak = max(self.peak, usage.ru_maxrss * 1024)

        if self.beside and self.status is None:
            self.reap_container()

    def reap_container(self) -> None:
        """The workload is nothing without its container."""
        pid, status = os.waitpid(self.beside, os.WNOHANG)
        if pid == self.beside:
            self.beside = 0
            code = os.waitstatus_to_exitcode(status)
            why = " (killed, most often for more memory than its instance type has)" if code == 137 else ""
            self.kill("" if "stopped" in self.ending else f"the container ended with exit code {code}{why}")

    def finish(self) -> Record:
        """bwrap is gone: see that everything in the sandbox is, take the last lines and figures."""
        if self.opening is not None:
            problem = self.opening.outcome()
            if problem and self.gate is not None and not self.ending:
                self.kill(problem)
        if self.member is not None:
            network.leave(self.spec["network"], self.member)
        if self.spec.get("tell"):
            where, name = self.spec["tell"]
            way.untell(where, name)
        self.read_status()
        if self.spec.get("beside"):
            grace = self.kill_due - time.monotonic() if self.kill_due and self.beside else 0.0
            beside.end(self.spec["beside"], grace)
        if self.init_fd is not None:
            gone = select.poll()
            gone.register(self.init_fd, select.POLLIN)
            try:
                signal.pidfd_send_signal(self.init_fd, signal.SIGKILL)
            except OSError:
                pass
            gone.poll(5000)
        elif "mark" in self.spec:  # bwrap was ended before it told of it: it may have been made all the same
            end_marked(self.spec["mark"])
        until = time.monotonic() + 2.0
        drained = select.poll()
        drained.register(self.pipe, select.POLLIN)
        while time.monotonic() < until and drained.poll(max(0.0, until - time.monotonic()) * 1000):
            if not self.read_log():
                break
        self.log.close()
        if self.hand is not None:
            os.close(self.hand)
        return self.record()

    def record(self) -> Record:
        files = self.spec["counters"]
        code = os.waitstatus_to_exitcode(self.status or 0)
        code = code if code >= 0 else 128 - code
        measured = counter(files.get("cpu"))
        record: Record = {
            "state": "exited",
            "started_at": self.started_at,
            "ended_at": time.time(),
            "exit_code": code,
            "oom": bool(counter(files.get("oom"))) and code != 0,
            "timed_out": False,
            "stopped": False,
            "cpu_seconds": self.cpu_seconds if measured is None else measured,
            "memory_peak": int(counter(files.get("peak")) or self.peak),
            "detail": "",
        }
        record.update(self.ending)
        if not self.executed and not self.ending and not os.WIFSIGNALED(self.status or 0):
            words = self.log.tail.decode("utf-8", "replace").strip().splitlines()
            record["detail"] = words[-1] if words else "the sandbox could not be made"
        return record


def main(folder: str, ready: int) -> None:
    """From a prepared folder to exit.json. `ready`: a file descriptor that gets one byte when stop.json is heeded."""
    os.closerange(max(LOCK_FD, ready) + 1, 1 << 20)  # whatever else was inheritable must not end up in the sandbox
    os.chdir("/")
    fcntl.fcntl(LOCK_FD, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    fcntl.fcntl(ready, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    spec = load(folder, "spec.json")
    if spec is None:
        sys.exit("clary: no readable spec.json in " + folder)
    reserve(folder, "exit.json", EXIT_BYTES)
    run = Run(folder, spec, time.time())
    save(folder, "run.json", {"pid": os.getpid(), "ticks": started_ticks(os.getpid()), "started_at": run.started_at})
    try:
        os.write(ready, b"r")
    except BrokenPipeError:
        pass  # who started us died meanwhile: its successor finds run.json
    os.close(ready)
    if load(folder, "stop.json") is not None:
        os.kill(os.getpid(), signal.SIGTERM)
    run.start()
    run.loop(wake)
    record = run.finish()
    remove_groups(run.spec["groups"])
    save(run.folder, "exit.json", record, EXIT_BYTES)  # another one, when its sandbox was given to that run
    os._exit(0)  # nothing is left to tidy, and a waiting process learns of the end from ours
