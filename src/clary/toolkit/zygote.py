"""`python -m clary.toolkit.zygote`: a replica. Imports the framework, loads the model, forks workers and looks after them.

Owns the life of a replica's processes: the probe, the choice between forking from a loaded zygote ("fork") and loading per worker
("per-worker"), respawning, killing at deadlines, draining. Refuses to predict (that is `worker.py`) and to decide how many workers
there should be (the front and its spec say). Reads the JSON file that `CLARY_REPLICA` names, which names that of its token.

**OpenMP and fork**: a process that has started OpenMP threads hangs its children. So everything numeric starts with one thread
(below, before any import), and a zygote that has threads or a CUDA context after the load, or whose probe child does not answer
within 2 s, starts itself again by exec and lets every worker load the model for itself. Threads are raised in workers only.
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import gc  # noqa: E402  (after the environment, which libraries read when they are loaded)
import json  # noqa: E402
import select  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any, Dict, List, Optional  # noqa: E402

from clary.toolkit import frames, inference, loading  # noqa: E402
from clary.toolkit.models import Models  # noqa: E402
from clary.toolkit.staff import Staff, trim  # noqa: E402
from clary.toolkit.worker import Backoff, ending  # noqa: E402

PROBE_SECONDS = 2.0
STOP_SECONDS = 28.0  # of the 30 that the service allows, from SIGTERM to the end of all
THREADS_SECONDS = 0.2  # how long threads of the load may take to end
MESSAGE_LIMIT = 200_000  # characters of a traceback
_PER_WORKER = "CLARY_LOAD_PER_WORKER"


class Link:
    """The zygote's connection to one front: dialled again by itself, and what was said last said again after each dial."""

    def __init__(self, spec: Dict[str, Any], address: str) -> None:
        self.address = address
        self.channel: Optional[frames.Channel] = None
        self.welcome: Dict[str, Any] = {}
        self._spec = spec
        self._backoff = Backoff()
        self._not_before = 0.0
        self._dialled: Optional[frames.Channel] = None  # who has not answered yet

    def try_dial(self, timeout: float = 5.0) -> bool:
        """Dial when it is time; whether there is a connection that was not there before."""
        if self.channel is not None or time.monotonic() < self._not_before:
            return False
        channel: Optional[frames.Channel] = None
        try:
            channel = self._dialled = frames.Channel.dial(self.address, timeout)
            if self._not_before == float("inf"):
                raise frames.Closed("told to dial no more meanwhile")
            self.welcome = channel.greet(
                "zygote", str(self._spec["replica"]), str(self._spec["token"]), os.getpid(), timeout
            )
        except (OSError, frames.Closed, frames.FrameError):
            if channel is not None:
                channel.close()
            self._not_before = max(self._not_before, time.monotonic() + self._backoff.next())
            return False
        finally:
            self._dialled = None
        self.channel = channel
        self._backoff.reset()
        return True

    def dial_no_more(self) -> None:
        """The replica ends. Who is being dialled may never answer: its socket is there, but no front behind it."""
        self._not_before = float("inf")
        if self._dialled is not None:
            try:
                self._dialled.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has hung up

    def wait(self) -> float:
        """Seconds until the next dial; infinite while connected."""
        return float("inf") if self.channel is not None else max(0.0, self._not_before - time.monotonic())

    def send(self, kind: int, message: Dict[str, Any]) -> None:
        if self.channel is not None:
            try:
                self.channel.send(frames.control(kind, message))
            except frames.Closed:
                pass  # the reading side sees the end and acts on it

    def close(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class Zygote:
    """A replica's first process."""

    def __init__(self, spec: Dict[str, Any]) -> None:
        self.spec = spec
        fronts = [str(address) for address in spec["fronts"]]
        for address in fronts:
            frames.parse_address(address)  # one that can never be dialled ends the replica, with the reason in its log
        self.links = [Link(spec, address) for address in fronts]
        self.mode = "per-worker" if os.environ.get(_PER_WORKER) else "fork"
        if spec.get("multi"):
            self.mode = "multi-model"
            self.staff: Staff = Models(spec, fronts, self._forget_inherited, self._tell)
        else:
            self.staff = Staff(spec, fronts, self._forget_inherited)
        self._ready: Optional[Dict[str, Any]] = None
        self._draining = False
        self._terminated = False  # by SIGTERM
        self._dismissed = False  # and the workers were told
        self._stop_by = 0.0
        self._companion: Optional[inference.Companion] = None
        self._wake_read, self._wake_write = os.pipe()
        for descriptor in (self._wake_read, self._wake_write):
            os.set_blocking(descriptor, False)

    def run(self) -> int:
        """The replica's whole life; answers the exit code."""
        started = time.monotonic()
        for link in self.links:
            link.try_dial(0.5)  # so that the front sees it loading; when it is not there yet, later will do
        try:
            loading.preload(self.spec)
            if self.mode == "fork":
                handler = loading.load(self.spec)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return self._fail("load", inference.load_failure(error))
        self._watch_signals()
        if self.mode == "fork":
            reason = obstacle() or self._probe(handler)
            if reason == "failed":
                return 1
            if reason:
                self._load_per_worker(reason)
            self.staff.handler = handler
            self._companion = handler.companion
            if self._companion is not None:
                self._companion.watch(self._forget_inherited)
            self._now_ready(time.monotonic() - started, handler.batchable)
        elif self.mode == "multi-model":
            self._now_ready(time.monotonic() - started, False)
        _freeze()
        return self._loop()

    def _load_per_worker(self, reason: str) -> None:
        """Begin again without the model in this process. Does not return."""
        print(
            "The model cannot be shared by forking ({}): every worker loads it for itself.".format(reason), flush=True
        )
        os.environ[_PER_WORKER] = "1"
        for link in self.links:
            link.close()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, "-m", "clary.toolkit.zygote"])

    def _probe(self, handler: inference.Handler) -> str:
        """Let a child predict. '' when it did; 'failed' after the front was told that the model cannot; else the obstacle."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            try:
                handler.probe()
                os.write(write, b"+")
            except BaseException as error:
                os.write(write, b"-" + inference.load_failure(error).encode("utf-8", "replace")[:60000])
            os._exit(0)
        os.close(write)
        said = b""
        deadline = time.monotonic() + PROBE_SECONDS
        while select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(read, 65536)
            if not piece:
                break
            said += piece
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if said[:1] == b"+":
            return ""
        if said[:1] == b"-":
            self._fail("probe", said[1:].decode("utf-8", "replace"))
            return "failed"
        if time.monotonic() >= deadline:
            return "a forked copy of it did not answer within {:g} s".format(PROBE_SECONDS)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return "a forked copy of it {}".format(ending(code, self.spec.get("remedy", "")))

    def _now_ready(self, seconds: float, batchable: bool) -> None:
        batch = int(self.spec.get("batch") or 1) if batchable else 1
        self._ready = {"seconds": round(seconds, 4), "mode": self.mode, "batch": batch}
        what = "Ready for models" if self.mode == "multi-model" else "Model loaded"
        print("{} in {:.2f} s ({}).".format(what, seconds, self.mode), flush=True)
        self._tell(frames.READY, self._ready)

    def _tell(self, kind: int, message: Dict[str, Any]) -> None:
        for link in self.links:
            link.send(kind, message)

    def _fail(self, kind: str, text: str) -> int:
        """Tell every front that the model cannot be served, wait until they have heard; exit code 1."""
        print(text, file=sys.stderr, flush=True)
        message = {"kind": kind, "message": text[-MESSAGE_LIMIT:]}
        deadline = time.monotonic() + 10
        for link in self.links:
            while link.channel is None and time.monotonic() < deadline:
                if not link.try_dial():
                    time.sleep(min(link.wait(), 0.5))
            link.send(frames.FAILED, message)
        for link in self.links:
            if link.channel is not None:
                link.channel.sock.settimeout(1.0)
                try:
                    while True:
                        link.channel.read()
                except (frames.Closed, frames.FrameError):
                    pass
        self.staff.kill_all()
        return 1

    def _watch_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, _number: int, _frame: Any) -> None:
        self._terminated = True
        for link in self.links:
            link.dial_no_more()

    def _loop(self) -> int:
        while True:
            for link in self.links:
                if link.try_dial():
                    self._greeted(link)
            if self._terminated and not self._dismissed:
                self._draining = self._dismissed = True
                self._stop_by = time.monotonic() + STOP_SECONDS
                self.staff.dismiss()
            self._reap()
            if self._draining and not self.staff.count():
                return self._end()
            if self._companion is not None and not self._draining:
                why = self._companion.tend(self.staff.predicting())
                if why:
                    sys.stderr.write(why + "\n")
                    return 1  # the replica is replaced; its workers and all else in the sandbox end with this process
            if not self._draining:
                self.staff.fill()
            self.staff.watch()
            failure = self._hear_loads()
            if failure is not None:
                return self._fail("load", failure)
            self._wait()

    def _end(self) -> int:
        if self._companion is not None:
            self._companion.end(max(0.0, self._stop_by - time.monotonic()) if self._terminated else STOP_SECONDS)
        return 0

    def _wait(self) -> None:
        """Until a front speaks, a worker ends, a load ends, or it is time to dial, to respawn or to kill."""
        waits = [link.wait() for link in self.links] + [self.staff.wait()]
        readers: List[Any] = [link.channel for link in self.links if link.channel is not None]
        tended = self._companion.descriptors() if self._companion is not None else []
        poller = [self._wake_read, *self.staff.loading(), *tended, *readers]
        spoken = any(link.channel is not None and link.channel.pending() for link in self.links)
        shortest = 0.0 if spoken else min(waits)
        ready, _, _ = select.select(poller, [], [], None if shortest == float("inf") else shortest)
        if self._wake_read in ready:
            try:
                os.read(self._wake_read, 4096)
            except BlockingIOError:
                pass
        for link in self.links:
            if link.channel is not None and (link.channel in ready or link.channel.pending()):
                self._hear(link)

    def _hear(self, link: Link) -> None:
        assert link.channel is not None
        try:
            while True:
                kind, _, payload = link.channel.read()
                if kind == frames.REDIAL:
                    link.close()
                    return
                self._obey(link, kind, frames.message(payload))
                if not link.channel.pending():
                    return
        except (frames.Closed, frames.FrameError):
            # The front died: what its workers still compute must not run beside the client's retry.
            link.close()
            self.staff.kill_busy(link.address)

    def _obey(self, link: Link, kind: int, message: Dict[str, Any]) -> None:
        if kind == frames.SPAWN:
            self.staff.resize(int(message.get("workers") or 0))
        elif kind == frames.KILL:
            why = str(message.get("why") or "its prediction did not end within its deadline")
            self.staff.kill(int(message.get("pid") or 0), why)
        elif kind == frames.RESIZE:
            self.staff.threads = int(message.get("threads") or 0)
        elif kind == frames.PING:
            link.send(frames.PONG, {})
        elif kind == frames.DRAIN:
            self._draining = True
            self.staff.drain()
        elif isinstance(self.staff, Models):
            if kind == frames.LOAD:
                self.staff.load(message)
            elif kind == frames.UNLOAD:
                self.staff.unload(int(message.get("pid") or 0))

    def _greeted(self, link: Link) -> None:
        self._take(link.welcome)
        if self._ready is not None:
            link.send(frames.READY, self._ready)

    def _take(self, welcome: Dict[str, Any]) -> None:
        if welcome.get("workers"):
            self.staff.wanted = int(welcome["workers"])
        if welcome.get("threads"):
            self.staff.threads = int(welcome["threads"])

    def _reap(self) -> None:
        for pid, status, drained in self.staff.reap():
            if not drained or self.mode == "multi-model":
                self._tell(frames.EXITED, {"pid": pid, "status": status})
        while self.staff.strays:
            stray = self.staff.strays.pop()
            if self._companion is not None:
                self._companion.reaped(*stray)

    def _hear_loads(self) -> Optional[str]:
        """Per-worker mode: the first load that ends decides; answers the traceback when it failed."""
        for report in self.staff.reports():
            if self._ready is None:
                if report.get("error"):
                    return str(report["error"])
                self._now_ready(float(report["seconds"]), bool(report["batchable"]))
            elif report.get("error"):
                print(report["error"], file=sys.stderr, flush=True)
        return None

    def _forget_inherited(self) -> None:
        """In a new worker: the zygote's connections and signals are not its own."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for link in self.links:
            link.close()
        os.close(self._wake_read)
        os.close(self._wake_write)


def obstacle() -> str:
    """Why this process must not fork workers that predict: threads of its own, or a CUDA context. '' when it may."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return "it holds a CUDA context"
    deadline = time.monotonic() + THREADS_SECONDS
    while True:
        count = len(os.listdir("/proc/self/task"))
        if count == 1:
            return ""
        if time.monotonic() > deadline:
            return "it runs {} threads".format(count)
        time.sleep(0.01)


def _freeze() -> None:
    """Before forking: no garbage collection shall touch (and so copy) what workers share, and free memory goes back."""
    gc.collect()
    trim()
    gc.freeze()


def main() -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    with open(os.environ["CLARY_REPLICA"], encoding="utf-8") as file:
        spec = json.load(file)
    with open(spec["token_file"], encoding="utf-8") as file:
        spec["token"] = file.read()
    return Zygote(spec).run()


if __name__ == "__main__":
    sys.exit(main())
