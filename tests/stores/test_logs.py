"""Groups and streams over plain files."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from clary.ports import Logs
from clary.stores import logfile, logs
from clary.stores.logs import FileLogs
from clary.testing.logs import GROUP, SCOPE, LogsConformance, MemoryLogs


class TestFileLogs(LogsConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "logs"

    def logs(self) -> FileLogs:
        return FileLogs(self.folder)

    def write(self, logs: Logs, path: str, lines: Sequence[tuple[int, str]]) -> None:
        with open(path, "ab") as file:
            for ms, text in lines:
                file.write(logfile.encode(ms, text))

    def test_everything_survives_a_restart(self) -> None:
        first = self.filled(1, 2)
        first.set_group(SCOPE, GROUP, 30, {"a": "b"})
        first.open(SCOPE, GROUP, "l" * 512, 2.0)
        second = self.logs()
        assert second.groups(SCOPE) == first.groups(SCOPE)
        assert second.streams(SCOPE, GROUP) == first.streams(SCOPE, GROUP)
        assert second.append(SCOPE, GROUP, "job/algo-1", [(1, "late")]) == 1

    def test_a_group_that_was_half_made_or_half_removed_is_none(self) -> None:
        """Killed before it was renamed, with all that it was to hold or without."""
        known = self.filled(1)
        (half,) = self.folder.glob("*/*/*/")
        for name in (".dying-1-a", ".dying-2-b"):
            half.with_name(name).mkdir()
        (half.with_name(".dying-2-b") / "group.json").write_bytes((half / "group.json").read_bytes())
        assert [group.name for group in known.groups(SCOPE)] == [GROUP]
        known.sweep(5.0)
        assert list(self.folder.glob("*/*/*/")) == [half]
        known.add_group(SCOPE, "another", 1.0, {})
        assert sorted(path.name for path in self.folder.glob("*/*/*")) == sorted([half.name, "another"])

    def test_a_line_still_being_written_is_not_shown(self) -> None:
        known = self.filled(1)
        path = Path(known.open(SCOPE, GROUP, "job/algo-1", 1.0))
        with path.open("ab") as file:
            file.write(b"2\thal")
        assert known.tail(SCOPE, GROUP, "job/algo-1", 9) == ["line 0"]
        assert known.streams(SCOPE, GROUP)[0].last == 1
        with path.open("ab") as file:
            file.write(b"f\n")
        assert known.tail(SCOPE, GROUP, "job/algo-1", 9) == ["line 0", "half"]
        assert known.streams(SCOPE, GROUP)[0].last == 2

    def test_rubbish_in_a_file_is_passed_over(self) -> None:
        known = self.filled(1)
        path = Path(known.open(SCOPE, GROUP, "job/algo-1", 1.0))
        with path.open("ab") as file:
            file.write(b"rubbish\n\n\t\n-1\tx\n\xff\xfe\n3\t\xff\n")
        page = known.page(SCOPE, GROUP, "job/algo-1", limit=9)
        assert [(event.timestamp, event.message) for event in page.events] == [(1, "line 0"), (3, "�")]

    def test_a_page_and_a_search_are_bounded_in_bytes(self) -> None:
        known = self.logs()
        path = known.open(SCOPE, GROUP, "s", 1.0)
        self.write(known, path, [(1, "x" * 100_000)] * 30)
        page = known.page(SCOPE, GROUP, "s", limit=10_000)
        assert len(page.events) == 10
        found = known.search(SCOPE, GROUP, ["s"], matches=lambda text: True, limit=10_000)
        assert len(found.events) == 11
        assert found.after is not None

    def test_a_search_looks_through_a_bounded_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "SEARCH_BYTES", 10_000)
        known = self.logs()
        path = known.open(SCOPE, GROUP, "s", 1.0)
        self.write(known, path, [(ms, "x" * 1000) for ms in range(1, 100)] + [(200, "needle")])
        after, turns, found = None, 0, []
        while turns == 0 or after is not None:
            matches = known.search(SCOPE, GROUP, ["s"], matches=lambda text: text == "needle", limit=5, after=after)
            found += list(matches.events)
            after, turns = matches.after, turns + 1
        assert turns > 5
        assert [event.timestamp for _, event in found] == [200]

    def test_a_stream_too_large_gives_back_its_oldest_part(self) -> None:
        known = FileLogs(self.folder, stream_limit=1 << 20)
        path = known.open(SCOPE, GROUP, "s", 1.0)
        self.write(known, path, [(ms, f"{ms} " + "x" * 1000) for ms in range(1, 5001)])
        before = known.page(SCOPE, GROUP, "s", limit=5, backward=True)
        known.sweep(1.0)
        assert known.streams(SCOPE, GROUP)[0].stored < (1 << 20) + 8192
        assert known.page(SCOPE, GROUP, "s", limit=5, backward=True) == before
        first = known.page(SCOPE, GROUP, "s", limit=1).events[0]
        assert known.streams(SCOPE, GROUP)[0].first == first.timestamp
        assert first.message.startswith(f"{first.timestamp} ")
        assert first.timestamp > 3900

    def test_a_large_log_costs_no_memory(self) -> None:
        known = self.logs()
        path = known.open(SCOPE, GROUP, "s", 1.0)
        block = b"".join(logfile.encode(1, "y" * 100) for _ in range(10_000))
        with open(path, "ab") as file:
            for ms in range(1000, 1100):
                file.write(block.replace(b"1\ty", b"%d\ty" % ms))
        tracemalloc.start()
        known.tail(SCOPE, GROUP, "s", 10)
        known.page(SCOPE, GROUP, "s", limit=100, start=1050)
        known.streams(SCOPE, GROUP)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


class TestMemoryLogs(LogsConformance):
    def logs(self) -> MemoryLogs:
        return MemoryLogs()

    def write(self, logs: Logs, path: str, lines: Sequence[tuple[int, str]]) -> None:
        assert isinstance(logs, MemoryLogs)
        logs.write(path, lines)
