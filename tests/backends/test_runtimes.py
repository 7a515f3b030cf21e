"""Environments: built once, whole or not at all, users' requirements only inside a sandbox. Without an index: wheels made here."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from clary.backends import runtimes
from clary.backends.containers import Engine
from clary.backends.image_names import ImageNames
from clary.backends.images import SHARED, RuntimeVariant, pinned
from clary.backends.images import runtimes as shipped
from clary.backends.interpreters import Interpreter
from clary.backends.runtimes import UvRuntimes
from clary.domain.errors import Invalid, Unavailable
from clary.domain.images import NOT_IMPLEMENTED
from clary.domain.machine.workload import Environment, Mount, MountMode
from clary.ports import Runtime
from clary.testing.runtimes import Buildable, RuntimesConformance

from .conftest import Sandboxes, needs_sandbox


def wheel(folder: Path, name: str, version: str, source: str) -> str:
    """A wheel with one module; its requirement line with its hash."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-tool = {name}:main\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}\n")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": "".join(rows) + f"{info}/RECORD,,\n"}.items():
            archive.writestr(member, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def source(folder: Path, name: str, setup: str) -> None:
    """A source distribution whose build runs `setup`, without a build backend to fetch."""
    backend = (
        "import os, zipfile\n"
        "def get_requires_for_build_wheel(settings=None): return []\n"
        "def build_wheel(folder, settings=None, metadata=None):\n"
        f"    {setup}\n"
        f"    name = '{name}-1.0-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(os.path.join(folder, name), 'w') as file:\n"
        f"        file.writestr('{name}.py', '')\n"
        f"        file.writestr('{name}-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n')\n"
        f"        file.writestr('{name}-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        f"        file.writestr('{name}-1.0.dist-info/RECORD', '')\n"
        "    return name\n"
    )
    project = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    information = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for path, text in {"own.py": backend, "pyproject.toml": project, "PKG-INFO": information}.items():
            member = tarfile.TarInfo(f"{name}-1.0/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


class Builder:
    """Runtimes over a folder of wheels."""

    def __init__(self, folder: Path, sandboxes: Sandboxes) -> None:
        self.wheels = folder / "wheels"
        self.wheels.mkdir(mode=0o755)
        self.folder = folder / "environments"
        self.sandboxes = sandboxes
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_FIND_LINKS": str(self.wheels),
            "UV_OFFLINE": "1",
        }

    def made(self) -> UvRuntimes:
        return runtimes.create(str(self.folder), self.sandboxes.backend, environment=self.environment)

    async def run(self, key: str, python: str, script: str, mounts: tuple[Mount, ...]) -> tuple[int | None, str]:
        seen, log = await self.sandboxes.run(key, python, "-c", script, mounts=mounts)
        return seen.exit_code, log


@pytest.fixture
async def builder(tmp_path: Path) -> AsyncIterator[Builder]:
    sandboxes = Sandboxes(tmp_path)
    yield Builder(tmp_path, sandboxes)
    await sandboxes.close()


@needs_sandbox
class TestUv(RuntimesConformance):
    @pytest.fixture
    async def buildable(self, builder: Builder) -> Buildable:
        requirements = wheel(builder.wheels, "alpha", "1.0", "")
        for name in ("beta", "gamma"):
            wheel(builder.wheels, name, "1.0", "")
        return Buildable(
            builder.made(),
            Runtime("small", "python", requirements=requirements),
            ("beta", "gamma"),
            "never-heard-of==3",
        )


@needs_sandbox
async def test_built_once_and_found_again(builder: Builder) -> None:
    runtime = Runtime(
        "small", "python", requirements=wheel(builder.wheels, "alpha", "1.0", "VALUE = 7\ndef main(): print(VALUE)\n")
    )
    made, lines = builder.made(), []
    assert made.built(runtime) is None
    first, second = await asyncio.gather(made.ensure(runtime, log=lines.append), made.ensure(runtime))
    assert first == second == made.built(runtime) == builder.made().built(runtime)
    assert sum("alpha==1.0" in line for line in lines) == 1
    assert lines[0].startswith("Building the runtime small for Python 3.1")
    assert lines[-1].startswith("Built the runtime small in ")
    folder = made.place(first).path
    before = os.stat(folder).st_mtime_ns
    assert await builder.made().ensure(runtime) == first
    assert os.stat(folder).st_mtime_ns == before
    assert list(Path(folder).rglob("alpha*.pyc"))
    mounts = (Mount(folder, first.path),)
    assert await builder.run("use", first.python, "import alpha; print(alpha.VALUE)", mounts) == (0, "7")
    seen, log = await builder.sandboxes.run("tool", f"{first.path}/bin/alpha-tool", mounts=mounts)
    assert (seen.exit_code, log) == (0, "7")


@needs_sandbox
async def test_a_users_requirements_come_on_top(builder: Builder) -> None:
    runtime = Runtime("small", "python", requirements=wheel(builder.wheels, "alpha", "1.0", "VALUE = 7"))
    wheel(builder.wheels, "alpha", "2.0", "VALUE = 8")
    wheel(builder.wheels, "beta", "0.1", "import alpha\nVALUE = alpha.VALUE * 2")
    made, lines = builder.made(), []
    plain = await made.ensure(runtime)
    more = await made.ensure(runtime, "# mine\nalpha==2.0\nbeta\n", lines.append)
    assert any("beta==0.1" in line for line in lines)
    assert made.place(more).path != made.place(plain).path
    assert made.hash(runtime, "alpha==2.0\n\nbeta  # double\n") == made.hash(runtime, "# mine\nalpha==2.0\nbeta\n")
    for key, environment, value in (("plain", plain, "7"), ("more", more, "16")):
        module = "alpha" if key == "plain" else "beta"
        script = f"import {module}; print({module}.VALUE)"
        assert await builder.run(
            key, environment.python, script, (Mount(made.place(environment).path, environment.path),)
        ) == (
            0,
            value,
        )
    assert sorted(await builder.sandboxes.backend.handles()) == ["more", "plain"]  # a build is not one of a loop's runs


@needs_sandbox
async def test_a_failed_build_leaves_nothing_and_says_why(builder: Builder) -> None:
    good = wheel(builder.wheels, "alpha", "1.0", "")
    made = builder.made()
    lines: list[str] = []
    with pytest.raises(Invalid, match=r"requirements\.txt could not be installed: No solution") as caught:
        await made.ensure(Runtime("small", "python", requirements=good), "never-heard-of==3", lines.append)
    assert str(builder.folder) not in "".join(["".join(lines), str(caught.value)])  # a folder that nobody can look into
    with pytest.raises(Invalid, match="alpha"):
        await made.ensure(Runtime("small", "python", requirements=good.replace("sha256:", "sha256:00")[:-3] + "\n"))
    assert [path.name for path in builder.folder.iterdir() if not path.name.endswith(".lock")] == []


@needs_sandbox
async def test_a_build_that_runs_code_runs_it_in_a_sandbox(builder: Builder, tmp_path: Path) -> None:
    """A source distribution may do what it likes: not to us."""
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    source(builder.wheels, "evil", f"open({str(tmp_path / 'spoiled')!r}, 'w').write(open({str(secret)!r}).read())")
    source(builder.wheels, "honest", "pass")
    runtime = Runtime("small", "python", requirements=wheel(builder.wheels, "alpha", "1.0", ""))
    made = builder.made()
    with pytest.raises(Invalid, match="secret"):
        await made.ensure(runtime, "evil")
    assert not (tmp_path / "spoiled").exists()
    built = await made.ensure(runtime, "honest")
    assert await builder.run("honest", built.python, "import honest", (Mount(made.place(built).path, built.path),)) == (
        0,
        "",
    )
    with pytest.raises(Invalid):
        await made.ensure(Runtime("pinned", "python", requirements="honest==1.0 --hash=sha256:00\n"))


@needs_sandbox
async def test_an_overlay_of_an_environment_can_be_written(builder: Builder) -> None:
    runtime = Runtime("small", "python", requirements=wheel(builder.wheels, "alpha", "1.0", "VALUE = 7"))
    made = builder.made()
    built = await made.ensure(runtime)
    script = "import alpha, os; os.unlink(alpha.__file__); open(os.path.dirname(alpha.__file__) + '/new.py', 'w'); print('written')"
    overlay = (Mount(made.place(built).path, built.path, MountMode.OVERLAY),)
    assert await builder.run("overlay", built.python, script, overlay) == (0, "written")
    plain = (Mount(made.place(built).path, built.path),)
    assert (await builder.run("plain", built.python, script, plain))[0] == 1
    assert await builder.run("after", built.python, "import alpha; print(alpha.VALUE)", plain) == (0, "7")


@needs_sandbox
async def test_a_build_that_was_cut_off_is_made_anew(builder: Builder) -> None:
    runtime = Runtime("small", "python", requirements=wheel(builder.wheels, "alpha", "1.0", "VALUE = 7"))
    made = builder.made()
    name = made.folder_name(runtime)
    for leftover in (builder.folder / name, builder.folder / f".{name}"):
        leftover.mkdir(parents=True)
        (leftover / "half").touch()
    assert made.built(runtime) is None
    built = await made.ensure(runtime)
    assert Path(made.place(built).path) == builder.folder / name
    assert not (builder.folder / name / "half").exists()


UV = """#!/bin/sh
# A uv that says what it does, and takes as long as the test wants.
echo "begin $1" >> said
case "$1" in
venv) for last; do mkdir -p "$last/bin"; done ;;
pip) while [ ! -e go ]; do sleep 0.01; done ;;
esac
echo "end $1" >> said
"""
BUILD = """
import asyncio, sys
from clary.backends import runtimes
from clary.ports import Runtime
made = runtimes.create(sys.argv[1], None, environment={"PATH": "/bin:/usr/bin"}, uv=sys.argv[2])
asyncio.run(made.ensure(Runtime("small", "python")))
"""


async def test_a_build_waits_for_what_a_killed_control_plane_left_building(tmp_path: Path) -> None:
    """uv outlives it, and writes into the very folder that its successor makes anew."""
    uv, folder = tmp_path / "uv", tmp_path / "environments"
    uv.write_text(UV)
    uv.chmod(0o755)

    def said() -> list[str]:
        return (folder / "said").read_text().splitlines() if (folder / "said").exists() else []

    def waits() -> bool:
        """Somebody waits for the lock of the build."""
        inodes = {str(path.stat().st_ino) for path in folder.glob(".*.lock")}
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return any(line[1] == "->" and line[-3].rpartition(":")[2] in inodes for line in lines)

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)

    first = await asyncio.create_subprocess_exec(sys.executable, "-c", BUILD, str(folder), str(uv))
    await until(lambda: said()[-1:] == ["begin pip"])
    first.kill()
    await first.wait()
    nothing: Any = None
    made = runtimes.create(str(folder), nothing, environment={"PATH": "/bin:/usr/bin"}, uv=str(uv))
    building = asyncio.create_task(made.ensure(Runtime("small", "python")))
    await until(lambda: waits() or building.done() or len(said()) > 3)
    (folder / "go").touch()
    built = await building
    assert said() == ["begin venv", "end venv", "begin pip", "end pip"] * 2
    assert made.built(Runtime("small", "python")) == built


async def test_a_newer_python_serves_an_algorithm_and_ours_trains_it_and_runs_users_code(tmp_path: Path) -> None:
    uv, folder = tmp_path / "uv", tmp_path / "environments"
    uv.write_text('#!/bin/sh\necho "$@" >> said\nfor last; do :; done\n[ "$1" = pip ] || mkdir -p "$last/bin"\n')
    uv.chmod(0o755)
    nothing: Any = None
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ("/ours",))
    other = Interpreter("/other/bin/python3.13", "3.13 build", (3, 13), ("/other",))

    def made(newer: Interpreter | None) -> UvRuntimes:
        return UvRuntimes(folder, nothing, str(uv), {}, ours, newer, ())

    pins = "xgboost-cpu==3.2 ; python_full_version < '3.12'\nxgboost-cpu==3.4 ; python_full_version >= '3.12'\n"
    trains = Runtime("xgboost", "xgboost", "trees", requirements=pins, version="3.2")
    serves = dataclasses.replace(trains, serving=True)
    one = made(other)
    first = await one.ensure(serves)
    assert one.place(first).mounts == ("/other",)
    assert "--python /other/bin/python3.13" in (folder / "said").read_text()
    assert made(other).built(serves) == first
    assert (made(other).built(trains), made(None).built(serves)) == (None, None)
    (folder / "said").unlink()
    second = await one.ensure(trains)
    assert one.place(second).mounts == ("/ours",)
    assert "--python /ours/bin/python3" in (folder / "said").read_text()
    assert made(other).built(trains) == made(None).built(trains) == made(None).built(serves) == second
    wrote = [json.loads(Path(f"{one.place(each).path}.json").read_text())["version"] for each in (first, second)]
    assert wrote == ["3.4", "3.2"]
    told = [(each.runtime, each.python, each.version) for each in made(other).variants(trains)]
    assert told == [(trains, "3.11", "3.2"), (serves, "3.13", "3.4")]
    assert [each.runtime for each in made(None).variants(trains)] == [trains]


async def test_a_node_knows_an_environment_by_value_wherever_its_python_lies(tmp_path: Path) -> None:
    """Its hash is that of other machines, its folder this machine's. One that this machine would make otherwise is refused."""
    nothing: Any = None
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ("/ours",))
    trees = Runtime("trees", "xgboost", algorithm="trees", requirements="trees==1")
    serves = dataclasses.replace(trees, serving=True)
    newer = Interpreter("/newer/bin/python3.13", "3.13 build", (3, 13), ("/newer",))

    def node(name: str, known: Runtime = trees, python: Interpreter = ours) -> UvRuntimes:
        return UvRuntimes(tmp_path / name, nothing, "", {}, python, newer, (known,))

    moved = dataclasses.replace(ours, path="/elsewhere/python3", prefixes=("/elsewhere",))
    for runtime, extra, folder in (
        (trees, "", "/elsewhere"),
        (trees, "pandas\n", "/elsewhere"),
        (serves, "", "/newer"),
    ):
        asked = Environment("trees", node("a").hash(runtime, extra), extra, runtime.python, runtime.serving)
        here, there = node("a").place(asked), node("b", python=moved).place(asked)
        assert Path(here.path).parent == tmp_path / "a"
        assert (Path(there.path).parent, there.mounts) == (tmp_path / "b", (folder,))
        assert (Path(here.path).name == Path(there.path).name) == (runtime is serves)  # whose Python did not move
        for other in (
            node("c", dataclasses.replace(trees, requirements="trees==2")),
            node("c", dataclasses.replace(trees, name="others")),
            node("c", python=dataclasses.replace(ours, version="3.11 patch")),
        ):
            if runtime is not serves or other.all() != node("c").all():
                with pytest.raises(Unavailable, match="not one that this machine makes"):
                    await other.have(asked)


async def test_what_was_asked_for_by_value_is_built_where_it_is_not(tmp_path: Path) -> None:
    uv, nothing = tmp_path / "uv", None
    uv.write_text('#!/bin/sh\nfor last; do :; done\n[ "$1" = pip ] || mkdir -p "$last/bin"\n')
    uv.chmod(0o755)
    known = Runtime("small", "python", requirements="alpha==1")
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ("/ours",))
    control, node = (UvRuntimes(tmp_path / each, nothing, str(uv), {}, ours, None, (known,)) for each in ("a", "b"))
    asked = await control.ensure(known)
    assert node.built(known) is None
    await node.have(asked)
    assert node.built(known) == asked
    assert Path(node.place(asked).path).is_dir()
    with pytest.raises(Unavailable, match="no backend"):
        await node.have(dataclasses.replace(asked, hash=node.hash(known, "pandas"), requirements="pandas\n"))


async def test_nothing_else_gets_the_newer_python(tmp_path: Path) -> None:
    nothing: Any = None
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ())
    other = Interpreter("/other/bin/python3.13", "3.13 build", (3, 13), ())
    one, two = (UvRuntimes(tmp_path, nothing, "", {}, ours, newer, ()) for newer in (other, None))
    algorithm = Runtime("trees", "xgboost", algorithm="trees", serving=True)
    assert one.hash(algorithm) != two.hash(algorithm)
    assert one.hash(algorithm, "# pandas\n") != two.hash(algorithm)
    assert one.hash(algorithm, "pandas") == two.hash(algorithm, "pandas")  # a user's packages
    for each in (
        dataclasses.replace(algorithm, serving=False),
        dataclasses.replace(algorithm, image="x"),
        Runtime("script", "sklearn", serving=True),
    ):
        assert one.hash(each) == two.hash(each)
        assert len(one.variants(each)) == len({one.hash(each), one.hash(dataclasses.replace(each, serving=True))})


def test_an_algorithm_is_shipped_or_has_a_way_out_in_a_runtime_that_is() -> None:
    names, repositories = {each.name for each in shipped()}, {name for each in shipped() for name in each.repositories}
    assert not repositories & NOT_IMPLEMENTED.keys()
    assert {row.instead.rpartition(" in the runtime ")[2] for row in NOT_IMPLEMENTED.values()} <= names


def test_what_is_shipped_is_pinned_hashed_and_names_no_index() -> None:
    folder = Path(runtimes.__file__).parent / "environments"
    names = {runtime.name for runtime in shipped()} - SHARED.keys()  # some have the environment of another one
    assert names == {path.stem for path in folder.glob("*.in")} == {path.stem for path in folder.glob("*.txt")}
    for runtime in shipped():
        assert runtime.version
        assert "://" not in runtime.requirements
        assert "--index" not in runtime.requirements
        given = (folder / f"{SHARED.get(runtime.name, runtime.name)}.in").read_text().splitlines()
        for line in (each.partition(";")[0].strip() for each in given):
            assert pinned(runtime.requirements, line), line
        pins = [line for line in runtime.requirements.splitlines() if line and not line.startswith(" ")]
        assert all("==" in line and line.endswith("\\") for line in pins)
    small = next(runtime for runtime in shipped() if runtime.name == "xgboost")
    assert not pinned(small.requirements, "scikit-learn")  # it would be imported with XGBoost, and waited for


def test_the_size_of_what_may_be_downloaded_is_told_first() -> None:
    python = Interpreter(sys.executable, "3.11.7", (3, 11), (sys.prefix,))
    pytorch, sklearn = (next(r for r in shipped() if r.name == name) for name in ("pytorch", "sklearn"))
    assert "3.0 GB to download" in runtimes.opening(pytorch, python, extra=False)
    assert "94 MB to download" in runtimes.opening(sklearn, python, extra=True)
    assert "with the packages of requirements.txt" in runtimes.opening(sklearn, python, extra=True)
    assert all(runtime.download for runtime in shipped())


async def test_a_silent_build_tells_that_it_goes_on() -> None:
    lines: list[str] = []
    enough = asyncio.Event()

    def log(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            enough.set()

    async def build() -> None:
        await enough.wait()

    async with asyncio.timeout(20):
        await runtimes.told(build(), "sklearn", log, each=0.01)
    assert lines[:3] == ["Still building the runtime sklearn: 0 s so far."] * 3
    assert lines[-1].startswith("Built the runtime sklearn in 0.")


async def test_a_build_that_is_given_up_is_ended() -> None:
    ended = asyncio.Event()

    async def build() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(runtimes.told(build(), "sklearn", lambda line: None))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_the_version_that_is_told_is_the_one_that_this_python_gets() -> None:
    text = "a-cpu==1\na==2.0 ; python_full_version < '3.12' \\\n    --hash\na==3.1 ; python_full_version >= '3.12' and x \\\nb==4 \\\n"
    assert [pinned(text, "a", python) for python in ((3, 11), (3, 12), (3, 13))] == ["2.0", "3.1", "3.1"]
    assert (pinned(text, "b"), pinned(text, "c")) == ("4", "")


def test_each_python_is_told_its_own_xgboost() -> None:
    [small] = [runtime for runtime in shipped() if runtime.name == "xgboost"]
    assert small.version == pinned(small.requirements, "xgboost-cpu")
    for python in ((3, 11), (3, 13)):
        assert RuntimeVariant.of(small, python).version == pinned(small.requirements, "xgboost-cpu", python)
    assert pinned(small.requirements, "xgboost-cpu", (3, 11)) != pinned(small.requirements, "xgboost-cpu", (3, 12))


def test_resolve_by_repository(tmp_path: Path) -> None:
    known = {name: runtime.name for runtime in shipped() for name in runtime.repositories}
    assert known["sagemaker-xgboost"] == known["xgboost"] == "xgboost"
    assert known["sagemaker-scikit-learn"] == "sklearn"
    assert known["pytorch-inference"] == "pytorch"


def test_a_digest_changes_with_what_decides_the_content(tmp_path: Path) -> None:
    nothing: Any = None
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ())
    other = Interpreter("/other/bin/python3.13", "3.13 build", (3, 13), ())
    trees = Runtime("trees", "trees", algorithm="trees", repositories=("trees",), requirements="trees==1")
    script = Runtime("trees-script", "trees", requirements="trees==1\npandas==2")
    plain = Runtime("plain", "plain", repositories=("plain",), requirements="plain==1")

    def digests(*known: Runtime, python: Interpreter = ours, newer: Interpreter | None = None) -> tuple[str, str]:
        made = UvRuntimes(tmp_path, nothing, "", {}, python, newer, known)
        assert made.digest("elsewhere/unknown:1") == ""
        return made.digest("1.dkr.ecr.us-east-1.amazonaws.com/trees:1"), made.digest("plain")

    first = digests(trees, script, plain)
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in first)
    assert first[0] != first[1]
    moved = dataclasses.replace(ours, path="/elsewhere/python3")
    assert digests(plain, script, trees) == digests(trees, script, plain, python=moved) == first
    for changed in (
        digests(dataclasses.replace(trees, requirements="trees==2"), script, plain),
        digests(trees, dataclasses.replace(script, requirements="trees==1"), plain),
        digests(trees, script, plain, newer=other),  # which serves the algorithm's models
    ):
        assert changed[0] != first[0]
        assert changed[1] == first[1]
    upgraded = digests(trees, script, plain, python=dataclasses.replace(ours, version="3.11 patch"))
    assert not set(upgraded) & set(first)


async def test_the_digest_of_a_real_image_is_its_id_and_outlives_this_process(tmp_path: Path) -> None:
    id_ = "ab" * 32
    program = tmp_path / "engine"
    program.write_text(f"#!/bin/sh\necho sha256:{id_}\n")
    program.chmod(0o755)
    nothing: Any = None
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ())
    generic = Runtime("python", "python")

    def made() -> UvRuntimes:
        return UvRuntimes(tmp_path / "e", nothing, "", {}, ours, None, (generic,), engine=Engine((str(program),)))

    one = made()
    assert one.digest("my/own:1") == ""
    container = one.resolve("my/own:1")
    assert container is not None
    built = tmp_path / "e" / one.folder_name(container)
    built.mkdir(parents=True)
    Path(f"{built}.json").write_text('{"runtime": "container"}')
    await one.ensure(container)
    assert one.digest("my/own:1") == made().digest("my/own:1") == f"sha256:{id_}"


def test_names_that_the_user_gave_weigh_more_and_count_at_once(tmp_path: Path) -> None:
    nothing: Any = None
    file = tmp_path / "images.json"
    made = runtimes.create(str(tmp_path / "environments"), nothing, environment={}, names=file)

    def name(image: str) -> str | None:
        found = made.resolve(image)
        return found.name if found else None

    assert name("registry.local:5000/team/my-model:3") is None
    names = ImageNames(file)
    names.add("my-model", "python")
    names.add("pytorch-inference", "sklearn")
    assert name("registry.local:5000/team/my-model:3") == "python"
    assert name("x.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6") == "sklearn"
    assert "my-model" in next(r for r in made.all() if r.name == "python").repositories
    names.remove("pytorch-inference")
    assert name("pytorch-inference") == "pytorch"


def test_a_runtime_that_names_its_python_gets_that_one_or_tells_what_to_do(tmp_path: Path) -> None:
    nothing: Any = None
    ours = Interpreter("/ours/bin/python3", "3.11 build", (3, 11), ())
    other = Interpreter("/other/bin/python3.10", "3.10 build", (3, 10), ())
    plain = Runtime("python", "python")
    made = UvRuntimes(tmp_path, nothing, "", {}, ours, None, (plain,), releases={"3.10": other}.get)
    [variant] = made.variants(dataclasses.replace(plain, python="3.10"))
    assert variant.python == "3.10"
    assert made.hash(plain) == made.hash(dataclasses.replace(plain, python="3.11"))
    assert made.hash(plain) != made.hash(dataclasses.replace(plain, python="3.10"))
    with pytest.raises(Invalid, match=r"needs Python 3\.12.*uv python install 3\.12"):
        made.hash(dataclasses.replace(plain, python="3.12"))
    with pytest.raises(Invalid, match=r"Python 3\.7 is not supported"):
        made.hash(dataclasses.replace(plain, python="3.7"))
