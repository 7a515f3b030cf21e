"""The control channel at a front: what the control plane tells it and asks it, and what it asks back.

Owns both directions' messages: 4 byte little-endian length, then a JSON object. Control to front: `{"id", "op", ...}` with op put
(route), drop (account, region, name), observe (the same), counts, bound (ceilings, seconds), revoke (access_key_id), ping; answered
`{"id", "ok": true, ...}` or `{"id", "error": text}`. Front to control: `{"event": "changed", account, region, name}`; `{"ask": n,
access_key_id, session_token, date, region}`, answered `{"op": "key", "ask": n, "key": {...} or null}`; `{"ask_model": n, account,
region, endpoint, replica, model}`, answered `{"op": "model", "ask_model": n, ...}` (both in domain/endpoints/target_models.py). Does not
know who may connect (file modes do). Both ends are in `serving`: `client.py` is the other.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any, cast

import orjson

from clary.domain.endpoints.routes import Ceiling, EndpointRoute
from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.serving.front import Front
from clary.serving.keys import KeyQuestion, SigningKey

log = logging.getLogger(__name__)

MOST = 64 << 20  # bytes of one message, and of what one control plane leaves unread
MOST_ASKED = 20_000  # questions for keys that wait for an answer: each that is known and each that is held, twice over
SILENT = 5.0  # seconds without a word of a control plane (each asks for counts every second) until another one is asked instead


def pack(message: dict[str, Any]) -> bytes:
    """A message as it travels."""
    data = orjson.dumps(message)
    return len(data).to_bytes(4, "little") + data


class Unpacker:
    """Messages out of pieces of bytes. ValueError for nonsense."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= 4:
            size = int.from_bytes(buffer[:4], "little")
            if size > MOST:
                raise ValueError("message is too large")
            if len(buffer) < 4 + size:
                break
            message = orjson.loads(buffer[4 : 4 + size])
            if not isinstance(message, dict):
                raise ValueError("message is not an object")
            messages.append(message)
            del buffer[: 4 + size]
        return messages


class ControlChannel:
    """Every control plane that is connected to this front."""

    def __init__(self, front: Front, most_asked: int = MOST_ASKED, silent: float = SILENT) -> None:
        self.front = front
        self._most_asked = most_asked
        self._silent = silent
        self.sessions: set[Session] = set()
        self.questions: dict[int, KeyQuestion] = {}
        self.models: dict[int, tuple[TargetQuestion, Session]] = {}
        self._numbers = itertools.count(1)
        self._told: set[tuple[str, str, str]] = set()
        front.changed = self._changed
        front.ask = self._ask
        front.questions.send = self._ask_model

    def protocol(self) -> Session:
        return Session(self)

    def joined(self, session: Session) -> None:
        self.sessions.add(session)
        self.questions.clear()
        self.front.keys.ask_again()
        self._ask_models_again()

    def left(self, session: Session) -> None:
        self.sessions.discard(session)
        self._ask_models_again()  # of another control plane, where there is one

    def heard(self, session: Session) -> None:
        """A control plane spoke. What another one was asked that has been silent for long is asked of a living one."""
        if any(session.heard - asked.heard > self._silent for _, asked in self.models.values()):
            self._ask_models_again()

    def _ask_models_again(self) -> None:
        self.models.clear()
        if self.sessions:
            self.front.questions.ask_again()

    def _ask_model(self, question: TargetQuestion) -> None:
        """Of the one that spoke last: it is certainly there, and an archive is brought once. Nobody there: `joined` asks again."""
        session = max(self.sessions, key=lambda each: each.heard, default=None)
        if session is not None:
            number = next(self._numbers)
            self.models[number] = question, session
            session.send({"ask_model": number, **question.to_json()})

    def _ask(self, question: KeyQuestion) -> None:
        """Of all: any of them may be stopped, and the first answer counts. Nobody there: `joined` asks again."""
        if not self.sessions:
            return
        number = next(self._numbers)
        self.questions[number] = question
        while len(self.questions) > self._most_asked:  # nobody answers
            del self.questions[next(iter(self.questions))]
        for session in list(self.sessions):
            session.send({"ask": number, **question._asdict()})

    def _changed(self, route: EndpointRoute) -> None:
        """One event per endpoint and turn of the loop, however much changed."""
        if not self._told:
            self.front.loop.call_soon(self._flush)
        self._told.add((route.account, route.region, route.name))

    def _flush(self) -> None:
        told, self._told = self._told, set()
        for account, region, name in told:
            for session in list(self.sessions):
                session.send({"event": "changed", "account": account, "region": region, "name": name})

    # -- what control planes say --------------------------------------------------------------------------------------------------

    async def execute(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do one operation and say how it went."""
        front = self.front
        op = message.get("op")
        where = (str(message.get("account")), str(message.get("region")), str(message.get("name")))
        try:
            if op == "put":
                await front.put(EndpointRoute.from_json(message["route"]))
            elif op == "drop":
                await front.drop(*where)
            elif op == "observe":
                view = front.view(*where)
                return {"ok": True, "view": None if view is None else view.to_json()}
            elif op == "counts":
                return {"ok": True, "counts": [counts.to_json() for counts in front.counts()]}
            elif op == "bound":
                self._bound([Ceiling(*row) for row in message["ceilings"]], float(message["seconds"]))
            elif op == "revoke":
                self._revoke(str(message["access_key_id"]))
            elif op != "ping":
                return {"error": f"unknown operation {op}"}
        except (KeyError, TypeError, ValueError, OSError) as error:
            log.warning("%s failed: %s", op, error)
            return {"error": f"{op}: {error}"}
        return {"ok": True}

    def _bound(self, ceilings: list[Ceiling], seconds: float) -> None:
        """Keep to these for so long. A variant that is not here, or has no objective, has none."""
        lapses = time.perf_counter() + seconds
        for ceiling in ceilings:
            endpoint = self.front.endpoints.get(ceiling[:3])
            if endpoint is not None:
                endpoint.bound(ceiling.variant, ceiling.workers, lapses)

    def _revoke(self, access_key_id: str) -> None:
        """Answers that are on their way may have been made before: they count no more."""
        self.questions = {n: q for n, q in self.questions.items() if q.access_key_id != access_key_id}
        self.front.keys.revoke(access_key_id)

    def model(self, message: dict[str, Any]) -> None:
        """The answer to a question for a model."""
        asked = self.models.pop(int(message["ask_model"]), None)
        if asked is not None:
            self.front.questions.answer(asked[0], Placement.from_json(message))

    def key(self, message: dict[str, Any]) -> None:
        """The answer to a question for a key."""
        question = self.questions.pop(int(message["ask"]), None)
        if question is None:
            return
        told = message.get("key")
        key = None
        if told is not None:
            key = SigningKey(bytes.fromhex(told["key"]), told["account"], told["principal"], told.get("expires"))
        self.front.keys.answer(question, key, time.monotonic())


class Session(asyncio.Protocol):
    """One connection of a control plane."""

    def __init__(self, channel: ControlChannel) -> None:
        self.channel = channel
        self.transport: asyncio.Transport | None = None
        self._unpacker = Unpacker()
        self._running: set[asyncio.Task[None]] = set()
        self._order = asyncio.Lock()
        self.heard = time.monotonic()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are not registered as such
        self.channel.joined(self)

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        self.channel.heard(self)
        try:
            for message in self._unpacker.feed(data):
                if message.get("op") == "key":
                    self.channel.key(message)
                elif message.get("op") == "model":
                    self.channel.model(message)
                else:
                    task = self.channel.front.loop.create_task(self._run(message))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("control channel: %s", error)
            if self.transport is not None:
                self.transport.close()

    async def _run(self, message: dict[str, Any]) -> None:
        async with self._order:  # a put and the drop after it take effect in the order sent
            answer = await self.channel.execute(message)
        self.send({"id": message.get("id"), **answer})

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.channel.left(self)

    def send(self, message: dict[str, Any]) -> None:
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() > MOST:
            log.warning("a control plane reads nothing any more: its connection is cut")
            self.transport.abort()  # should it come back, it dials again and is told everything
            return
        self.transport.write(pack(message))
