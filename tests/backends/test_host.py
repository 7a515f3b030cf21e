"""What a machine offers, and the words for what it does not."""

from __future__ import annotations

import os
from pathlib import Path

from clary.backends import host, library
from clary.testing.runtimes import SKLEARN, MemoryRuntimes


def test_this_machine() -> None:
    found = host.find()
    assert found.root == (os.geteuid() == 0)
    assert found.cpus >= 1
    assert found.memory > 1 << 28
    assert "/usr" in found.folders
    assert all(os.path.exists(source) for source, _ in found.files)
    assert not {target for _, target in found.files} & {"/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/group"}


def test_gpu_nodes_are_told_from_their_kin() -> None:
    assert host._device_nodes(["nvidia0", "nvidiactl", "nvidia-uvm", "nvidia12", "null"]) == [
        "/dev/nvidia0",
        "/dev/nvidia12",
    ]


def test_a_program_that_is_missing_is_a_failed_run() -> None:
    assert host._run(["/nowhere/bwrap"]).returncode == 126


def test_a_published_toolkit_is_kept_while_its_source_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "toolkit"
    (source / "inner").mkdir(parents=True)
    (source / "one.py").write_text("A = 1\n")
    (source / "inner/__init__.py").write_text("")
    first = library.publish(source, tmp_path / "lib")
    assert library.publish(source, tmp_path / "lib") == first
    assert (first / "inner/__init__.py").exists()
    assert list((first / "__pycache__").glob("one.*.pyc"))
    (source / "one.py").write_text("A = 2\n")
    second = library.publish(source, tmp_path / "lib")
    assert second != first
    assert (first / "one.py").read_text() == "A = 1\n"
    assert [path.name for path in (tmp_path / "lib").iterdir() if path.name.startswith(".")] == []


async def test_the_fake_runtimes() -> None:
    made = MemoryRuntimes()
    assert made.resolve("1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1") == SKLEARN
    assert made.built(SKLEARN) is None
    assert await made.ensure(SKLEARN) == made.built(SKLEARN)
