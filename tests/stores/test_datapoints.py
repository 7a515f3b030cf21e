"""Metric samples in a file."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clary.domain.errors import Unavailable
from clary.domain.metrics.datapoints import Datapoint, Series, Summary, single, weighed
from clary.stores import chunks, rollup
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
        datapoints.sweep(NOON + second + float(sys.argv[2]))
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
        answered = self.killed(0.0)
        datapoints = self.datapoints()
        kept = sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 10_000, 1))
        assert {value for _, value in kept} == {1.0}
        assert len(kept) in (answered + 1, answered + 2)  # the last may be on disk and not said
        assert datapoints.marks() == {"told": str(len(kept) - 1)}
        ((_, all_of_them),) = datapoints.get(SCOPE, SERIES, NOON, NOON + 14_400, 14_400)
        assert all_of_them.count == len(kept)

    def test_a_kill_while_minutes_are_rolled_up_counts_nothing_twice(self) -> None:
        answered = self.killed(30 * DAY)
        datapoints = self.datapoints()
        count = int(datapoints.marks()["told"]) + 1
        assert count in (answered + 1, answered + 2)
        fives = datapoints.get(SCOPE, SERIES, NOON, NOON + 10_200, 300)
        assert sum(summary.count for _, summary in fives) == count
        assert self.chunks(300) == 1

    def chunks(self, step: int) -> int:
        db = sqlite3.connect(self.folder / "datapoints.db")
        ((count,),) = db.execute("select count(*) from chunks where step = ?", (step,)).fetchall()
        return int(count)

    def killed(self, later: float) -> int:
        """A writer that sweeps so much later than its datapoints are; the last second that it said was on disk when it was killed."""
        argv = [sys.executable, "-c", WRITER, str(self.folder), str(later)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            while (line := writer.stdout.readline()) and int(line) < 333:
                pass
            os.kill(writer.pid, signal.SIGKILL)
            return max([333, *map(int, writer.stdout.read().split())])

    def test_a_sweep_that_is_cut_short_counts_nothing_twice(self) -> None:
        datapoints = Failing(self.folder)
        many = [Series.of("n", f"m{number}", {}) for number in range(50)]
        datapoints.put(SCOPE, [at(NOON, 1.0, series) for series in many])
        with pytest.raises(Unavailable, match="Check the free disk space"):
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
        datapoints.sweep(NOON + 15 * DAY)
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60)) == [(NOON, 1.0)]
        datapoints.sweep(NOON + 23 * DAY)
        assert datapoints.get(SCOPE, SERIES, NOON, NOON + 60, 60) == []
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 300, 300)) == [(NOON, 1.0)]
        datapoints.sweep(NOON + 63 * DAY)
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 300, 300)) == [(NOON, 1.0)]
        datapoints.sweep(NOON + 78 * DAY)
        assert datapoints.get(SCOPE, SERIES, NOON, NOON + 300, 300) == []
        assert sums(datapoints.get(SCOPE, SERIES, NOON, NOON + 3600, 3600)) == [(NOON, 1.0)]
        datapoints.sweep(NOON + 5 * 365 * DAY)
        assert (datapoints.get(SCOPE, SERIES, NOON, NOON + 3600, 3600), datapoints.find(SCOPE)) == ([], [])

    def test_old_minutes_become_five_minutes_that_say_the_same(self) -> None:
        datapoints = self.datapoints()
        week = NOON // rollup.SPAN * rollup.SPAN
        made = random.Random(1)
        spreads = [weighed((made.randrange(1, 1000), 1.0) for _ in range(20)) for _ in range(100)]
        datapoints.put(SCOPE, [Datapoint(SERIES, week + 60 * n, made.choice(spreads)) for n in range(7 * 1440)])
        datapoints.sweep(week)
        asked = (SCOPE, SERIES, week + 600, week + rollup.SPAN, 300, True)
        before = datapoints.get(*asked)
        assert len(before) == 7 * 288 - 2
        datapoints.sweep(week + 23 * DAY)
        assert (self.chunks(60), self.chunks(300)) == (0, 1)
        for each in (datapoints, self.datapoints()):
            assert each.get(*asked) == before

    def test_five_minutes_of_a_time_that_is_half_rolled_up_are_whole(self) -> None:
        datapoints = self.datapoints()
        week = NOON // rollup.SPAN * rollup.SPAN
        datapoints.put(SCOPE, [at(week + rollup.SPAN + 60 * n, 1.0) for n in range(-10, 10)])
        datapoints.sweep(week + 23 * DAY)
        assert (self.chunks(60), self.chunks(300)) == (1, 1)
        datapoints.put(SCOPE, [at(week + rollup.SPAN, 1.0)])
        begin = week + rollup.SPAN - 600
        assert [value for _, value in sums(datapoints.get(SCOPE, SERIES, begin, begin + 1200, 300))] == [5, 5, 6, 5]

    def test_what_comes_late_joins_its_five_minutes(self) -> None:
        datapoints = self.datapoints()
        week = NOON // rollup.SPAN * rollup.SPAN
        datapoints.put(SCOPE, [at(week, 1.0), at(week + 60, 2.0)])
        datapoints.sweep(week + 23 * DAY)
        datapoints.put(SCOPE, [at(week + 60, 3.0), at(week + 420, 4.0)])
        wanted = [(week, 6.0), (week + 300, 4.0)]
        assert sums(datapoints.get(SCOPE, SERIES, week, week + 600, 300)) == wanted
        for _ in range(2):
            datapoints.sweep(week + 23 * DAY)
            assert sums(datapoints.get(SCOPE, SERIES, week, week + 600, 300)) == wanted
        assert self.chunks(60) == 0

    def test_a_week_that_changes_while_it_is_rolled_up_waits_for_the_next_sweep(self) -> None:
        datapoints = self.datapoints()
        week = NOON // rollup.SPAN * rollup.SPAN
        datapoints.put(SCOPE, [at(week, 1.0)])
        datapoints.sweep(week)
        db = sqlite3.connect(self.folder / "datapoints.db", isolation_level=None)
        ((series, start),) = rollup.due(db, week + 23 * DAY)
        read = rollup.read(db, series, start)
        datapoints.put(SCOPE, [at(week, 5.0)])
        datapoints.sweep(week)
        rollup.replace(db, read, rollup.rolled(read))
        assert sums(datapoints.get(SCOPE, SERIES, week, week + 60, 60)) == [(week, 6.0)]

    def test_weeks_that_the_version_before_sealed_are_read_and_rolled_up(self) -> None:
        """It kept minutes of 400 days, a week in a row of a table of its own; some without their distribution (`bare`)."""
        datapoints = self.datapoints()
        week = NOON // rollup.SPAN * rollup.SPAN
        datapoints.put(SCOPE, [at(week + rollup.SPAN, 1.0)])
        datapoints.sweep(week + 23 * DAY)
        db = sqlite3.connect(self.folder / "datapoints.db", isolation_level=None)
        ((series,),) = db.execute("select id from series").fetchall()
        minutes = {week + 60 * n: Summary(2.0, 3.0, 1.0, 2.0, None) for n in range(10)}
        written = "insert into sealed (series, start, bare, data) values (?, ?, 1, ?)"
        db.execute(written, (series, week, chunks.encode(minutes, week, 60)))
        db.execute(
            written, (series, week - 70 * DAY, chunks.encode({week - 70 * DAY: single(1.0)}, week - 70 * DAY, 60))
        )
        wanted = [(week, 15.0), (week + 300, 15.0)]
        datapoints = self.datapoints()
        assert sums(datapoints.get(SCOPE, SERIES, week, week + 600, 60))[:1] == [(week, 3.0)]
        assert sums(datapoints.get(SCOPE, SERIES, week, week + 600, 300)) == wanted
        datapoints.sweep(week + 23 * DAY)
        assert sums(datapoints.get(SCOPE, SERIES, week, week + 600, 300)) == wanted
        assert db.execute("select count(*) from sealed").fetchall() == [(0,)]
        assert self.chunks(300) == 1

    def test_a_disk_that_is_short_loses_old_weeks_before_new_minutes(self, caplog: pytest.LogCaptureFixture) -> None:
        datapoints = self.datapoints()
        week = NOON // rollup.SPAN * rollup.SPAN
        made = random.Random(1)
        spread = [weighed((made.randrange(1, 1000), 1.0) for _ in range(60)) for _ in range(300)]
        for day in (*range(7), 20):
            points = [Datapoint(SERIES, week + day * DAY + 60 * n, made.choice(spread)) for n in range(1440)]
            datapoints.put(SCOPE, points)
        datapoints.sweep(week + 23 * DAY)
        assert self.chunks(300) == 1
        datapoints.close()
        datapoints = FileDatapoints(self.folder, (self.folder / "datapoints.db").stat().st_size * 9 // 10)
        datapoints.sweep(week + 23 * DAY)
        assert "the oldest week of five-minute points is gone" in caplog.text
        assert datapoints.get(SCOPE, SERIES, week, week + rollup.SPAN, 300) == []
        assert len(datapoints.get(SCOPE, SERIES, week + 20 * DAY, week + 21 * DAY, 60)) == 1440
        hours = datapoints.get(SCOPE, SERIES, week // 3600 * 3600, week + rollup.SPAN, 3600)
        assert sum(summary.count for _, summary in hours) == 7 * 1440 * 60

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
