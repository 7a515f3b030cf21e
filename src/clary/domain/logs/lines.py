"""Log groups, streams, events and pages as values: what the `Logs` port answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LogEvent:
    timestamp: int  # ms
    message: str
    ingestion: int  # ms
    position: int  # byte offset in the stream's file: the order within a millisecond


STANDARD = "STANDARD"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What a group is made with. Key and class are recorded; a `protected` group and its streams cannot be deleted."""

    kms_key: str = ""
    log_class: str = STANDARD
    protected: bool = False


PLAIN = LogSettings()


@dataclass(frozen=True, slots=True)
class LogGroup:
    """A group as listed. `created` in ms; `retention` in days, None keeps for ever; `stored` in bytes."""

    name: str
    created: int
    retention: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    stored: int = 0
    settings: LogSettings = PLAIN


@dataclass(frozen=True, slots=True)
class LogStream:
    """A stream as listed. Times in ms (None: no event yet), `stored` in bytes."""

    name: str
    created: int
    first: int | None = None
    last: int | None = None
    ingested: int | None = None
    stored: int = 0


@dataclass(frozen=True, slots=True)
class LogPage:
    """Events in order of time; the page covers the stream from byte `start` up to byte `end`."""

    events: Sequence[LogEvent]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LogMatches:
    """Events of several streams, merged by time: (stream, event). `after`, when more may follow, resumes the search."""

    events: Sequence[tuple[str, LogEvent]]
    after: tuple[int, str, int] | None = None  # (ms, stream, position) of the last event looked at
