"""Environments behind image names: built by uv from pinned, hashed wheels, kept by the hash of all that decides their content.

A build happens in a staging folder and is renamed when it is whole; a request for the same one waits for it. What Clary
ships is installed from wheels only, which run no code. A user's own requirements may run code (a source distribution's build), so
they are installed inside a sandbox, on top.

    FOLDER/<name>/         the environment (relocatable: it has no absolute path of its own)
    FOLDER/<name>.json     it is whole; what it was made of
    FOLDER/.<name>.lock    held while one process builds it
    FOLDER/.<name>/        staging
    FOLDER/image-ids.json  the ids of real images that were run here

Others know an environment by its hash, which is the same on every machine of a kind. The name of its folder is this machine's: its hash
with the path of the interpreter, whose move makes another one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from clary.backends.containers import Engine
from clary.backends.file_locks import locked
from clary.backends.image_names import ImageNames
from clary.backends.images import RuntimeVariant, runtimes
from clary.backends.interpreters import RELEASES, Interpreter, newer, own, release
from clary.backends.own_limits import cpus
from clary.backends.shim.records import load, note, save
from clary.domain.errors import Invalid, Unavailable
from clary.domain.images import repository
from clary.domain.machine.workload import Environment, EnvironmentPlace, Mount, MountMode, Workload
from clary.ports import Backend, Runtime

_RECIPE = "1"  # part of every hash: raise it when the way of building changes
_SEPARATOR = "\0"
_IMAGES = "image-ids.json"
_UV = "/opt/clary/uv"
_REQUIREMENTS = "/opt/clary/requirements"
_CACHE = "/opt/clary/cache"
_ON_DISK = {"UV_CACHE_DIR": _CACHE, "TMPDIR": _CACHE}  # a large wheel in a tmpfs would count as memory
_BUILD_SECONDS = 1800.0
_BUILD_MEMORY = 4 << 30
_BUILD_DISK = 20 << 30
_POLL_SECONDS = 0.2
_WORDS = 4000  # of uv's, kept in an error
_TELL_SECONDS = 10.0  # between a build's lines that it goes on

_SHOWN, _SHOWN_SECONDS = (
    256,
    1.0,
)  # digests that Describes show, and how long: each costs a look at the file of image names
_PLACE = re.compile(r" environment at: \S*$")  # of uv's "Using Python 3.11.7 environment at: ..."
Log = Callable[[str], None]


class UvRuntimes:
    """See ports.Runtimes. Environments lie in `folder`; `backend` runs the builds of users' requirements."""

    def __init__(
        self,
        folder: Path,
        backend: Backend[Any] | None,
        uv: str,
        environment: Mapping[str, str],
        own: Interpreter,
        newer: Interpreter | None,
        known: Sequence[Runtime],
        names: ImageNames | None = None,
        engine: Engine | None = None,
        releases: Callable[[str], Interpreter | None] = lambda wanted: None,
    ) -> None:
        """`releases` tells the interpreter of a release that a runtime names ("3.10")."""
        self._releases = cache(releases)
        self._folder = folder
        self._backend = backend
        self._uv = uv
        self._environment = dict(environment)
        self._own = own
        self._newer = newer
        self._known = tuple(known)
        self._names = names or ImageNames()
        self._engine = engine
        self._pulled: set[str] = set()
        self._asked: dict[str, Runtime] = {}  # hash -> what was asked for here
        self._digests: dict[str, str] = {}  # by framework
        self._shown: dict[
            str, tuple[str, float]
        ] = {}  # image -> its digest, and until when that is not looked up again
        self._images: dict[str, str] | None = None  # real image -> its id, as last seen here
        self._building: dict[str, asyncio.Task[Environment]] = {}
        self._listening: dict[str, list[Log]] = {}

    def build_in(self, backend: Backend[Any]) -> None:
        """Users' requirements are installed by this backend, which in its turn asks here for the environments of its workloads."""
        self._backend = backend

    def resolve(self, image: str) -> Runtime | None:
        name = repository(image)
        known = next((runtime for runtime in self.all() if name and name in runtime.repositories), None)
        return known or self._container(image)

    def _container(self, image: str) -> Runtime | None:
        """A real image, where an engine can run it. What passes its requests on runs in the generic environment."""
        generic = next((runtime for runtime in self._known if runtime.name == "python"), None)
        if self._engine is None or generic is None or not image:
            return None
        return Runtime("container", "container", requirements=generic.requirements, image=image)

    def digest(self, image: str) -> str:
        now = time.monotonic()
        found, until = self._shown.get(image, ("", 0.0))
        if now >= until:
            if len(self._shown) >= _SHOWN:
                self._shown.clear()
            found = self._digest_of(image)
            if found:
                self._shown[image] = (found, now + _SHOWN_SECONDS)
        return found

    def _digest_of(self, image: str) -> str:
        runtime = self.resolve(image)
        if runtime is None:
            return ""
        if runtime.image:
            found = self._ids().get(runtime.image)
            return f"sha256:{found}" if found else ""
        if runtime.framework not in self._digests:
            self._digests[runtime.framework] = self._digest(runtime.framework)
        return self._digests[runtime.framework]

    def _digest(self, framework: str) -> str:
        """Of the packages and Pythons of all its runtimes: what a model brings along decides which of them it gets."""
        parts = [_RECIPE, platform.machine()]
        same = (known for known in self._known if known.framework == framework)
        for each in sorted(same, key=lambda known: known.name):
            serving = dataclasses.replace(each, serving=True)
            parts += [each.requirements, self._interpreter(each).version, self._interpreter(serving).version]
        return f"sha256:{hashlib.sha256(_SEPARATOR.join(parts).encode()).hexdigest()}"

    def _ids(self) -> dict[str, str]:
        if self._images is None:
            self._images = load(str(self._folder), _IMAGES) or {}
        return self._images

    def all(self) -> Sequence[Runtime]:
        given = self._names.all()
        return tuple(_named(runtime, given) for runtime in self._known) if given else self._known

    def built(self, runtime: Runtime, extra: str = "") -> Environment | None:
        if runtime.image and runtime.image not in self._pulled:
            return None
        return self._value(runtime, extra) if self._whole(self.folder_name(runtime, extra)) else None

    def _whole(self, name: str) -> bool:
        return bool(load(str(self._folder), f"{name}.json")) and (self._folder / name).is_dir()

    async def ensure(self, runtime: Runtime, extra: str = "", log: Log | None = None) -> Environment:
        name = self.folder_name(runtime, extra)
        if runtime.image and self._engine is not None:
            found_id = await self._engine.ensure(runtime.image, log)
            self._pulled.add(runtime.image)
            self._seen(runtime.image, found_id)
        found = self.built(runtime, extra)
        if found is not None:
            return found
        listening = self._listening.setdefault(name, [])
        if log is not None:
            listening.append(log)
        task = self._building.get(name)
        if task is None:
            task = asyncio.create_task(self._build(name, runtime, extra, partial(_to_all, listening)))
            self._building[name] = task
            task.add_done_callback(lambda _: self._ended(name))
        # Shielded: one of several waiters may go away, the build goes on for the others.
        return await asyncio.shield(task)

    def _seen(self, image: str, found: str) -> None:
        if found and self._ids().get(image) != found:
            self._ids()[image] = found
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            note(str(self._folder), _IMAGES, self._ids())

    def _ended(self, name: str) -> None:
        self._building.pop(name, None)
        self._listening.pop(name, None)

    async def have(self, environment: Environment, log: Log | None = None) -> None:
        runtime = self._runtime_of(environment)
        if not self._whole(self.folder_name(runtime, environment.requirements)):
            await self.ensure(dataclasses.replace(runtime, image=""), environment.requirements, log)

    def place(self, environment: Environment) -> EnvironmentPlace:
        runtime, extra = self._runtime_of(environment), environment.requirements
        path = self._folder / self.folder_name(runtime, extra)
        return EnvironmentPlace(str(path), self._interpreter(runtime, extra).mounts())

    def _runtime_of(self, environment: Environment) -> Runtime:
        """What it is an environment of. Unavailable where this Clary, or this machine's Python, makes another one of it."""
        asked = self._asked.get(environment.hash)
        if asked is not None:
            return asked
        known = next((each for each in self._known if each.name == environment.runtime), None)
        if known is not None:
            known = dataclasses.replace(known, serving=environment.serving, python=environment.release)
            if self.hash(known, environment.requirements) == environment.hash:
                return known
        raise Unavailable(
            f"The environment {environment.hash} of the runtime {environment.runtime} is not one that this machine makes: its Clary or its "
            "Python has another version than that of the machine that asked for it. What is started anew gets a new one."
        )

    def hash(self, runtime: Runtime, extra: str = "") -> str:
        """Of all that decides its content, wherever it lies."""
        python = self._interpreter(runtime, extra)
        return _hashed(_RECIPE, runtime.requirements, _normal(extra), python.version, platform.machine())

    def folder_name(self, runtime: Runtime, extra: str = "") -> str:
        """Of its folder."""
        python = self._interpreter(runtime, extra)
        return _hashed(_RECIPE, runtime.requirements, _normal(extra), python.path, python.version, platform.machine())

    def _interpreter(self, runtime: Runtime, extra: str = "") -> Interpreter:
        """The newer one only for what serves a built-in algorithm's models: training with other libraries makes other models, and a
        user's packages were chosen for the Python that all else has."""
        if runtime.python and runtime.python != "{}.{}".format(*self._own.release):
            return self._released(runtime.python)
        serves = runtime.algorithm and runtime.serving and not runtime.image and not _normal(extra)
        return self._newer if serves and self._newer is not None else self._own

    def _released(self, wanted: str) -> Interpreter:
        """Invalid, with what to do, when this machine does not have it."""
        if wanted not in RELEASES:
            raise Invalid(
                f"Python {wanted} is not supported: Clary runs code under Python {RELEASES[0]} to {RELEASES[-1]}."
            )
        found = self._releases(wanted)
        if found is None:
            raise Invalid(
                f"This job needs Python {wanted}, which this machine does not have. Install it (`uv python install {wanted}`), "
                f"or call from Python {'.'.join(map(str, self._own.release))}, which Clary itself runs under."
            )
        return found

    def variants(self, runtime: Runtime) -> tuple[RuntimeVariant, ...]:
        """The environments that it has without a user's packages: one, or also one that serves a built-in algorithm's models."""
        serving = dataclasses.replace(runtime, serving=True)
        made = (runtime,) if self.hash(runtime) == self.hash(serving) else (runtime, serving)
        return tuple(RuntimeVariant.of(each, self._interpreter(each).release) for each in made)

    def _value(self, runtime: Runtime, extra: str) -> Environment:
        found, name = self.hash(runtime, extra), "python" if runtime.image else runtime.name
        self._asked[found] = runtime
        newer = self._interpreter(runtime, extra) is self._newer
        return Environment(name, found, _normal(extra), runtime.python, newer)

    async def _build(self, name: str, runtime: Runtime, extra: str, log: Log) -> Environment:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._folder / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await locked(lock, partial(log, "another process builds it: waiting for that"))
            if self.built(runtime, extra) is None:
                await told(self._make(name, runtime, _normal(extra), log, lock), runtime.name, log)
        finally:
            os.close(lock)
        return self._value(runtime, extra)

    async def _make(self, name: str, runtime: Runtime, extra: str, log: Log, lock: int) -> None:
        staging, final = self._folder / f".{name}", self._folder / name
        if extra:
            await self._clear(_key(staging))
        for leftover in (staging, final):
            await asyncio.to_thread(shutil.rmtree, leftover, True)
        staging.mkdir(mode=0o755)
        python = self._interpreter(runtime, extra)
        log(opening(runtime, python, bool(extra)))
        try:
            # Compiled at the very end: wheels carry made-up file times, so that the bytecode of a package that the user's requirements
            # replace would pass for that of the new one.
            await self._install(staging, runtime, python, log, lock, compiled=not extra)
            if extra:
                await self._install_extra(staging, extra, python, log)
            await asyncio.to_thread(_settle, staging)
            os.rename(staging, final)
        finally:
            await asyncio.to_thread(shutil.rmtree, staging, True)
        made = RuntimeVariant.of(runtime, python.release).version
        save(str(self._folder), f"{name}.json", {"runtime": runtime.name, "version": made, "extra": extra})

    async def _install(
        self, staging: Path, runtime: Runtime, python: Interpreter, log: Log, lock: int, compiled: bool
    ) -> None:
        """What Clary ships: wheels with known hashes, so nothing of it runs here."""
        requirements = self._folder / f"{staging.name}.txt"
        requirements.write_text(runtime.requirements)
        try:
            await self._run(
                ["venv", "--quiet", "--relocatable", "--allow-existing", "--python", python.path, str(staging)],
                log,
                lock,
            )
            options = ["--require-hashes", "--no-build", "--python", str(staging / "bin/python")]
            options += ["--compile-bytecode"] if compiled else []
            await self._run(["pip", "sync", *options, str(requirements)], log, lock)
        finally:
            requirements.unlink(missing_ok=True)

    async def _run(self, arguments: list[str], log: Log, lock: int) -> None:
        """uv inherits the lock: it outlives a killed control plane, whose successor must not build in the same folder."""
        process = await asyncio.create_subprocess_exec(
            self._uv,
            *arguments,
            env={**self._environment, "UV_NO_PROGRESS": "1"},
            cwd=self._folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=1 << 20,
            pass_fds=(lock,),
        )
        assert process.stdout is not None
        words: list[str] = []
        try:
            async for line in process.stdout:
                words.append(_line(line.decode("utf-8", "replace")))
                log(words[-1])
            code = await asyncio.wait_for(process.wait(), _BUILD_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code != 0:
            raise Invalid(_said("the environment could not be built", words))

    async def _install_extra(self, staging: Path, extra: str, python: Interpreter, log: Log) -> None:
        """A user's requirements, in a sandbox that has the network and may write this one environment."""
        backend = self._builder()
        root = self._folder / f"{staging.name}.build"
        root.mkdir(exist_ok=True, mode=0o700)
        (root / "requirements.txt").write_text(extra)
        (root / "requirements.txt").chmod(0o644)
        (root / "cache").mkdir(exist_ok=True)
        try:
            handle = await backend.start(backend.plan(self._workload(_key(staging), root, staging, python)))
            await self._follow(backend, handle, root / "log", log)
        finally:
            await asyncio.to_thread(shutil.rmtree, root, True)

    def _builder(self) -> Backend[Any]:
        if self._backend is None:
            raise Unavailable("There is no backend here to install a user's packages in.")
        return self._backend

    async def _clear(self, key: str) -> None:
        """End a build that a predecessor left running, before its staging folder is made again."""
        backend = self._builder()
        await backend.stop(key, 0)
        while (seen := await backend.observe(key)) is not None and not seen.state.is_terminal:
            await asyncio.sleep(_POLL_SECONDS)
        await backend.forget(key)

    def _workload(self, key: str, root: Path, staging: Path, python: Interpreter) -> Workload:
        options = ["--compile-bytecode", "--python", str(staging / "bin/python")]
        mounts = [
            Mount(self._uv, _UV),
            Mount(str(root / "requirements.txt"), f"{_REQUIREMENTS}/requirements.txt"),
            Mount(str(root / "cache"), _CACHE, MountMode.READ_WRITE),
            Mount(str(staging), str(staging), MountMode.READ_WRITE),
            *(Mount(path, path) for path in (*python.mounts(), *self._wheelhouses())),
        ]
        return Workload(
            key=key,
            root=str(root),
            command=(_UV, "pip", "install", *options, "-r", f"{_REQUIREMENTS}/requirements.txt"),
            environment={**_public(self._environment), **_ON_DISK, "UV_NO_PROGRESS": "1", "UV_LINK_MODE": "copy"},
            mounts=tuple(mounts),
            log_path=str(root / "log"),
            cpu=float(cpus()),
            memory=_BUILD_MEMORY,
            disk=_BUILD_DISK,
            max_runtime=_BUILD_SECONDS,
            stop_grace=2.0,
        )

    def _wheelhouses(self) -> list[str]:
        """Local folders that uv is told to find wheels in (a machine without an index)."""
        named = self._environment.get("UV_FIND_LINKS", "").replace(",", " ").split()
        return [path for path in named if os.path.isdir(path)]

    async def _follow(self, backend: Backend[Any], handle: str, path: Path, log: Log) -> None:
        """Hand over the build's lines as they come, until it has ended."""
        words: list[str] = []
        ended = asyncio.Event()
        leave = backend.watch(lambda changed: ended.set() if changed == handle else None)
        try:
            while True:
                seen = await backend.observe(handle)
                lines = path.read_text(errors="replace").splitlines() if path.exists() else []
                for line in lines[len(words) :]:
                    words.append(_line(line.partition("\t")[2]))
                    log(words[-1])
                if seen is None or seen.state.is_terminal:
                    break
                ended.clear()
                await _wait(ended, _POLL_SECONDS)
        finally:
            leave()
            await backend.stop(handle, 0)
        if seen is None or seen.exit_code != 0:
            last = words or [(seen.detail if seen else "") or "the build was lost"]
            raise Invalid(_said("the packages of requirements.txt could not be installed", last))
        await backend.forget(handle)


def create(
    folder: str,
    backend: Backend[Any] | None,
    *,
    environment: Mapping[str, str],
    python: str = "",
    uv: str = "",
    names: Path | None = None,
    engine: Engine | None = None,
) -> UvRuntimes:
    """Environments in `folder`; users' packages are installed by `backend` (see also `build_in`).

    `environment`: PATH, HOME and what of the host's variables uv needs (index, certificates, proxy).
    `python`: the base interpreter of all (default: the one that Clary's own environment was made from, and a newer one on PATH to serve
    the models of built-in algorithms); `uv`: default the wheel's. `names`: the file of image names that the user gave to runtimes;
    `engine`: runs images that are no runtime's."""
    mine = own(python)
    path = environment.get("PATH", os.defpath)
    other = None if python else newer(path)
    return UvRuntimes(
        Path(folder).resolve(),
        backend,
        uv or _find_uv(),
        environment,
        mine,
        other,
        runtimes(),
        ImageNames(names),
        engine,
        lambda wanted: release(wanted, path, environment.get("HOME", "")),
    )


def _named(runtime: Runtime, given: Mapping[str, str]) -> Runtime:
    """The runtime with the user's names for it, and without those that the user gave to another."""
    kept = [name for name in runtime.repositories if given.get(name, runtime.name) == runtime.name]
    added = [name for name, to in given.items() if to == runtime.name and name not in kept]
    return dataclasses.replace(runtime, repositories=(*kept, *added))


def _find_uv() -> str:
    from uv import find_uv_bin

    return os.fspath(find_uv_bin())


def opening(runtime: Runtime, python: Interpreter, extra: bool) -> str:
    """A build's first line: what is built, and how much may have to be downloaded."""
    version = RuntimeVariant.of(runtime, python.release).version
    size = f"{runtime.download / 1000:.1f} GB" if runtime.download >= 1000 else f"{runtime.download} MB"
    download = f" Up to {size} to download; what uv has cached is not downloaded again." if runtime.download else ""
    besides = " with the packages of requirements.txt" if extra else ""
    named = f"{runtime.name} {version}".strip()
    return f"Building the runtime {named} for Python {'.'.join(map(str, python.release))}{besides}.{download}"


async def told(build: Coroutine[Any, Any, None], name: str, log: Log, each: float = _TELL_SECONDS) -> None:
    """Run the build, and tell each so many seconds that it goes on, and at its end how long it took: some of its steps are silent."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = asyncio.ensure_future(build)
    try:
        while not (await asyncio.wait({task}, timeout=each))[0]:
            log(f"Still building the runtime {name}: {loop.time() - began:.0f} s so far.")
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    await task
    log(f"Built the runtime {name} in {loop.time() - began:.1f} s.")


def _hashed(*parts: str) -> str:
    return hashlib.sha256(_SEPARATOR.join(parts).encode()).hexdigest()[:40]


def _key(staging: Path) -> str:
    """Of the run that installs a user's requirements there. The dot: not one of the runs that loops look after."""
    return f".environment/{staging.name}"


def _normal(extra: str) -> str:
    """The same requirements, the same text: comments, blank lines and line ends do not matter."""
    lines = [line.split(" #")[0].strip() for line in extra.splitlines()]
    return "".join(line + "\n" for line in lines if line and not line.startswith("#"))


def _public(environment: Mapping[str, str]) -> dict[str, str]:
    """What of the host's variables a build in a sandbox gets: all but its paths."""
    return {
        name: value for name, value in environment.items() if name not in ("HOME", "PATH", "UV_CACHE_DIR", "TMPDIR")
    }


def _line(text: str) -> str:
    """uv's line without the folder that is being built, which is nobody's business and soon gone."""
    return _PLACE.sub("", text.rstrip())


def _said(what: str, words: Sequence[str]) -> str:
    """What uv gave as its reason: from its error on, or all of it."""
    first = next((at for at, line in enumerate(words) if line.startswith(("error:", "  × ", "× "))), 0)
    return f"{what}: " + "\n".join(words[first:]).strip().removeprefix("error: ")[-_WORDS:]


def _settle(staging: Path) -> None:
    """Folders get open to every user, so that an overlay of the environment can be written by the sandbox's (a job may pip-install);
    nobody else reaches them, for the folder above is closed. What a sandboxed build left is ours again."""
    root = os.geteuid() == 0
    for path, folders, files in os.walk(staging):
        if root:
            os.chmod(path, 0o777)
            for name in (*folders, *files):
                _publish(os.path.join(path, name))


def _publish(path: str) -> None:
    status = os.lstat(path)
    if status.st_uid != 0:
        os.chown(path, 0, 0, follow_symlinks=False)
    readable = status.st_mode | 0o444 | (0o111 if status.st_mode & 0o100 else 0)
    if stat.S_ISREG(status.st_mode) and readable != status.st_mode:
        os.chmod(path, stat.S_IMODE(readable) & 0o777)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        pass


def _to_all(listening: list[Log], line: str) -> None:
    for each in listening:
        each(line)
