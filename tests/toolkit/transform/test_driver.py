"""The driver over real files and a front that answers over a real socket: order, restarts, retries, failures, memory."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import frames

Answer = tuple[int, bytes]  # 200 and a body; else the model's status and its words; -1: hang up


class FakeFront:
    """Greets callers of one token, then answers each request as `model(body)` says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model: Callable[[bytes], Answer] = self.length
        self.seen: list[bytes] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    @staticmethod
    def length(body: bytes) -> Answer:
        return 200, b"".join(b"%d\n" % len(line) for line in body.splitlines())

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        channel = frames.Channel(connection)
        with suppress(frames.Closed, OSError):
            _, _, payload = channel.read()
            hello = frames.message(payload)
            assert (hello["role"], hello["token"], hello["endpoint"]) == ("caller", "t", ["1", "r", "j/:transform"])
            channel.send(frames.control(frames.WELCOME, {"version": frames.VERSION}))
            self._handler()(connection, ("", 0), None)  # type: ignore[arg-type]
        connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                front.seen.append(body)
                status, said = front.model(body)
                if status == -1:
                    raise ConnectionResetError
                if status != 200:
                    told = {"Message": "m", "OriginalStatusCode": status, "OriginalMessage": said.decode()}
                    status, said = 424, json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: Any) -> None: ...

        return Handler


class Job:
    """A job's folders; `run` is a driver over them."""

    def __init__(self, top: Path, front: FakeFront) -> None:
        self.top, self.front = top, front
        for name in ("in/data", "out", "stored"):
            (top / name).mkdir(parents=True)
        self.spec: dict[str, Any] = {
            "front": f"unix:{front.path}",
            "endpoint": ["1", "r", "j/:transform"],
            "token": "t",
            "bucket": "b",
            "split": "Line",
            "gzip": False,
            "content_type": "text/csv",
            "accept": "text/csv",
            "assemble": "Line",
            "strategy": "MultiRecord",
            "payload": 1 << 20,
            "piece": 0,
            "hosts": 1,
            "concurrency": 2,
            "timeout": 20.0,
            "retries": 1,
            **{name: str(top / name) for name in ("in", "out", "stored")},
        }

    def put(self, *objects: bytes) -> None:
        rows = [{"number": n, "key": f"in/{n}.csv", "name": f"{n}.csv"} for n in range(len(objects))]
        (self.top / "in/objects.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for number, body in enumerate(objects):
            (self.top / f"in/data/{number}").write_bytes(body)

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        (self.top / "in/spec.json").write_text(json.dumps({**self.spec, **changes}))
        command = [sys.executable, "-m", "clary.toolkit.transform.driver", str(self.top / "in/spec.json")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, **changes: Any) -> tuple[int, str]:
        with self.start(**changes) as driver:
            said, _ = driver.communicate(timeout=60)
        return driver.returncode, said

    def out(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.top / "out").iterdir() if path.name.isdecimal()}

    def failure(self) -> dict[str, str]:
        told: dict[str, str] = json.loads((self.top / "out/failure.json").read_text())
        return told


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FakeFront]:
    made = FakeFront(tmp_path / "front.sock")
    yield made
    made.close()


@pytest.fixture
def job(tmp_path: Path, front: FakeFront) -> Job:
    return Job(tmp_path / "job", front)


def lines(count: int, start: int = 0) -> bytes:
    return b"".join(b"x" * ((n * 7919) % 50) + b"\n" for n in range(start, start + count))


def test_answers_are_in_the_order_of_the_records(job: Job, front: FakeFront) -> None:
    job.put(lines(5000), lines(10), b"", lines(3))
    code, said = job.run(payload=4096, concurrency=5, hosts=2)
    assert code == 0, said
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+:\[sagemaker logs\]: MaxConcurrentTransforms=5, MaxPayloadInMB=0, ", said)
    assert job.out() == {
        str(n): b"".join(b"%d\n" % len(line) for line in given.splitlines())
        for n, given in enumerate((lines(5000), lines(10), b"", lines(3)))
    }
    assert max(map(len, front.seen)) <= 4096
    assert all(body.endswith(b"\n") for body in front.seen)


def test_a_driver_that_is_killed_is_followed_by_one_that_goes_on(job: Job, front: FakeFront) -> None:
    job.put(*(b"%d\n" % n for n in range(20)))
    half, go = threading.Event(), threading.Event()

    def slow(body: bytes) -> Answer:
        if body == b"9\n":
            half.set()
            go.wait(30)
        return 200, body

    front.model = slow
    with job.start(concurrency=1) as driver:
        assert half.wait(30)
        driver.kill()
        driver.communicate()
    go.set()
    done = job.out()
    assert 5 < len(done) < 20
    (job.top / "out/0").unlink()
    (job.top / "stored/0").touch()  # the object store has it already
    before = len(front.seen)
    assert job.run()[0] == 0
    assert len(front.seen) - before == 20 - len(done)
    assert {**done, **job.out()} == {str(n): b"%d\n" % n for n in range(20)}


def test_a_front_that_goes_away_is_waited_for(job: Job, front: FakeFront) -> None:
    job.put(lines(100))
    falls = iter([True, False, True])

    def shaky(body: bytes) -> Answer:
        return (-1, b"") if next(falls, False) else FakeFront.length(body)

    front.model = shaky
    assert job.run(payload=1000)[0] == 0
    assert job.out()["0"] == FakeFront.length(lines(100))[1]


def test_a_model_is_asked_again_after_a_fault_of_its_own_only(job: Job, front: FakeFront) -> None:
    job.put(b"a\n")
    faults = iter([503, 0])
    front.model = lambda body: (next(faults, 500), b"broken")
    code, said = job.run(retries=2)
    assert code == 1
    assert len(front.seen) == 3
    assert job.failure() == {
        "blame": "AlgorithmError",
        "where": "s3://b/in/0.csv, line 1",
        "message": "the model answered 500, at 3 attempts: broken",
    }
    assert "b/in/0.csv: AlgorithmError: 500" in said


def test_the_line_that_the_model_refuses_is_found(job: Job, front: FakeFront) -> None:
    job.put(b"1\n2\n", b"".join(b"%d\n" % n for n in range(1, 1001)))
    front.model = lambda body: (400, b"no 777 here") if b"777\n" in body else (200, body)
    assert job.run()[0] == 1
    assert job.failure() == {
        "blame": "ClientError",
        "where": "s3://b/in/1.csv, line 777",
        "message": "the model answered 400: no 777 here",
    }
    assert job.out() == {"0": b"1\n2\n"}, "what was whole stays"
    together = [len(body) for body in front.seen]
    assert len(together) < 20


def test_lines_that_are_refused_together_only_are_named_together(job: Job, front: FakeFront) -> None:
    job.put(b"1\n2\n3\n")
    front.model = lambda body: (413, b"too many") if body.count(b"\n") > 1 else (200, body)
    assert job.run()[0] == 1
    assert job.failure()["where"] == "s3://b/in/0.csv, lines 1 to 3"


def test_a_large_object_passes_in_little_memory(job: Job, front: FakeFront) -> None:
    job.put(b"")
    with (job.top / "in/data/0").open("wb") as file:
        for _ in range(192):
            file.write(b"0123456789abcde\n" * (1 << 16))
    front.model = lambda body: (200, b"%d\n" % len(body))
    front.seen = Sink()
    with job.start(payload=1 << 20) as driver:
        peak = 0
        while driver.poll() is None:
            with suppress(FileNotFoundError, IndexError):
                status = Path(f"/proc/{driver.pid}/status").read_text()
                peak = max(peak, int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]))
    assert driver.returncode == 0
    assert sum(map(int, job.out()["0"].split())) == 192 << 20
    assert 0 < peak < 80 << 10, f"{peak} kB for 192 MB"


class Sink(list[bytes]):
    """Forgets what it is given."""

    def append(self, _: bytes) -> None: ...
