"""`clary up`: owns the port and all sockets behind it, starts nginx, fronts, object store and control plane, keeps them running.

Its Python children are forks of it (`forks.py`): what they import it has imported, before anything else of them.

Order of a start: lock, folders, keys, sockets, children; ready when every child said so and a request goes through the edge. The
feature store alone is started when somebody first asks for it.
Order of an end: nginx (finishes what it has), fronts (drain), control plane, objects, then whatever still runs in a sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from clary.app import bindings, crashes, edge, folders, reach, rotation, workloads
from clary.app.children import Child, Spec, end_session
from clary.app.crashes import Crash
from clary.app.doors import Door
from clary.app.keys import open_keys, take_in
from clary.app.settings import Settings
from clary.domain.errors import Unavailable
from clary.domain.machine.nodes import parse_place

READY_WITHIN = 60.0
HOPELESS = 4  # deaths of a child that was killed, or could not be made, before it was ready: the start has failed
PATIENCE = 15.0
_SAID = {"control": "the control plane", "objects": "the object store", "features": "the feature store"}
ON_DEMAND = frozenset({"features"})  # started by the first request for them: most do not use them, at 20 MiB
FIRST_USER = "clary"  # whose key pair the first start makes


class Supervisor:
    """One run of `clary up`."""

    def __init__(self, settings: Settings, report: Callable[[str], None]) -> None:
        self.settings = settings
        self.children: dict[str, Child] = {}
        self._report = report
        self._lock = folders.Lock(settings)
        self._sockets: list[socket.socket] = []
        self._doors: dict[str, Door] = {}
        self._stop = asyncio.Event()
        self._hopeless = asyncio.Event()
        self._hopeless_reason = ""
        self._keep_jobs = False
        self._facts: dict[str, object] = {}
        self._probe: asyncio.Task[None] | None = None
        self._logs: asyncio.Task[None] | None = None

    async def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Until SIGTERM or SIGINT (or `stop`). Unavailable when it cannot start."""
        began = time.monotonic()
        try:
            self.prepare()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            loop.add_signal_handler(signal.SIGUSR2, self._stop_keeping_jobs)
            loop.add_signal_handler(signal.SIGHUP, self._reload_edge)
            for name, child in self.children.items():
                if name in ON_DEMAND:
                    self._doors[name].expect(child.start)
                    continue
                child.start()
                await asyncio.sleep(0)  # it runs before this process imports what the next one needs
            self._logs = loop.create_task(rotation.keep_short(self.settings.log("up").parent, self._report))
            await self._until_ready()
            if self._stop.is_set():
                return
            self._report(f"ready at {self.settings.endpoint} after {time.monotonic() - began:.1f} s")
            bindings.remember(self.settings)
            self._note()
            on_ready()
            await self._stop.wait()
        finally:
            await self._end()

    # -- starting -------------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Lock, folders, sockets, and what each child is started with. Unavailable when folder or port is taken."""
        self._lock.take({"pid": os.getpid(), "endpoint": self.settings.endpoint})
        reach.check(self.settings)
        bindings.check(self.settings)
        self._end_old_edge()  # of a Clary that was killed
        folders.make(self.settings)
        folders.check_records(self.settings)
        take_in(self.settings)
        open_keys(self.settings).ensure(self.settings.account, FIRST_USER)
        listener = folders.listen_tcp(self.settings.host, self.settings.port)
        self._sockets.append(listener)
        # With port 0 the system chose one; with 0 fronts the machine does, and a front is told by its number for as long as we run,
        # whatever becomes of the CPUs that we have. Everything from here on knows the real numbers.
        port, fronts = listener.getsockname()[1], self.settings.front_count
        self.settings = replace(self.settings, port=port, fronts=fronts)
        self._facts = {"pid": os.getpid(), "endpoint": self.settings.endpoint, "dir": self.settings.dir}
        self._lock.tell(self._facts)
        path = self.settings.run / "settings.json"
        self.settings.write(path)
        mode = 0o660 if folders.edge_user() else 0o600
        self._add_edge(listener)  # first: it needs nothing that is imported here
        self._add_door("objects", path, self.settings.objects_socket, mode)
        self._add_door("features", path, self.settings.features_socket, mode)
        for index in range(self.settings.front_count):
            sockets = [
                folders.listen_unix(self.settings.front_http(index), mode),
                folders.listen_unix(self.settings.front_workers(index), 0o666),
                folders.listen_unix(self.settings.front_ctl(index), 0o600),
            ]
            self._sockets += sockets
            self._add_python(f"front-{index}", path, sockets, index)
        self._add_door("control", path, self.settings.control_socket, mode, self._node_listeners())

    def _node_listeners(self) -> list[socket.socket]:
        """Where nodes come, where there can be some. It stays open while the control plane is started again."""
        if self.settings.backend != "cluster":
            return []
        listener = folders.listen_tcp(
            *parse_place(self.settings.node_listen), advice="node_listen takes another address"
        )
        self._sockets.append(listener)
        host, port = listener.getsockname()[:2]
        (self.settings.run / "nodes.json").write_text(json.dumps({"host": host, "port": port}))
        return [listener]

    def _add_door(self, name: str, settings: Path, path: Path, mode: int, more: Sequence[socket.socket] = ()) -> None:
        """A child with one socket, at which those who come are not made to wait for ever, and perhaps others."""
        listener = folders.listen_unix(path, mode)
        self._sockets.append(listener)
        self._doors[name] = Door(listener)
        self._add_python(name, settings, [listener, *more])

    def _add_python(self, name: str, settings: Path, sockets: list[socket.socket], index: int = 0) -> None:
        numbers = [s.fileno() for s in sockets]
        argv = ["--settings", str(settings), "--index", str(index), "--ready-fd", "{ready}"]
        argv += ["--sockets", ",".join(map(str, numbers))]
        module = f"clary.app.{name.partition('-')[0]}"
        self._add(Spec(name, argv, self.settings.log(name), numbers, module=module))

    def _add_edge(self, listener: socket.socket) -> None:
        config = edge.write(self.settings, folders.edge_user())
        binary = edge.binary(self.settings)
        fd = listener.fileno()
        spec = Spec(
            "nginx",
            [binary, "-c", str(config), "-p", str(self.settings.spool), "-e", str(self.settings.log("nginx"))],
            self.settings.log("nginx"),
            [fd],
            {**os.environ, "NGINX": f"{fd};"},
            death_signal=signal.SIGTERM,  # a killed master would leave its workers serving
            before=self._end_old_edge,
            stop_signal=signal.SIGQUIT,
        )
        self._add(spec)

    def _add(self, spec: Spec) -> None:
        self.children[spec.name] = Child(spec, self._child_report, self._child_changed)

    def _end_old_edge(self) -> None:
        """Workers outlive a killed master and would go on accepting from the shared socket."""
        session = self.settings.run / "nginx.session"
        with contextlib.suppress(OSError, ValueError):
            end_session(int(session.read_text()), "nginx")

    def _child_report(self, name: str, sentence: str) -> None:
        self._report(f"{name} {sentence}")
        child = self.children[name]
        crashes.note(self.settings, Crash(time.time(), name, sentence.rpartition(";")[0]))
        if child.refused:
            self._give_up(f"{_SAID.get(name, name)} cannot start: {child.refused}")
        elif child.failed or child.failures >= HOPELESS:
            self._give_up(f"{_SAID.get(name, name)} {sentence.rpartition(';')[0]}; see {self.settings.log(name)}")
        self._note()

    def _give_up(self, reason: str) -> None:
        """The start has failed, if there is still one under way; what is said first counts."""
        self._hopeless_reason = self._hopeless_reason or reason
        self._hopeless.set()

    def _child_changed(self, name: str) -> None:
        child = self.children[name]
        if name in self._doors:
            (self._doors[name].opened if child.ready.is_set() else self._doors[name].closed)()
        if name == "nginx" and child.pid and not child.ready.is_set():
            (self.settings.run / "nginx.session").write_text(str(child.pid))
            self._probe = asyncio.get_running_loop().create_task(self._edge_answers())
        self._note()

    async def _until_ready(self) -> None:
        needed = {name: child for name, child in self.children.items() if name not in ON_DEMAND}
        waits = [c.ready.wait() for c in needed.values()]
        stop = asyncio.create_task(self._stop.wait())
        hopeless = asyncio.create_task(self._hopeless.wait())
        ready = asyncio.ensure_future(asyncio.wait_for(asyncio.gather(*waits), READY_WITHIN))
        await asyncio.wait({stop, hopeless, ready}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        hopeless.cancel()
        if not ready.done():
            ready.cancel()
            if self._hopeless.is_set():
                raise Unavailable(self._hopeless_reason)
            return
        try:
            ready.result()
        except TimeoutError:
            missing = {n: c.last_line() for n, c in needed.items() if not c.ready.is_set()}
            said = ", ".join(f"{name} ({line})" if line else name for name, line in missing.items())
            raise Unavailable(
                f"{said} did not become ready within {READY_WITHIN:g} s; see {self.settings.root / 'logs' / 'clary'}"
            ) from None

    async def _edge_answers(self) -> None:
        """Until a request through the edge gets an answer of a process behind it, not the edge's own 502 or 503."""
        nginx = self.children["nginx"]
        master = nginx.pid
        while nginx.pid == master:
            status = await edge.probe(self.settings)
            if status and status < 500 and nginx.pid == master:
                nginx.ready.set()
                self._note()
                return
            await asyncio.sleep(0.02)

    def _note(self) -> None:
        """What `clary ps` reads about Clary's own processes."""
        rows = {
            name: {"pid": child.pid, "restarts": child.restarts, "ready": child.ready.is_set()}
            for name, child in self.children.items()
            if child.begun
        }
        path = self.settings.run / "processes.json"
        path.with_suffix(".new").write_text(json.dumps(rows))
        path.with_suffix(".new").replace(path)

    # -- ending ---------------------------------------------------------------------------------------------------------------

    def _stop_keeping_jobs(self) -> None:
        self._keep_jobs = True
        self._stop.set()

    def _reload_edge(self) -> None:
        """SIGHUP: nginx reads its certificate again."""
        self._report("nginx reloads its certificate")
        self.children["nginx"].signal(signal.SIGHUP)

    def stop(self) -> None:
        self._stop.set()

    async def _end(self) -> None:
        if self.children:
            self._report("stopping")
        if self._logs:
            self._logs.cancel()
        for door in self._doors.values():
            door.opened()
        if self._hopeless.is_set():  # who could not start is not tried again while the others end
            await asyncio.gather(*(child.stop(0) for child in self.children.values() if not child.pid))
        if "nginx" in self.children:
            await self.children["nginx"].stop(PATIENCE)
        await asyncio.gather(*(c.stop(PATIENCE) for n, c in self.children.items() if n.startswith("front")))
        for name in ("control", "features", "objects"):
            if name in self.children:
                await self.children[name].stop(PATIENCE)
        if self.children:
            await workloads.end(self.settings, keep_jobs=self._keep_jobs)
        self.close()
        if self.settings.ephemeral and self.children:
            folders.forget(self.settings)

    def close(self) -> None:
        """Give back the sockets, the folder of sockets and the lock. Touches nothing that another Clary holds."""
        if not self._lock.held:
            return
        for listener in self._sockets:
            listener.close()
        folders.remove_run(self.settings)
        self._lock.drop()


async def supervise(
    settings: Settings, report: Callable[[str], None], on_ready: Callable[[Settings], None] = lambda settings: None
) -> None:
    """Run Clary until it is told to stop. `on_ready` gets the effective settings (the real port)."""
    supervisor = Supervisor(settings, report)
    await supervisor.run(lambda: on_ready(supervisor.settings))
