"""Predictions through the edge, signatures checked, against a bare uvicorn app that calls the same model in-process, and against peers.

Same model, same 10,000 distinct bodies, all in one run on this machine; every request to Clary is signed. Rates and latencies are the
best of `--rounds`, and each round measures everybody in turn, so that a busy moment hits all alike. Peers live in environments of
their own outside the repo (`--peers-dir`); `--no-peers` leaves the six serving frameworks out, never the bare app.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks import models
from benchmarks.checks import QUIET, SAMPLE, agree, answers, await_quiet, others
from benchmarks.common import Row, arguments, finish, say, tree
from benchmarks.load import Load, open_loop, read, save, wrk
from benchmarks.peers.launch import Peer, bare, frameworks
from benchmarks.start import BUCKET, XGBOOST, Bench, algorithm_python, archive, deploy, remove, running
from clary.backends.own_limits import cpus

CONNECTIONS = 64


@dataclass
class Target:
    """Someone who is measured: a port, a file of requests, and what came of it."""

    name: str
    port: int
    requests: Path
    closed: list[Load] = field(default_factory=list)
    single: list[Load] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)  # cores that others used during each of `closed`

    @property
    def rate(self) -> float:
        return max(load.rate for load in self.closed)

    @property
    def p50(self) -> float:
        return min(load.p50 for load in self.single)

    @property
    def disturbance(self) -> float:
        """Cores that others used during its best round."""
        best = max(range(len(self.closed)), key=lambda place: self.closed[place].rate)
        return self.disturbed[best]


def signed(bench: Bench, endpoint: str, bodies: Sequence[bytes], content_type: str = "text/csv") -> list[bytes]:
    """Raw InvokeEndpoint requests, signed now (a signature holds for five minutes)."""
    credentials = Credentials(bench.key.access_key_id, bench.key.secret)
    url = f"{bench.settings.endpoint}/endpoints/{endpoint}/invocations"
    host = bench.settings.endpoint.partition("//")[2]
    requests = []
    for body in bodies:
        request = AWSRequest("POST", url, data=body, headers={"Content-Type": content_type, "Accept": "text/csv"})
        SigV4Auth(credentials, "sagemaker", "us-east-1").add_auth(request)
        fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        head = f"POST /endpoints/{endpoint}/invocations HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
        requests.append(head.encode() + body)
    return requests


class Arena:
    """A running Clary, the model, the bare apps' environment, a folder for request files."""

    def __init__(self, bench: Bench, given: argparse.Namespace, environments: str, folder: Path) -> None:
        self.bench = bench
        self.given = given
        self.folder = folder
        self.notes: list[str] = []
        # Peers of the algorithm are made with the Python that serves it: the same libraries on both sides.
        self.base = os.path.realpath(algorithm_python(environments, serving=True))
        self.booster = models.booster(algorithm_python(environments, serving=False), Path(given.peers_dir))
        bench.s3.create_bucket(Bucket=BUCKET)

    def deployed(self, files: dict[str, bytes], environment: dict[str, str]) -> str:
        key = f"{len(os.listdir(self.folder))}-{random.randrange(10**9)}/model.tar.gz"
        self.bench.s3.put_object(Bucket=BUCKET, Key=key, Body=archive(files))
        probe = environment.pop("PROBE", "").encode() or models.bodies(1)[0]
        return deploy(self.bench, XGBOOST, f"s3://{BUCKET}/{key}", probe, environment)[0]

    def clary(
        self, name: str, endpoint: str, bodies: Sequence[bytes], content_type: str = "text/csv"
    ) -> Callable[[], Target]:
        """A maker of the target with fresh signatures."""

        def make() -> Target:
            path = self.folder / f"{name.replace(' ', '-')}.requests"
            return Target(
                name, self.bench.settings.port, save(path, signed(self.bench, endpoint, bodies, content_type))
            )

        return make

    def peer(self, peer: Peer, bodies: Sequence[bytes], content_type: str = "text/csv") -> Target:
        path = self.folder / f"{peer.name.replace(' ', '-')}.requests"
        return Target(peer.name, peer.port, save(path, [peer.request(body, content_type) for body in bodies]))

    def rounds(
        self, clary: Callable[[], Target], peers: Sequence[Target], connections: int, single: bool = False
    ) -> Target:
        """Measure everybody in turn, `--rounds` times, once their answers were seen to agree and all are warm."""
        ours = clary()
        self.check(ours, peers)
        for target in (ours, *peers):
            wrk(target.port, target.requests, connections, 1)
        for _ in range(self.given.rounds):
            clary()
            for target in (ours, *peers):
                self.closed(target, connections)
                if single:
                    target.single.append(wrk(target.port, target.requests, 1, self.given.seconds))
        for target in (ours, *peers):
            bad = sum(load.failed for load in (*target.closed, *target.single))
            if bad:
                raise RuntimeError(f"{target.name}: {bad} requests failed")
        seen = ", ".join(f"{target.name} {target.disturbance:.1f}" for target in (ours, *peers))
        self.notes.append(f"cores used by others in the best round: {seen}")
        return ours

    def closed(self, target: Target, connections: int) -> None:
        """One closed loop."""
        pids = sorted({*tree(os.getpid()), *self.bench.processes()})
        await_quiet(pids, self.given.patience)
        with others(pids) as found:
            target.closed.append(wrk(target.port, target.requests, connections, self.given.seconds))
        target.disturbed += found

    def check(self, ours: Target, peers: Sequence[Target]) -> None:
        """Their first answers are ours."""
        expected = answers(ours.port, read(ours.requests)[:SAMPLE])
        for peer in peers:
            agree(peer.name, expected, answers(peer.port, read(peer.requests)[:SAMPLE]))


def fair(ours: Target, other: Target, met: bool) -> bool | None:
    """Whether a must is met; None (not measured) where it seems to be, but others held the peer up more than Clary."""
    return None if met and other.disturbance - ours.disturbance > QUIET else met


def row(
    what: str, value: float, unit: str, against: str, ratio: float | None, must: str = "", ok: bool | None = None
) -> Row:
    return Row(what, value, unit, against, ratio, must, ok)


def rows_of_batching(arena: Arena) -> list[Row]:
    """The model that batches: throughput, latency, open loop; bare app, bare app with micro-batching, frameworks."""
    bodies = models.bodies()
    endpoint = arena.deployed({"xgboost-model": arena.booster.read_bytes()}, {})
    make = arena.clary("clary", endpoint, bodies)
    rows = []
    with (
        bare(arena.given.peers_dir, arena.booster, "plain", python=arena.base) as app,
        bare(arena.given.peers_dir, arena.booster, "batched", python=arena.base) as batched,
    ):
        app_target, batched_target = arena.peer(app, bodies), arena.peer(batched, bodies)
        say("  64 connections and 1, Clary and the bare apps ...")
        ours = arena.rounds(make, [app_target, batched_target], CONNECTIONS, single=True)
        ratio = ours.rate / app_target.rate
        rows.append(
            row(
                f"requests/s at {CONNECTIONS} connections",
                ours.rate,
                "/s",
                f"bare uvicorn {app_target.rate:,.0f}/s",
                ratio,
                ">= 6x",
                fair(ours, app_target, ratio >= 6),
            )
        )
        extra = ours.p50 - app_target.p50
        rows.append(
            row(
                "p50 at 1 connection",
                ours.p50,
                "ms",
                f"bare uvicorn {app_target.p50:.3f} ms",
                ours.p50 / app_target.p50,
                "<= bare + 0.2 ms",
                extra <= 0.2,
            )
        )
        ratio = ours.rate / batched_target.rate
        rows.append(
            row(
                f"requests/s at {CONNECTIONS}, against bare with batching",
                ours.rate,
                "/s",
                f"bare with micro-batching {batched_target.rate:,.0f}/s",
                ratio,
                ">= 0.8x",
                fair(ours, batched_target, ratio >= 0.8),
            )
        )
        rate = 0.7 * app_target.rate
        say(f"  open loop at {rate:,.0f}/s ...")
        opens: dict[str, list[Load]] = {"clary": [], "bare": []}
        for _ in range(arena.given.rounds):
            opens["clary"].append(open_loop(ours.port, make().requests, rate, arena.given.seconds))
            opens["bare"].append(open_loop(app_target.port, app_target.requests, rate, arena.given.seconds))
        p99, bare_p99 = (min(load.p99 for load in opens[name]) for name in ("clary", "bare"))
        failed = sum(load.failed for load in opens["clary"])
        rows.append(
            row(
                "p99, open loop at 70 % of bare's peak",
                p99,
                "ms",
                f"bare uvicorn {bare_p99:.1f} ms",
                p99 / bare_p99,
                "<= bare",
                p99 <= bare_p99 and not failed,
            )
        )
    if not arena.given.no_peers:
        rows += rows_of_frameworks(arena, make)
    remove(arena.bench, endpoint)
    return rows


def rows_of_frameworks(arena: Arena, make: Callable[[], Target]) -> list[Row]:
    """Six serving frameworks, one at a time, Clary beside each: the best of them is what Clary must beat twenty times."""
    found: list[tuple[float, float, str, bool | None]] = []
    rows = []
    for peer in frameworks(arena.given.peers_dir, arena.booster, arena.base):
        say(f"  {peer.name} ...")
        try:
            with peer:
                target = arena.peer(peer, models.bodies())
                ours = arena.rounds(make, [target], CONNECTIONS)
        except (OSError, RuntimeError) as error:
            rows.append(Row(f"{peer.name} at {CONNECTIONS}", None, "/s", f"not measured: {str(error)[:90]}"))
            continue
        ratio = ours.rate / target.rate
        found.append((target.rate, ratio, peer.name, fair(ours, target, ratio >= 20)))
        rows.append(Row(f"{peer.name} at {CONNECTIONS}", target.rate, "/s", f"Clary {ours.rate:,.0f}/s", ratio))
    if found:
        best, ratio, name, ok = max(found)
        what, against = f"requests/s at {CONNECTIONS}, against the best framework", f"{name} {best:,.0f}/s"
        rows.append(Row(what, best * ratio, "/s", against, ratio, ">= 20x", ok))
    return rows


def rows_of_own_code(arena: Arena) -> list[Row]:
    """A model with its own input_fn and predict_fn: no batching, one worker per core on both sides."""
    workers = cpus()
    bodies = models.bodies()
    endpoint = arena.deployed(
        {"model.ubj": arena.booster.read_bytes(), "code/inference.py": models.OWN_CODE},
        {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_MODEL_SERVER_WORKERS": str(workers)},
    )
    with bare(arena.given.peers_dir, arena.booster, "own", workers) as app:
        other = arena.peer(app, bodies)
        ours = arena.rounds(arena.clary("clary own code", endpoint, bodies), [other], CONNECTIONS)
    remove(arena.bench, endpoint)
    ratio = ours.rate / other.rate
    what = f"requests/s with own input_fn and predict_fn, {workers} workers"
    return [
        row(
            what,
            ours.rate,
            "/s",
            f"bare uvicorn, {workers} processes {other.rate:,.0f}/s",
            ratio,
            ">= 1.0x",
            fair(ours, other, ratio >= 1),
        )
    ]


def npy_body() -> bytes:
    """1 MB of float64 as numpy.save writes it, without numpy."""
    count = (1 << 20) // 8
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({count},), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    out = io.BytesIO()
    out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode("latin-1"))
    out.write(struct.pack(f"<{count}d", *(float(i % 97) for i in range(count))))
    return out.getvalue()


def rows_of_reports(arena: Arena) -> list[Row]:
    """Reported, without a must: a large body, a slow model."""
    rows = []
    for what, kind, code, body, content_type in (
        ("1 MB npy body", "npy", models.NPY_CODE, npy_body(), "application/x-npy"),
        ("pure Python model of 20 ms", "slow", models.SLOW_CODE, b"1", "text/csv"),
    ):
        environment = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}
        endpoint = (
            arena.deployed({"code/inference.py": code}, environment)
            if kind == "slow"
            else npy_endpoint(arena, environment)
        )
        with bare(arena.given.peers_dir, arena.booster, kind, 2) as app:
            other = arena.peer(app, [body], content_type)
            ours = arena.rounds(arena.clary(f"clary {kind}", endpoint, [body], content_type), [other], 8)
        remove(arena.bench, endpoint)
        rows.append(
            Row(
                f"{what}, 8 connections",
                ours.rate,
                "/s",
                f"bare uvicorn, 2 processes {other.rate:,.0f}/s",
                ours.rate / other.rate,
            )
        )
    return rows


def npy_endpoint(arena: Arena, environment: dict[str, str]) -> str:
    """Its code takes npy only, so the probe of the deployment is answered with an error that is none of ours: deploy by hand."""
    code = models.NPY_CODE.replace(
        b"    return numpy.load",
        b"    if content_type == 'text/csv':\n        return numpy.zeros(1)\n    return numpy.load",
    )
    return arena.deployed({"code/inference.py": code}, environment)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument(
        "--patience", type=float, default=10.0, help="most seconds to wait for a quiet machine, each time"
    )
    parser.add_argument(
        "--peers-dir", default=str(Path.home() / ".cache" / "clary-bench"), help="environments of the peers"
    )
    parser.add_argument("--environments", default="", help="folder of Clary's built runtimes; default: a fresh one")
    parser.add_argument("--only", default="", help="batching, own or reports")


def main() -> int:
    given = arguments("serve", options)
    if shutil.which("wrk") is None:
        return finish([], given.json, ["wrk is not installed: nothing was measured"])
    Path(given.peers_dir).mkdir(parents=True, exist_ok=True)
    environments = given.environments or tempfile.mkdtemp(prefix="clary-bench-env-")
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-serve-"))
    rows: list[Row] = []
    notes: list[str] = []
    began = time.monotonic()
    try:
        with running(environments) as (bench, _):
            build(bench)
            arena = Arena(bench, given, environments, folder)
            notes = arena.notes
            for name, part in (("batching", rows_of_batching), ("own", rows_of_own_code), ("reports", rows_of_reports)):
                if given.only in ("", name):
                    say(f"{name} ...")
                    rows += part(arena)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not given.environments:
            shutil.rmtree(environments, ignore_errors=True)
    if any(row.must and row.ok is None for row in rows):
        notes.append("no verdict where others held a peer up more than Clary: run again on a quieter machine")
    ran = "without" if given.no_peers else "with"
    notes.append(f"{cpus()} cores shared by load, edge, front and workers; {ran} the six frameworks")
    notes.append(f"best of {given.rounds} rounds of {given.seconds:g} s; took {time.monotonic() - began:.0f} s")
    return finish(rows, given.json, notes)


def build(bench: Bench) -> None:
    """The XGBoost runtime, before any clock starts."""
    clary = str(Path(sys.executable).parent / "clary")
    subprocess.run(
        [clary, "runtime", "build", "xgboost", "--dir", bench.settings.dir], check=True, stdout=subprocess.DEVNULL
    )


if __name__ == "__main__":
    sys.exit(main())
