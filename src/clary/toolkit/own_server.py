"""The user's own HTTP server as a model: started, looked after, and given its requests over loopback.

Owns the container contract's inner side (`GET /ping`, `POST /invocations`, the headers that are passed, SIGTERM) and the port: 8080
where the sandbox has a network of its own, else a free one, which `SAGEMAKER_BIND_TO_PORT` tells. A server that binds 8080 all the same
is found there while nobody else has it. Workers pass requests on, one connection each: a kept one would bar a server that takes one at
a time from everybody else. Does not know what the server does.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from clary.toolkit import frames, listening
from clary.toolkit.frames import Request
from clary.toolkit.frameworks.pieces import Pieces
from clary.toolkit.inference import Companion, Handler, LoadError, Response, Streamed, in_turn
from clary.toolkit.worker import die_with_parent, ending

PING_TIMEOUT = 2.0  # SageMaker's
FAILED_PINGS = 3  # in a row, until the replica counts as broken
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5
_REFUSED_SECONDS = 2.0
_NEWS_SECONDS = 10.0
_PIECE = 1 << 16
_PORTS = (20_000, 32_000)  # below those that the kernel gives to outgoing connections
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SYSTEM = ":/usr/sbin:/sbin"  # of a container's PATH: there is nginx
_SILENT = "did not answer within"


def load(spec: Mapping[str, Any]) -> Handler:
    """Start the server and wait until it answers. How long that may take, the control plane says: it ends the replica."""
    server = Server({**spec["server"], "remedy": spec.get("remedy", "")})
    server.start()
    server.wait()
    return Forwarder(server)


class Server(Companion):
    """The server's process. Pings are sent by a child of the zygote, so that one that is not answered keeps nobody waiting."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._command = [str(word) for word in spec["command"]]
        self._folder = str(spec["folder"])
        self._remedy = str(spec.get("remedy") or "")
        self._usual = int(spec.get("usual") or 8080)
        self._shared = not spec.get("port") and not listening.own_network()
        self._every = float(spec.get("ping") or 5.0)
        given = os.environ.get("SAGEMAKER_BIND_TO_PORT") or spec.get("port")
        self.port = int(given or (free_port() if self._shared else self._usual))
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._pinger = self._pings = -1
        self._heard = b""
        self._failed = 0
        self._ended = ""

    # -- the start ----------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        if not self._command:
            return say("Waiting for the container's server on port {}.".format(self.port))
        argv = runnable(self._command)
        say("Starting the model's own server on port {}: {}".format(self.port, shlex.join(argv)))
        try:
            self._process = subprocess.Popen(argv, cwd=self._folder, env=self._environment(), start_new_session=True)
        except OSError as error:
            raise LoadError(
                "The model's own server cannot be started: {}: {}".format(argv[0], error.strerror)
            ) from error

    def _environment(self) -> Dict[str, str]:
        """What the replica was given (this process lowered the threads for itself), the port, and the code's folder first."""
        given = {**os.environ, "SAGEMAKER_BIND_TO_PORT": str(self.port)}
        first = initial_environment()
        for name in _THREADS:
            given.pop(name, None)
            if name in first:
                given[name] = first[name]
        given.pop("CLARY_REPLICA", None)
        for name in ("PATH", "PYTHONPATH"):
            given[name] = ":".join(part for part in (self._folder, given.get(name, "")) if part)
        given["PATH"] += _SYSTEM
        return given

    def wait(self) -> None:
        """Until GET /ping is answered by 200. LoadError when the server ends before."""
        pause, told = _FIRST_PAUSE, time.monotonic()
        while True:
            code = self._process.poll() if self._process is not None else None
            if code is not None:
                raise LoadError(self._why_it_ended(code))
            why = self._look()
            if not why:
                return
            if time.monotonic() - told > _NEWS_SECONDS:
                told = time.monotonic()
                say("Still waiting for the model's own server: {}.".format(why))
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _look(self) -> str:
        """'' when the server answers; else why not. Somebody else's process behind the port is not taken for it."""
        ours = listening.sockets() if self._shared else {}
        if self._shared:
            port = next((each for each in (self.port, self._usual) if each in ours), 0)
            if not port:
                return "it does not listen on port {} (SAGEMAKER_BIND_TO_PORT)".format(self.port)
            if port != self.port:
                say("The server listens on port {}, whatever SAGEMAKER_BIND_TO_PORT says.".format(port))
                self.port = port
        why = ping(self.port)
        if not why and self._shared and ours[self.port] == listening.EVERYWHERE:
            say(
                "The server listens on every address of this machine: who reaches port {} reaches the model without a signature. "
                "Let it bind 127.0.0.1, or create the model with EnableNetworkIsolation.".format(self.port)
            )
        return why

    def _why_it_ended(self, code: int) -> str:
        text = "The model's own server ({}) {} before it answered GET /ping. Its last words are in the log.".format(
            shlex.join(self._command), ending(code, self._remedy)
        )
        if self._shared and listening.taken(self._usual):
            text += (
                " Port {0} of this machine is taken, and a server that binds it whatever SAGEMAKER_BIND_TO_PORT says (here {1}) cannot "
                "start: let it read its port from that variable, or create the model with EnableNetworkIsolation, which gives it a "
                "network, and port {0}, of its own.".format(self._usual, self.port)
            )
        return text

    # -- Companion ----------------------------------------------------------------------------------------------------------------

    def watch(self, forget_inherited: Callable[[], None]) -> None:
        self._pings, write = os.pipe()
        parent = os.getpid()
        self._pinger = os.fork()
        if self._pinger == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                die_with_parent(parent)
                forget_inherited()
                while True:
                    time.sleep(self._every)
                    os.write(write, json.dumps(ping(self.port)).encode() + b"\n")
            finally:
                os._exit(1)
        os.close(write)

    def descriptors(self) -> List[int]:
        return [self._pings]

    def tend(self, predicting: bool) -> str:
        if listening.readable(self._pings):
            piece = os.read(self._pings, 65536)
            if not piece:
                return self._ended or "The process that pings the model's own server is gone."
            *lines, self._heard = (self._heard + piece).split(b"\n")
            for line in lines:
                self._note(str(json.loads(line)), predicting)
        if self._failed >= FAILED_PINGS:
            return "The model's own server failed {} pings in a row.".format(FAILED_PINGS)
        return self._ended

    def _note(self, why: str, predicting: bool) -> None:
        """A server that takes one request at a time cannot answer while it predicts: that is no failure."""
        if not why or (predicting and _SILENT in why):
            self._failed = 0
            return
        self._failed += 1
        say("The model's own server: {}.".format(why))

    def reaped(self, pid: int, code: int) -> None:
        if self._process is not None and pid == self._process.pid:
            self._ended = "The model's own server {}.".format(ending(code, self._remedy))

    def end(self, seconds: float) -> None:
        if self._process is None or self._ended:
            return
        deadline = time.monotonic() + seconds
        _signal(self._process.pid, signal.SIGTERM)
        while time.monotonic() < deadline and _lives(self._process.pid):
            time.sleep(_FIRST_PAUSE)
        _signal(self._process.pid, signal.SIGKILL)


class Forwarder(Handler):
    """A worker's hand: passes each request on and its answer back."""

    def __init__(self, server: Server) -> None:
        self.companion = server
        self._server = server

    def predict(self, requests: Sequence[Request]) -> List[Response]:
        return in_turn(requests, self._answer)

    def _answer(self, request: Request) -> Response:
        try:
            answer, pieces = self._asked(request)
            return self._whole(answer, pieces)
        except (OSError, http.client.HTTPException) as error:
            return _no_answer(error)

    def _whole(self, answer: http.client.HTTPResponse, pieces: Pieces) -> Response:
        """The answer once all of it has come. What may not be sent is not read either: of a good one more than `most` bytes, of an error
        more than its beginning."""
        good = 200 <= answer.status <= 299
        most = self.most if good else frames.MAX_ERROR
        told = answer.getheader("Content-Length", "")
        size = int(told) if good and told.isdecimal() else 0
        body: List[bytes] = []
        have = 0
        for piece in pieces if size <= most else ():
            body.append(piece)
            have += len(piece)
            if have > most:
                break
        pieces.close()
        if good and max(size, have) > most:
            length = told if size else "more than {}".format(most)
            return Response(413, frames.too_large(length, most, self.setting).encode())
        return Response(answer.status, b"".join(body)[:most], answer.getheader("Content-Type", ""), _kept(answer))

    def stream(self, request: Request) -> Union[Response, Streamed]:
        """A good answer goes on piece by piece, as the server sends it; another one is whole."""
        try:
            answer, pieces = self._asked(request)
            if 200 <= answer.status <= 299:
                return Streamed(pieces, answer.getheader("Content-Type", ""), _kept(answer), pieces.close)
            return self._whole(answer, pieces)
        except (OSError, http.client.HTTPException) as error:
            return _no_answer(error)

    def _asked(self, request: Request) -> Tuple[http.client.HTTPResponse, Pieces]:
        """The answer's head, and its body, whose first piece has come."""
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port)
        try:
            connect(connection)
            answer = self.exchange(connection, request)
            return answer, Pieces(_parts(connection, answer))
        except BaseException:
            connection.close()
            raise

    def exchange(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        """Send the request with the headers that SageMaker passes and no others; the answer's head has come, its body may not have."""
        connection.putrequest("POST", "/invocations", skip_accept_encoding=True)
        passed = {"content-type": request.content_type, "accept": request.accept, **request.headers}
        for name, value in passed.items():
            if value:
                connection.putheader(_spelt(name), value)
        connection.putheader("Content-Length", str(len(request.body)))
        connection.putheader("Connection", "close")
        connection.endheaders(request.body)
        return connection.getresponse()


def _parts(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """What has arrived, as it arrives; IncompleteRead when less came than the head told. The connection ends with it, or when nobody
    wants the rest: so the server hears of that."""
    told = answer.getheader("Content-Length", "")
    left = int(told) if told.isdecimal() and not answer.chunked else -1
    try:
        while left:
            piece = answer.read1(_PIECE if left < 0 else min(_PIECE, left))
            if not piece:
                if left > 0:
                    raise http.client.IncompleteRead(b"", left)
                return
            left -= len(piece) if left > 0 else 0
            yield piece
    finally:
        answer.close()
        connection.close()


def _kept(answer: http.client.HTTPResponse) -> Tuple[Tuple[str, str], ...]:
    """Headers that may reach the client."""
    return tuple((n.lower(), v) for n, v in answer.getheaders() if n.lower().startswith("x-amzn-sagemaker-"))


def _no_answer(error: Exception) -> Response:
    text = "The model's own server gave no whole answer: {}.".format(str(error) or type(error).__name__)
    say(text)
    return Response(500, text.encode("utf-8", "replace"))


def connect(connection: http.client.HTTPConnection) -> None:
    """A server that restarts its own workers may not listen for a moment; nothing was sent yet, so waiting is safe."""
    deadline = time.monotonic() + _REFUSED_SECONDS
    while True:
        try:
            return connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_FIRST_PAUSE)


def ping(port: int) -> str:
    """'' when GET /ping is answered by 200, else why not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PING_TIMEOUT)
    try:
        connection.request("GET", "/ping", headers={"Connection": "close"})
        status = connection.getresponse().status
    except socket.timeout:
        return "GET /ping {} {:g} s".format(_SILENT, PING_TIMEOUT)
    except (OSError, http.client.HTTPException) as error:
        return "GET /ping failed: {}".format(str(error) or type(error).__name__)
    finally:
        connection.close()
    return "" if status == 200 else "GET /ping answered {}".format(status)


def runnable(command: Sequence[str]) -> List[str]:
    """The command as it can be executed: an archive may have lost a file's mode, so a script is given to its interpreter."""
    path = command[0]
    if not os.path.isfile(path):
        raise LoadError("The model's own server cannot be started: there is no file {}.".format(path))
    if path.endswith(".py"):
        return [sys.executable, *command]
    if os.access(path, os.X_OK):
        return list(command)
    with open(path, "rb") as file:
        first = file.readline(1024).decode("utf-8", "replace").strip()
    if not first.startswith("#!"):
        raise LoadError(
            "The model's own server cannot be started: {} is not executable, and its first line names no interpreter "
            "(#!/usr/bin/env python).".format(path)
        )
    return [*first[2:].split(None, 1), *command]


def initial_environment() -> Dict[str, str]:
    """What this process was started with."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (item.partition(b"=") for item in file.read().split(b"\0") if item)
        return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def free_port() -> int:
    """A port that nobody listens on. Chosen by chance: replicas that start together must not choose alike."""
    for _ in range(1000):
        port = random.randrange(*_PORTS)
        with socket.socket() as tried:
            try:
                tried.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port
    raise LoadError("No port between {} and {} is free on this machine.".format(*_PORTS))


def say(text: str) -> None:
    """One write: several processes speak into the same log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _spelt(name: str) -> str:
    """Header names as SageMaker sends them (they come in lower case)."""
    words = [part.capitalize() for part in name.split("-")]
    return "-".join("SageMaker" if word == "Sagemaker" else word for word in words)


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def _lives(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False
