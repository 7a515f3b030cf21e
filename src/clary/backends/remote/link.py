"""One connection between two machines that carries calls and news, many at a time.

A frame is its length (4 bytes, big-endian) and JSON: `{"id", "call", "given"}` asks, `{"id", "answer"}` or `{"id", "error", "message"}`
answers, `{"news": ...}` needs none, `{}` says only that its sender lives. Who asks may ask again after a lost connection: it cannot know
whether the call was done, so all calls are idempotent. Does not know what the calls are, nor who opened the connection.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from clary.backends.remote.calls import error_of, failure
from clary.domain.errors import ClaryError, Unavailable

LONGEST = 256 << 20  # bytes of a frame: a larger one is no frame of ours
_HEAD = 4

Answer = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Pulse:
    """Seconds. Each end says something at least so often (`beat`); a connection that is silent for `silence` is lost."""

    beat: float = 0.5
    silence: float = 10.0


class NodeLink:
    """An end of a connection. `answer` does what the other end asks (ClaryError for what it is to be told); `hear` has its news; `lost` is
    called once, when the connection is."""

    def __init__(
        self,
        name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Answer,
        hear: Callable[[Any], None],
        lost: Callable[[NodeLink], None],
        pulse: Pulse,
    ) -> None:
        self._name, self._reader, self._writer = name, reader, writer
        self._answer, self._hear, self._lost, self._pulse = answer, hear, lost, pulse
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        self._spawn(self._read())
        self._spawn(self._live())

    async def ask(self, call: str, given: Mapping[str, Any]) -> Any:
        """What the other end answers, as JSON. Its ClaryError; Unavailable when the connection is lost before it has answered."""
        if self._over:
            raise self._gone()
        number = next(self._numbers)
        answered = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"id": number, "call": call, "given": given})
            return await answered
        finally:
            self._asked.pop(number, None)

    def tell(self, news: Any) -> None:
        """Best effort: nobody says that it arrived."""
        if not self._over:
            self._send({"news": news})

    async def close(self) -> None:
        """End it; what was asked and not answered fails."""
        self._end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, frame: Mapping[str, Any]) -> None:
        data = orjson.dumps(frame)
        if len(data) > LONGEST:
            raise Unavailable(f"what node {self._name} is to be told is larger than {LONGEST >> 20} MiB")
        self._writer.write(len(data).to_bytes(_HEAD, "big") + data)

    async def _read(self) -> None:
        try:
            while True:
                async with asyncio.timeout(self._pulse.silence):
                    size = int.from_bytes(await self._reader.readexactly(_HEAD), "big")
                    if size > LONGEST:
                        break
                    data = await self._reader.readexactly(size)
                self._take(orjson.loads(data))
        except (OSError, EOFError, TimeoutError, orjson.JSONDecodeError, LookupError, TypeError):
            pass  # lost, silent, or not of ours: in any case it is over
        finally:
            self._end()

    def _take(self, frame: Mapping[str, Any]) -> None:
        if "call" in frame:
            self._spawn(self._do(frame["id"], frame["call"], frame["given"]))
        elif "news" in frame:
            self._hear(frame["news"])
        elif (waits := self._asked.get(frame.get("id", 0))) is not None and not waits.done():
            if "error" in frame:
                waits.set_exception(error_of(frame))
            else:
                waits.set_result(frame["answer"])

    async def _do(self, number: int, call: str, given: Mapping[str, Any]) -> None:
        try:
            said = {"answer": await self._answer(call, given)}
            self._reply({"id": number, **said})
        except ClaryError as error:
            self._reply({"id": number, **failure(error)})
        except (OSError, ValueError, LookupError, TypeError) as error:
            wrong = Unavailable(f"node {self._name} could not {call}: {type(error).__name__}: {error}")
            self._reply({"id": number, **failure(wrong)})

    def _reply(self, frame: Mapping[str, Any]) -> None:
        if not self._over:
            self._send(frame)

    async def _live(self) -> None:
        while not self._over:
            self._send({})
            await asyncio.sleep(self._pulse.beat)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._writer.close()
        for waits in self._asked.values():
            if not waits.done():
                waits.set_exception(self._gone())
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()
        self._lost(self)

    def _gone(self) -> Unavailable:
        return Unavailable(f"the connection to node {self._name} is lost: ask again when it is back")
