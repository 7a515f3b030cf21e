"""Sessions: which worker a client's SessionId belongs to.

Owns the table of sessions, how a model opens and closes them (headers of its answers), their expiry, and their memory across a
restart of the front. Does not know queues and HTTP. A session belongs to one *worker*, not only to its replica: what a script
remembers is in its process. So it ends with that worker too.

The journal is a line per change, written without waiting for the disk: a killed front's successor reads it, and a machine that
failed took the workers along anyway. Bounded: the sessions used longest ago are forgotten first.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from clary.toolkit import frames

log = logging.getLogger(__name__)

MOST = 1 << 16
SLACK = 1024  # lines that a journal may have beyond twice the sessions before it is written again
OPENED, CLOSED = "x-amzn-sagemaker-new-session-id", "x-amzn-sagemaker-closed-session-id"

EndpointKey = tuple[str, str, str]


class SessionPlace(NamedTuple):
    """Where a session is: key of the variant's route, replica, pid of the worker; and until when (0: until it is closed)."""

    variant: str
    replica: str
    pid: int
    expires: float


class Sessions:
    """All sessions of a front's endpoints. `journal`: a file that remembers them. `wall` tells the time of day."""

    def __init__(self, journal: Path, wall: Callable[[], float], most: int = MOST) -> None:
        self._journal = journal
        self._wall = wall
        self._most = most
        self._places: dict[EndpointKey, dict[str, SessionPlace]] = {}
        self._used: dict[tuple[EndpointKey, str], None] = {}  # the one used last comes last
        self._lines = 0

    def __len__(self) -> int:
        return len(self._used)

    def find(self, endpoint: EndpointKey, session: str) -> SessionPlace | None:
        """Where the session is; None: it was never opened, or it is over."""
        place = self._places.get(endpoint, {}).get(session)
        if place is None:
            return None
        if place.expires and place.expires <= self._wall():
            self.close(endpoint, session)
            return None
        self._used[endpoint, session] = self._used.pop((endpoint, session))
        return place

    def told(self, endpoint: EndpointKey, asked: str, place: tuple[str, str, int], meta: bytes) -> None:
        """The model answered a request that had the SessionId `asked`; `meta` is that of its answer."""
        _, headers = frames.decode_result_meta(meta)
        opened, closed = headers.get(OPENED, ""), headers.get(CLOSED, "")
        if opened:
            session, expires = parse(opened)
            if session:
                self.open(endpoint, session, SessionPlace(*place, expires))
            else:
                log.warning("a model of endpoint %s named its new session %r, which is none", endpoint[2], opened[:300])
        if closed and closed == (asked if not opened else parse(opened)[0]):
            self.close(endpoint, closed)

    def open(self, endpoint: EndpointKey, session: str, place: SessionPlace) -> None:
        self._keep(endpoint, session, place)
        self._write(["+", *endpoint, session, *place])
        while len(self._used) > self._most:
            self.close(*next(iter(self._used)))

    def close(self, endpoint: EndpointKey, session: str) -> None:
        if self._forget(endpoint, session):
            self._write(["-", *endpoint, session])

    def drop(self, endpoint: EndpointKey) -> None:
        """The endpoint was deleted."""
        for session in list(self._places.get(endpoint, ())):
            self.close(endpoint, session)

    def _keep(self, endpoint: EndpointKey, session: str, place: SessionPlace) -> None:
        self._places.setdefault(endpoint, {})[session] = place
        self._used.pop((endpoint, session), None)
        self._used[endpoint, session] = None

    def _forget(self, endpoint: EndpointKey, session: str) -> bool:
        known = self._places.get(endpoint, {})
        if known.pop(session, None) is None:
            return False
        del self._used[endpoint, session]
        if not known:
            del self._places[endpoint]
        return True

    # -- the journal --------------------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Take up what the predecessor knew. A line that does not read (the last one, cut off) is left out."""
        try:
            lines = self._journal.read_bytes().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                kind, account, region, name, session, *place = json.loads(line)
                endpoint = (str(account), str(region), str(name))
                if kind == "+":
                    variant, replica, pid, expires = place
                    self._keep(
                        endpoint, str(session), SessionPlace(str(variant), str(replica), int(pid), float(expires))
                    )
                else:
                    self._forget(endpoint, str(session))
            except (ValueError, TypeError):
                log.warning("%s: a line does not read: %r", self._journal, line[:200])
        self._rewrite()

    def _write(self, entry: list[object]) -> None:
        self._lines += 1
        try:
            if self._lines > 2 * len(self._used) + SLACK:
                self._rewrite()
                return
            self._journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(self._journal, "ab", buffering=0) as file:
                file.write(_line(entry))
        except OSError as error:  # sessions go on; only a restart would forget this
            log.warning("%s: %s", self._journal, error)

    def _rewrite(self) -> None:
        fresh = self._journal.with_suffix(".new")
        fresh.write_bytes(b"".join(map(_line, self._entries())))
        fresh.replace(self._journal)
        self._lines = len(self._used)

    def _entries(self) -> Iterable[list[object]]:
        for endpoint, session in self._used:
            yield ["+", *endpoint, session, *self._places[endpoint][session]]


def _line(entry: list[object]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def parse(value: str) -> tuple[str, float]:
    """Id and end (0: none is told) of a New-Session-Id header, `ID; Expires=2030-01-01T00:00:00Z`. "" for what is no id."""
    session, _, rest = (part.strip() for part in value.partition(";"))
    name, _, text = rest.partition("=")
    plain = session.replace("-", "")
    if not (plain.isascii() and plain.isalnum()) or "-" in (session[0], session[-1]) or len(session) > 256:
        return "", 0.0
    if name.strip().lower() != "expires":
        return session, 0.0
    try:
        return session, datetime.fromisoformat(text.strip()).astimezone(UTC).timestamp()
    except ValueError:
        return session, 0.0
