"""What a container engine is told for a workload, and how its image is had. tests/sdk/test_containers.py runs real ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clary.backends import containers
from clary.backends.containers import Engine
from clary.domain.errors import Invalid, Unschedulable
from clary.domain.machine.workload import ContainerImage, Mount, MountMode, Workload

ENGINE = Engine(("/usr/bin/podman", "--runtime", "runc"))


def workload(environment: dict[str, str] | None = None, network: bool = True, **more: Any) -> Workload:
    mounts = (Mount("/models/k", "/opt/ml/model"), Mount("/tmp/w", "/opt/ml/output", MountMode.READ_WRITE))
    image = ContainerImage("my/own:1", ("serve",), environment or {}, mounts, network=network)
    return Workload("replica-1", ("python",), {}, root="/r", cpu=1.5, memory=1 << 30, container=image, **more)


def option(argv: tuple[str, ...], name: str) -> list[str]:
    return [argv[at + 1] for at, word in enumerate(argv) if word == name]


def test_the_whole_command_line() -> None:
    argv = containers.arguments(workload(), ENGINE)
    assert argv[:4] == ("/usr/bin/podman", "--runtime", "runc", "run")
    assert argv[-2:] == ("my/own:1", "serve")
    assert "--rm" in argv
    assert option(argv, "--name") == [containers.name_of("replica-1")]
    assert option(argv, "--network") == ["bridge"]
    assert option(argv, "--cpus") == ["1.5"]
    assert option(argv, "--memory") == option(argv, "--memory-swap") == ["1073741824b"]
    assert option(argv, "--volume") == ["/models/k:/opt/ml/model:ro", "/tmp/w:/opt/ml/output:rw"]
    assert option(argv, "--security-opt") == ["no-new-privileges"]
    assert option(argv, "--env-file") == [containers.ENV_FILE]


def test_isolated_it_gets_no_network() -> None:
    assert option(containers.arguments(workload(network=False), ENGINE), "--network") == ["none"]


def test_secrets_go_into_a_file_of_ours_only(tmp_path: Path) -> None:
    asked = workload({"AWS_SECRET_ACCESS_KEY": "hush", "QUOTED": 'a "b"'})
    argv = containers.arguments(asked, ENGINE)
    said = containers.beside(asked, argv, ENGINE, tmp_path)
    assert said is not None
    (path,) = option(tuple(said["run"]), "--env-file")
    assert Path(path).read_text() == 'AWS_SECRET_ACCESS_KEY=hush\nQUOTED=a "b"\n'
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert "hush" not in str(said)
    assert "AWS_SECRET_ACCESS_KEY" not in said["env"]
    assert said["inspect"][-1] == said["remove"][-1] == said["name"] == containers.name_of("replica-1")


def test_a_workload_without_a_container_needs_no_engine(tmp_path: Path) -> None:
    plain = Workload("k", ("true",), {}, root="/r")
    assert containers.arguments(plain, None) == ()
    assert containers.beside(plain, (), ENGINE, tmp_path) is None


@pytest.mark.parametrize(
    ("asked", "engine", "words"),
    [
        (workload(), None, "no podman or docker"),
        (workload(gpus=1), ENGINE, "on GPUs is not available"),
        (
            Workload("k", (), {}, root="/r", container=ContainerImage("i", (), {}, (Mount("/a:b", "/c"),))),
            ENGINE,
            "a path with a colon",
        ),
    ],
)
def test_what_cannot_be_run(asked: Workload, engine: Engine | None, words: str) -> None:
    with pytest.raises(Unschedulable, match=words):
        containers.arguments(asked, engine)


def test_a_variable_of_several_lines_is_refused() -> None:
    with pytest.raises(Unschedulable, match="PEM has several lines"):
        containers.env_file({"PEM": "a\nb"})


@pytest.fixture
def engine(tmp_path: Path) -> Callable[[str], Engine]:
    """`engine(script)`: an engine that does as the shell script says."""

    def make(script: str) -> Engine:
        path = tmp_path / "engine"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return Engine((str(path),))

    return make


async def test_a_local_image_is_not_pulled(engine: Callable[[str], Engine]) -> None:
    lines: list[str] = []
    script = f'[ "$*" = "image inspect --format {{{{.Id}}}} my/own:1" ] && echo a warning && echo sha256:{"1f" * 32}'
    assert await engine(script).ensure("my/own:1", lines.append) == "1f" * 32
    assert lines == []


async def test_another_is_pulled_and_its_progress_told(engine: Callable[[str], Engine], tmp_path: Path) -> None:
    lines: list[str] = []
    script = f"""
[ "$1" = pull ] && echo "pulled $2" && exec touch {tmp_path}/had
[ -e {tmp_path}/had ] && echo {"2e" * 32}
"""
    assert await engine(script).ensure("my/own:1", lines.append) == "2e" * 32
    assert lines == ["pulled my/own:1"]


async def test_one_that_cannot_be_pulled_is_refused_in_the_engines_words(engine: Callable[[str], Engine]) -> None:
    with pytest.raises(Invalid) as caught:
        await engine('[ "$1" = pull ] && echo denied; exit 125').ensure("my/own:1", None)
    assert "Image 'my/own:1' stands for no runtime of Clary, and engine could not pull it." in caught.value.message
    assert "clary runtime add my/own:1 RUNTIME. engine said: denied" in caught.value.message
    with pytest.raises(
        Invalid, match=r"is SageMaker's built-in algorithm PCA, .* could not pull it\. Train and serve a script"
    ):
        await engine('[ "$1" = pull ] && echo denied; exit 125').ensure("my.registry/pca:1", None)


def test_a_new_size_is_the_containers_too(engine: Callable[[str], Engine], tmp_path: Path) -> None:
    asked = workload()
    made = engine(f'echo "$*" > {tmp_path}/told')
    said = containers.beside(asked, containers.arguments(asked, made), made, tmp_path)
    containers.resize({"beside": said}, 0.5, 1 << 29)
    told = (tmp_path / "told").read_text().split()
    assert told == [
        *["update", "--cpus", "0.5", "--memory", "536870912b", "--memory-swap", "536870912b"],
        containers.name_of("replica-1"),
    ]
    containers.resize({}, 1.0, 1)


def test_a_size_that_the_engine_refuses(engine: Callable[[str], Engine], tmp_path: Path) -> None:
    asked = workload()
    made = engine("echo too small >&2; exit 125")
    said = containers.beside(asked, containers.arguments(asked, made), made, tmp_path)
    with pytest.raises(Unschedulable, match="cannot resize the container: too small"):
        containers.resize({"beside": said}, 0.5, 1)


@pytest.mark.parametrize("setting", [containers.NONE, "no-such-engine"])
def test_no_engine(setting: str) -> None:
    assert containers.find(setting) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="an engine is used by root only")
def test_a_named_engine_with_options() -> None:
    found = containers.find("sh --runtime runc")
    assert found is not None
    assert (found.name, found.argv[1:]) == ("sh", ("--runtime", "runc"))
