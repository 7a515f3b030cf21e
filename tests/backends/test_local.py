"""Workloads run, end, are stopped, resized and adopted on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import os
import select
import signal
import socket
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clary.backends import host, local
from clary.backends.local import LocalBackend
from clary.backends.node.layout import NodePorts
from clary.backends.shim.proc import marked, parents
from clary.backends.state import Folder
from clary.domain.errors import InUse, Invalid, Unavailable, Unschedulable
from clary.domain.machine.workload import (
    ENVIRONMENT,
    Collected,
    ContainerImage,
    Environment,
    Files,
    LogTarget,
    ModelFiles,
    Mount,
    MountMode,
    Objects,
    Observation,
    Result,
    RunFailure,
    RunState,
    Selected,
    Workload,
)
from clary.domain.resources import Scope
from clary.domain.s3 import Location
from clary.ports import Backend
from clary.stores.logs import FileLogs
from clary.testing.backends import ACCOUNT, BUCKET, OBJECT, BackendConformance
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.runtimes import OwnInterpreter

FACTS = host.find()
pytestmark = pytest.mark.skipif(bool(FACTS.problem), reason=f"NO SANDBOX ON THIS MACHINE: {FACTS.problem}")


def log_lines(workload: Workload) -> list[str]:
    assert workload.log_path is not None
    return [line.partition("\t")[2] for line in Path(workload.log_path).read_text().splitlines()]


LOG = LogTarget(Scope(ACCOUNT, "eu-west-1"), "/aws/group", "stream")


class Held(MemoryArtifacts):
    """Places nothing before `go`."""

    def __init__(self, of: MemoryArtifacts) -> None:
        super().__init__(of.buckets, of.account)
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    def of(self, account: str) -> MemoryArtifacts:
        return self

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        self.asked.set()
        await self.go.wait()
        await super().place(bucket, keys, folder)


class TestLocalBackend(BackendConformance):
    @pytest.fixture(autouse=True)
    def _made(self) -> Iterator[None]:
        self.made: list[LocalBackend] = []
        yield
        for backend in self.made:
            asyncio.run(_end_all(backend))

    def backend(self, folder: Path) -> Backend[Any]:
        fronts = [str(folder / "workers" / f"front-{number}.sock") for number in range(2)]
        self.stored = getattr(self, "stored", None) or MemoryArtifacts({BUCKET: {"given/x": OBJECT}}, ACCOUNT)
        ports = NodePorts(self.stored, FileLogs(folder / "logs"), OwnInterpreter())
        listeners = str(folder / "listen")
        made = local.create(str(folder / "backend"), facts=FACTS, fronts=fronts, ports=ports, listeners=listeners)
        self.made.append(made)
        return made

    def state(self, backend: Backend[Any], folder: Path) -> Any:
        """But for what shims write in turn: their networks, and who serves."""
        tops = [folder / "models", *(folder / "backend" / name for name in ("runs", "own", "uids", "gpus"))]
        found = ((path, path.lstat()) for top in tops for path in sorted(top.rglob("*")))
        return [(path, seen.st_mtime_ns, seen.st_mode, seen.st_size, seen.st_ino) for path, seen in found]

    async def pack(self, backend: Backend[Any], key: str, members: Mapping[str, str]) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            for path, text in members.items():
                member = tarfile.TarInfo(path)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self.stored.buckets[BUCKET][key] = data.getvalue()

    async def test_by_value_the_same_key_started_at_once_is_one_run(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.valued("exit 3")
        handles = await asyncio.gather(*(self.begin(backend, workload) for _ in range(8)))
        assert await backend.handles() == [handles[0]]
        assert (await self.ended(backend, handles[0])).exit_code == 3

    async def run(self, folder: Path, script: str, **more: Any) -> tuple[Observation, list[str]]:
        backend = self.backend(folder)
        workload = self.workload(folder, script, **more)
        seen = await self.ended(backend, await self.begin(backend, workload))
        return seen, log_lines(workload)

    async def up(self, backend: Backend[Any], workload: Workload, mark: str = "up") -> str:
        """Start it, and wait until it has written `mark`."""
        handle = await self.begin(backend, workload)
        async with asyncio.timeout(30):
            while mark not in log_lines(workload):
                await asyncio.sleep(0.01)
        return handle

    async def test_a_model_stays_as_long_as_a_run_has_it(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        for digest in ("had", "old"):
            model = ModelFiles(digest, ACCOUNT, {"code": Objects(ACCOUNT, BUCKET, {"given/x": "train.py"})})
            await backend.make_model(model, None, 60.0)
            os.utime(tmp_path / "models" / digest, (0, 0))
        workload = self.valued("true")
        code = Files("code", "/c", MountMode.OVERLAY, model="had/code")
        handle = await self.begin(backend, dataclasses.replace(workload, files=(*workload.files, code)))
        await self.ended(backend, handle)
        await backend.keep_models(())
        assert os.listdir(tmp_path / "models") == ["had"], "an ended run may be entered again"
        await backend.forget(handle)
        await backend.keep_models(())
        assert os.listdir(tmp_path / "models") == []

    @pytest.mark.parametrize("installs", [False, True])
    async def test_a_run_by_value_has_the_packages_that_it_names(self, tmp_path: Path, installs: bool) -> None:
        """Where this machine has them. It may change a copy, where it says so, and never them."""
        script = f"{ENVIRONMENT}/bin/python -c 'import sys; print(sys.prefix)' && touch {ENVIRONMENT}/beside"
        workload = dataclasses.replace(
            self.valued(script, key=f"packages-{installs}"),
            packages=Environment("xgboost", "xgboost"),
            installs=installs,
        )
        backend = self.backend(tmp_path)
        seen = await self.ended(backend, await self.begin(backend, workload))
        said = await backend.read(workload.key, "", "", 4096)
        assert said.splitlines()[0] == ENVIRONMENT
        assert (seen.exit_code == 0) == installs, said
        assert not (Path(sys.prefix) / "beside").exists()
        unknown = dataclasses.replace(workload, key="unknown", packages=Environment("never-heard-of", "0"))
        seen = await self.ended(backend, await self.begin(backend, unknown))
        assert seen.failure is not None
        assert not seen.failure.client
        assert "never-heard-of" in seen.failure.message

    async def test_quick(self, tmp_path: Path) -> None:
        """In 0.1 s; on a machine that has others at work as soon as six bare Pythons, the shim being one, come and go one after the
        other."""
        backend = self.backend(tmp_path)
        took: list[float] = []
        bare: list[float] = []
        while len(took) < 20 and min(took, default=1.0) > 0.1:
            before = time.perf_counter()
            handle = await self.begin(backend, self.workload(tmp_path, "exit 0", key=f"quick-{len(took)}"))
            await self.ended(backend, handle)
            took.append(time.perf_counter() - before)
            before = time.perf_counter()
            for _ in range(6):
                await (
                    await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", "import json, select")
                ).wait()
            bare.append(time.perf_counter() - before)
        assert min(took) < max(0.1, min(bare)), (took, bare)

    async def test_logs_keep_order_and_time(self, tmp_path: Path) -> None:
        script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf last"
        before = time.time() * 1000
        seen, lines = await self.run(tmp_path, script, key="logs")
        assert seen.exit_code == 0
        assert lines == [f"{name} {index}" for index in range(500) for name in ("out", "err")] + ["last"]
        raw = (tmp_path / "roots/logs/log").read_text().splitlines()
        stamps = [int(line.split("\t")[0]) for line in raw]
        assert stamps == sorted(stamps)
        assert before - 1 <= stamps[0] <= stamps[-1] <= time.time() * 1000

    async def test_environment_arrives_as_it_is(self, tmp_path: Path) -> None:
        odd = {
            "A": "a 'b' \"c\" $HOME `id` \\ \n two",
            "LD_LIBRARY_PATH": "/nowhere",
            "PATH": "/bin:/usr/bin",
            "EMPTY": "",
        }
        seen, lines = await self.run(tmp_path, 'env -0 | tr "\\0" "\\1"; exit 7', environment=odd, key="env")
        assert seen.exit_code == 7
        pairs = dict(item.split("=", 1) for item in "\n".join(lines).split("\1") if "=" in item)
        assert {name: pairs[name] for name in odd} == odd
        assert pairs["HOME"] == "/tmp/home"
        assert pairs["LANG"] == "C.UTF-8"
        assert set(pairs) <= {*odd, "HOME", "LANG", "PWD", "_", "SHLVL", "OLDPWD"}

    async def test_what_dials_fronts_finds_them_at_their_addresses(self, tmp_path: Path) -> None:
        """And what does not finds nothing there. A front may listen later than the sandbox begins, and again."""
        backend = self.backend(tmp_path)
        (tmp_path / "workers").mkdir()
        place = backend.address(1).place
        script = f"while [ ! -S {place} ]; do echo up; sleep 0.01; done; echo $(ls {place})"
        workload = self.workload(tmp_path, script, fronts=True, key="dials")
        handle = await self.up(backend, workload)
        with socket.socket(socket.AF_UNIX) as front:
            front.bind(str(tmp_path / "workers/front-1.sock"))
            await self.ended(backend, handle)
        assert log_lines(workload)[-1] == place
        _, lines = await self.run(tmp_path, f"ls {place} 2>/dev/null || echo nothing", key="does not")
        assert lines == ["nothing"]

    async def test_a_run_reaches_the_listener_that_it_dials_and_no_other(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        place = backend.address("mine").place
        with socket.socket(socket.AF_UNIX) as mine, socket.socket(socket.AF_UNIX) as others:
            for listener, name in ((mine, "mine"), (others, "others")):
                (tmp_path / "listen" / name).mkdir(parents=True)
                listener.bind(str(tmp_path / "listen" / name / "s"))
            script = f"test -S {place} && ls -a {os.path.dirname(place)}"
            assert (await self.run(tmp_path, script, key="dials", dials="mine"))[1] == [".", "..", "s"]
            _, lines = await self.run(tmp_path, f"ls {place} 2>/dev/null || echo nothing", key="does not dial")
            assert lines == ["nothing"]

    async def test_what_cannot_be_a_listener_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Invalid, match="cannot be the name of a listener"):
            self.backend(tmp_path).plan(self.workload(tmp_path, "exit 0", dials="../workers"))
        without = local.create(str(tmp_path / "other"), facts=FACTS)
        self.made.append(without)
        with pytest.raises(Unschedulable, match="no folder of listeners"):
            without.plan(self.workload(tmp_path, "exit 0", dials="mine"))

    async def test_each_gpu_is_given_to_one_run(self, tmp_path: Path) -> None:
        """Of a machine whose GPUs are device nodes that any machine has. Which one a run got, CUDA counts from 0."""
        devices = ("/dev/zero", "/dev/full")
        facts = dataclasses.replace(FACTS, gpus=devices, gpu_controls=("/dev/null",))
        backend = local.create(str(tmp_path / "backend"), facts=facts)
        self.made.append(backend)
        assert backend.gpus == 2
        one = self.workload(tmp_path, "echo up; sleep 60", key="one", gpus=1)
        first = await self.up(backend, one)
        two = self.workload(tmp_path, "echo $CUDA_VISIBLE_DEVICES; echo up; sleep 60", key="two", gpus=1)
        second = await self.up(backend, two)
        assert log_lines(two) == ["0", "up"]
        claimed = {(tmp_path / "backend/gpus" / number).read_text() for number in "01"}
        assert len(claimed) == 2, "each has its own"
        third = self.workload(tmp_path, "exit 0", key="three", gpus=1)
        with pytest.raises(Unschedulable, match="in use"):
            await self.begin(backend, third)
        for handle in (first, second):
            await backend.stop(handle, 0)
            await self.ended(backend, handle)
            await backend.forget(handle)
        both = self.workload(tmp_path, "echo $CUDA_VISIBLE_DEVICES", key="both", gpus=2)
        assert (await self.ended(backend, await self.begin(backend, both))).exit_code == 0
        assert log_lines(both) == ["0,1"]

    async def test_no_secret_on_a_command_line(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "echo up; sleep 60", environment={"TOKEN": "tk-8d1f"}, key="secret")
        assert "tk-8d1f" not in repr(backend.plan(workload)) + str(backend.plan(workload))
        handle = await self.up(backend, workload)
        lines = [_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
        assert not any(b"tk-8d1f" in line for line in lines)
        await backend.stop(handle, 0)

    async def test_sigterm_reaches_the_command(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.workload(
            tmp_path, 'trap "echo bye; exit 9" TERM; echo up; while :; do sleep 0.05; done', key="term"
        )
        handle = await self.up(backend, workload)
        await backend.stop(handle)
        seen = await self.ended(backend, handle)
        assert (seen.exit_code, seen.stopped) == (9, True)
        assert log_lines(workload)[-1] == "bye"

    async def test_what_ignores_sigterm_is_killed_after_its_grace(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        script = 'trap "" TERM; (trap "" TERM; sleep 60) & echo up; while :; do sleep 1; done'
        handle = await self.up(backend, self.workload(tmp_path, script, key="stubborn"))
        before = time.monotonic()
        await backend.stop(handle, 0.3)
        seen = await self.ended(backend, handle)
        assert seen.exit_code == 137
        assert 0.3 <= time.monotonic() - before < 20

    async def test_what_spins_and_hears_no_signal_is_killed_after_its_grace(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        script = 'trap "" TERM INT HUP QUIT ALRM USR1 USR2; echo up; while :; do :; done'
        handle = await self.up(backend, self.workload(tmp_path, script, key="spins"))
        await backend.stop(handle, 0.3)
        seen = await self.ended(backend, handle)
        assert (seen.exit_code, seen.stopped) == (137, True)

    async def test_a_second_stop_can_hasten_the_end(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        handle = await self.up(
            backend, self.workload(tmp_path, 'trap "" TERM; echo up; while :; do sleep 1; done', key="haste")
        )
        await backend.stop(handle, 600)
        await backend.stop(handle, 0)
        assert (await self.ended(backend, handle)).exit_code == 137

    async def test_a_stopped_process_is_ended_too(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        handle = await self.up(backend, self.workload(tmp_path, "echo up; kill -STOP $$", key="frozen"))
        await backend.stop(handle, 0.1)
        assert (await self.ended(backend, handle)).exit_code == 137

    async def test_nothing_outlives_the_command(self, tmp_path: Path) -> None:
        mark = f"4{os.getpid()}"
        seen, _ = await self.run(tmp_path, f"setsid sleep {mark} & nohup sleep {mark} & exit 4", key="leftover")
        assert seen.exit_code == 4
        assert not _running(["sleep", mark])

    async def test_max_runtime_is_the_shims_business(self, tmp_path: Path) -> None:
        seen, _ = await self.run(
            tmp_path, 'trap "exit 0" TERM; while :; do sleep 0.05; done', max_runtime=0.3, key="long"
        )
        assert (seen.timed_out, seen.stopped, seen.exit_code) == (True, False, 0)
        assert seen.started_at is not None
        assert seen.ended_at is not None
        assert 0.3 <= seen.ended_at - seen.started_at < 20

    async def test_a_sandbox_that_cannot_be_made_says_why(self, tmp_path: Path) -> None:
        seen, _ = await self.run(tmp_path, "exit 0", mounts=(Mount("/nowhere/at/all", "/data"),), key="unmade")
        assert seen.state is RunState.EXITED
        assert seen.exit_code != 0
        assert "/nowhere/at/all" in seen.detail

    async def test_mounts(self, tmp_path: Path) -> None:
        blob = tmp_path / "blob"
        blob.write_text("blob\n")
        blob.chmod(0o444)
        farm, shared, output = (tmp_path / name for name in ("roots/mounts/farm", "shared", "roots/mounts/output"))
        for folder in (farm / "sub", shared, output):
            folder.mkdir(parents=True)
        os.link(blob, farm / "sub/data")
        (shared / "file").write_text("shared\n")
        mounts = (
            Mount(str(farm), "/opt/ml/input/data/train", MountMode.OVERLAY),
            Mount(str(shared), "/opt/ml/model"),
            Mount(str(output), "/opt/ml/output", MountMode.READ_WRITE),
        )
        script = """
            cd /opt/ml/input/data/train && cat sub/data && touch new sub/new && rm sub/data && ls sub || exit 1
            cat /opt/ml/model/file || exit 2
            touch /opt/ml/model/new && exit 3
            echo result > /opt/ml/output/result
        """
        seen, lines = await self.run(tmp_path, script, mounts=mounts, key="mounts")
        assert seen.exit_code == 0, lines
        assert lines[0] == "blob"
        assert (output / "result").read_text() == "result\n"
        assert [path.name for path in farm.rglob("*")] == ["sub", "data"]
        assert blob.read_text() == "blob\n"
        assert blob.stat().st_uid == os.geteuid()

    async def test_mounts_inside_mounts_can_be_reached(self, tmp_path: Path) -> None:
        """Also where the way to them is not there yet."""
        ml, data, config = (tmp_path / "roots/inside" / name for name in ("ml", "data", "config"))
        for folder in (ml, data, config):
            folder.mkdir(parents=True)
            (folder / "file").touch()
        mounts = (
            Mount(str(ml), "/opt/ml", MountMode.READ_WRITE),
            Mount(str(config), "/opt/ml/input/config"),
            Mount(str(data), "/opt/ml/input/data/train", MountMode.OVERLAY),
            Mount(str(data), "/tmp/deep/inside/data"),
        )
        script = "ls /opt/ml/input/config /opt/ml/input/data/train /tmp/deep/inside/data && touch /opt/ml/new"
        seen, lines = await self.run(tmp_path, script, mounts=mounts, key="inside")
        assert (seen.exit_code, lines.count("file")) == (0, 3), lines

    async def test_the_shims_death_ends_the_sandbox(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        mark = f"5{os.getpid()}"
        handle = await self.up(backend, self.workload(tmp_path, f"sleep {mark} & echo up; sleep {mark}", key="orphan"))
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.pid is not None
        async with asyncio.timeout(30):
            while not _running(["sleep", mark]):  # the shell said "up" before its child became a sleep
                await asyncio.sleep(0.01)
        os.kill(seen.pid, signal.SIGKILL)
        seen = await self.ended(backend, handle)
        assert (seen.state, seen.exit_code) == (RunState.LOST, None)
        async with asyncio.timeout(30):
            while _running(["sleep", mark]):
                await asyncio.sleep(0.01)
        assert await backend.observe(handle) == seen

    async def test_a_sandbox_that_somebody_kills_has_no_last_words(self, tmp_path: Path) -> None:
        """What it printed last is why it was not made, only where it never began."""
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "echo all is well; sleep 60", key="shot")
        handle = await self.begin(backend, workload)
        while log_lines(workload) != ["all is well"]:
            await asyncio.sleep(0.01)
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.pid is not None
        (sandbox,) = (pid for pid, parent in parents().items() if parent == seen.pid)
        os.kill(sandbox, signal.SIGKILL)
        seen = await self.ended(backend, handle)
        assert (seen.exit_code, seen.detail) == (128 + signal.SIGKILL, "")

    @pytest.mark.parametrize("how", ["the shim is killed", "it is stopped"])
    async def test_nothing_is_left_of_a_sandbox_that_was_still_being_made(self, tmp_path: Path, how: str) -> None:
        """bwrap tells its pid late, and binds its child to itself later still. This one is as it is until then."""
        slow = tmp_path / "bwrap"
        slow.write_text("#!/bin/sh\nsleep 600 &\necho up >&2\nsleep 600\n")
        slow.chmod(0o755)
        backend = local.create(str(tmp_path / "backend"), facts=dataclasses.replace(FACTS, bwrap=str(slow)))
        self.made.append(backend)
        workload = self.workload(tmp_path, "exit 0", key="cut-off")
        handle = await self.up(backend, workload)
        mark = Folder.of(workload.root).mark
        assert len(marked(mark)) >= 2
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.pid is not None
        if how == "it is stopped":
            await backend.stop(handle, 0)
        else:
            os.kill(seen.pid, signal.SIGKILL)
        assert (await self.ended(backend, handle)).state is (
            RunState.EXITED if how == "it is stopped" else RunState.LOST
        )
        assert marked(mark) == []

    @pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM])
    async def test_nothing_is_left_whenever_it_is_interrupted(self, tmp_path: Path, signal_: signal.Signals) -> None:
        backend = local.create(str(tmp_path / "backend"), facts=FACTS, control_groups=False)
        self.made.append(backend)
        for number in range(12):
            workload = self.workload(tmp_path, "sleep 600", key=f"cut-{number}")
            handle = await self.begin(backend, workload)
            seen = await backend.observe(handle)
            assert seen is not None
            assert seen.pid is not None
            until = time.monotonic() + number / 1000
            while time.monotonic() < until:
                pass  # a moment of the making: there is nothing to be seen of it
            if signal_ is signal.SIGTERM:
                await backend.stop(handle, 0)
            else:
                os.kill(seen.pid, signal_)
            await self.ended(backend, handle)
            mark, until = Folder.of(workload.root).mark, time.monotonic() + 60
            while (left := marked(mark)) and time.monotonic() < until:  # killed: gone when the kernel is done
                await asyncio.sleep(0.01)
            assert [words for words in map(told, left) if words] == [], f"{number} ms after it was seen"

    async def test_who_is_stopped_after_its_shim_was_killed_is_ended(self, tmp_path: Path) -> None:
        """As at the start of a control plane, where no record names the run any more."""
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "echo up; sleep 600", key="nobodys")
        handle = await self.up(backend, workload)
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.pid is not None
        backend.close()
        gone = os.pidfd_open(seen.pid)
        os.kill(seen.pid, signal.SIGKILL)
        await asyncio.to_thread(select.select, [gone], [], [], 10)
        os.close(gone)
        await self.backend(tmp_path).stop(handle, 0)
        assert (Path(workload.root) / "shim/exit.json").exists()

    async def test_a_shim_shows_whose_it_is(self, tmp_path: Path) -> None:
        """One is forked by a process that shims share: it has the mark and the folder of its own run all the same."""
        backend = self.backend(tmp_path)
        for key in ("one", "two"):
            workload = self.workload(tmp_path, "echo up; sleep 600", key=key)
            handle = await self.up(backend, workload)
            seen = await backend.observe(handle)
            assert seen is not None
            folder = Folder.of(workload.root)
            process = Path(f"/proc/{seen.pid}")
            assert str(folder.path) in process.joinpath("cmdline").read_text().split("\0")
            assert f"CLARY_RUN={folder.mark}" in process.joinpath("environ").read_text().split("\0")
            assert os.getsid(seen.pid or 0) == seen.pid
            await backend.stop(handle, 0)

    async def test_a_start_whose_starter_died_is_taken_over(self, tmp_path: Path) -> None:
        """The other process's shim dies before it has begun: whoever waited for it starts the run."""
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "exit 3", key="taken-over")
        folder = Folder.of(workload.root)
        folder.path.mkdir(parents=True)
        lock = folder.lock()
        assert lock is not None
        beginning = asyncio.ensure_future(self.begin(backend, workload))
        await asyncio.sleep(0.05)  # it waits, or will: either way the other is at it when it comes
        assert not beginning.done()
        os.close(lock)
        seen = await self.ended(backend, await beginning)
        assert seen.exit_code == 3

    async def test_a_reused_process_id_deceives_nobody(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "exit 0", key="reused")
        handle = await self.begin(backend, workload)
        await self.ended(backend, handle)
        folder = Path(workload.root) / "shim"
        (folder / "exit.json").unlink()
        (folder / "run.json").write_text(f'{{"pid": {os.getpid()}, "ticks": 1, "started_at": 1.0}}')
        successor = self.backend(tmp_path)
        await successor.stop(handle, 0)  # were it believed, this would end us
        seen = await successor.observe(handle)
        assert seen is not None
        assert seen.state is RunState.LOST

    async def test_starters_that_race_make_one_run(self, tmp_path: Path) -> None:
        """Two control planes for a moment: the lock on disk lets one start it."""
        backends = [self.backend(tmp_path) for _ in range(3)]
        workload = self.workload(tmp_path, "echo up; sleep 60", key="race")
        done = await asyncio.gather(*(self.begin(each, workload) for each in backends))
        assert done == ["race"] * 3
        handle = await self.up(backends[0], workload)
        assert log_lines(workload) == ["up"]
        await backends[0].stop(handle, 0)

    async def test_a_killed_control_plane_leaves_its_runs(self, tmp_path: Path) -> None:
        """kill -9 between start and end: the run goes on, its successor hears of the end and learns how it was."""
        program = f"""
import asyncio, os
from pathlib import Path
from clary.backends import local
from clary.domain.machine.workload import Mount, Workload
async def main():
    backend = local.create({str(tmp_path / "backend")!r})
    os.makedirs({str(tmp_path / "root")!r})
    os.makedirs({str(tmp_path / "ml")!r})
    command = ("/bin/sh", "-c", "echo up; while [ ! -e /ml/go ]; do sleep 0.02; done; echo done; exit 6")
    mounts = (Mount({str(tmp_path / "ml")!r}, "/ml"),)
    root = {str(tmp_path / "root")!r}
    workload = Workload("kept", command, {{}}, mounts, root=root, log_path=root + "/log")
    print(await backend.start(backend.plan(workload)), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"kept\n"
        process.kill()
        await process.wait()
        successor = self.backend(tmp_path)
        assert await successor.handles() == ["kept"]
        seen = await successor.observe("kept")
        assert seen is not None
        assert seen.state is RunState.RUNNING
        (tmp_path / "ml/go").touch()
        assert (await self.ended(successor, "kept")).exit_code == 6
        assert (tmp_path / "root/log").read_text().endswith("\tdone\n")

    async def test_objects_are_laid_out_and_results_stored(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        given = (Objects(ACCOUNT, BUCKET, {"given/x": "y"}, "deep/er"),)
        result = Result("out", "z", ACCOUNT, Location(BUCKET, "taken/z"), "text/plain")
        workload = self.valued("cat /in/deep/er/y > /out/z; echo laid out", objects=given, results=(result,), logs=LOG)
        handle = await self.begin(backend, workload)
        assert (await self.ended(backend, handle)).exit_code == 0
        assert await backend.collect(handle) == {
            f"s3://{BUCKET}/taken/z": Collected(hashlib.md5(b"an object\n").hexdigest(), 10)
        }
        assert self.stored.buckets[BUCKET]["taken/z"] == b"an object\n"
        assert self.stored.types[BUCKET, "taken/z"] == "text/plain"
        assert FileLogs(tmp_path / "logs").tail(LOG.scope, LOG.group, LOG.stream, 9) == ["laid out"]
        await backend.forget(handle)
        assert list((tmp_path / "backend" / "own").iterdir()) == []

    async def test_a_result_that_is_a_link_is_not_followed(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        result = Result("out", "z", ACCOUNT, Location(BUCKET, "taken/z"))
        handle = await self.begin(backend, self.valued("ln -s /etc/passwd /out/z", results=(result,)))
        await self.ended(backend, handle)
        with pytest.raises(Unavailable, match="could not be copied"):
            await backend.collect(handle)
        assert "taken/z" not in self.stored.buckets[BUCKET]

    async def test_data_that_is_not_there_is_the_users_fault(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.valued("exit 0", objects=(Objects(ACCOUNT, BUCKET, {"never": "y"}),))
        seen = await self.ended(backend, await self.begin(backend, workload))
        assert (seen.state, seen.exit_code, seen.started_at) == (RunState.EXITED, None, None)
        assert seen.failure == RunFailure("The specified key does not exist: never", client=True)

    async def test_a_full_disk_is_ours(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.valued("exit 0", objects=(Objects(ACCOUNT, BUCKET, {"given/x": "a/b"}),))  # a is a file by then
        seen = await self.ended(backend, await self.begin(backend, workload))
        assert seen.failure is not None
        assert not seen.failure.client

    async def test_it_can_be_stopped_while_it_is_laid_out(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        held = Held(self.stored)
        stuck = local.create(str(tmp_path / "backend"), facts=FACTS, ports=NodePorts(held, FileLogs(tmp_path / "logs")))
        self.made.append(stuck)
        workload = self.valued("exit 0", objects=(Objects(ACCOUNT, BUCKET, {"given/x": "y"}),))
        handle = await self.begin(stuck, workload)
        await held.asked.wait()
        seen = await stuck.observe(handle)
        assert seen == Observation(RunState.STARTING, phase="laying out in")
        with pytest.raises(InUse):
            await stuck.forget(handle)
        await stuck.stop(handle)
        seen = await self.ended(stuck, handle)
        assert (seen.state, seen.stopped, seen.failure) == (RunState.EXITED, True, None)
        assert await backend.observe(handle) == seen
        await stuck.forget(handle)
        assert await stuck.handles() == []

    async def test_a_replica_that_an_older_clary_laid_out_is_changed_and_forgotten_like_ours(
        self, tmp_path: Path
    ) -> None:
        """Its folder was the loop's, and it has no request that tells its files: they are called the same."""
        backend = self.backend(tmp_path)
        root = tmp_path / "replicas" / "r-1"
        for name in ("spec", "archives"):
            (root / name).mkdir(parents=True)
        mounts = tuple(Mount(str(root / name), f"/{name}") for name in ("spec", "archives"))
        script = "until test -s /spec/keys && test -s /archives/one/model; do sleep 0.02; done; exit 3"
        workload = replace(self.workload(tmp_path, script, key="replica-r-1", mounts=mounts), root=str(root))
        handle = await self.begin(backend, workload)
        assert await backend.write(handle, "spec", {"keys": "new"})
        objects = Objects(ACCOUNT, BUCKET, {"given/x": "model"})
        assert await backend.place(handle, "archives", "one", objects, 60.0)
        assert not await backend.write(handle, "never", {"a": ""})
        assert (await self.ended(backend, handle)).exit_code == 3
        await backend.forget(handle)
        assert not root.exists()

    async def test_a_resize_waits_for_the_start_that_it_is_to_change(self, tmp_path: Path) -> None:
        self.backend(tmp_path)
        held = Held(self.stored)
        backend = local.create(
            str(tmp_path / "backend"), facts=FACTS, ports=NodePorts(held, FileLogs(tmp_path / "logs"))
        )
        self.made.append(backend)
        workload = self.valued("sleep 60", objects=(Objects(ACCOUNT, BUCKET, {"given/x": "y"}),))
        handle = await self.begin(backend, workload)
        await held.asked.wait()
        resized = asyncio.create_task(backend.resize(handle, 0.5, 128 << 20))
        written = asyncio.create_task(backend.write(handle, "in", {"a": "late"}))
        await asyncio.sleep(0)
        assert not resized.done()
        held.go.set()
        await resized
        assert await written
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.state is RunState.RUNNING
        await backend.stop(handle, 0)
        await self.ended(backend, handle)

    async def test_a_successor_goes_on_where_the_layout_was_cut_off(self, tmp_path: Path) -> None:
        """kill -9 while the store had not answered yet: what was asked for, secrets and all, is done by the successor."""
        program = f"""
import asyncio
from clary.backends import local
from clary.backends.node.layout import NodePorts
from clary.domain.machine.workload import Files, Objects, Selected, Workload
from clary.domain.s3 import Location
from clary.ports import StoredObject
class Artifacts:
    def of(self, account):
        return self
    async def find(self, bucket, prefix, limit=None):
        return [StoredObject("given/x", 10, "e")]
    async def place(self, bucket, keys, folder):
        print(folder, flush=True)
        await asyncio.sleep(600)
async def main():
    backend = local.create({str(tmp_path / "backend")!r}, ports=NodePorts(Artifacts(), None))
    files = (Files("in", "/in", objects=(Objects({ACCOUNT!r}, {BUCKET!r}, {{"given/x": "y"}}),)),)
    command = ("/bin/sh", "-c", "cat /in/y; echo $SECRET")
    await backend.start(backend.plan(Workload("cut", command, {{}}, files=files)), {{"SECRET": "kept"}})
    selected = Selected({ACCOUNT!r}, Location({BUCKET!r}, "given/"))
    data = Workload("data", (), {{}}, files=(Files("algo-1.train", "/in", selected=selected),))
    await backend.start(backend.plan(data))
    await asyncio.sleep(600)
asyncio.run(main())
"""
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            halves = [Path((await process.stdout.readline()).decode().strip()) for _ in range(2)]
        process.kill()
        await process.wait()
        for half in halves:
            (half / "half").touch()
        successor = self.backend(tmp_path)
        assert await successor.observe("cut") == Observation(RunState.STARTING)
        assert isinstance(successor, LocalBackend)
        await successor.take_up()
        assert (await self.ended(successor, "cut")).exit_code == 0
        assert await successor.read("cut", "", "", 1024) == "an object\nkept"
        assert (await self.ended(successor, "data")).laid["algo-1.train"].size == len(OBJECT)
        assert not any((half / "half").exists() for half in halves)
        await successor.take_up()  # what has ended is left alone
        assert (await self.ended(successor, "cut")).exit_code == 0

    async def test_a_layout_that_fails_says_whose_fault_it_was_and_a_stop_ends_one(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        nothing = Selected(ACCOUNT, Location(BUCKET, "none/"), nothing="No S3 objects found")
        handle = await self.begin(backend, Workload("bad", (), {}, files=(Files("in", "/in", selected=nothing),)))
        seen = await self.ended(backend, handle)
        assert (seen.exit_code, seen.failure) == (None, RunFailure("No S3 objects found", client=True))
        held = Held(self.stored)
        ports = NodePorts(held, FileLogs(tmp_path / "logs"), OwnInterpreter())
        slow = local.create(str(tmp_path / "slow"), facts=FACTS, ports=ports)
        self.made.append(slow)
        given = Selected(ACCOUNT, Location(BUCKET, "given/"))
        data = Workload("data", (), {}, files=(Files("algo-1.train", "/in", selected=given),))
        handle = await self.begin(slow, data)
        await held.asked.wait()
        assert await slow.observe(handle) == Observation(RunState.STARTING, phase="downloading algo-1.train")
        await slow.stop(handle)
        seen = await self.ended(slow, handle)
        assert (seen.stopped, seen.exit_code, seen.failure, seen.laid) == (True, None, None, {})
        await slow.forget(handle)
        assert await slow.handles() == []

    async def test_no_open_file_of_ours_reaches_the_sandbox(self, tmp_path: Path) -> None:
        leak = os.open("/etc/hostname", os.O_RDONLY)
        os.set_inheritable(leak, True)
        try:
            seen, lines = await self.run(tmp_path, "ls /proc/self/fd", key="files")
        finally:
            os.close(leak)
        assert seen.exit_code == 0
        assert lines == ["0", "1", "2", "3"]  # 3 is the folder that ls lists

    async def test_a_hangup_ends_nothing(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        handle = await self.up(backend, self.workload(tmp_path, "echo up; while :; do sleep 0.05; done", key="hangup"))
        seen = await backend.observe(handle)
        assert seen is not None
        assert seen.pid is not None
        for number in (signal.SIGHUP, signal.SIGINT):
            os.kill(seen.pid, number)
        await asyncio.sleep(0)
        await backend.stop(handle)
        assert (await self.ended(backend, handle)).stopped

    async def test_a_full_disk_is_told(self, tmp_path: Path) -> None:
        backend = self.backend(tmp_path)
        workload = self.workload(tmp_path, "exit 0", key="full")
        Path(workload.root).rmdir()
        Path(workload.root).touch()  # no folder can be made there
        with pytest.raises(Unavailable, match="full"):
            await self.begin(backend, workload)

    async def test_the_toolkit_is_there_and_compiled(self, tmp_path: Path) -> None:
        seen, lines = await self.run(
            tmp_path, "cd /opt/clary/lib/clary && ls -d * toolkit/frames.py toolkit/__pycache__", key="lib"
        )
        assert (seen.exit_code, lines) == (
            0,
            ["prepare.py", "toolkit", "toolkit/__pycache__", "toolkit/frames.py"],
        )


async def _end_all(backend: LocalBackend) -> None:
    backend._watched.clear()  # their loop is gone
    for handle in await backend.handles():
        await backend.stop(handle, 0)
        async with asyncio.timeout(30):
            while (seen := await backend.observe(handle)) is not None and not seen.state.is_terminal:
                await asyncio.sleep(0.01)
        await backend.forget(handle)
    backend.close()


def told(pid: int) -> str:
    """What a process is at, for who reads of a test that failed. "" when it is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        status = [
            line
            for line in (folder / "status").read_text().splitlines()
            if line.startswith(("State", "PPid", "ShdPnd"))
        ]
        return f"{pid} {status} {_read(folder / 'wchan')!r} {_read(folder / 'cmdline')!r}"
    except OSError:
        return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _running(argv: list[str]) -> bool:
    line = "\0".join(argv).encode() + b"\0"
    return any(_read(path) == line for path in Path("/proc").glob("[0-9]*/cmdline"))


def test_secrets_that_no_file_names_reach_a_real_image_too() -> None:
    image = ContainerImage("my/own:1", ("serve",), {"A": "1"})
    files = (Files("spec", "/spec", secrets={"token": "token"}),)
    made = local._with(Workload("k", ("x",), {"B": "2"}, files=files, container=image), {"token": "t", "KEY": "s"})
    assert made.environment == {"B": "2", "KEY": "s"}
    assert made.container is not None
    assert made.container.environment == {"A": "1", "KEY": "s"}


# -- sandboxes that wait ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not FACTS.root, reason="only root mounts folders in a sandbox that runs")
async def test_a_run_in_a_sandbox_that_waited_has_the_rights_and_the_mounts_that_it_would_have_had(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "given").write_text("given\n")
    show = "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status; cut -d' ' -f5,6 /proc/self/mountinfo | grep -E '^/(in|over|out) '"
    tried = "touch /in/x 2>/dev/null || echo read-only; echo mine >>/over/given; touch /over/new; cat /over/given; stat -c %a /over"
    script = f"{show}; {tried}; id -G"
    seen = []
    made = TestLocalBackend()
    made.made = []
    backend = made.backend(tmp_path)
    for wait in (True, False):
        files = (Files("in", "/in", texts={"a": "x"}), Files("out", "/out", MountMode.READ_WRITE))
        mounts = (Mount(str(folder), "/over", MountMode.OVERLAY),)
        if wait:
            command = ("/bin/sh", "-c", f"cat >/dev/null; {script}")
            waiting = Workload("waiting", command, {}, memory=256 << 20, waits=True)
            await made.running(backend, await backend.start(backend.plan(waiting)))
        job = Workload(
            f"job-{wait}",
            ("/bin/sh", "-c", script),
            {},
            files=files,
            mounts=mounts,
            memory=256 << 20,
            standby="waiting" if wait else "",
        )
        handle = await backend.start(backend.plan(job))
        ended = await made.ended(backend, handle)
        assert (ended.exit_code, ended.detail) == (0, "")
        words = (await backend.read(handle, "", "", 8192)).splitlines()
        # bwrap mounts an overlay without flags; the one that is mounted later forbids devices and setuid too, as other mounts do.
        kept = [line.replace("/over rw,nosuid,nodev,", "/over rw,") for line in words[:-1]]
        seen.append([line for line in kept if not line.startswith("/out")])
        groups = words[-1].split()
        assert len(groups) == 1
        assert int(groups[0]) >= 210_000
    waited = await backend.observe("waiting")
    assert waited is not None
    assert (waited.exit_code, waited.detail, waited.stopped) == (0, "", False), await backend.read(
        "waiting", "", "", 4096
    )
    assert seen[0] == seen[1]
    assert [path.name for path in folder.iterdir()] == ["given"]
    assert (folder / "given").read_text() == "given\n"
    assert sorted(await backend.handles()) == ["job-False", "job-True"]
    with pytest.raises(InUse):
        await backend.forget("waiting")
    await _end_all(backend)  # type: ignore[arg-type]
    assert await backend.observe("waiting") is None


@pytest.mark.skipif(not FACTS.root, reason="only root mounts folders in a sandbox that runs")
async def test_a_sandbox_that_waits_ends_by_itself(tmp_path: Path) -> None:
    made = TestLocalBackend()
    made.made = []
    backend = made.backend(tmp_path)
    waiting = Workload("waiting", ("/bin/sh", "-c", "cat"), {}, memory=256 << 20, waits=True, max_runtime=0.3)
    await backend.start(backend.plan(waiting))
    ended = await made.ended(backend, "waiting")
    assert ended.timed_out
    job = Workload("job", ("/bin/sh", "-c", "exit 5"), {}, memory=256 << 20, standby="waiting")
    await backend.start(backend.plan(job))
    assert (await made.ended(backend, "job")).exit_code == 5
    await _end_all(backend)  # type: ignore[arg-type]


@pytest.mark.skipif(not FACTS.root, reason="only root mounts folders in a sandbox that runs")
async def test_a_run_in_a_sandbox_that_waited_has_its_own_time_and_outlives_the_control_plane(tmp_path: Path) -> None:
    made = TestLocalBackend()
    made.made = []
    backend = made.backend(tmp_path)
    command = ("/bin/sh", "-c", "cat >/dev/null; echo ready; sleep 600")
    waiting = Workload("waiting", command, {}, memory=256 << 20, waits=True, max_runtime=600, stop_grace=0.5)
    await made.running(backend, await backend.start(backend.plan(waiting)))
    job = Workload("job", command, {}, memory=256 << 20, standby="waiting", max_runtime=1.0, stop_grace=0.5)
    await backend.start(backend.plan(job))
    await made.running(backend, "job")
    made.made[0].close()
    successor = made.backend(tmp_path)
    ended = await made.ended(successor, "job")
    assert ended.timed_out
    assert await successor.handles() == ["job"]
    await _end_all(successor)  # type: ignore[arg-type]
