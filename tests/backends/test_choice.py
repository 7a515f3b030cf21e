"""A backend is chosen by its name in the table, and nothing else of Clary names one."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path

import pytest

from clary.backends import BACKENDS
from clary.backends.choice import BackendOptions, choose
from clary.domain.errors import Invalid
from clary.domain.machine.addresses import Address

OPTIONS = BackendOptions("", (), (210_000, 214_095), None, (), False)


def test_a_name_that_the_table_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(Invalid, match="no backend 'slurm': the setting backend is one of local"):
        choose("slurm", OPTIONS)


def test_every_row_can_be_chosen() -> None:
    for module in BACKENDS.values():
        assert callable(import_module(module).for_site)


async def test_the_chosen_one_knows_its_fronts(tmp_path: Path) -> None:
    fronts = (str(tmp_path / "front-0.sock"), str(tmp_path / "front-1.sock"))
    made = choose("local", dataclasses.replace(OPTIONS, folder=str(tmp_path / "backend"), fronts=fronts))
    assert made.address(1) == Address("unix", "/run/clary/front-1.sock")
    assert made.name == "local"
    assert await made.handles() == []
    made.close()
