"""The conformance class of the `Logs` port, and the fake in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from clary.domain.errors import AlreadyExists, NotFound
from clary.domain.logs.lines import PLAIN, LogEvent, LogGroup, LogMatches, LogPage, LogSettings, LogStream
from clary.domain.resources import Scope
from clary.ports import Logs

SCOPE = Scope("000000000000", "us-east-1")
ELSEWHERE = Scope("000000000000", "eu-west-1")
GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass
class _Stream:
    created: int
    path: str
    written: bool = False
    lines: list[tuple[int, str]] = field(default_factory=list)


@dataclass
class _Group:
    created: int
    tags: Mapping[str, str]
    settings: LogSettings
    retention: int | None = None
    streams: dict[str, _Stream] = field(default_factory=dict)


class MemoryLogs:
    """`ports.Logs` in dicts. A path is `memory:...`, a position is a line's number; `write` plays the shim."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Scope, str], _Group] = {}

    def write(self, path: str, lines: Sequence[tuple[int, str]]) -> None:
        """What a workload's shim does: append lines to the file that `open` answered."""
        self._at(path).lines.extend(lines)

    def open(self, scope: Scope, group: str, stream: str, now: float) -> str:
        if (scope, group) not in self._groups:
            self.add_group(scope, group, now, {})
        streams = self._groups[scope, group].streams
        if stream not in streams:
            self.add_stream(scope, group, stream, now)
        streams[stream].written = True
        return streams[stream].path

    def path(self, scope: Scope, group: str, stream: str) -> str:
        return self._stream(scope, group, stream).path

    def append(self, scope: Scope, group: str, stream: str, lines: Sequence[tuple[int, str]]) -> int:
        found = self._stream(scope, group, stream)
        last = found.lines[-1][0] if found.lines else 0
        fresh = sorted(lines, key=lambda line: line[0])
        refused = [line for line in fresh if line[0] < last] if found.written else []
        found.lines.extend(fresh[len(refused) :])
        found.lines.sort(key=lambda line: line[0])
        return len(refused)

    def tail(self, scope: Scope, group: str, stream: str, lines: int) -> list[str]:
        try:
            return [text for _, text in self._stream(scope, group, stream).lines[-lines:]]
        except NotFound:
            return []

    def read(self, path: str, offset: int, limit: int) -> tuple[list[tuple[int, str]], int]:
        lines = self._at(path).lines[offset:]
        return lines, offset + len(lines)

    def add_group(
        self, scope: Scope, group: str, now: float, tags: Mapping[str, str], settings: LogSettings = PLAIN
    ) -> None:
        if (scope, group) in self._groups:
            raise AlreadyExists("The specified log group already exists")
        self._groups[scope, group] = _Group(int(now * 1000), dict(tags), settings)

    def add_stream(self, scope: Scope, group: str, stream: str, now: float) -> None:
        streams = self._known(scope, group).streams
        if stream in streams:
            raise AlreadyExists("The specified log stream already exists")
        path = f"memory:{scope.account}:{scope.region}:{group}:{stream}"
        streams[stream] = _Stream(int(now * 1000), path)

    def drop_group(self, scope: Scope, group: str) -> None:
        self._known(scope, group)
        del self._groups[scope, group]

    def drop_stream(self, scope: Scope, group: str, stream: str) -> None:
        self._stream(scope, group, stream)
        del self._groups[scope, group].streams[stream]

    def groups(self, scope: Scope, prefix: str = "") -> list[LogGroup]:
        names = sorted(name for where, name in self._groups if where == scope and name.startswith(prefix))
        return [self.group(scope, name) for name in names]

    def group(self, scope: Scope, group: str) -> LogGroup:
        found = self._known(scope, group)
        stored = sum(len(text) for stream in found.streams.values() for _, text in stream.lines)
        return LogGroup(group, found.created, found.retention, dict(found.tags), stored, found.settings)

    def set_group(
        self,
        scope: Scope,
        group: str,
        retention: int | None,
        tags: Mapping[str, str],
        settings: LogSettings | None = None,
    ) -> None:
        found = self._known(scope, group)
        found.retention, found.tags, found.settings = retention, dict(tags), settings or found.settings

    def streams(self, scope: Scope, group: str, prefix: str = "") -> list[LogStream]:
        found = []
        for name, stream in sorted(self._known(scope, group).streams.items()):
            if name.startswith(prefix):
                times = [ms for ms, _ in stream.lines]
                first, last = (times[0], times[-1]) if times else (None, None)
                stored = sum(len(text) for _, text in stream.lines)
                found.append(LogStream(name, stream.created, first, last, last, stored))
        return found

    def page(
        self,
        scope: Scope,
        group: str,
        stream: str,
        *,
        limit: int,
        position: int | None = None,
        backward: bool = False,
        start: int = 0,
        end: int | None = None,
    ) -> LogPage:
        lines = self._stream(scope, group, stream).lines
        low = sum(1 for ms, _ in lines if ms < start)
        high = len(lines) if end is None else sum(1 for ms, _ in lines if ms < end)
        if backward:
            high = high if position is None else max(low, min(position, high))
            low = max(low, high - limit)
        else:
            low = low if position is None else max(low, position)
            high = max(low, min(high, low + limit))
        return LogPage([LogEvent(*lines[at], lines[at][0], at) for at in range(low, high)], low, high)

    def search(
        self,
        scope: Scope,
        group: str,
        streams: Sequence[str],
        *,
        matches: Callable[[str], bool],
        limit: int,
        after: tuple[int, str, int] | None = None,
        start: int = 0,
        end: int | None = None,
    ) -> LogMatches:
        known = self._known(scope, group).streams
        places = sorted(
            (ms, name, at)
            for name in streams
            for at, (ms, _) in enumerate(known[name].lines)
            if ms >= start and (end is None or ms < end)
        )
        found: list[tuple[str, LogEvent]] = []
        for ms, name, at in places:
            text = known[name].lines[at][1]
            if (after is None or (ms, name, at) > after) and matches(text):
                found.append((name, LogEvent(ms, text, ms, at)))
                if len(found) == limit:
                    return LogMatches(found, (ms, name, at))
        return LogMatches(found)

    def sweep(self, now: float) -> None:
        for group in self._groups.values():
            if group.retention is not None:
                cutoff = int(now * 1000) - group.retention * 86_400_000
                for name, stream in group.streams.items():
                    group.streams[name] = replace(stream, lines=[line for line in stream.lines if line[0] >= cutoff])

    def _known(self, scope: Scope, group: str) -> _Group:
        if (scope, group) not in self._groups:
            raise NotFound("The specified log group does not exist.")
        return self._groups[scope, group]

    def _stream(self, scope: Scope, group: str, stream: str) -> _Stream:
        streams = self._known(scope, group).streams
        if stream not in streams:
            raise NotFound("The specified log stream does not exist.")
        return streams[stream]

    def _at(self, path: str) -> _Stream:
        return next(s for group in self._groups.values() for s in group.streams.values() if s.path == path)


class LogsConformance:
    """Inherit; answer an empty implementation from `logs`, and append whole lines to an opened path in `write`."""

    def logs(self) -> Logs:
        raise NotImplementedError

    def write(self, logs: Logs, path: str, lines: Sequence[tuple[int, str]]) -> None:
        raise NotImplementedError

    def filled(self, *times: int) -> Logs:
        logs = self.logs()
        logs.open(SCOPE, GROUP, "job/algo-1", 1.0)
        logs.append(SCOPE, GROUP, "job/algo-1", [(ms, f"line {at}") for at, ms in enumerate(times)])
        return logs

    def test_nothing_is_known_at_first(self) -> None:
        logs = self.logs()
        assert logs.groups(SCOPE) == []
        assert logs.tail(SCOPE, GROUP, "job", 5) == []
        asks: tuple[Callable[[], object], ...] = (
            lambda: logs.group(SCOPE, GROUP),
            lambda: logs.streams(SCOPE, GROUP),
            lambda: logs.add_stream(SCOPE, GROUP, "s", 1.0),
            lambda: logs.drop_group(SCOPE, GROUP),
            lambda: logs.page(SCOPE, GROUP, "s", limit=1),
            lambda: logs.append(SCOPE, GROUP, "s", [(1, "x")]),
            lambda: logs.path(SCOPE, GROUP, "s"),
        )
        for ask in asks:
            with pytest.raises(NotFound):
                ask()

    def test_opening_makes_the_group_and_the_stream_known_once(self) -> None:
        logs = self.logs()
        path = logs.open(SCOPE, GROUP, "job/algo-1", 1.5)
        assert logs.open(SCOPE, GROUP, "job/algo-1", 9.0) == path
        assert [(group.name, group.created, group.retention) for group in logs.groups(SCOPE)] == [(GROUP, 1500, None)]
        (stream,) = logs.streams(SCOPE, GROUP)
        assert (stream.name, stream.created) == ("job/algo-1", 1500)
        assert (stream.first, stream.last, stream.ingested, stream.stored) == (None, None, None, 0)

    def test_scopes_are_apart(self) -> None:
        logs = self.filled(1)
        assert logs.groups(ELSEWHERE) == []
        assert logs.groups(Scope("111111111111", "us-east-1")) == []

    def test_what_a_workload_writes_is_read_as_it_arrives(self) -> None:
        logs = self.logs()
        path = logs.open(SCOPE, GROUP, "job/algo-1", 1.0)
        assert logs.path(SCOPE, GROUP, "job/algo-1") == path
        assert logs.read(path, 0, 1 << 20) == ([], 0)
        self.write(logs, path, [(10, "one"), (10, "two")])
        lines, offset = logs.read(path, 0, 1 << 20)
        assert lines == [(10, "one"), (10, "two")]
        assert logs.read(path, offset, 1 << 20) == ([], offset)
        self.write(logs, path, [(11, "three")])
        assert logs.read(path, offset, 1 << 20)[0] == [(11, "three")]
        assert logs.tail(SCOPE, GROUP, "job/algo-1", 2) == ["two", "three"]
        (stream,) = logs.streams(SCOPE, GROUP)
        assert (stream.first, stream.last) == (10, 11)
        assert stream.stored > 0

    @pytest.mark.parametrize("text", ["", "a\tb", "two\nlines", "\r", "\0", "é\u2028", "x" * 1000, " ", "\x1b[31mred"])
    def test_messages_come_back_as_they_were(self, text: str) -> None:
        logs = self.logs()
        logs.open(SCOPE, GROUP, "s", 1.0)
        logs.append(SCOPE, GROUP, "s", [(5, text), (6, "end")])
        assert [event.message for event in logs.page(SCOPE, GROUP, "s", limit=10).events] == [text, "end"]

    @pytest.mark.parametrize(
        "stream",
        ["..", ".", "a/../b", "%2e%2e", "~", ".hidden", "ü" * 100, "a" * 512, "b/" + "c" * 500, "streams", "x.log"],
    )
    def test_any_name_is_only_a_name(self, stream: str) -> None:
        logs = self.logs()
        logs.open(SCOPE, GROUP, stream, 1.0)
        logs.open(SCOPE, GROUP, "other", 1.0)
        logs.append(SCOPE, GROUP, stream, [(1, "mine")])
        assert [s.name for s in logs.streams(SCOPE, GROUP)] == sorted([stream, "other"])
        assert [s.name for s in logs.streams(SCOPE, GROUP, stream[:1])][:1] == [stream]
        assert logs.tail(SCOPE, GROUP, stream, 9) == ["mine"]
        assert logs.tail(SCOPE, GROUP, "other", 9) == []
        logs.drop_stream(SCOPE, GROUP, stream)
        assert [s.name for s in logs.streams(SCOPE, GROUP)] == ["other"]

    def test_groups_and_streams_are_added_once(self) -> None:
        logs = self.logs()
        logs.add_group(SCOPE, "g", 1.0, {"a": "b"})
        logs.add_stream(SCOPE, "g", "s", 2.0)
        with pytest.raises(AlreadyExists):
            logs.add_group(SCOPE, "g", 1.0, {})
        with pytest.raises(AlreadyExists):
            logs.add_stream(SCOPE, "g", "s", 1.0)
        logs.set_group(SCOPE, "g", 7, {"c": "d"})
        group = logs.group(SCOPE, "g")
        assert (group.created, group.retention, dict(group.tags)) == (1000, 7, {"c": "d"})
        assert group.settings == LogSettings()
        logs.drop_group(SCOPE, "g")
        assert logs.groups(SCOPE) == []
        logs.add_group(SCOPE, "g", 3.0, {})
        assert logs.streams(SCOPE, "g") == []

    def test_settings_of_a_group_are_kept(self) -> None:
        logs = self.logs()
        logs.add_group(SCOPE, "g", 1.0, {}, LogSettings("key", "INFREQUENT_ACCESS", True))
        logs.set_group(SCOPE, "g", 7, {})
        assert logs.group(SCOPE, "g").settings == LogSettings("key", "INFREQUENT_ACCESS", True)
        logs.set_group(SCOPE, "g", 7, {}, LogSettings("key"))
        assert logs.group(SCOPE, "g").settings == LogSettings("key")

    def test_pages_go_forward_to_the_end_and_stay_there(self) -> None:
        logs = self.filled(1, 2, 2, 3, 3, 3, 9)
        seen: list[str] = []
        position = None
        for _ in range(5):
            page = logs.page(SCOPE, GROUP, "job/algo-1", limit=2, position=position)
            seen += [event.message for event in page.events]
            position = page.end
        assert seen == [f"line {at}" for at in range(7)]
        assert logs.page(SCOPE, GROUP, "job/algo-1", limit=2, position=position) == LogPage(
            [], position or 0, position or 0
        )

    def test_pages_go_backward_to_the_beginning(self) -> None:
        logs = self.filled(1, 2, 2, 3, 3, 3, 9)
        seen: list[str] = []
        position = None
        for _ in range(5):
            page = logs.page(SCOPE, GROUP, "job/algo-1", limit=2, position=position, backward=True)
            seen = [event.message for event in page.events] + seen
            position = page.start
        assert seen == [f"line {at}" for at in range(7)]

    def test_a_page_may_be_bounded_in_time(self) -> None:
        logs = self.filled(1, 2, 2, 3, 3, 3, 9)
        for backward in (False, True):
            page = logs.page(SCOPE, GROUP, "job/algo-1", limit=99, start=2, end=9, backward=backward)
            assert [event.timestamp for event in page.events] == [2, 2, 3, 3, 3]
        assert logs.page(SCOPE, GROUP, "job/algo-1", limit=99, start=10).events == []

    def test_events_of_one_millisecond_keep_their_order(self) -> None:
        logs = self.filled(*[5] * 100)
        messages = [event.message for event in logs.page(SCOPE, GROUP, "job/algo-1", limit=200).events]
        assert messages == [f"line {at}" for at in range(100)]

    def test_older_events_take_their_place(self) -> None:
        logs = self.logs()
        logs.add_group(SCOPE, "g", 1.0, {})
        logs.add_stream(SCOPE, "g", "s", 1.0)
        logs.append(SCOPE, "g", "s", [(10, "ten"), (30, "thirty")])
        assert logs.append(SCOPE, "g", "s", [(20, "twenty"), (5, "five"), (40, "forty")]) == 0
        assert [event.timestamp for event in logs.page(SCOPE, "g", "s", limit=9).events] == [5, 10, 20, 30, 40]

    def test_older_events_are_refused_where_a_workload_writes(self) -> None:
        logs = self.filled(10, 20)
        assert logs.append(SCOPE, GROUP, "job/algo-1", [(5, "five"), (25, "new")]) == 1
        assert [event.timestamp for event in logs.page(SCOPE, GROUP, "job/algo-1", limit=9).events] == [10, 20, 25]

    def test_a_search_merges_streams_by_time_and_resumes(self) -> None:
        logs = self.logs()
        for stream, times in (("a", (1, 4, 4, 9)), ("b", (2, 4, 8)), ("c", ()), ("d", (100,))):
            logs.open(SCOPE, GROUP, stream, 1.0)
            logs.append(SCOPE, GROUP, stream, [(ms, f"{stream}{at}") for at, ms in enumerate(times)])
        seen: list[str] = []
        after = None
        while True:
            found = logs.search(
                SCOPE, GROUP, ["b", "a", "c", "d"], matches=lambda text: text != "b2", limit=2, after=after, end=100
            )
            seen += [event.message for _, event in found.events]
            after = found.after
            if after is None:
                break
        assert seen == ["a0", "b0", "a1", "a2", "b1", "a3"]

    def test_a_search_may_be_bounded_in_time(self) -> None:
        logs = self.filled(1, 2, 3, 4)
        found = logs.search(SCOPE, GROUP, ["job/algo-1"], matches=lambda text: True, limit=9, start=2, end=4)
        assert [event.timestamp for _, event in found.events] == [2, 3]

    def test_retention_takes_effect_in_a_sweep(self) -> None:
        day = 86_400_000
        logs = self.logs()
        path = logs.open(SCOPE, GROUP, "s", 1.0)
        self.write(logs, path, [(at * day, "x" * 5000) for at in range(1, 11)])
        logs.sweep(11 * 86_400.0)
        assert len(logs.page(SCOPE, GROUP, "s", limit=99).events) == 10
        logs.set_group(SCOPE, GROUP, 3, {})
        logs.sweep(11 * 86_400.0)
        kept = [event.timestamp // day for event in logs.page(SCOPE, GROUP, "s", limit=99).events]
        assert kept[-3:] == [8, 9, 10]
        assert kept[0] >= 7
        self.write(logs, path, [(11 * day, "fresh")])
        assert logs.tail(SCOPE, GROUP, "s", 1) == ["fresh"]
