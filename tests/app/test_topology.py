"""The picture of the processes is a picture of the processes."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import pytest

from clary.app import topology
from clary.app.settings import load
from clary.app.supervisor import Supervisor


def test_every_line_leads_to_a_process() -> None:
    names = {process.name for process in topology.PROCESSES}
    assert {other for process in topology.PROCESSES for other, _ in process.talks_to} <= names


def test_the_picture_is_well_formed() -> None:
    root = xml.etree.ElementTree.fromstring(topology.render_svg())
    assert root.tag.endswith("svg")


def test_no_label_lies_on_a_box() -> None:
    assert topology.graph().overlaps() == []


def test_the_supervised_processes_are_those_that_clary_up_starts(tmp_path: Path) -> None:
    supervisor = Supervisor(load({"dir": str(tmp_path), "port": 0}, {}), lambda sentence: None)
    supervisor.prepare()
    try:
        started = {name.partition("-")[0] for name in supervisor.children}
        assert started == {process.name for process in topology.PROCESSES if process.supervised}
    finally:
        supervisor.close()


@pytest.mark.parametrize("name", ["front", "control", "objects"])
def test_every_python_process_has_its_module(name: str) -> None:
    assert (Path(topology.__file__).parent / f"{name}.py").exists()
