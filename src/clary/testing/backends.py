"""The conformance class of the `Backend` port, and the fake in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from clary.domain.errors import InUse, Invalid, NotFound
from clary.domain.machine.addresses import Address
from clary.domain.machine.workload import (
    Collected,
    Environment,
    Feature,
    Files,
    Laid,
    LeftBy,
    ModelFiles,
    MountMode,
    Objects,
    Observation,
    Result,
    RunState,
    Selected,
    SmallFile,
    Workload,
)
from clary.domain.models.contents import INSIDE, code_folder, contents
from clary.domain.s3 import Location
from clary.ports import Backend

WAIT_SECONDS = 30.0
ACCOUNT, BUCKET = "000000000000", "results"
OBJECT = b"an object\n"  # what has the key given/x in the bucket
OBJECT_ETAG = hashlib.md5(OBJECT).hexdigest()


class MemoryBackend:
    """`ports.Backend` that runs nothing: a run goes on until `finish` or `lose` says how it ended, or `stop` ends it at once.

    `workloads` is what was started, by key; `stops` the (handle, grace) asked for; `sizes` the (cpu, memory) last set; `left` is
    what runs by value leave, as a test says, and `collected` the handles of those whose results were."""

    name = "memory"

    def __init__(self, features: frozenset[Feature] = frozenset(Feature)) -> None:
        self.features = features
        self.workloads: dict[str, Workload] = {}
        self.stops: list[tuple[str, float | None]] = []
        self.sizes: dict[str, tuple[float, int]] = {}
        self.bursts: dict[str, float] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.left: dict[tuple[str, str, str], str] = {}  # (handle, files, path) -> what a run left there
        self.large: set[str] = set()  # handles of runs whose results are more than a few small files
        self.collected: list[str] = []
        self.contents: dict[
            str, str
        ] = {}  # what is in archives of models: path (`model/...`, `code/...`, `data-0/...`) -> text
        self.refusal = ""  # why archives of models are refused
        self.models: dict[str, ModelFiles] = {}  # those that were made, by digest
        self.opened = 0  # how often archives of a model were
        self.aged = False  # True: nobody asked for any model of late
        self.written: dict[
            tuple[str, str], dict[str, str]
        ] = {}  # (handle, files) -> path -> what was written there since
        self.placed: list[tuple[str, str, str, Objects]] = []  # (handle, files, folder, objects)
        self.stubborn = False  # True: stop alone ends nothing
        self._runs: dict[str, Observation] = {}
        self._synced: dict[tuple[str, str], str] = {}  # (handle, URI) -> what was stored of a synced result
        self._listeners: list[Callable[[str], None]] = []

    def plan(self, workload: Workload) -> Workload:
        named = [each.model for each in workload.files if each.model]
        if bad := next((name for name in named if "/" not in name or {"", ".", ".."} & set(name.split("/"))), None):
            raise Invalid(f"{bad!r} does not name a folder of a model")
        if any(each.model and each.mode is MountMode.READ_WRITE for each in workload.files):
            raise Invalid("a model is no run's to write")
        return workload

    def at(self, node: str) -> MemoryBackend:
        return self

    def address(self, listener: int | str) -> Address:
        if isinstance(listener, str):
            return Address("unix", "/run/clary-listener/s")
        return Address("unix", f"/run/clary/front-{listener}.sock")

    async def start(self, request: Workload, secrets: Mapping[str, str] = MappingProxyType({})) -> str:
        if missing := {name for each in request.files for name in each.secrets.values()} - set(secrets):
            raise Invalid(
                f"the files of {request.key!r} name secrets that were not given: {', '.join(sorted(missing))}"
            )
        if request.key not in self._runs:
            waiting = self.workloads.get(request.standby)
            if waiting is not None and waiting.waits:
                self.finish(request.standby)
            self.workloads[request.key] = request
            self.secrets[request.key] = dict(secrets)
            self.sizes[request.key] = (request.cpu, request.memory)
            self._change(request.key, Observation(RunState.RUNNING, started_at=0.0, pid=1))
        return request.key

    async def observe(self, handle: str) -> Observation | None:
        return self._runs.get(handle)

    async def stop(self, handle: str, grace: float | None = None) -> None:
        self.stops.append((handle, grace))
        if handle in self._runs and not self.stubborn:
            self.finish(handle, 143, stopped=True)

    async def resize(self, handle: str, cpu: float, memory: int, burst: float = 0.0) -> None:
        if handle not in self._runs or self._runs[handle].state.is_terminal:
            raise NotFound(f"no run {handle!r} to resize")
        self.sizes[handle] = (cpu, memory)
        self.bursts[handle] = burst

    async def forget(self, handle: str) -> None:
        if handle in self._runs and not self._runs[handle].state.is_terminal:
            raise InUse(f"the run {handle!r} has not ended")
        self._runs.pop(handle, None)

    async def read(self, handle: str, files: str, path: str, limit: int) -> str:
        return (await self.content(handle, files, path, limit)).decode(errors="replace")

    async def write(self, handle: str, files: str, texts: Mapping[str, str]) -> bool:
        return self._change_files(handle, files, texts)

    async def place(self, handle: str, files: str, folder: str, objects: Objects, keep: float) -> bool:
        self.placed.append((handle, files, folder, objects))
        return self._change_files(handle, files, {f"{folder}/{path}": "" for path in objects.keys.values()})

    async def model(self, digest: str) -> Mapping[str, Any] | None:
        return self._contents(self.models[digest]) if digest in self.models else None

    async def make_model(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        if model.archives and model.digest not in self.models:
            assert opener is not None
            self.opened += 1
            if self.refusal:
                raise Invalid(self.refusal)
        self.models.setdefault(model.digest, model)
        return self._contents(model)

    async def keep_models(self, digests: Collection[str]) -> None:
        if self.aged:
            self.models = {digest: model for digest, model in self.models.items() if digest in digests}

    def _contents(self, model: ModelFiles) -> Mapping[str, Any]:
        packed = {path: text for path, text in self.contents.items() if path.partition("/")[0] in model.archives}
        plain = [f"{name}/{path}" for name, objects in model.folders.items() for path in objects.keys.values()]
        texts = {**packed, **dict.fromkeys(plain, "")}
        folders = [name for name in ("code", INSIDE) if any(path.startswith(f"{name}/") for path in texts)]
        where = code_folder(folders) + "/"
        files = [path.removeprefix(where) for path in texts if path.startswith(where) and "/" not in path[len(where) :]]
        return contents(folders, files if folders else (), lambda path: texts.get(path, ""))

    def _change_files(self, handle: str, files: str, texts: Mapping[str, str]) -> bool:
        if handle not in self._runs or self._runs[handle].state.is_terminal:
            return False
        if not any(each.name == files and each.mode != MountMode.READ_WRITE for each in self.workloads[handle].files):
            raise Invalid(f"the run {handle!r} has no files {files!r} that others may change")
        if bad := next((path for path in texts if path.startswith("/") or ".." in path.split("/")), None):
            raise Invalid(f"{bad!r} does not lie below the folder that it is for")
        self.written.setdefault((handle, files), {}).update(texts)
        return True

    async def content(self, handle: str, files: str, path: str, limit: int) -> bytes:
        text = self.left.get((handle, files, path), "") if handle in self._runs else ""
        return text.encode()[:limit]

    async def names(self, handle: str, files: str, path: str) -> tuple[str, ...]:
        start = f"{path}/" if path else ""
        known = sorted(key[2] for key in self.left if key[:2] == (handle, files) and key[2].startswith(start))
        return tuple(known) if handle in self._runs else ()

    async def small(self, handle: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
        if handle not in self._runs or not self._runs[handle].state.is_terminal or handle in self.large:
            return None
        start = f"{path}/" if path else ""
        return tuple(
            SmallFile(name.removeprefix(start), self.left[handle, files, name].encode(), 0)
            for name in await self.names(handle, files, path)
        )

    async def collect(self, handle: str) -> Mapping[str, Collected]:
        if handle not in self._runs:
            raise NotFound(f"no run {handle!r} to collect the results of")
        self.collected.append(handle)
        running = not self._runs[handle].state.is_terminal
        stored = {}
        for each in self.workloads[handle].results:
            if running and not each.running:
                continue
            for (run, files, path), text in sorted(self.left.items()):
                if (run, files) == (handle, each.files) and _is_of(path, each):
                    uri = f"{each.to}{path.removeprefix(f'{each.path}/') if each.tree else ''}"
                    if each.synced and self._synced.get((handle, uri)) == text:
                        continue
                    self._synced[handle, uri] = text
                    stored[uri] = Collected("etag", len(text.encode()))
        return stored

    async def handles(self) -> list[str]:
        return sorted(self._runs)

    def watch(self, listener: Callable[[str], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def finish(self, handle: str, exit_code: int = 0, at: float = 1.0, **more: Any) -> None:
        """End a run: `more` are further fields of its Observation (oom_killed, timed_out, stopped, detail ...)."""
        seen = self._runs[handle]
        if not seen.state.is_terminal:
            ended = dataclasses.replace(seen, state=RunState.EXITED, ended_at=at, exit_code=exit_code, pid=None, **more)
            self._change(handle, ended)

    def lose(self, handle: str, at: float = 1.0) -> None:
        self._change(handle, dataclasses.replace(self._runs[handle], state=RunState.LOST, ended_at=at, pid=None))

    def update(self, handle: str, **changes: Any) -> None:
        """Change what is observed of a run: memory_bytes, cpu_seconds ..."""
        self._change(handle, dataclasses.replace(self._runs[handle], **changes))

    def _change(self, handle: str, seen: Observation) -> None:
        self._runs[handle] = seen
        for listener in list(self._listeners):
            listener(handle)


def _is_of(path: str, result: Result) -> bool:
    if result.tree:
        return path.startswith(f"{result.path}/" if result.path else "")
    return path == result.path


class BackendConformance:
    """What every backend does. A test module inherits it and says how to make a backend; `again` makes a second one over the same
    state, as the successor of a process that was killed."""

    def backend(self, folder: Path) -> Backend[Any]:
        raise NotImplementedError

    def again(self, backend: Backend[Any], folder: Path) -> Backend[Any]:
        return self.backend(folder)

    async def let(self, backend: Backend[Any], handle: str, exit_code: int) -> None:
        """Only for backends that run nothing: end the run as its command would have."""

    def workload(
        self, folder: Path, script: str, environment: Mapping[str, str] | None = None, **more: Any
    ) -> Workload:
        """A run of a shell script, in a folder of its own."""
        key = more.pop("key", f"run/{script[:20]}")
        root = folder / "roots" / "".join(letter if letter.isalnum() else "-" for letter in key)
        root.mkdir(parents=True, exist_ok=True)
        return Workload(
            key=key,
            root=str(root),
            command=("/bin/sh", "-c", script),
            environment=dict(environment or {}),
            mounts=more.pop("mounts", ()),
            log_path=str(root / "log"),
            memory=more.pop("memory", 256 << 20),
            stop_grace=more.pop("stop_grace", 5.0),
            **more,
        )

    def valued(self, script: str, **more: Any) -> Workload:
        """The same by value: its files are in /in (read-only) and /out."""
        given = Files("in", "/in", texts={"a": "one\n", "deep/b": "two\n"}, objects=more.pop("objects", ()))
        return Workload(
            key=more.pop("key", f"valued/{script[:20]}"),
            command=("/bin/sh", "-c", script),
            environment={},
            files=(given, Files("out", "/out", MountMode.READ_WRITE)),
            memory=256 << 20,
            stop_grace=5.0,
            **more,
        )

    async def lay(self, backend: Backend[Any], handle: str, laid: Mapping[str, Laid]) -> None:
        """Only for backends that run nothing: end a run without a command as its layout would have."""

    async def leave(self, backend: Backend[Any], handle: str, files: str, path: str, text: str) -> None:
        """Only for backends that run nothing: leave a file as the command would have."""

    def state(self, backend: Backend[Any], folder: Path) -> Any:
        """All that the backend keeps, as a value; `folder` is what `backend` was given."""
        raise NotImplementedError

    async def pack(self, backend: Backend[Any], key: str, members: Mapping[str, str]) -> None:
        """Put an archive (.tar.gz) of these members into the store that the backend reaches."""
        raise NotImplementedError

    async def begin(self, backend: Backend[Any], workload: Workload) -> str:
        return await backend.start(backend.plan(workload))

    async def ended(self, backend: Backend[Any], handle: str) -> Observation:
        """How it ended, woken by the backend's own word."""
        changed = asyncio.Event()
        leave = backend.watch(lambda which: changed.set() if which == handle else None)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    changed.clear()
                    seen = await backend.observe(handle)
                    assert seen is not None
                    if seen.state.is_terminal:
                        return seen
                    await changed.wait()
        finally:
            leave()

    async def test_a_plan_is_a_value(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "exit 0")
        assert backend.plan(workload) == backend.plan(workload)
        assert str(backend.plan(workload))

    async def test_each_front_has_an_address(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        assert len({backend.address(0), backend.address(1)}) == 2
        assert backend.address(0) == backend.address(0)

    async def test_a_listener_has_an_address_that_is_no_fronts(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        assert backend.address("one") == backend.address("one")
        assert backend.address("one") != backend.address(0)

    async def test_the_same_key_is_one_run(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "sleep 60")
        first, second = await asyncio.gather(self.begin(backend, workload), self.begin(backend, workload))
        third = await self.begin(backend, workload)
        assert first == second == third
        assert await backend.handles() == [first]
        await backend.stop(first, 0)
        await self.ended(backend, first)
        assert await self.begin(backend, workload) == first
        seen = await backend.observe(first)
        assert seen is not None
        assert seen.state.is_terminal

    async def test_what_it_never_heard_of(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        assert await backend.observe("never") is None
        await backend.stop("never")
        await backend.forget("never")
        assert await backend.handles() == []

    async def test_exit_codes_are_told(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        for code in (0, 3):
            handle = await self.begin(backend, self.workload(tmp_path, f"exit {code}"))
            await self.let(backend, handle, code)
            seen = await self.ended(backend, handle)
            assert (seen.state, seen.exit_code, seen.stopped) == (RunState.EXITED, code, False)
            assert seen.started_at is not None
            assert seen.ended_at is not None
            assert seen.ended_at >= seen.started_at

    def waiting(self, **more: Any) -> Workload:
        """A sandbox that waits: whatever its order is, it shows what it finds, and exits with 3."""
        found = "cat /in/a; echo $$ >/out/b; cat /out/b; ls /tmp"
        return Workload(
            key=more.pop("key", "waiting"),
            command=("/bin/sh", "-c", f"touch /tmp/early; cat >/dev/null; {found}; exit 3"),
            environment={},
            memory=more.pop("memory", 256 << 20),
            stop_grace=5.0,
            waits=True,
            **more,
        )

    async def test_a_run_begins_in_a_sandbox_that_waits(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        if Feature.STANDBY not in backend.features:
            pytest.skip("it makes no sandboxes ahead")
        waits = await self.begin(backend, self.waiting())
        await self.running(backend, waits)
        handle = await self.begin(backend, self.valued("echo cold", standby=waits))
        assert (await self.ended(backend, waits)).exit_code == 0
        await self.leave(backend, handle, "", "", "one")
        await self.let(backend, handle, 3)
        assert (await self.ended(backend, handle)).exit_code == 3
        assert (await backend.read(handle, "", "", 4096)).splitlines()[0] == "one"
        # Its sandbox goes with it.
        await backend.forget(handle)
        assert await backend.observe(handle) is None

    async def test_a_sandbox_that_waits_is_given_once(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        if Feature.STANDBY not in backend.features:
            pytest.skip("it makes no sandboxes ahead")
        waits = await self.begin(backend, self.waiting())
        await self.running(backend, waits)
        handles = [await self.begin(backend, self.valued("exit 0", key=key, standby=waits)) for key in ("a", "b")]
        for handle, code in zip(handles, (3, 0), strict=True):
            await self.let(backend, handle, code)
        ended = [await self.ended(backend, each) for each in handles]
        assert sorted(str(seen.exit_code) for seen in ended) == ["0", "3"], ended

    async def test_a_run_that_does_not_fit_one_that_waits_has_its_own_sandbox(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        for key, waits in (("larger", await self.begin(backend, self.waiting(memory=300 << 20))), ("late", "never")):
            handle = await self.begin(backend, self.valued("exit 0", key=key, standby=waits))
            await self.let(backend, handle, 0)
            assert (await self.ended(backend, handle)).exit_code == 0

    async def running(self, backend: Backend[Any], handle: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while (seen := await backend.observe(handle)) is None or seen.state is not RunState.RUNNING:
                await asyncio.sleep(0.01)

    async def test_stop_ends_it_and_may_be_repeated(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        handle = await self.begin(backend, self.workload(tmp_path, "sleep 60"))
        seen = await backend.observe(handle)
        assert seen is not None
        assert not seen.state.is_terminal
        await backend.stop(handle)
        await backend.stop(handle)
        seen = await self.ended(backend, handle)
        assert (seen.state, seen.stopped) == (RunState.EXITED, True)
        await backend.stop(handle)
        assert await backend.observe(handle) == seen

    async def test_a_successor_finds_it(self, tmp_path: Path) -> None:
        first = self.backend(tmp_path)
        handle = await self.begin(first, self.workload(tmp_path, "sleep 60"))
        await self.running(first, handle)
        second = self.again(first, tmp_path)
        assert await second.handles() == [handle]
        seen = await second.observe(handle)
        assert seen is not None
        assert seen.state is RunState.RUNNING
        await second.stop(handle, 0)
        assert (await self.ended(second, handle)).stopped

    async def test_resize_a_running_one_only(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        handle = await self.begin(backend, self.workload(tmp_path, "sleep 60"))
        await backend.resize(handle, 0.5, 128 << 20)
        await backend.resize(handle, 0.5, 128 << 20, burst=2.0)
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.state is RunState.RUNNING
        await backend.stop(handle, 0)
        await self.ended(backend, handle)
        for gone in (handle, "never"):
            try:
                await backend.resize(gone, 1.0, 256 << 20)
            except NotFound:
                continue
            raise AssertionError("an ended run was resized")

    async def test_by_value_it_is_laid_out_and_read(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        script = "cat /in/a /in/deep/b > /out/c; ln -s /out/c /out/link; echo said; test $SECRET = quiet && exit 3"
        workload = self.valued(script)
        handle = await backend.start(backend.plan(workload), {"SECRET": "quiet"})
        assert await backend.start(backend.plan(workload), {"SECRET": "other"}) == handle
        await self.leave(backend, handle, "out", "c", "one\ntwo\n")
        await self.leave(backend, handle, "", "", "said")
        await self.let(backend, handle, 3)
        seen = await self.ended(backend, handle)
        assert (seen.exit_code, seen.failure) == (3, None)
        assert await backend.read(handle, "out", "c", 1024) == "one\ntwo\n"
        assert await backend.read(handle, "out", "c", 5) == "one\nt"
        assert await backend.read(handle, "", "", 1024) == "said"
        assert await backend.content(handle, "out", "c", 5) == b"one\nt"
        for gone in ("link", "never", "../in/a"):
            assert await backend.read(handle, "out", gone, 1024) == ""
            assert await backend.content(handle, "out", gone, 1024) == b""
        await backend.forget(handle)
        assert await backend.read(handle, "out", "c", 1024) == ""

    async def test_by_value_its_secrets_are_files_where_they_are_named(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        script = "cat /keys/deep/k; echo; test -z $FILED && test $PLAIN = variable && exit 3"
        workload = self.valued(script)
        keys = Files("keys", "/keys", secrets={"deep/k": "FILED"})
        workload = replace(workload, files=(*workload.files, keys))
        assert "quiet" not in str(backend.plan(workload))
        try:
            await backend.start(backend.plan(workload), {"PLAIN": "variable"})
        except Invalid:
            assert await backend.handles() == []
        else:
            raise AssertionError("it was started without a secret that its files name")
        handle = await backend.start(backend.plan(workload), {"FILED": "quiet", "PLAIN": "variable"})
        await self.leave(backend, handle, "", "", "quiet")
        await self.let(backend, handle, 3)
        assert (await self.ended(backend, handle)).exit_code == 3
        assert await backend.read(handle, "", "", 1024) == "quiet"

    async def test_files_of_a_run_that_goes_on_can_be_changed(self, tmp_path: Path) -> None:
        """Replaced whole, while it is being started too; not what it may write itself, and not beside the files."""
        backend = self.backend(tmp_path)
        workload = self.valued("until grep -q new /in/a && grep -q kept /in/more; do sleep 0.02; done; exit 3")
        handle = await self.begin(backend, workload)
        for files, path in (("out", "a"), ("never", "a"), ("in", "../a"), ("in", "/etc/a")):
            try:
                await backend.write(handle, files, {path: ""})
            except Invalid:
                continue
            raise AssertionError(f"{path} was written in {files}")
        assert await backend.write(handle, "in", {"a": "new\n", "more": "kept\n"})
        await self.let(backend, handle, 3)
        assert (await self.ended(backend, handle)).exit_code == 3
        assert not await backend.write(handle, "in", {"a": ""})
        assert not await backend.write("never", "in", {"a": ""})

    async def test_objects_are_placed_in_a_run_that_goes_on(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        objects = Objects(ACCOUNT, BUCKET, {"given/x": "model"})
        workload = self.valued("until test -s /in/first/model; do sleep 0.02; done; exit 3")
        handle = await self.begin(backend, workload)
        assert await backend.place(handle, "in", "first", objects, 60.0)
        await self.let(backend, handle, 3)
        assert (await self.ended(backend, handle)).exit_code == 3
        assert not await backend.place(handle, "in", "first", objects, 60.0)
        assert not await backend.place("never", "in", "first", objects, 60.0)

    async def test_observe_and_read_touch_nothing(self, tmp_path: Path) -> None:
        """Neither of a run that goes on, nor of one that has ended, nor of one that nobody heard of."""
        backend = self.backend(tmp_path)
        workload = replace(self.valued("echo up; sleep 60"), files=(Files("in", "/in", texts={"a": "one\n"}),))
        handle = await self.begin(backend, workload)
        await self.leave(backend, handle, "", "", "up")
        async with asyncio.timeout(WAIT_SECONDS):
            while await backend.read(handle, "", "", 1024) != "up":  # from then on nothing changes but by whoever asks
                await asyncio.sleep(0.01)
        for over in (False, True):
            if over:
                await backend.stop(handle, 0)
                await self.ended(backend, handle)
            before = self.state(backend, tmp_path)
            for _ in range(3):
                assert await backend.observe("never") is None
                await backend.observe(handle)
                await backend.read(handle, "in", "a", 1024)
                await backend.handles()
                backend.plan(workload)
            assert self.state(backend, tmp_path) == before

    async def test_a_model_is_made_once_for_all_that_mount_it(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        objects = Objects(ACCOUNT, BUCKET, {"given/x": "code/inference.py"})
        model = ModelFiles("d1", ACCOUNT, {"model": objects})
        assert await backend.model("d1") is None
        first, second = await asyncio.gather(*(backend.make_model(model, None, 60.0) for _ in range(2)))
        assert first == second == await backend.model("d1")
        assert (first["code"], first["inside"], first["scripts"]) == (False, True, ["inference.py"])
        workload = self.valued(
            "test -s /m/code/inference.py && ! touch /m/x 2>/dev/null && test -s /c/inference.py && exit 3"
        )
        mounted = Files("m", "/m", model="d1/model"), Files("c", "/c", model="d1/model/code")
        handle = await self.begin(backend, replace(workload, files=(*workload.files, *mounted)))
        await self.let(backend, handle, 3)
        assert (await self.ended(backend, handle)).exit_code == 3
        await backend.forget(handle)
        await backend.keep_models(())
        assert await backend.model("d1") == first, "it was asked for just now"
        for name in ("d1", "d1/../../x", "/d1/model", "d1//model", ""):
            try:
                backend.plan(replace(workload, files=(Files("m", "/m", model=name or "d1/"),)))
            except Invalid:
                continue
            raise AssertionError(f"{name!r} was mounted")

    async def test_runs_write_over_a_model_and_not_into_it(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        model = ModelFiles("d4", ACCOUNT, {"code": Objects(ACCOUNT, BUCKET, {"given/x": "deep/train.py"})})
        await backend.make_model(model, None, 60.0)
        over = Files("code", "/c", MountMode.OVERLAY, model="d4/code")
        for number in range(2):
            workload = self.valued(
                "test ! -e /c/deep/y && : > /c/deep/y && : > /c/z && test -s /c/deep/train.py && exit 3"
            )
            handle = await self.begin(backend, replace(workload, key=f"over-{number}", files=(*workload.files, over)))
            await self.let(backend, handle, 3)
            assert (await self.ended(backend, handle)).exit_code == 3
        try:
            backend.plan(replace(workload, files=(replace(over, mode=MountMode.READ_WRITE),)))
        except Invalid:
            pass
        else:
            raise AssertionError("a run may write a model")

    async def test_archives_of_a_model_are_opened_and_what_leaves_its_folder_is_refused(self, tmp_path: Path) -> None:
        backend, opener = self.backend(tmp_path), Environment("xgboost", "xgboost")
        await self.pack(backend, "good.tar.gz", {"weights": "w", "code/serve": "#!", "code/requirements.txt": "a==1\n"})
        model = ModelFiles("d2", ACCOUNT, archives={"model": Location(BUCKET, "good.tar.gz")})
        found = await backend.make_model(model, opener, 60.0)
        assert (found["inside"], found["programs"], found["requirements"]) == (True, ["serve"], "a==1\n")
        assert await backend.make_model(model, None, 60.0) == found, "nothing is opened again"
        assert await backend.handles() == []
        await self.pack(backend, "bad.tar.gz", {"../weights": "w"})
        try:
            await backend.make_model(
                ModelFiles("d3", ACCOUNT, archives={"model": Location(BUCKET, "bad.tar.gz")}), opener, 60.0
            )
        except Invalid as error:
            assert error.message.startswith(f"ClientError: Cannot extract s3://{BUCKET}/bad.tar.gz:")  # noqa: PT017
        else:
            raise AssertionError("an archive left its folder")
        assert await backend.model("d3") is None

    async def test_results_are_collected_as_often_as_asked(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        made = Result("out", "made", ACCOUNT, Location(BUCKET, "made.txt"), "text/plain")
        workload = self.valued("echo made > /out/made", results=(made, replace(made, path="missing")))
        handle = await backend.start(backend.plan(workload))
        await self.leave(backend, handle, "out", "made", "made\n")
        await self.let(backend, handle, 0)
        await self.ended(backend, handle)
        first = await backend.collect(handle)
        assert list(first) == [f"s3://{BUCKET}/made.txt"]
        assert await backend.collect(handle) == first
        await backend.forget(handle)
        try:
            await backend.collect(handle)
        except NotFound:
            return
        raise AssertionError("a forgotten run has results")

    async def test_of_a_run_that_goes_on_what_changed_of_synced_results_is_collected(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        synced = Result("out", "", ACCOUNT, Location(BUCKET, "s/"), tree=True, synced=True, running=True)
        later = Result("in", "a", ACCOUNT, Location(BUCKET, "later"))
        script = "echo 1 > /out/x; until test -s /in/go; do sleep 0.02; done; echo 22 > /out/y; exit 3"
        workload = self.valued(script, results=(synced, later))
        handle = await self.begin(backend, workload)
        await self.leave(backend, handle, "out", "x", "1\n")
        await self.leave(backend, handle, "in", "a", "one\n")
        found: dict[str, Collected] = {}
        async with asyncio.timeout(WAIT_SECONDS):
            while not found:  # a file is stored when it has not changed for a second
                found = dict(await backend.collect(handle))
                await asyncio.sleep(0.05)
        assert {uri: each.size for uri, each in found.items()} == {f"s3://{BUCKET}/s/x": 2}
        assert await backend.collect(handle) == {}
        assert await backend.write(handle, "in", {"go": "1"})
        await self.leave(backend, handle, "out", "y", "22\n")
        await self.let(backend, handle, 3)
        await self.ended(backend, handle)
        assert set(await backend.collect(handle)) == {f"s3://{BUCKET}/s/y", f"s3://{BUCKET}/later"}
        assert set(await backend.collect(handle)) == {f"s3://{BUCKET}/later"}

    async def test_a_folder_of_results_becomes_an_object_a_file(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        tree = Result("out", "tree", ACCOUNT, Location(BUCKET, "p/"), tree=True, given=True)
        script = "mkdir -p /out/tree/deep && echo 1 > /out/tree/a && echo 22 > /out/tree/deep/b; ln -s /etc /out/tree/c; echo 3 > /out/d"
        workload = self.valued(script, key="valued/tree", results=(tree, replace(tree, path="none")))
        handle = await backend.start(backend.plan(workload))
        for path, text in (("tree/a", "1\n"), ("tree/deep/b", "22\n"), ("d", "3\n")):
            await self.leave(backend, handle, "out", path, text)
        await self.let(backend, handle, 0)
        await self.ended(backend, handle)
        assert await backend.names(handle, "out", "tree") == ("tree/a", "tree/deep/b")
        assert await backend.names(handle, "out", "") == ("d", "tree/a", "tree/deep/b")
        assert await backend.names(handle, "out", "tree/c") == ()
        first = await backend.collect(handle)
        assert {uri: each.size for uri, each in first.items()} == {
            f"s3://{BUCKET}/p/a": 2,
            f"s3://{BUCKET}/p/deep/b": 3,
        }
        assert await backend.collect(handle) == first

    async def test_a_few_small_files_of_an_ended_run_are_told_at_once(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        script = "mkdir -p /out/m/deep && printf a > /out/m/a && printf bb > /out/m/deep/b; until test -s /in/go; do sleep 0.02; done"
        handle = await self.begin(backend, self.valued(script, key="valued/small"))
        await self.leave(backend, handle, "out", "m/a", "a")
        await self.leave(backend, handle, "out", "m/deep/b", "bb")
        assert await backend.small(handle, "out", "m") is None, "it may still write"
        assert await backend.write(handle, "in", {"go": "1"})
        await self.let(backend, handle, 0)
        await self.ended(backend, handle)
        found = await backend.small(handle, "out", "m")
        assert found is not None
        assert [(each.path, each.content, each.executable) for each in found] == [
            ("a", b"a", False),
            ("deep/b", b"bb", False),
        ]
        assert await backend.small(handle, "out", "nothing/there") == ()
        assert await backend.small("never", "out", "m") is None

    async def test_a_run_has_what_another_one_left(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        first = await backend.start(backend.plan(self.valued("mkdir /out/d && echo made > /out/d/e", key="valued/1")))
        await self.leave(backend, first, "out", "d/e", "made\n")
        await self.let(backend, first, 0)
        await self.ended(backend, first)
        given = Files("given", "/given", MountMode.OVERLAY, left=LeftBy(first, "out", "d"))
        second = self.valued("cp /given/e /out/e && touch /given/new", key="valued/2")
        handle = await backend.start(backend.plan(replace(second, files=(*second.files, given))))
        await self.leave(backend, handle, "out", "e", "made\n")
        await self.let(backend, handle, 0)
        assert (await self.ended(backend, handle)).exit_code == 0
        assert await backend.read(handle, "out", "e", 100) == "made\n"
        assert await backend.names(first, "out", "") == ("d/e",), "what a run left stays as it is"

    async def test_without_a_command_it_ends_when_objects_are_laid_out_that_others_have(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        selected = Selected(ACCOUNT, Location(BUCKET, "given/"), own=True)
        files = tuple(Files(f"algo-{number}", f"/{number}", selected=selected) for number in (1, 2))
        data = Workload("valued/data", (), {}, files=files)
        assert "algo-2" in str(backend.plan(data))
        handle = await self.begin(backend, data)
        digest = hashlib.sha256(f"given/x\t{OBJECT_ETAG}".encode()).hexdigest()
        laid = Laid(len(OBJECT), True, 1, digest, (("given/x", OBJECT_ETAG),))
        await self.lay(backend, handle, {"algo-1": laid, "algo-2": laid})
        seen = await self.ended(backend, handle)
        assert (seen.state, seen.exit_code, seen.failure) == (RunState.EXITED, 0, None)
        assert seen.laid == {"algo-1": laid, "algo-2": laid}
        assert await self.begin(backend, data) == handle
        assert await self.again(backend, tmp_path).observe(handle) == seen
        given = Files("given", "/given", MountMode.READ_WRITE, left=LeftBy(handle, "algo-1", "data"))
        script = "test -s /given/x && chmod 755 /given/x && echo 2 > /given/y && exit 3"
        second = self.valued(script, key="valued/host")
        host = await self.begin(backend, replace(second, files=(*second.files, given)))
        await self.let(backend, host, 3)
        assert (await self.ended(backend, host)).exit_code == 3
        await backend.forget(host)
        await backend.forget(handle)
        assert await backend.handles() == []

    async def test_forget_ends_all_memory_of_it(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        handle = await self.begin(backend, self.workload(tmp_path, "sleep 60"))
        try:
            await backend.forget(handle)
        except InUse:
            pass
        else:
            raise AssertionError("a running one was forgotten")
        await backend.stop(handle, 0)
        await self.ended(backend, handle)
        await backend.forget(handle)
        await backend.forget(handle)
        assert await backend.observe(handle) is None
        assert await backend.handles() == []

    async def test_watchers_leave(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        heard: list[str] = []
        leave = backend.watch(heard.append)
        leave()
        leave()
        handle = await self.begin(backend, self.workload(tmp_path, "exit 0"))
        await self.let(backend, handle, 0)
        await self.ended(backend, handle)
        assert heard == []
