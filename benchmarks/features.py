"""Features against Feast with SQLite: reading ten features of a record through the server, and writing rows with the own client.

Both servers are asked by wrk over 16 connections for the same identifiers, in turn and best of three; Clary's requests are signed, and come
through its edge. Feast has as many worker processes as cores. Clary's rows are written by SageMaker's SDK v3 with BatchWriteRecord, and are
on the disk when they are answered; Feast's by `write_to_online_store` in the process that has the rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.common import Row, arguments, finish, say
from benchmarks.load import Load, save, wrk
from benchmarks.peers import launch
from benchmarks.start import Bench, running
from clary.backends.own_limits import cpus

GROUP, CONNECTIONS, ASKED, ROUNDS = "bench-features", 16, 200, 3
NAMES = [f"f{number}" for number in range(10)]
V3 = Path(".venv-v3/bin/python")
SDK = """
import sys, time
import numpy, pandas
from sagemaker.mlops.feature_store import ingest_dataframe
name, rows, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
values = numpy.random.default_rng(0).random((rows, 10))
table = pandas.DataFrame({f"f{number}": values[:, number] for number in range(10)})
table.insert(0, "id", pandas.Series([str(number) for number in range(rows)], dtype="string"))
table.insert(1, "at", time.time())
began = time.perf_counter()
done = ingest_dataframe(name, table, max_workers=workers, use_batch_write_record=True)
assert not done.failed_rows, done.failed_rows[:3]
print(time.perf_counter() - began)
"""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=5, help="of load in each round")
    parser.add_argument("--rows", type=int, default=100_000, help="to write")
    parser.add_argument("--environments", default=f"{tempfile.gettempdir()}/clary-bench-environments")


def make_group(bench: Bench) -> None:
    kinds = {"id": "String", "at": "Fractional", **dict.fromkeys(NAMES, "Fractional")}
    bench.sagemaker.create_feature_group(
        FeatureGroupName=GROUP,
        RecordIdentifierFeatureName="id",
        EventTimeFeatureName="at",
        FeatureDefinitions=[{"FeatureName": name, "FeatureType": kind} for name, kind in kinds.items()],
        OnlineStoreConfig={"EnableOnlineStore": True},
    )
    while bench.sagemaker.describe_feature_group(FeatureGroupName=GROUP)["FeatureGroupStatus"] != "Created":
        time.sleep(0.05)


def signed(bench: Bench) -> list[bytes]:
    """GetRecord of ten features, for `ASKED` identifiers. A signature holds for five minutes."""
    wanted = "&".join(f"FeatureName={name}" for name in NAMES)
    signer = SigV4Auth(Credentials(bench.key.access_key_id, bench.key.secret), "sagemaker", "us-east-1")
    found = []
    for number in range(ASKED):
        path = f"/FeatureGroup/{GROUP}?{wanted}&RecordIdentifierValueAsString={number}"
        request = AWSRequest("GET", f"{bench.settings.endpoint}{path}")
        signer.add_auth(request)
        host = bench.settings.endpoint.partition("//")[2]
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *(f"{key}: {text}" for key, text in request.headers.items())]
        found.append("\r\n".join([*lines, "", ""]).encode())
    return found


def asked_of_feast(port: int) -> list[bytes]:
    found = []
    for number in range(ASKED):
        body = json.dumps({"features": [f"v:{name}" for name in NAMES], "entities": {"id": [number]}}).encode()
        head = f"POST /get-online-features HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        found.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return found


def best(one: Callable[[], Load]) -> Load:
    """The round with the most requests a second; failures of all rounds are told by it."""
    rounds = [one() for _ in range(ROUNDS)]
    top = max(rounds, key=lambda load: load.rate)
    return Load(top.rate, top.p50, top.p99, sum(each.failed for each in rounds), top.requests)


def feast(folder: Path, environments: str, rows: int, seconds: int) -> tuple[float, Load]:
    """Seconds of writing, and the load."""
    python = launch.environment(
        environments, "feast", ("--require-hashes", "-r", str(launch.HERE / "requirements" / "feast.txt"))
    )
    program = [python, str(launch.HERE / "feast_store.py"), "make", str(folder), str(rows)]
    wrote = subprocess.run(program, check=True, capture_output=True, text=True, cwd=folder).stdout
    port = launch.free_port()
    serve = [str(Path(python).with_name("feast")), "-c", str(folder), "serve", "-h", "127.0.0.1", "-p", str(port)]
    serve += ["--no-access-log", "-w", str(cpus()), "--max-requests", "0"]
    with launch.Peer("feast", serve, port, "/get-online-features", "/health", {"FEAST_USAGE": "False"}):
        requests = save(folder / "requests", asked_of_feast(port))
        return float(wrote.split()[-1]), best(lambda: wrk(port, requests, CONNECTIONS, seconds))


def write_rows(bench: Bench, rows: int, workers: int) -> float:
    """Seconds in which the SDK writes them."""
    done = subprocess.run(
        [str(V3), "-W", "ignore", "-c", SDK, GROUP, str(rows), str(workers)],
        env=bench.environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def compare(ours: tuple[float, Load], theirs: tuple[float, Load] | None, rows: int) -> list[Row]:
    """Without a peer there is no ratio, and no verdict but that on errors."""
    wrote, load = ours
    found = [
        Row("GetRecord, 16 connections", load.rate, "requests/s", "Feast", must=">= 2x"),
        Row("  p50", load.p50, "ms", "Feast", must="<= 0.5x"),
        Row("  errors", float(load.failed), "", must="0", ok=load.failed == 0),
        Row(f"{rows:,} rows written", wrote, "s", "Feast", must=">= 5x sooner"),
    ]
    if theirs is None:
        return found
    seconds, other = theirs
    times, slower, sooner = load.rate / other.rate, load.p50 / other.p50, seconds / wrote
    return [
        replace(found[0], ratio=times, ok=times >= 2),
        replace(found[1], ratio=slower, ok=slower <= 0.5),
        found[2],
        replace(found[3], ratio=sooner, ok=sooner >= 5),
    ]


def told(theirs: tuple[float, Load]) -> str:
    """The peer's own figures."""
    seconds, load = theirs
    return f"Feast: {load.rate:,.0f} requests/s, p50 {load.p50:.2f} ms, {load.failed} errors; rows written in {seconds:.1f} s"


def main() -> int:
    given = arguments("features", options)
    if shutil.which("wrk") is None or not V3.exists():
        return finish([Row("GetRecord", None, "requests/s")], given.json, ["wrk or .venv-v3 is missing: NOT measured"])
    with running(given.environments) as (bench, _):
        make_group(bench)
        say("writing rows by the SDK ...")
        wrote = write_rows(bench, given.rows, cpus())
        requests = save(Path(bench.settings.dir) / "requests", signed(bench))
        say("reading records ...")
        ours = wrote, best(lambda: wrk(bench.settings.port, requests, CONNECTIONS, given.seconds))
    theirs = None
    if not given.no_peers:
        say("Feast ...")
        with tempfile.TemporaryDirectory() as folder:
            theirs = feast(Path(folder), given.environments, given.rows, given.seconds)
    notes = [] if theirs is None else [told(theirs)]
    return finish(compare(ours, theirs, given.rows), given.json, notes)


if __name__ == "__main__":
    sys.exit(main())
