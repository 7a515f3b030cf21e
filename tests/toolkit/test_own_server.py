"""The user's own server behind a real zygote: what it gets and gives, how it starts, fails and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import frames, listening

Start = Callable[..., Any]

SERVER = """
import http.server, json, os, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items(): self.send_header(name.replace("_", "-"), str(value))
        self.end_headers(); self.wfile.write(body)
    def do_GET(self):
        self.answer(200 if self.path == "/ping" and not os.path.exists("sick") else 503)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])); text = body.decode()
        if text == "die": os._exit(3)
        if text.startswith("sleep"): time.sleep(float(text[6:]))
        if text.startswith("bytes "): return self.answer(200, bytes(int(text[6:])))
        if text.startswith("claim "): return self.answer(200, b"x", **{"Content-Length": int(text[6:])})
        if text.startswith("chunks "):
            self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
            try:
                for _ in range(int(text[7:])): self.wfile.write(b"10000\\r\\n" + bytes(1 << 16) + b"\\r\\n")
                self.wfile.write(b"0\\r\\n\\r\\n")
            except OSError: print("they hung up", flush=True)
            self.close_connection = True; return
        if text == "short": self.close_connection = True; return self.answer(200, b"only this", **{"Content-Length": 1000})
        if text == "hang up": self.close_connection = True; return
        seen = {"path": self.path, "body": text, "headers": dict(self.headers), "port": os.environ["SAGEMAKER_BIND_TO_PORT"],
                "cwd": os.getcwd(), "threads": os.environ.get("OMP_NUM_THREADS"), "replica": "CLARY_REPLICA" in os.environ}
        self.answer(int(text[7:]) if text.startswith("status ") else 200, json.dumps(seen).encode(), Content_Type="application/x-mine",
                    X_Amzn_SageMaker_Custom_Attributes="back", Server_Timing="secret")
    def log_message(self, *arguments): pass
def end(*_):
    print("ended in good order", flush=True); os._exit(0)
signal.signal(signal.SIGTERM, end)
"""
SERVE = (
    SERVER
    + 'http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()\n'
)


@pytest.fixture
def serving(replica: Start, tmp_path: Path) -> Iterator[Start]:
    """`serving(code)`: a replica whose model is that serve.py, or the command given. A sandbox would end the server with its replica."""

    def start(
        code: str = SERVE, command: list[str] | None = None, environment: Any = None, welcome: Any = None, **server: Any
    ) -> Any:
        (tmp_path / "serve.py").write_text(code)
        said = {
            "command": command or [str(tmp_path / "serve.py")],
            "folder": str(tmp_path),
            "port": 0,
            "usual": free(),  # somebody else's server on 8080 would be taken for ours: here no sandbox hides it
            "ping": 0.05,
            **server,
        }
        return replica("python", environment, program="serve", server=said, welcome=welcome or {})

    yield start
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if bytes(tmp_path / "serve.py") in (folder / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)


def ask(replica: Any, body: str, headers: tuple[tuple[str, str], ...] = ()) -> tuple[int, Any, str, dict[str, str]]:
    channel = replica.front.any_worker()
    meta = frames.request_meta("text/x-asked", "a/b", headers)
    channel.send(b"".join(frames.predict([(1, meta, body.encode())])))
    channel.sock.settimeout(30)
    kind, count, payload = channel.read()
    assert kind == frames.RESULT
    ((_, status, meta, answer),) = frames.answers(payload, count)
    content_type, back = frames.decode_result_meta(meta)
    return status, answer, content_type, back


def free() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        port: int = tried.getsockname()[1]
    return port


def test_requests_and_answers_go_through_as_they_are(serving: Start, tmp_path: Path) -> None:
    replica = serving(environment={"OMP_NUM_THREADS": "7"})
    assert replica.front.ready()["batch"] == 1
    status, body, content_type, back = ask(replica, "hello", (("x-amzn-sagemaker-custom-attributes", "c=1"),))
    seen = json.loads(body)
    assert (status, content_type, back) == (200, "application/x-mine", {"x-amzn-sagemaker-custom-attributes": "back"})
    assert (seen["path"], seen["body"], seen["cwd"]) == ("/invocations", "hello", str(tmp_path))
    host = seen["headers"].pop("Host")
    assert host == f"127.0.0.1:{seen['port']}"
    assert seen["headers"] == {
        "Content-Type": "text/x-asked",
        "Accept": "a/b",
        "X-Amzn-SageMaker-Custom-Attributes": "c=1",
        "Content-Length": "5",
        "Connection": "close",
    }
    assert (seen["threads"], seen["replica"]) == ("7", False)
    assert ask(replica, "status 418")[0] == 418


def test_what_is_longer_than_an_answer_may_be_is_not_even_read(serving: Start) -> None:
    replica = serving(welcome={"most": 100_000, "setting": "max_answer"})
    replica.front.ready()
    assert [len(ask(replica, f"bytes {size}")[1]) for size in (99_999, 100_000)] == [99_999, 100_000]
    words = "The model's answer has {} bytes; the limit is 100000 (setting max_answer)."
    for asked, size in (
        ("bytes 100001", "100001"),
        ("claim 1000000000", "1000000000"),
        ("chunks 9999", "more than 100000"),
    ):
        status, body, content_type, _ = ask(replica, asked)
        assert (status, content_type) == (413, "text/plain")
        assert body.decode().startswith(words.format(size))
    replica.front.wait_for(lambda: "they hung up" in replica.output)
    assert len(ask(replica, "chunks 1")[1]) == 1 << 16


def test_sigterm_reaches_the_server(serving: Start) -> None:
    replica = serving()
    replica.front.ready()
    assert replica.end() == 0
    assert "ended in good order" in replica.output


def test_a_connection_that_the_server_drops_costs_one_request(serving: Start) -> None:
    replica = serving()
    replica.front.ready()
    status, body, _, _ = ask(replica, "hang up")
    assert (status, b"The model's own server gave no whole answer" in body) == (500, True)
    status, body, _, _ = ask(replica, "short")
    assert (status, body) == (
        500,
        b"The model's own server gave no whole answer: IncompleteRead(0 bytes read, 991 more expected).",
    )
    assert ask(replica, "again")[0] == 200


def test_a_server_that_ends_ends_the_replica(serving: Start) -> None:
    replica = serving()
    replica.front.ready()
    channel = replica.front.any_worker()
    channel.send(b"".join(frames.predict([(1, frames.request_meta("", ""), b"die")])))
    assert replica.process.wait(30) == 1
    assert "The model's own server ended with exit code 3." in replica.output


def test_pings_that_fail_end_the_replica(serving: Start, tmp_path: Path) -> None:
    replica = serving()
    replica.front.ready()
    (tmp_path / "sick").touch()
    assert replica.process.wait(30) == 1
    assert "GET /ping answered 503" in replica.output
    assert "failed 3 pings in a row" in replica.output


def test_a_server_that_takes_one_request_at_a_time_may_be_busy(serving: Start) -> None:
    """Longer than three pings may take without an answer."""
    replica = serving(SERVE.replace("ThreadingHTTPServer", "HTTPServer"))
    replica.front.ready()
    assert ask(replica, "sleep 7.5")[0] == 200
    assert replica.process.poll() is None


def test_a_server_that_binds_its_own_port(serving: Start) -> None:
    port = free()
    replica = serving(SERVE.replace('int(os.environ["SAGEMAKER_BIND_TO_PORT"])', str(port)), usual=port)
    replica.front.ready()
    assert ask(replica, "hello")[0] == 200
    assert f"The server listens on port {port}, whatever SAGEMAKER_BIND_TO_PORT says." in replica.output


def test_a_port_that_another_has(serving: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        replica = serving(SERVE.replace('int(os.environ["SAGEMAKER_BIND_TO_PORT"])', str(port)), usual=port)
        text = replica.front.event("FAILED")["message"]
    assert "ended with exit code 1 before it answered GET /ping" in text
    assert f"Port {port} of this machine is taken" in text
    assert "EnableNetworkIsolation" in text
    assert "Address already in use" in replica.output


def test_a_server_open_to_everybody_is_told_of(serving: Start) -> None:
    replica = serving(SERVE.replace("127.0.0.1", "0.0.0.0"))
    replica.front.ready()
    assert "The server listens on every address of this machine" in replica.output


def test_a_script_that_lost_its_mode_goes_to_its_interpreter(serving: Start, tmp_path: Path) -> None:
    (tmp_path / "serve").write_text("#!/bin/sh\nexec python3 serve.py\n")
    replica = serving(command=[str(tmp_path / "serve")])
    replica.front.ready()
    assert ask(replica, "hello")[0] == 200


@pytest.mark.parametrize(
    ("files", "command", "said"),
    [
        ({}, "serve", "there is no file"),
        ({"serve": "print(1)\n"}, "serve", "is not executable, and its first line names no interpreter"),
    ],
)
def test_what_cannot_be_started(serving: Start, tmp_path: Path, files: dict[str, str], command: str, said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert said in serving(command=[str(tmp_path / command)]).front.event("FAILED")["message"]


def test_a_command_line_sees_the_port(serving: Start) -> None:
    line = "test $SAGEMAKER_BIND_TO_PORT -gt 1024 && exec python3 serve.py"
    replica = serving(command=["/bin/sh", "-c", line])
    replica.front.ready()
    assert ask(replica, "hello")[0] == 200


@pytest.mark.parametrize(
    ("line", "port", "reach"),
    [
        ("0: 00000000:1F90 00000000:0000 0A 0:0 00:0 0 0 0 4711 1", 8080, listening.EVERYWHERE),
        ("0: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 4711 1", 8080, listening.LOOPBACK),
        (f"0: {'0' * 32}:0050 {'0' * 32}:0000 0A 0:0 00:0 0 0 0 4711 1", 80, listening.EVERYWHERE),
        ("0: 0B00000A:1F90 00000000:0000 0A 0:0 00:0 0 0 0 4711 1", 8080, listening.ELSEWHERE),
        ("0: 0100007F:1F90 0100007F:8000 01 0:0 00:0 0 0 0 4711 1", 0, ""),
    ],
)
def test_lines_of_proc(line: str, port: int, reach: str) -> None:
    found = listening.parse(line)
    assert (found.port, found.reach, found.inode) == (port, reach, 4711 if port else 0)


def test_a_socket_of_ours_is_found() -> None:
    with socket.socket() as mine:
        mine.bind(("127.0.0.1", 0))
        mine.listen()
        port = mine.getsockname()[1]
        assert listening.sockets()[port] == listening.LOOPBACK
        assert listening.taken(port)
    assert not listening.taken(port)
