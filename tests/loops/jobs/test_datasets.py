"""What a database is asked by: a workload by value, of which no record and no plan shows who asks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.loops.house import House

from clary.domain.errors import Invalid
from clary.domain.jobs.datasets import SourceQuery
from clary.domain.jobs.kinds import spec_of
from clary.domain.machine.workload import Mount, Workload
from clary.domain.resources import Record
from clary.domain.s3 import Location
from clary.domain.stored import dumped
from clary.loops.jobs.datasets import RUNTIME, Datasets
from clary.ports import Runtime

URL = "postgresql://me:hidden@db.example/shop"
QUERY = SourceQuery("rows", "shop", "select 1", "CSV", "NONE", Location("b", "q/rows/"))
KEY = "job-idjob-0-dataset-rows"


class Scene(House):
    """A job that asks `shop`; the run is played: it leaves `files` and `report`."""

    def __init__(self, tmp_path: Path, url: str = URL) -> None:
        super().__init__(tmp_path, known=(Runtime(RUNTIME, "python"),))
        self.settings = replace(self.settings, sources={"shop": url})
        self.files, self.said = {"a.csv": b"1", "b.csv": b"22"}, list[str]()
        self.report: dict[str, Any] = {"files": sorted(self.files), "rows": 3}
        self.exit_code = 0
        self.backend.watch(self._ask)

    def _ask(self, handle: str) -> None:
        workload = self.backend.workloads.get(handle)
        if workload is None or handle != KEY or any(workload is each for each in self._played):
            return
        self._played.append(workload)
        work = Path(self.folder(workload))
        self.spec = json.loads((work / "spec.json").read_text())
        for name, data in self.files.items():
            (work / "files" / name).write_bytes(data)
        (work / "report.json").write_text(json.dumps(self.report))
        self.backend.finish(handle, self.exit_code)

    def folder(self, workload: Workload) -> str:
        return next(mount.source for mount in workload.mounts if mount.target == "/opt/clary/work")

    async def asked(self) -> Record:
        await self.create()
        record = await self.record()
        document = {**record.document, "spec": {**record.document["spec"], "queries": [dumped(QUERY)]}}
        return replace(record, document=document)

    async def place(self) -> dict[str, Any]:
        record = await self.asked()
        assert spec_of(record).queries == (QUERY,)
        return await Datasets(self.ports, self.settings, record, self.said.append).place()


async def test_the_answer_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.objects["b"] |= {"q/rows/old.csv": b"0", "q/rowsof/other": b"3"}
    assert await scene.place() == {"rows": {"rows": 3}}
    assert scene.objects["b"] == {"q/rows/a.csv": b"1", "q/rows/b.csv": b"22", "q/rowsof/other": b"3"}
    assert (scene.spec["url"], scene.spec["sql"]) == (URL, "select 1")
    assert await scene.backend.handles() == []


async def test_nobody_is_told_who_asks(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    await scene.place()
    workload = scene.backend.workloads[KEY]
    assert "hidden" not in str(workload)
    assert "hidden" not in json.dumps(dumped(workload), default=str)
    assert (workload.network, [mount.target for mount in workload.mounts]) == (True, ["/opt/clary/work"])


async def test_a_file_of_the_operators_is_mounted_and_there_is_no_network(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "sqlite:///data/shop.db")
    await scene.place()
    workload = scene.backend.workloads[KEY]
    assert Mount("/data", "/data") in workload.mounts
    assert not workload.network


async def test_what_the_database_says_fails_it_and_nothing_is_stored(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.report = {"error": "no such table"}
    scene.objects["b"]["q/rows/old.csv"] = b"0"
    with pytest.raises(Invalid, match="The source 'shop' cannot answer: no such table"):
        await scene.place()
    assert scene.objects["b"] == {"q/rows/old.csv": b"0"}
    assert await scene.backend.handles() == []
