"""The last day of variants in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.domain.scaling.day import MINUTES
from clary.stores.days import FileDays
from clary.testing.replays import NOON, DaysConformance, MemoryDays, minute


class TestMemoryDays(DaysConformance):
    def days(self) -> MemoryDays:
        return MemoryDays()


class TestFileDays(DaysConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "days"

    def days(self) -> FileDays:
        return FileDays(self.folder)

    def test_minutes_survive(self) -> None:
        self.days().keep("a", [minute(NOON)])
        assert self.days().minutes("a", 0) == [minute(NOON)]

    def test_a_write_that_was_cut_off_is_no_minute(self) -> None:
        days = self.days()
        days.keep("a", [minute(NOON + number) for number in range(3)])
        [path] = self.folder.iterdir()
        content = bytearray(path.read_bytes())
        place = (NOON + 1) % MINUTES * 136
        content[place + 40 : place + 136] = bytes(96)
        path.write_bytes(content)
        assert [each.number for each in days.minutes("a", 0)] == [NOON, NOON + 2]
        path.write_bytes(content[: (NOON + 2) % MINUTES * 136 + 50])
        assert [each.number for each in days.minutes("a", 0)] == [NOON]

    def test_a_day_takes_less_than_200_kb(self) -> None:
        self.days().keep("a", [minute(NOON + number) for number in range(3 * MINUTES)])
        assert sum(path.stat().st_size for path in self.folder.iterdir()) < 200_000
