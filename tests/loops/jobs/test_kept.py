"""Which failed jobs' folders stay, and that the backend keeps their runs."""

from __future__ import annotations

import json
from pathlib import Path

from clary.domain.machine.workload import Workload
from clary.loops.jobs.kept import KeptJobs
from clary.testing.backends import MemoryBackend


async def run(backend: MemoryBackend, folder: Path, name: str) -> str:
    workload = Workload(f"job-{name}", ("x",), {}, root=str(folder / name / "0" / "algo-1"))
    handle = await backend.start(backend.plan(workload))
    backend.finish(handle, exit_code=1)
    (folder / name).mkdir()
    return handle


async def test_the_last_ones_stay(tmp_path: Path) -> None:
    backend = MemoryBackend()
    kept = KeptJobs(str(tmp_path), 2, backend)
    for number, name in enumerate(("a", "b", "c")):
        assert await kept.keep(tmp_path / name, [await run(backend, tmp_path, name)], 1000.0 + number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c"]
    assert json.loads((tmp_path / "c" / "kept.json").read_text()) == {"handles": ["job-c"], "at": 1002.0}
    assert await backend.observe("job-a") is None
    assert await backend.observe("job-b") is not None


async def test_none_is_kept_where_none_shall_be(tmp_path: Path) -> None:
    backend = MemoryBackend()
    handle = await run(backend, tmp_path, "a")
    assert not await KeptJobs(str(tmp_path), 0, backend).keep(tmp_path / "a", [handle], 1000.0)
    assert not (tmp_path / "a" / "kept.json").exists()


async def test_a_run_that_is_gone_is_not_kept(tmp_path: Path) -> None:
    assert not await KeptJobs(str(tmp_path), 1, MemoryBackend()).keep(tmp_path / "a", ["job-a"], 1000.0)
