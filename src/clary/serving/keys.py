"""Signing keys that a front may use: derived ones, never secrets.

Owns the cache by (key id, session token, date, region), and holding requests while a key is asked for. The control plane derives
keys and says whom they speak for; while it is away, misses are held, and what is known goes on being good. Does not know sockets:
`ask` is called with a question and the answer comes through `answer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

HELD_SECONDS = 60.0
REFUSED_SECONDS = 1.0
MOST_KEYS = 10_000
MOST_QUESTIONS = 1_000


class KeyQuestion(NamedTuple):
    """Which key: what a request's signature claims."""

    access_key_id: str
    session_token: str
    date: str
    region: str


class SigningKey(NamedTuple):
    """A derived SigV4 key for the scope `sagemaker`, and whom it speaks for. `expires` in epoch seconds."""

    key: bytes
    account: str
    principal: str
    expires: float | None = None


Held = Callable[[SigningKey | None, bool], None]  # (key, whether an answer came at all)


class KeyCache:
    """Known keys and open questions."""

    def __init__(self, ask: Callable[[KeyQuestion], None]) -> None:
        self._ask = ask
        self.generation = 0  # moves when a key that was good may be so no more
        self._known: dict[KeyQuestion, SigningKey] = {}
        self._refused: dict[KeyQuestion, float] = {}
        self.open: dict[KeyQuestion, tuple[float, list[Held]]] = {}

    def find(self, question: KeyQuestion) -> SigningKey | None:
        return self._known.get(question)

    def hold(self, question: KeyQuestion, held: Held, now: float) -> None:
        """Ask for a key and call `held` with the answer; at once where it was refused a moment ago, or too much is open."""
        refused = self._refused.get(question)
        if refused is not None and now - refused < REFUSED_SECONDS:
            held(None, True)
            return
        waiting = self.open.get(question)
        if waiting is not None:
            waiting[1].append(held)
        elif len(self.open) >= MOST_QUESTIONS:
            held(None, False)
        else:
            self.open[question] = (now, [held])
            self._ask(question)

    def answer(self, question: KeyQuestion, key: SigningKey | None, now: float) -> None:
        """What the control plane says; None: no such key."""
        before = self._known.get(question)
        if before is not None and before != key:
            self.generation += 1
        if key is not None:
            if before is None and len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known[question] = key
        else:
            self._known.pop(question, None)
            if len(self._refused) >= MOST_KEYS:
                self._refused.clear()
            self._refused[question] = now
        _, waiting = self.open.pop(question, (0.0, []))
        for held in waiting:
            held(key, True)

    def tick(self, now: float) -> None:
        """Give up on questions that nobody answered for a minute."""
        for question in [q for q, (since, _) in self.open.items() if now - since >= HELD_SECONDS]:
            for held in self.open.pop(question)[1]:
                held(None, False)

    def ask_again(self) -> None:
        """A control plane is back: what is known may have been revoked meanwhile, so it is asked for once more, beside what is open.
        Until the answer comes it stays good: the process that joins may answer late, or never."""
        self._refused.clear()
        for question in (*self.open, *self._known):
            self._ask(question)

    def revoke(self, access_key_id: str) -> None:
        """Forget every key of this id. A key that somebody waits for is asked for again: the answer on its way may be older."""
        self.generation += 1
        for question in [q for q in self._known if q.access_key_id == access_key_id]:
            del self._known[question]
        for question in [q for q in self.open if q.access_key_id == access_key_id]:
            self._ask(question)
