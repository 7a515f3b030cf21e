"""`clary why`: why an endpoint has the size that it has, told from its decision records. A deleted one's story stays for as long as they
do. A client of the public API only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence

from clary.app.cli.history import when
from clary.app.cli.logs import begin_of
from clary.app.cli.output import NOT_FOUND, CommandRefused, plain, say, say_json
from clary.app.cli.scaling import events_of, streams_of
from clary.app.cli.site import here
from clary.domain.scaling import decisions
from clary.domain.scaling.decisions import FLEET, RANGE, SIZE, STAFFING, Event

SOON = 5.0  # seconds in which what was decided is refused where it is
_INDENT = " " * 21


def why(directory: str | None, endpoint: str, variant: str, since: str, *, as_json: bool) -> None:
    start = begin_of(since, time.time()) / 1000
    site = here(directory)
    client = site.client()
    name = endpoint.rpartition("/")[2]
    streams = streams_of(client, name)
    if variant and variant not in streams:
        known = f"there is {', '.join(streams)}" if streams else "there is none"
        raise CommandRefused(f"there are no decisions about a variant {variant!r} of {name}: {known}", NOT_FOUND)
    if not streams:
        raise CommandRefused(
            f"there are no scaling decisions about an endpoint {name!r}: give it a scaling policy, such as a latency objective "
            f"(docs/scaling.md); `{site.typed('ps')}` lists endpoints",
            NOT_FOUND,
        )
    stories = {each: list(events_of(client, name, each, start)) for each in ([variant] if variant else streams)}
    if as_json:
        say_json([{"variant": each, **json.loads(decisions.line(e))} for each, told in stories.items() for e in told])
        return
    for each, told in stories.items():
        say(plain(f"{name}, {each}:"))
        for line in story(told) or ["no decisions in this time"]:
            say(plain(line))


def story(events: Sequence[Event]) -> list[str]:
    """Lines for a person. What stays so is told once, with until when it did."""
    lines: list[str] = []
    groups = list(_alike(events))
    for place, same in enumerate(groups):
        lines += _told(same[0], any(_undoes(each[0], same[0]) for each in groups[place + 1 : place + 3]))
        if len(same) > 1:
            lines.append(f"{_INDENT}so until {when(same[-1].at)}, decided again {_times(len(same) - 1)}")
    return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _alike(events: Iterable[Event]) -> Iterator[list[Event]]:
    group: list[Event] = []
    for event in events:
        changed = event.applied and event.before != event.after
        if group and (event.outcome != group[0].outcome or changed):
            yield group
            group = []
        group.append(event)
    if group:
        yield group


def _undoes(later: Event, event: Event) -> bool:
    """Whether it says that what was decided could not be had."""
    if not later.refused or not event.applied or later.at - event.at > SOON:
        return False
    which = "count" if later.before.count else "millicpu"
    had = getattr(event.before, which)
    return bool(getattr(later.before, which) == had != getattr(event.after, which))


def _told(event: Event, undone: bool = False) -> list[str]:
    by = "" if event.level == RANGE else f" [{event.policy}]"
    lines = [f"{when(event.at)}  {event.why}{by}"]
    lines.append(f"{_INDENT}seen: {decisions.seen(event)}")
    wanted = decisions.wanted(event)
    if wanted and event.level in (STAFFING, SIZE, FLEET, RANGE):
        lines.append(f"{_INDENT}wanted: {wanted}; chosen: {event.won.replace('-', ' ')}")
    done = decisions.done(event)
    if done != "nothing to change":
        word = "asked" if undone else "done"
        lines.append(f"{_INDENT}{word}: {done}" if not done.startswith(("not done", "held")) else f"{_INDENT}{done}")
    return lines
