"""The queue of one asynchronous endpoint: who waits, who runs, who has waited too long. Pure; times are given.

What is durable are the invocations' records; the loop that holds the endpoint's lease makes this from them. Order is by arrival, but
for those that go back because nobody could take them: they are first again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from clary.domain.endpoints.fleets import Plant
from clary.domain.endpoints.routing import workers_of

LONGEST_PAUSE = 5.0  # seconds
FIRST_PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class Entry:
    """An invocation by its name. `doubtful`: a predecessor may have sent it already, or even stored its answer. `lost` counts
    answers that did not come because the predicting process went away."""

    id: str
    created: float
    expires: float
    doubtful: bool = False
    lost: int = 0


@dataclass(frozen=True, slots=True)
class BacklogRoom:
    """Where an endpoint's queue may go: `capacity` predictions at once on `replicas` that are ready. `variant` is the first one's name."""

    capacity: int = 0
    replicas: int = 0
    variant: str = ""


def room_of(plant: Plant, cpus: int) -> BacklogRoom:
    """MaxConcurrentInvocationsPerInstance on every ready replica; where the config leaves that to us, what a replica has workers for."""
    fleet = plant.serving
    if fleet is None:
        return BacklogRoom()
    limit = (fleet.asynchronous.get("ClientConfig") or {}).get("MaxConcurrentInvocationsPerInstance")
    capacity = replicas = 0
    for group in fleet.groups:  # of several containers, the one with the fewest bounds what goes through
        if group[0].weight > 0:
            ready = min(variant.ready for variant in group)
            replicas += ready
            capacity += ready * (limit or min(workers_of(variant, cpus) for variant in group))
    return BacklogRoom(capacity, replicas, fleet.variants[0].name)


class Backlog:
    """Entries, each once, waiting or running."""

    def __init__(self) -> None:
        self._waiting: deque[Entry] = deque()
        self._expiry: list[tuple[float, str]] = []
        self._known: set[str] = set()
        self._gone: set[str] = set()  # waiting ones that expired: `take` passes over them
        self.running: dict[str, Entry] = {}
        self._pause = 0.0
        self._until = 0.0

    def __len__(self) -> int:
        """All that is not answered yet, running ones too: ApproximateBacklogSize."""
        return len(self._known)

    def offer(self, entry: Entry) -> bool:
        """Take it in; False when it is here already."""
        if entry.id in self._known:
            return False
        self._known.add(entry.id)
        self._waiting.append(entry)
        heapq.heappush(self._expiry, (entry.expires, entry.id))
        return True

    def take(self, capacity: int, now: float) -> list[Entry]:
        """Those that may run now, so that no more than `capacity` do. None during a pause."""
        taken: list[Entry] = []
        if now < self._until:
            return taken
        while self._waiting and len(self.running) < capacity:
            entry = self._waiting.popleft()
            if entry.id in self._gone:
                self._gone.discard(entry.id)
                continue
            self.running[entry.id] = entry
            taken.append(entry)
        return taken

    def put_back(self, entry: Entry, now: float) -> None:
        """Nobody could take it: it is first again, and the queue pauses, longer each time in a row."""
        self.running.pop(entry.id, None)
        self._waiting.appendleft(entry)
        heapq.heappush(self._expiry, (entry.expires, entry.id))
        if now >= self._until:  # of several that come back together, the first sets the pause
            self._pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause * 2))
            self._until = now + self._pause

    def served(self) -> None:
        """A prediction was answered: the pause ends."""
        self._pause = self._until = 0.0

    def resumes(self) -> float:
        """When the pause ends (0: there is none)."""
        return self._until

    def done(self, id_: str) -> None:
        """Answered; it may be forgotten."""
        self.running.pop(id_, None)
        self._known.discard(id_)

    def expire(self, now: float) -> list[Entry]:
        """Take out those that waited beyond their time; they count as running until `done`."""
        found: list[Entry] = []
        while self._expiry and self._expiry[0][0] <= now:
            expires, id_ = heapq.heappop(self._expiry)
            if id_ in self._known and id_ not in self.running and id_ not in self._gone:
                self._gone.add(id_)
                found.append(Entry(id_, 0.0, expires))
        for entry in found:
            self.running[entry.id] = entry
        return found

    def empty(self) -> list[Entry]:
        """Take out everything that waits; it counts as running until `done`."""
        found = [entry for entry in self._waiting if entry.id not in self._gone]
        self._waiting.clear()
        self._gone.clear()
        self.running |= {entry.id: entry for entry in found}
        return found

    def waiting(self) -> int:
        return len(self._waiting) - len(self._gone)

    def metrics(self, replicas: int, now: float) -> Mapping[str, float]:
        """The gauges of the endpoint, by AWS's names (reference 3.5)."""
        oldest = next((e for e in self._waiting if e.id not in self._gone), None)
        return {
            "ApproximateBacklogSize": float(len(self)),
            "ApproximateBacklogSizePerInstance": len(self) / max(1, replicas),
            "ApproximateAgeOfOldestRequest": max(0.0, now - oldest.created) if oldest else 0.0,
            "HasBacklogWithoutCapacity": float(len(self) > 0 and replicas == 0),
        }
