"""Load for the serving benchmarks: closed loops by wrk, an open loop of our own.

wrk sends raw requests, read from a file, in turn. The open loop sends at Poisson times whether or not answers came, and measures from
the time a request was due: a server that stalls is charged for everything that waited.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from benchmarks.common import percentile

LUA = """
local requests = {}
local file = io.open("%s", "rb")
while true do
  local head = file:read(4)
  if not head then break end
  local a, b, c, d = head:byte(1, 4)
  requests[#requests + 1] = file:read(a + b * 256 + c * 65536 + d * 16777216)
end
local turn = 0
request = function()
  turn = turn %% #requests + 1
  return requests[turn]
end
done = function(summary, latency, all)
  local e = summary.errors
  io.write(string.format("RESULT %%f %%f %%f %%d %%d\\n", summary.requests / summary.duration * 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, e.status + e.connect + e.read + e.write + e.timeout, summary.requests))
end
"""
CHUNK = 2  # seconds of load at a time, while something changes
MOST_WAITING = 50_000  # of the open loop: beyond it the server is hopelessly behind


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: requests a second, p50 and p99 in ms, how many failed, and how many there were."""

    rate: float
    p50: float
    p99: float
    failed: int
    requests: int


def save(path: Path, requests: Sequence[bytes]) -> Path:
    """Raw requests in the form both generators read."""
    path.write_bytes(b"".join(len(request).to_bytes(4, "little") + request for request in requests))
    return path


def wrk(port: int, requests: Path, connections: int, seconds: float) -> Load:
    """A closed loop over this many connections."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % requests)
        script.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{max(1, round(seconds))}s",
            "--timeout",
            "10s",  # a slow answer is slow, not a failure
            "-s",
            script.name,
            f"http://127.0.0.1:{port}/",
        ]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", text)
    if found is None:
        raise RuntimeError(f"wrk said: {text}")
    return Load(float(found[1]), float(found[2]), float(found[3]), int(found[4]), int(found[5]))


def during(
    port: int, requests: Path, change: Callable[[], None], least: int, connections: int = 64
) -> tuple[float, int, int]:
    """Seconds of a change that is made under a closed loop, how many requests there were (`least`, at least, and some after the end),
    and how many of them failed."""
    done, total, failed = threading.Event(), 0, 0
    seconds: list[float] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            time.sleep(0.3)  # the load is on its way
            began = time.perf_counter()
            change()
            seconds.append(time.perf_counter() - began)
        except Exception as error:  # noqa: BLE001  it is raised again where the load ends
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ended = False
    while not ended or (total < least and not errors):
        ended = done.is_set()  # the last piece of load begins after the end
        load = wrk(port, requests, connections, CHUNK)
        total += load.requests
        failed += load.failed
    thread.join()
    if errors:
        raise errors[0]
    return seconds[0], total, failed


def open_loop(port: int, requests: Path, rate: float, seconds: float) -> Load:
    """Requests at Poisson times, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(requests), str(rate), str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Load(**json.loads(done.stdout))


class _Client(asyncio.Protocol):
    """One connection of the open loop."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.due = 0.0
        self.left = -1  # bytes of the answer still to come; -1: its head is not complete
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.run.idle.append(self)
        self.run.turn()

    def ask(self, due: float, request: bytes) -> None:
        self.due, self.left, self.head = due, -1, b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.left < 0:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            lower = self.head[:end].lower()
            place = lower.index(b"content-length:") + 15
            self.left = int(lower[place:].split(b"\r", 1)[0]) - (len(self.head) - end - 4)
            if not self.head.startswith(b"HTTP/1.1 200"):
                self.run.failed += 1
        else:
            self.left -= len(data)
        if self.left == 0:
            self.run.latencies.append(time.perf_counter() - self.due)
            self.run.idle.append(self)
            self.run.turn()


class _Run:
    def __init__(self, port: int, requests: list[bytes], rate: float, seconds: float) -> None:
        self.port, self.requests, self.rate, self.seconds = port, requests, rate, seconds
        self.idle: list[_Client] = []
        self.waiting: deque[float] = deque()
        self.latencies: list[float] = []
        self.failed = self.sent = self.opened = 0

    def turn(self) -> None:
        while self.waiting and self.idle:
            self.sent += 1
            self.idle.pop().ask(self.waiting.popleft(), self.requests[self.sent % len(self.requests)])

    async def run(self) -> Load:
        loop = asyncio.get_running_loop()
        for _ in range(256):
            await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.port)
        source = random.Random(3)
        begin = due = time.perf_counter()
        while due - begin < self.seconds and len(self.waiting) < MOST_WAITING:
            due += source.expovariate(self.rate)
            pause = due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            self.waiting.append(due)
            self.turn()
        end = time.perf_counter() + 10
        while len(self.idle) < 256 and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        unfinished = 256 - len(self.idle) + len(self.waiting)
        ms = [latency * 1000 for latency in self.latencies]
        rate, failed = len(ms) / self.seconds, self.failed + unfinished
        return Load(rate, percentile(ms, 0.5), percentile(ms, 0.99), failed, len(ms) + unfinished)


def read(path: Path) -> list[bytes]:
    """What `save` wrote."""
    data, place, requests = path.read_bytes(), 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        requests.append(data[place + 4 : place + 4 + size])
        place += 4 + size
    return requests


def main(argv: list[str]) -> None:
    run = _Run(int(argv[0]), read(Path(argv[1])), float(argv[2]), float(argv[3]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        load = runner.run(run.run())
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main(sys.argv[1:])
