"""The handler of a model inside a worker: `load(spec)` makes it, `predict` answers a batch.

Owns the interface between the worker loop and the frameworks, and the answers of things gone wrong that all share. A handler
never raises for what a request or the user's code did: that request's Response says it. Everything it needs is in the spec (a
replica's JSON file) and the process's environment.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union

from clary.toolkit.failure import user_traceback
from clary.toolkit.frames import MAX_ANSWER, Request
from clary.toolkit.paths import OWN


class Response(NamedTuple):
    """One answer: HTTP status as the container would give it, body, content type, further headers (lower-case names)."""

    status: int
    body: bytes
    content_type: str = "text/plain"
    headers: Tuple[Tuple[str, str], ...] = ()


class Streamed(NamedTuple):
    """An answer in pieces, not all of them made yet; its first one is. A caller that does not take all of them closes it."""

    pieces: Iterable[bytes]
    content_type: str = "text/plain"
    headers: Tuple[Tuple[str, str], ...] = ()
    close: Callable[[], None] = lambda: None


class LoadError(Exception):
    """The model cannot be loaded as asked; the text is for the user and stands alone (no traceback)."""


class Companion:
    """A process beside the workers that the model needs as long as it serves. All of it is the zygote's to call."""

    def watch(self, forget_inherited: Callable[[], None]) -> None:
        """Begin to look after it. `forget_inherited` is what a child forked for that must call first."""

    def descriptors(self) -> List[int]:
        """Readable when `tend` has something to do."""
        return []

    def tend(self, predicting: bool) -> str:
        """Why it does not serve any more; '' while it does. `predicting`: a worker has a request."""
        return ""

    def reaped(self, pid: int, code: int) -> None:
        """A process that is no worker ended: its exit code, or minus its signal."""

    def end(self, seconds: float) -> None:
        """Workers are gone: let it end in good order, within so many seconds."""


class Handler:
    """A loaded model. `batchable`: `predict` may get several requests at once and gains by it."""

    batchable = False
    companion: Optional[Companion] = None
    most, setting = (
        MAX_ANSWER,
        "",
    )  # bytes that an answer may have, and the setting that bounds them: the worker's front says it

    def predict(self, requests: Sequence[Request]) -> List[Response]:
        """Answer each request, in order."""
        raise NotImplementedError

    def stream(self, request: Request) -> Union[Response, Streamed]:
        """Answer one request in pieces, where the model makes them one after the other."""
        return self.predict([request])[0]

    def probe(self) -> None:
        """Predict something, or do nothing where only the user knows what could be predicted."""

    def set_threads(self, count: int) -> None:
        """Let the model's library use this many threads; called in workers only."""


def broken(error: BaseException) -> Response:
    """500 (or the status that an error of the inference toolkit carries) for an exception of user code: its message, then the
    traceback from the user's first frame on."""
    trace = user_traceback(type(error), error, error.__traceback__, OWN)
    known = any(kind.__name__ == "BaseInferenceToolkitError" for kind in type(error).__mro__)
    status = int(getattr(error, "status_code", 500)) if known else 500
    return Response(status if 400 <= status <= 599 else 500, "{}\n{}".format(error, trace).encode("utf-8", "replace"))


def load_failure(error: BaseException) -> str:
    """What FAILED carries: the user's own traceback, or a LoadError's text."""
    if isinstance(error, LoadError):
        return str(error)
    if isinstance(error, SystemExit):
        return "The model's code called sys.exit({!r}) while it was loaded.".format(error.code)
    return user_traceback(type(error), error, error.__traceback__, OWN)


_Answered = TypeVar("_Answered", Response, Union[Response, Streamed])


def in_turn(requests: Sequence[Request], answer: Callable[[Request], _Answered]) -> List[_Answered]:
    """Answer requests one by one through `answer(request)`; an exception concerns its own request only, `sys.exit` too."""
    responses: List[_Answered] = []
    for request in requests:
        try:
            responses.append(answer(request))
        except (Exception, SystemExit) as error:
            trace = user_traceback(type(error), error, error.__traceback__, OWN)
            print(trace, end="", file=sys.stderr, flush=True)  # into the log, as the client sees it
            responses.append(broken(error))
    return responses


def header(headers: Mapping[str, str], name: str) -> str:
    return headers.get(name.lower(), "")


def environment_flag(environ: Mapping[str, str], name: str, default: str = "") -> bool:
    return environ.get(name, default).strip().lower() in ("1", "true", "yes")


Spec = Dict[str, Any]
