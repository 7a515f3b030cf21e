"""Which training jobs the SDKs follow, as far as this process saw: who looked at a job, and who reads its log between two looks. Pure.

Bounded and forgetful: it only decides how long an answer is held.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FRESH = 60.0  # seconds without a call after which somebody follows no more: SDK v2 reads every 10 s, SDK v3 every 5 s
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Follower:
    """`first` and `last` call for this job, and when its log was last `read` (None: not so far), in epoch seconds; how often it
    `looked` at the job."""

    first: float
    last: float
    looked: int = 0
    read: float | None = None

    def reads_no_log(self, now: float) -> bool:
        """It looks and sleeps, and would have read the log by now. SDK v3 looks twice before it reads, SDK v2 once."""
        return self.looked > 2 if self.read is None else now - self.read > FRESH


class Followers:
    """(principal, ARN of a job) -> Follower. `now` is epoch seconds."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Follower] = {}

    def looks(self, principal: str, arn: str, now: float) -> Follower:
        """Note a look at the job, and answer who looks."""
        before = self._fresh(principal, arn, now) or Follower(now, now)
        return self._note(principal, arn, replace(before, looked=before.looked + 1), now)

    def reads(self, principal: str, arn: str, now: float) -> None:
        """Note that the job's log is read. Nothing is kept of who does not look at the job."""
        found = self._fresh(principal, arn, now)
        if found is not None:
            self._note(principal, arn, replace(found, read=now), now)

    def _fresh(self, principal: str, arn: str, now: float) -> Follower | None:
        found = self._known.get((principal, arn))
        return found if found is not None and now - found.last < FRESH else None

    def _note(self, principal: str, arn: str, follower: Follower, now: float) -> Follower:
        self._known.pop((principal, arn), None)
        noted = self._known[principal, arn] = replace(follower, last=now)  # now behind all others
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return noted
