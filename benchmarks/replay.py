"""An open loop over a given schedule: each request is sent at its time, whether or not answers came, and is told of one by one.

A process of its own (`play`), so that nobody's interpreter holds a request up. The schedule is a file of raw requests as `load.save`
writes it, and one of doubles (seconds from the beginning); what comes back is a `Played`.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.load import read, save

CONNECTIONS, MOST = 64, 1024  # that are open at first, and at most
LAST = 60.0  # seconds that the last answers may take
EARLY = 0.0015  # seconds before a request is due from which on the loop spins: a timer is a millisecond off


@dataclass(frozen=True, slots=True)
class Played:
    """By request, in the order of the schedule: when it was sent and for how long it waited for its answer (seconds), its status (0:
    no answer came) and its body. `began` is the clock (`perf_counter`, one for all processes) at the schedule's zero."""

    began: float
    sent: list[float]
    took: list[float]
    status: list[int]
    body: list[str]

    @property
    def failed(self) -> int:
        return sum(status != 200 for status in self.status)


class Play:
    """A replay under way, in its process."""

    def __init__(self, port: int, folder: Path, requests: Sequence[bytes], due: Sequence[float]) -> None:
        save(folder / "replay.requests", requests)
        (folder / "replay.due").write_bytes(array("d", due).tobytes())
        command = [sys.executable, "-m", "benchmarks.replay", str(port), str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._out = self._process.stdout
        line = self._out.readline()
        if not line:
            raise RuntimeError("the replay did not begin")
        self.began = float(line)
        self.pid = self._process.pid

    def elapsed(self) -> float:
        return time.perf_counter() - self.began

    def running(self) -> bool:
        return self._process.poll() is None

    def played(self) -> Played:
        """Wait for the end."""
        text = self._out.read()
        if self._process.wait():
            raise RuntimeError("the replay failed")
        return Played(self.began, **json.loads(text))

    def stop(self) -> None:
        if self.running():
            self._process.kill()
        self._process.wait()


class _Client(asyncio.Protocol):
    """One connection: one request at a time."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.number, self.data = -1, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.run.free(self)

    def ask(self, number: int, request: bytes) -> None:
        self.number, self.data = number, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.data += data
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.data[:end].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r", 1)[0])
        if len(self.data) < end + 4 + length:
            return
        number, self.number = self.number, -1
        self.run.answered(number, int(head.split(b" ", 2)[1]), self.data[end + 4 :])
        self.run.free(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.run.lost(self)


class _Run:
    def __init__(self, port: int, requests: list[bytes], due: Sequence[float]) -> None:
        self.port, self.requests, self.due = port, requests, due
        self.idle: list[_Client] = []
        self.waiting: deque[int] = deque()
        total = len(due)
        self.sent, self.took = [0.0] * total, [0.0] * total
        self.status, self.body = [0] * total, [""] * total
        self.left, self.began = total, 0.0
        self.open, self.tasks = 0, set[asyncio.Future[None]]()
        self.done = asyncio.Event()

    def free(self, client: _Client) -> None:
        self.idle.append(client)
        self.turn()

    def lost(self, client: _Client) -> None:
        """A server closes what is idle for long; another connection takes its place when it is needed."""
        self.open -= 1
        if client in self.idle:
            self.idle.remove(client)
        if client.number >= 0:
            self.answered(client.number, 0, b"")

    def answered(self, number: int, status: int, body: bytes) -> None:
        self.took[number] = time.perf_counter() - self.began - self.sent[number]
        self.status[number], self.body[number] = status, body.decode(errors="replace")[:200]
        self.left -= 1
        if not self.left:
            self.done.set()

    def turn(self) -> None:
        while self.waiting and self.idle:
            number = self.waiting.popleft()
            self.sent[number] = time.perf_counter() - self.began
            self.idle.pop().ask(number, self.requests[number])
        if self.waiting and self.open < MOST:
            task = asyncio.ensure_future(self.connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def connect(self) -> None:
        self.open += 1
        await asyncio.get_running_loop().create_connection(lambda: _Client(self), "127.0.0.1", self.port)

    async def run(self) -> None:
        for _ in range(CONNECTIONS):
            await self.connect()
        self.began = time.perf_counter() + 0.2
        print(self.began, flush=True)
        for number, due in enumerate(self.due):
            pause = self.began + due - time.perf_counter()
            if pause > EARLY:
                await asyncio.sleep(pause - EARLY)
            while time.perf_counter() < self.began + due:
                await asyncio.sleep(0)
            self.waiting.append(number)
            self.turn()
        try:
            await asyncio.wait_for(self.done.wait(), LAST)
        except TimeoutError:
            pass  # those have status 0


def main(argv: list[str]) -> None:
    folder = Path(argv[1])
    due = array("d")
    due.frombytes((folder / "replay.due").read_bytes())
    run = _Run(int(argv[0]), read(folder / "replay.requests"), due)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.run())
    print(json.dumps({"sent": run.sent, "took": run.took, "status": run.status, "body": run.body}))


if __name__ == "__main__":
    main(sys.argv[1:])
