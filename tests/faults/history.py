"""What happened while Clary was hurt, as values: what clients asked and were answered, what was seen, and what was done to it.

Times are seconds of one monotonic clock. Each event is a line of JSON, so that a run can be looked at again. Nothing here judges:
`checker.py` does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TypeVar

RAW, DEFAULT = "raw", "default"  # clients: one attempt and no more; boto3 as it comes
FAILED_CALL = "failed"  # an asynchronous call's answer: that the model did not give one
OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"  # of what was asked: acknowledged; answered with no; perhaps done


@dataclass(frozen=True)
class Write:
    """`key` was to have `value` (None: to be gone). Keys have one writer each, which waits for its answers. `fresh`: it must not be there
    before, so of two such writes at most one is done."""

    key: str
    value: str | None
    began: float
    ended: float
    outcome: str
    fresh: bool = False


@dataclass(frozen=True)
class Read:
    """`key` had `value`; None: it was not there."""

    key: str
    value: str | None
    began: float
    ended: float


@dataclass(frozen=True)
class Listed:
    """All keys below `prefix` were these."""

    prefix: str
    keys: tuple[str, ...]
    began: float
    ended: float


@dataclass(frozen=True)
class Seen:
    """`kind` is "job" or "endpoint"; its status as one client saw it, one look after the other."""

    kind: str
    name: str
    status: str
    at: float
    why: str = ""


@dataclass(frozen=True)
class Issued:
    """An answer gave this id: nobody else may get it."""

    kind: str
    id: str
    of: str


@dataclass(frozen=True)
class Ran:
    """What a job that was acknowledged came to: lines that it printed, and whether its result is stored."""

    job: str
    status: str
    lines: tuple[str, ...]
    result: bool
    why: str = ""


@dataclass(frozen=True)
class Answered:
    """What an asynchronous call that was acknowledged (or not, `outcome`) came to: each answer that was ever written for it."""

    call: str
    outcome: str
    answers: tuple[str, ...]


@dataclass(frozen=True)
class Counted:
    """In the end, when nothing is on its way any more."""

    what: str
    wanted: int
    found: int


@dataclass(frozen=True)
class Wrong:
    """An answer that no fault excuses: another's prediction, an error that is no 503."""

    client: str
    action: str
    what: str
    at: float


@dataclass(frozen=True)
class Failed:
    """A request that got no answer, or an excusable error."""

    client: str
    action: str
    status: int  # 0: the connection broke
    began: float
    ended: float


@dataclass(frozen=True)
class Fault:
    """What was done: `kind`, to which job (`of`) where it was one, for how long (`lasted` seconds: a pause), and when every door answered
    again. `back` None: not within the bound. `room`: how much longer a start took at that moment than on a machine of one's own."""

    kind: str
    at: float
    back: float | None
    of: str = ""
    lasted: float = 0.0
    room: float = 1.0


Event = Write | Read | Listed | Seen | Issued | Ran | Answered | Counted | Wrong | Failed | Fault
_KINDS: dict[str, type] = {
    kind.__name__: kind for kind in (Write, Read, Listed, Seen, Issued, Ran, Answered, Counted, Wrong, Failed, Fault)
}
E = TypeVar("E")


@dataclass
class History:
    """Events in the order in which they were told. Threads may add."""

    events: list[Event] = field(default_factory=list)
    predictions: int = 0  # those that were answered right: only counted
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)

    def predicted(self, count: int = 1) -> None:
        with self._lock:
            self.predictions += count

    def of(self, kind: type[E]) -> list[E]:
        with self._lock:
            return [event for event in self.events if isinstance(event, kind)]

    def lines(self) -> Iterator[str]:
        """As they are kept."""
        for event in self.events:
            yield line(event)


def line(event: Event) -> str:
    return json.dumps({"event": type(event).__name__, **asdict(event)})


def parse(lines: Iterable[str]) -> History:
    """What `lines` wrote."""
    found = History()
    for text in lines:
        row = json.loads(text)
        kind = _KINDS[row.pop("event")]
        found.add(kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}))
    return found
