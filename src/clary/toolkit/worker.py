"""A worker: one process that predicts. Dials its front, answers PREDICT frames until told to leave.

Owns the worker's side of the protocol (`frames.py`) and the dialling again when a front restarts. Does not know how it was
forked and what its handler loads. Blocking on purpose: an idle worker sleeps in `recv` and costs memory only.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import sys
import time
import traceback
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from clary.toolkit import frames, streaming
from clary.toolkit.inference import Handler, Response, Streamed, broken

FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
_PR_SET_PDEATHSIG = 1


class Backoff:
    """Waits between dials: doubling from 50 ms to 1 s, with jitter."""

    def __init__(self) -> None:
        self._wait = FIRST_WAIT

    def next(self) -> float:
        wait = self._wait * random.uniform(0.7, 1.3)
        self._wait = min(self._wait * 2, LONGEST_WAIT)
        return wait

    def reset(self) -> None:
        self._wait = FIRST_WAIT


class Worker:
    """The loop of one worker process. `busy[slot]` (shared memory) is 1 while it predicts: the zygote reads it when a front dies."""

    def __init__(self, spec: Mapping[str, Any], front: str, busy: Any, slot: int, threads: int) -> None:
        self._spec = spec
        self._front = front  # its address
        self._busy = busy
        self._slot = slot
        self._threads = threads
        self._handler: Optional[Handler] = None
        self._metas: Dict[Tuple[str, Tuple[Tuple[str, str], ...]], bytes] = {}
        self._hello: Mapping[str, Any] = spec.get("hello") or {}  # what a multi-model replica's process says besides
        self._leaving = False
        self._channel: Optional[frames.Channel] = None
        self._most, self._setting = frames.MAX_ANSWER, ""  # bytes that an answer may have, and what bounds them
        self._least = frames.LARGE  # bytes of an answer beyond which anything is looked at
        self._set = 0  # threads that were set last
        self._limits: Any = None  # threadpoolctl's, kept alive: its end would restore the old numbers

    def run(self, handler: Handler) -> int:
        """Serve until DRAIN or SIGTERM; answers the exit code."""
        self._handler = handler
        signal.signal(signal.SIGTERM, self._on_term)
        self._set_threads(self._threads)
        backoff = Backoff()
        while not self._leaving:
            try:
                channel = self._dial()
            except (OSError, frames.Closed, frames.FrameError):
                if not self._leaving:
                    time.sleep(backoff.next())
                continue
            backoff.reset()
            if self._serve(channel):
                break
        return 0

    def _dial(self) -> frames.Channel:
        channel = self._channel = frames.Channel.dial(self._front)
        try:
            if self._leaving:
                raise frames.Closed("leaving")
            welcome = channel.greet(
                "worker", str(self._spec["replica"]), str(self._spec["token"]), os.getpid(), more=self._hello
            )
        except (frames.Closed, frames.FrameError, OSError):
            channel.close()
            raise
        self._most = min(int(welcome.get("most") or frames.MAX_ANSWER), frames.MAX_ANSWER)
        self._least = min(self._most, frames.LARGE)
        self._setting = str(welcome.get("setting") or "")
        if self._handler is not None:
            self._handler.most, self._handler.setting = self._most, self._setting
        threads = int(welcome.get("threads") or 0)
        if threads:
            self._set_threads(threads)
        return channel

    def _serve(self, channel: frames.Channel) -> bool:
        """Answer one front until its connection ends; whether the worker shall end too."""
        try:
            while True:
                kind, count, payload = channel.read()
                if kind == frames.PREDICT:
                    self._predict(channel, frames.requests(payload, count))
                elif kind == frames.STREAM:
                    self._stream(channel, frames.requests(payload, count)[0])
                elif kind == frames.RESIZE:
                    self._set_threads(int(frames.message(payload).get("threads") or 0))
                elif kind == frames.PING:
                    channel.send(frames.control(frames.PONG))
                elif kind == frames.DRAIN:
                    return True
                elif kind == frames.REDIAL:
                    return False
        except (frames.Closed, frames.FrameError, OSError):
            return self._leaving
        finally:
            self._busy[self._slot] = 0
            channel.close()

    def _predict(self, channel: frames.Channel, requests: List[frames.Request]) -> None:
        assert self._handler is not None
        self._busy[self._slot] = 1
        try:
            responses: Sequence[Response] = self._handler.predict(requests)
        except Exception as error:  # a handler answers what users do wrong: this is ours, or a MemoryError
            traceback.print_exc(file=sys.stderr)
            responses = [broken(error)] * len(requests)
        self._answer(channel, requests, responses)
        self._busy[self._slot] = 0

    def _stream(self, channel: frames.Channel, request: frames.Request) -> None:
        assert self._handler is not None
        self._busy[self._slot] = 1
        try:
            answer = self._handler.stream(request)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            answer = broken(error)
        if isinstance(answer, Response) and len(answer.body) > frames.LARGE and 200 <= answer.status < 300:
            answer = Streamed((answer.body,), answer.content_type, answer.headers)  # in pieces it may be of any length
        if isinstance(answer, Streamed):
            try:
                meta = frames.result_meta(answer.content_type, answer.headers)
            except frames.FrameError as error:
                answer.close()
                answer = Response(500, "The answer's headers cannot be sent: {}.".format(error).encode())
            else:
                streaming.send(channel, request.id, meta, answer)
        if isinstance(answer, Response):
            self._answer(channel, [request], [answer])
        self._busy[self._slot] = 0

    def _answer(self, channel: frames.Channel, requests: List[frames.Request], responses: Sequence[Response]) -> None:
        """Send what the model answered; of one that is too long, word of how long it is."""
        metas = self._metas
        answers = []
        large = False
        for request, (status, body, content_type, headers) in zip(requests, responses):
            if len(body) > self._least:
                if not 200 <= status < 300:
                    body = body[: frames.MAX_ERROR]
                elif len(body) > self._most:
                    text = frames.too_large(str(len(body)), self._most, self._setting)
                    status, body, content_type, headers = 413, text.encode(), "text/plain", ()
                else:
                    large = True
            meta = metas.get((content_type, headers))
            if meta is None:
                try:
                    meta = frames.result_meta(content_type, headers)
                except frames.FrameError as error:
                    text = "The answer's headers cannot be sent: {}.".format(error)
                    status, body, meta = 500, text.encode(), frames.result_meta("text/plain")
                else:
                    if len(metas) > 512:
                        metas.clear()
                    metas[content_type, headers] = meta
            answers.append((request.id, status, meta, body))
        if not large:
            channel.send(frames.results(answers))
        else:
            for some in _portions(answers):
                channel.send_pieces(frames.result_pieces(some))

    def _set_threads(self, count: int) -> None:
        """Only ever in a worker: a zygote with threads could not fork. threadpoolctl first, then the library's parameter."""
        if count < 1 or self._handler is None or count == self._set:
            return
        self._set = count
        try:
            import threadpoolctl
        except ImportError:
            pass
        else:
            self._limits = threadpoolctl.threadpool_limits(limits=count)
        self._handler.set_threads(count)

    def _on_term(self, _number: int, _frame: Any) -> None:
        """End in good order: what was already sent here is still read and answered, then the connection reads as closed."""
        self._leaving = True
        if self._channel is not None:
            try:
                self._channel.sock.shutdown(socket.SHUT_RD)
            except OSError:
                pass  # it is closed already


def _portions(answers: List[frames.Answer]) -> Iterator[List[frames.Answer]]:
    """The answers of a batch in several frames, where they are large: none is longer than a frame may be, and no large one is in the way
    of a small one."""
    small = [answer for answer in answers if len(answer[3]) <= frames.LARGE]
    if small:
        yield small
    for answer in answers:
        if len(answer[3]) > frames.LARGE:
            yield [answer]


def die_with_parent(parent: int) -> None:
    """Linux sends SIGKILL when the zygote is gone, however it went; `parent` closes the race with a parent that already is."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def ending(code: int, remedy: str = "") -> str:
    """An exit code, or minus a signal, in words. `remedy`: what has more memory, as the replica's spec says it."""
    if code >= 0:
        return "ended with exit code {}".format(code)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "signal {}".format(-code)
    if name == "SIGKILL":
        name += " (out of memory, unless somebody sent it: {} has more)".format(remedy or "a larger instance type")
    return "was ended by {}".format(name)
