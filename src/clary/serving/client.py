"""The data plane as the control plane reaches it: `FrontClient` is the `Fronts` port over the fronts' control sockets.

Owns the connections (dialled again for ever), which front is an endpoint's home, what a front that was away must be told, and the
answers to the fronts' questions for signing keys. Does not know records and loops.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from clary.domain.endpoints.routes import Ceiling, EndpointRoute, EndpointView
from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.domain.errors import Unavailable
from clary.domain.metrics.counts import Count, VariantCounts
from clary.ports import Keys
from clary.serving.asynchronous import KEY_ID, answer_key
from clary.serving.ctl import Unpacker, pack
from clary.serving.homes import home
from clary.wire.sigv4 import signing_key

log = logging.getLogger(__name__)

ANSWER_WITHIN = 10.0
FIRST_DELAY = 0.02
LONGEST_DELAY = 0.5

Listener = Callable[[str, str, str], None]
EndpointKey = tuple[str, str, str]
PlaceModel = Callable[[TargetQuestion], Awaitable[Placement]]


class FrontClient:
    """`ports.Fronts` over control sockets; `sockets[i]` is the path of front i's. `place` puts a model where a front asks for it.
    Call `start` on the event loop, `close` at the end."""

    def __init__(
        self, sockets: Sequence[str], keys: Keys, place: PlaceModel | None = None, asynchronous: str = ""
    ) -> None:
        self._keys = keys
        self._place = place
        self._asynchronous = asynchronous  # the secret of `asynchronous.KEY_ID`; "": nobody has it
        self._listeners: list[Listener] = []
        self._lines = [_Line(path, self) for path in sockets]

    async def start(self) -> None:
        for line in self._lines:
            line.start()

    async def close(self) -> None:
        for line in self._lines:
            await line.close()

    async def connected(self) -> None:
        """Return once every front is reached."""
        for line in self._lines:
            await line.up.wait()

    # -- ports.Fronts -------------------------------------------------------------------------------------------------------------

    async def put(self, route: EndpointRoute) -> None:
        """Tell the home front; when it is away it is told on its return."""
        await self._home(route.name).put(route)

    async def drop(self, account: str, region: str, name: str) -> None:
        await self._home(name).drop((account, region, name))

    async def observe(self, account: str, region: str, name: str) -> EndpointView | None:
        answer = await self._home(name).ask({"op": "observe", "account": account, "region": region, "name": name})
        view = answer.get("view") if answer is not None else None
        return None if view is None else EndpointView.from_json(view)

    async def counts(self) -> Count:
        answers = await asyncio.gather(*(line.ask({"op": "counts"}) for line in self._lines))
        rows = [row for answer in answers if answer is not None for row in answer.get("counts", ())]
        told = all(answer is not None and "counts" in answer for answer in answers)
        return Count(tuple(VariantCounts.from_json(row) for row in rows), told)

    async def bound(self, ceilings: Sequence[Ceiling], seconds: float) -> None:
        by_line: dict[_Line, list[list[str | int]]] = {}
        for ceiling in ceilings:
            by_line.setdefault(self._home(ceiling.endpoint), []).append(list(ceiling))
        said = ({"op": "bound", "ceilings": rows, "seconds": seconds} for rows in by_line.values())
        await asyncio.gather(*(line.ask(message) for line, message in zip(by_line, said, strict=True)))

    async def revoke(self, access_key_id: str) -> None:
        """Every front forgets the key. One that is away asks for every key that it knows when it is reached again."""
        await asyncio.gather(*(line.ask({"op": "revoke", "access_key_id": access_key_id}) for line in self._lines))

    def watch(self, listener: Listener) -> Callable[[], None]:
        self._listeners.append(listener)

        def stop() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return stop

    # -- for the lines ------------------------------------------------------------------------------------------------------------

    def _home(self, name: str) -> _Line:
        return self._lines[home(name, len(self._lines))]

    def changed(self, account: str, region: str, name: str) -> None:
        for listener in list(self._listeners):
            listener(account, region, name)

    async def model(self, question: TargetQuestion) -> Placement:
        """Put the archive of a model where a front asks for it."""
        if self._place is None:
            return Placement(refused="This control plane serves no multi-model endpoints.")
        return await self._place(question)

    def key(self, question: dict[str, Any]) -> dict[str, Any] | None:
        """The derived key that a front asks for; None when nobody has it. The secret stays here."""
        if question["access_key_id"] == KEY_ID and self._asynchronous:
            return answer_key(question, self._asynchronous)
        credential = self._keys.find(str(question["access_key_id"]), str(question["session_token"]))
        if credential is None:
            return None
        derived = signing_key(credential.secret, str(question["date"]), str(question["region"]), "sagemaker")
        return {
            "key": derived.hex(),
            "account": credential.account,
            "principal": credential.principal,
            "expires": credential.expires,
        }


class _Line:
    """The connection to one front, and what it must be told when it is back."""

    def __init__(self, path: str, client: FrontClient) -> None:
        self.up = asyncio.Event()
        self._path = path
        self._client = client
        self._routes: dict[EndpointKey, EndpointRoute] = {}
        self._dropped: set[EndpointKey] = set()
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"line to {self._path}")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._hang_up()

    async def put(self, route: EndpointRoute) -> None:
        key = (route.account, route.region, route.name)
        self._routes[key] = route
        answer = await self.ask({"op": "put", "route": route.to_json()})
        if answer is not None and "error" in answer:
            raise Unavailable(f"front refuses the route of {route.name}: {answer['error']}")

    async def drop(self, key: EndpointKey) -> None:
        self._routes.pop(key, None)
        self._dropped.add(key)
        account, region, name = key
        answer = await self.ask({"op": "drop", "account": account, "region": region, "name": name})
        if answer is not None:
            self._dropped.discard(key)

    async def _drop_again(self, number: int, key: EndpointKey) -> None:
        if await self._answer(number) is not None:
            self._dropped.discard(key)

    async def ask(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """One operation; None when the front is away or did not answer in time."""
        if self._writer is None:
            return None
        return await self._answer(self._question(message))

    def _question(self, message: dict[str, Any]) -> int:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number, **message})
        return number

    async def _answer(self, number: int) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._answers[number]
        except (TimeoutError, ConnectionError):
            return None
        finally:
            self._answers.pop(number, None)

    # -- the connection -----------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                reader, self._writer = await asyncio.open_unix_connection(self._path)
            except OSError:
                await asyncio.sleep(delay)
                delay = min(LONGEST_DELAY, delay * 2)
                continue
            delay = FIRST_DELAY
            self._greet()
            try:
                await self._read(reader)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s: %s", self._path, error)
            self._hang_up()
            await asyncio.sleep(FIRST_DELAY)

    def _greet(self) -> None:
        """The front may be a new process, or missed something: say all of it again. Every operation is idempotent."""
        for key in list(self._dropped):
            # before the puts: a name that was deleted and made again starts with a low revision
            account, region, name = key
            number = self._question({"op": "drop", "account": account, "region": region, "name": name})
            self._background(self._drop_again(number, key))
        for route in self._routes.values():
            self._send({"op": "put", "route": route.to_json()})
        self.up.set()
        for account, region, name in self._routes:
            self._client.changed(account, region, name)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        unpacker = Unpacker()
        while data := await reader.read(1 << 16):
            for message in unpacker.feed(data):
                if "ask" in message:
                    self._send({"op": "key", "ask": message["ask"], "key": self._client.key(message)})
                elif "ask_model" in message:
                    self._background(self._model(message["ask_model"], TargetQuestion.from_json(message)))
                elif message.get("event") == "changed":
                    self._client.changed(message["account"], message["region"], message["name"])
                else:
                    future = self._answers.get(message.get("id") or 0)
                    if future is not None and not future.done():
                        future.set_result(message)

    async def _model(self, number: int, question: TargetQuestion) -> None:
        placement = await self._client.model(question)
        self._send({"op": "model", "ask_model": number, **placement.to_json()})

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(pack(message))

    def _hang_up(self) -> None:
        self.up.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for future in self._answers.values():
            if not future.done():
                future.set_exception(ConnectionError("the front is gone"))
