"""Metric samples in a file."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clary.domain.datapoints import Series
from clary.domain.errors import Unavailable
from clary.stores.datapoints import DAY, FileDatapoints
from clary.testing.datapoints import NOON, SCOPE, SERIES, DatapointsConformance, MemoryDatapoints, at, sums

WRITER = """
import sys
from clary.stores.datapoints import FileDatapoints
from clary.testing.datapoints import NOON, SCOPE, at
datapoints = FileDatapoints(sys.argv[1])
for second in range(10_000):
    datapoints.put(SCOPE, [at(NOON + second, 1.0)], {"told": str(second)})
    if second % 50 == 49:
        datapoints.sweep(NOON + second)
    print(second, flush=True)
"""


class Failing(FileDatapoints):
    """The disk fails in the middle of the first sweep."""

    merged = 0

    def _merge_series(self, id: int) -> None:
        self.merged += 1
        if self.merged > 30:
            raise sqlite3.OperationalError("disk I/O error")
        super()._merge_series(id)


class TestFileDatapoints(DatapointsConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "datapoints"

    def datapoints(self) -> FileDatapoints:
        return FileDatapoints(self.folder)

    @pytest.mark.parametrize("swept", [False, True])
    def test_samples_survive(self, swept: bool) -> None:
        first = self.datapoints()
        first.put(SCOPE, [at(NOON, 0.5)], {"a": "b"})
        if swept:
            first.sweep(NOON)
        again = self.datapoints()
        assert sums(again.get(SCOPE, SERIES, NOON, NOON + 1, 1)) == [(NOON, 0.5)]
        assert (again.find(SCOPE), again.marks()) == ([SERIES], {"a": "b"})
        again.put(SCOPE, [at(NOON, 0.5)])
        assert sums(self.datapoints().get(SCOPE, SERIES, NOON, NOON + 1, 1)) == [(NOON, 1.0)]

    def test_a_kill_loses_nothing_that_was_answered_and_counts_nothing_twice(self) -> None:
        argv = [sys.executable, "-c", WRITER, str(self.folder)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            while (line := writer.stdout.readline()) and int(line) < 333:
                pass
            os.kill(writer.pid, signal.SIGKILL)
            answered = max([333, *map(int, writer.stdout.read().split())])
        datapoints = self.datapoints()
        kept = sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 10_000, 1))
        assert {value for _, value in kept} == {1.0}
        assert len(kept) in (answered + 1, answered + 2)  # the last may be on disk and not said
        assert datapoints.marks() == {"told": str(len(kept) - 1)}
        ((_, all_of_them),) = datapoints.get(SCOPE, SERIES, NOON, NOON + 14_400, 14_400)
        assert all_of_them.count == len(kept)

    def test_a_sweep_that_is_cut_short_counts_nothing_twice(self) -> None:
        datapoints = Failing(self.folder)
        many = [Series.of("n", f"m{number}", {}) for number in range(50)]
        datapoints.put(SCOPE, [at(NOON, 1.0, series) for series in many])
        with pytest.raises(Unavailable, match="Is there room on the disk"):
            datapoints.sweep(NOON)
        for each in (datapoints, self.datapoints()):
            counts = [each.get(SCOPE, series, NOON, NOON + 60, 60)[0][1].count for series in many]
            assert counts == [1.0] * 50

    def test_what_is_too_old_goes(self) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [at(NOON, 1.0)])
        datapoints.sweep(NOON + 4 * 3600)
        assert datapoints.get(SCOPE, SERIES, NOON, NOON + 1, 1) == []
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60)) == [(NOON, 1.0)]
        datapoints.sweep(NOON + 402 * DAY)
        assert datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60) == []
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 3600, 3600)) == [(NOON, 1.0)]
        datapoints.sweep(NOON + 5 * 365 * DAY)
        assert (datapoints.get(SCOPE, SERIES, NOON, NOON + 3600, 3600), datapoints.find(SCOPE)) == ([], [])

    def test_the_disk_that_it_takes_is_bounded(self, caplog: pytest.LogCaptureFixture) -> None:
        limit = 1 << 20
        datapoints = FileDatapoints(self.folder, limit)
        days = 12
        for day in range(days):
            for hour in range(24):
                begin = NOON + day * DAY + hour * 3600
                noise = [at(begin + 60 * n, hash((day, hour, n)) / 7, fine=False) for n in range(60)]
                others = [
                    at(d.at, d.summary.total * k, Series.of("n", f"m{k}", {}), fine=False)
                    for k in range(9)
                    for d in noise
                ]
                datapoints.put(SCOPE, noise + others)
            datapoints.sweep(NOON + (day + 1) * DAY)
        assert (self.folder / "datapoints.db").stat().st_size <= limit * 1.1
        last = datapoints.get(SCOPE, SERIES, NOON + (days - 1) * DAY, NOON + days * DAY, 60)
        assert len(last) == 1440
        assert datapoints.get(SCOPE, SERIES, NOON, NOON + DAY, 60) == []
        assert "the oldest day of one-minute points is gone" in caplog.text

    def test_a_damaged_file_is_put_aside(self, caplog: pytest.LogCaptureFixture) -> None:
        datapoints = self.datapoints()
        datapoints.put(SCOPE, [at(NOON, 1.0)])
        datapoints.close()
        (self.folder / "datapoints.db").write_bytes(b"not a database at all, but long enough to look like one" * 100)
        again = self.datapoints()
        assert again.find(SCOPE) == []
        again.put(SCOPE, [at(NOON, 1.0)])
        assert len(list(self.folder.glob("datapoints.damaged-*"))) == 1
        assert "is damaged" in caplog.text


class TestMemoryDatapoints(DatapointsConformance):
    def datapoints(self) -> MemoryDatapoints:
        return MemoryDatapoints()
