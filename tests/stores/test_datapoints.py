"""Metric samples in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.stores.datapoints import FileDatapoints
from clary.testing.datapoints import SCOPE, DatapointsConformance, MemoryDatapoints


class TestFileDatapoints(DatapointsConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "datapoints"

    def datapoints(self) -> FileDatapoints:
        return FileDatapoints(self.folder)

    def test_samples_survive(self) -> None:
        self.datapoints().put(SCOPE, "n", "m", {}, 0.5, 1.0)
        assert self.datapoints().get(SCOPE, "n", "m", {}, 0, 2) == [(1.0, 0.5)]

    def test_a_torn_write_loses_itself_only(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, "n", "m", {}, 0.5, 1.0)
        (path,) = self.folder.glob("*.samples")
        with path.open("ab") as file:
            file.write(b"torn")
        datapoints.put(SCOPE, "n", "m", {}, 0.75, 2.0)
        assert datapoints.get(SCOPE, "n", "m", {}, 0, 3) == [(1.0, 0.5), (2.0, 0.75)]

    def test_a_series_stays_bounded(self) -> None:
        datapoints = FileDatapoints(self.folder, most=100)
        for at in range(1000):
            datapoints.put(SCOPE, "n", "m", {}, float(at), float(at))
        kept = datapoints.get(SCOPE, "n", "m", {}, 0, 2000)
        assert 50 <= len(kept) <= 100
        assert kept[-1] == (999.0, 999.0)


class TestMemoryDatapoints(DatapointsConformance):
    def datapoints(self) -> MemoryDatapoints:
        return MemoryDatapoints()
