"""What makes a measurement worth believing: everybody answered the same numbers, and the machine was not busy with something else.

On a machine that others use too, a server of several processes gets more of the cores than one of a single process: ratios are then
too good. So every figure comes with the cores that others used while it was taken.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE = 200
QUIET = 0.25  # cores that others may use of a machine that is called quiet
LOOK = 0.5  # seconds of one look at the machine
TOLERANCE = 1e-5  # the booster computes in float32; texts are rounded differently


def answers(port: int, requests: Sequence[bytes]) -> list[bytes]:
    """Bodies of the answers, one after another over one connection. RuntimeError when one is not 200."""
    bodies = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rb") as stream:
        for request in requests:
            connection.sendall(request)
            status, length, chunked = stream.readline(), 0, False
            while (line := stream.readline().strip().lower()) != b"":
                length = int(line[15:]) if line.startswith(b"content-length:") else length
                chunked = chunked or line == b"transfer-encoding: chunked"
            body = b"".join(_chunks(stream.readline, stream.read)) if chunked else stream.read(length)
            if b" 200 " not in status:
                raise RuntimeError(f"{status.decode().strip()}: {body[:200].decode(errors='replace')}")
            bodies.append(body)
    return bodies


def _chunks(line, read) -> Iterator[bytes]:  # type: ignore[no-untyped-def]
    while size := int(line(), 16):
        yield read(size)
        read(2)
    read(2)


def numbers(body: bytes) -> list[float]:
    """All numbers of an answer, CSV or JSON, in order."""
    with suppress(ValueError):
        return list(_walk(json.loads(body)))
    return [float(text) for text in re.split(rb"[,\s]+", body.strip())]


def _walk(value: object) -> Iterator[float]:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, int | float):
        yield float(value)
        return
    for item in value.values() if isinstance(value, dict) else value:  # type: ignore[attr-defined]
        yield from _walk(item)


def agree(name: str, ours: Sequence[bytes], theirs: Sequence[bytes]) -> None:
    """Every number of ours is among theirs (which may have shapes and versions beside it). RuntimeError names the first that is not."""
    for place, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        candidates = numbers(other)
        for value in numbers(mine):
            if not any(abs(value - found) <= TOLERANCE * max(1.0, abs(value)) for found in candidates):
                raise RuntimeError(f"{name} answers request {place} with {other[:80]!r}, Clary with {mine[:80]!r}")


@contextmanager
def others(pids: Sequence[int]) -> Iterator[list[float]]:
    """The cores that processes other than these used meanwhile, put into the list when it ends. Children that these have waited for
    count as theirs."""
    found: list[float] = []
    began, whole, own = monotonic(), _busy(), spent(pids)
    yield found
    found.append(max(0.0, ((_busy() - whole) - (spent(pids) - own)) / (monotonic() - began)))


def await_quiet(pids: Sequence[int], patience: float) -> None:
    """Return once others use less than `QUIET` cores, or after `patience` seconds."""
    end = monotonic() + patience
    while monotonic() < end:
        with others(pids) as found:
            sleep(LOOK)
        if found[0] < QUIET:
            return


def _busy() -> float:
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS  # without idle and waiting for a disk


def spent(pids: Sequence[int]) -> float:
    """CPU seconds of these processes so far, children that they have waited for included."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(text) for text in fields[11:15])
    return total / TICKS
