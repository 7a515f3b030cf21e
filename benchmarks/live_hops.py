"""What each hop of a request adds, at 1, 2, 8 and 32 replicas of one worker: one connection, one request at a time.

Four kinds of requests go in turn: through the edge to the model (A); straight to the front's own socket, to the model (B); straight to the
front, which answers by itself (F: the endpoint does not exist; the signature is right); to the edge, which answers by itself (E: a
stranger's Host). The model tells when it began and ended (W). So the edge adds A - B, the front alone takes F, the way to the worker and
back takes B - F - W, and the four sum up to A.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import time
from contextlib import ExitStack

from benchmarks.common import Row, percentile, say
from benchmarks.live_site import Site, Watch, await_replicas
from benchmarks.serve import signed
from benchmarks.start import running
from clary.serving.homes import home

REPLICAS = (1, 2, 8, 32)
ROUNDS = 1000
WARM = 100
BODY = b"none:0"


class Line:
    """A connection to somebody who answers one request after another."""

    def __init__(self, connection: socket.socket, request: bytes, status: bytes) -> None:
        self.connection, self.request, self.status = connection, request, status

    def ask(self) -> tuple[float, bytes]:
        """Seconds until the whole answer was there, and its body."""
        connection, data = self.connection, b""
        began = time.perf_counter()
        connection.sendall(self.request)
        while True:
            piece = connection.recv(65536)
            data += piece
            head, end, body = data.partition(b"\r\n\r\n")
            if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0]):
                break
            if not piece:
                raise RuntimeError(f"the connection was closed after {data!r}")
        took = time.perf_counter() - began
        if head.split(b" ", 2)[1] != self.status:
            raise RuntimeError(f"{data[:300]!r} is not a {self.status.decode()}")
        return took, body


def rows(environments: str, given: argparse.Namespace) -> tuple[list[Row], list[str]]:
    found: list[Row] = []
    with (
        running(environments) as (bench, _),
        tempfile.TemporaryDirectory(prefix="clary-bench-live-") as folder,
    ):
        site = Site(bench, folder, workers=1)
        for replicas in REPLICAS:
            say(f"  {replicas} replicas ...")
            site.count(replicas)
            with Watch(site) as watch:
                await_replicas(watch, replicas)
            site.settled()
            for what, p50, p99 in hops(site):
                found.append(Row(f"{what}, {replicas} replicas", 1e6 * p50, "us p50", f"p99 {1e6 * p99:,.0f} us"))
    return found, [f"hops: {ROUNDS} requests of each kind, one at a time; what is a difference is one of percentiles"]


def hops(site: Site) -> list[tuple[str, float, float]]:
    """Each hop's p50 and p99 in seconds."""
    settings = site.bench.settings
    request = site.signed([BODY])[0]
    nobody = signed(site.bench, "nobody", [BODY], "text/plain")[0]
    host = settings.endpoint.partition("//")[2].encode()
    stranger = request.replace(b"Host: " + host, b"Host: stranger")
    with ExitStack() as open_:

        def edge() -> socket.socket:
            made = open_.enter_context(socket.create_connection(("127.0.0.1", settings.port), timeout=30))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made

        def front() -> socket.socket:
            made = open_.enter_context(socket.socket(socket.AF_UNIX))
            made.settimeout(30)
            made.connect(str(settings.front_http(home(site.endpoint, settings.front_count))))
            return made

        lines = (
            Line(edge(), request, b"200"),
            Line(front(), request, b"200"),
            Line(front(), nobody, b"400"),
            Line(edge(), stranger, b"421"),
        )
        took: list[list[float]] = [[], [], [], []]
        worked: list[float] = []
        for number in range(WARM + ROUNDS):
            for place, line in enumerate(lines):
                seconds, body = line.ask()
                if number >= WARM:
                    took[place].append(seconds)
                    if place == 1:
                        began, ended = body.split()
                        worked.append(float(ended) - float(began))
    whole, direct, alone, answered = took
    found = []
    for share in (0.5, 0.99):
        a, b, f, e, w = (percentile(values, share) for values in (whole, direct, alone, answered, worked))
        found.append((e, a - b, f, b - f - w, w, a))
    names = (
        "client to edge and back (it answers itself)",
        "edge adds (client - edge - front)",
        "front alone",
        "front to worker and back",
        "worker, the model's function",
        "all of it",
    )
    return [(name, *both) for name, both in zip(names, zip(*found, strict=True), strict=True)]
