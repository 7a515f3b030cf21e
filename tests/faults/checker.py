"""Whether a history is one that Clary may have: what was acknowledged is there, nothing is doubled, statuses move as the lifecycle allows.

Pure. A rule answers violations, each with the events that it is about. Rules never take a legal history for a bad one: where the answer
to a write did not come, what it wrote may be there from then on, or never.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.history import (
    FAILED_CALL,
    OK,
    REFUSED,
    Answered,
    Counted,
    Event,
    Fault,
    History,
    Issued,
    Listed,
    Ran,
    Read,
    Seen,
    Write,
    Wrong,
    line,
)

from clary.domain import lifecycle

SCARCE = "full disk"  # a fault: while it lasts, and shortly after, what needs the disk may fail
AFTER = 30.0  # seconds
RECOVERY = 5.0  # seconds until everything answers again, on a machine of one's own
LONGER = {"kill clary up": 10.0}
MODELS = ("kill worker", "kill zygote", "kill replica's shim", SCARCE)  # what a prediction may fail by


@dataclass(frozen=True)
class Violation:
    rule: str
    what: str
    events: tuple[Event, ...]

    def __str__(self) -> str:
        return "\n    ".join([f"{self.rule}: {self.what}", *(line(event) for event in self.events)])


def check(history: History) -> list[Violation]:
    """Everything that is wrong with it."""
    return [violation for rule in RULES for violation in rule(history)]


# -- what was written -------------------------------------------------------------------------------------------------------------


def _writes(history: History) -> dict[str, list[Write]]:
    found: dict[str, list[Write]] = defaultdict(list)
    for write in history.of(Write):
        found[write.key].append(write)
    return found


def possible(writes: Sequence[Write], began: float, ended: float) -> set[str | None]:
    """What a read of that time may answer. A write that was acknowledged before it began takes the place of all acknowledged before that
    one; one whose answer did not come, or was under way, may be there or not."""
    settled = [w for w in writes if w.outcome == OK and w.ended < began]
    last = max(settled, key=lambda w: w.began, default=None)
    found: set[str | None] = {last.value if last is not None else None}
    for write in writes:
        open_ = write.outcome != REFUSED and (write.outcome != OK or write.ended >= began)
        if open_ and write.began < ended:
            found.add(write.value)
    return found


def reads(history: History) -> Iterator[Violation]:
    """An acknowledged write is there with its content until another takes its place."""
    writes = _writes(history)
    for read in history.of(Read):
        may = possible(writes[read.key], read.began, read.ended)
        if read.value not in may:
            kind = "lost" if read.value is None else "wrong content"
            yield Violation(kind, f"{read.key} has {read.value!r}, not {_or(may)}", (*writes[read.key], read))


def lists(history: History) -> Iterator[Violation]:
    """A list has each thing once, all that are there, none that is gone."""
    writes = _writes(history)
    for listed in history.of(Listed):
        times = Counter(listed.keys)
        for key, count in times.items():
            if count > 1:
                yield Violation("doubled", f"{key} is listed {count} times", (listed,))
        for key, written in writes.items():
            if not key.startswith(listed.prefix):
                continue
            may = possible(written, listed.began, listed.ended)
            if key not in times and None not in may:
                yield Violation("lost", f"{key} is not listed", (*written, _without(listed)))
            if key in times and may == {None}:
                yield Violation("risen", f"{key} is listed and was deleted", (*written, _without(listed)))


def _without(listed: Listed) -> Listed:
    return Listed(listed.prefix, (f"... {len(listed.keys)} keys",), listed.began, listed.ended)


def fresh(history: History) -> Iterator[Violation]:
    """Of two creations of one name at most one is acknowledged, unless it was deleted in between."""
    for key, writes in _writes(history).items():
        there: Write | None = None
        for write in sorted(writes, key=lambda w: w.began):
            if write.value is None:
                there = None if write.outcome != REFUSED else there
            elif write.fresh and write.outcome == OK:
                if there is not None and there.value != write.value:
                    yield Violation("doubled", f"{key} was created twice", (there, write))
                there = write


def ids(history: History) -> Iterator[Violation]:
    """No id is given twice."""
    first: dict[tuple[str, str], Issued] = {}
    for issued in history.of(Issued):
        before = first.setdefault((issued.kind, issued.id), issued)
        if before.of != issued.of:
            yield Violation("doubled id", f"{issued.kind} {issued.id}", (before, issued))


# -- what moves -------------------------------------------------------------------------------------------------------------------


def reachable(table: Mapping[tuple[str, str], str]) -> dict[str, set[str]]:
    """From a status to all that may be seen at some later look."""
    steps: dict[str, set[str]] = defaultdict(set)
    for (start, _), to in table.items():
        steps[str(start)].add(str(to))
    found = {status: {status} for status in {*steps, *(str(to) for to in table.values())}}
    grown = True
    while grown:
        grown = False
        for seen in found.values():
            more = {to for status in seen for to in steps[status]} - seen
            grown = grown or bool(more)
            seen |= more
    return found


_TABLES: Mapping[str, Mapping[str, set[str]]] = {
    "job": reachable(lifecycle.JOB),
    "endpoint": reachable(lifecycle.ENDPOINT),
}


def statuses(history: History) -> Iterator[Violation]:
    """Statuses only move as the lifecycle allows."""
    last: dict[tuple[str, str], Seen] = {}
    for seen in history.of(Seen):
        before = last.get((seen.kind, seen.name))
        if before is not None and seen.status not in _TABLES[seen.kind][before.status]:
            what = f"{seen.kind} {seen.name} went from {before.status} to {seen.status}"
            yield Violation("status", what, (before, seen))
        last[seen.kind, seen.name] = seen


def endpoints(history: History) -> Iterator[Violation]:
    """An endpoint that had replicas never fails by itself."""
    for seen in history.of(Seen):
        if seen.kind == "endpoint" and seen.status in ("Failed", "UpdateRollbackFailed"):
            yield Violation("failed", f"endpoint {seen.name} is {seen.status}: {seen.why}", (seen,))


def jobs(history: History) -> Iterator[Violation]:
    """A job runs once, and fails only when its own processes were killed, or there was no disk."""
    killed = {fault.of for fault in history.of(Fault) if fault.of}
    looks: dict[str, list[float]] = defaultdict(list)
    for seen in history.of(Seen):
        if seen.kind == "job":
            looks[seen.name].append(seen.at)
    for ran in history.of(Ran):
        times = Counter(ran.lines)
        doubled = [text for text, count in times.items() if count > 1]
        if doubled:
            yield Violation("doubled", f"job {ran.job} printed {doubled[0]!r} {times[doubled[0]]} times", (ran,))
        scarce = _scarce(history, looks[ran.job])  # then a line of its log may be missing, too
        if ran.status == "Completed" and set(times) != {"begun", "done"} and not scarce:
            yield Violation("lost", f"job {ran.job} is Completed and printed {sorted(times)}", (ran,))
        if ran.status == "Completed" and not ran.result:
            yield Violation("lost", f"the result of job {ran.job} is not stored", (ran,))
        if ran.status != "Completed" and ran.job not in killed and not scarce:
            yield Violation("failed", f"job {ran.job} is {ran.status}: {ran.why}", (ran,))


def _scarce(history: History, looks: Sequence[float]) -> bool:
    """Whether the disk was full while it was looked at."""
    full = [fault for fault in history.of(Fault) if fault.kind == SCARCE]
    return any(fault.at - 1.0 <= at <= (fault.back or at) + AFTER for fault in full for at in looks)


def calls(history: History) -> Iterator[Violation]:
    """An asynchronous call that was acknowledged is answered once, with its own answer, or that it failed where a worker was killed; one
    that was not acknowledged is answered at most once. (What it says then is not known: `call` is the place of its answer.)"""
    model = any(fault.kind in MODELS for fault in history.of(Fault))
    for answered in history.of(Answered):
        if len(answered.answers) > 1:
            yield Violation("doubled", f"call {answered.call} has {len(answered.answers)} answers", (answered,))
        elif answered.outcome == OK and not answered.answers:
            yield Violation("lost", f"call {answered.call} has no answer", (answered,))
        elif answered.answers == (FAILED_CALL,):
            if not model:
                yield Violation("failed", f"call {answered.call}", (answered,))
        elif answered.outcome == OK and answered.answers[0] != answered.call:
            yield Violation("wrong content", f"call {answered.call} has {answered.answers[0]!r}", (answered,))


def counts(history: History) -> Iterator[Violation]:
    """In the end there is what was asked, no more and no less."""
    for counted in history.of(Counted):
        if counted.found != counted.wanted:
            rule = "doubled" if counted.found > counted.wanted else "lost"
            yield Violation(rule, f"{counted.what}: {counted.found}, not {counted.wanted}", (counted,))


def answers(history: History) -> Iterator[Violation]:
    """No answer is wrong, and no error is one that a fault does not excuse."""
    for wrong in history.of(Wrong):
        yield Violation("wrong", f"{wrong.action} by the {wrong.client} client: {wrong.what}", (wrong,))


def recovery(history: History) -> Iterator[Violation]:
    """After each fault everything answers again, soon."""
    for fault in history.of(Fault):
        if fault.back is None:
            yield Violation("no recovery", f"after {fault.kind}", (fault,))
            continue
        took, most = fault.back - fault.at - fault.lasted, LONGER.get(fault.kind, RECOVERY) * fault.room
        if took > most:
            yield Violation("slow", f"{took:.1f} s after {fault.kind}, more than {most:.1f}", (fault,))


RULES: Sequence[Callable[[History], Iterable[Violation]]] = (
    reads,
    lists,
    fresh,
    ids,
    statuses,
    endpoints,
    jobs,
    calls,
    counts,
    answers,
    recovery,
)


def _or(values: set[str | None]) -> str:
    return " or ".join(sorted(repr(value) for value in values))
