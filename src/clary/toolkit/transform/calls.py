"""A prediction over the private route of a transform job: greets a front as its caller, then speaks HTTP over the same connection.

Owns one connection and what the front's answer means: an answer of the model, the model's own error, or `Away`. Standard library only,
Python 3.9 or newer. Not for several threads at once. Does not know retries and records.
"""

from __future__ import annotations

import json
import socket
from typing import Dict, NamedTuple, Optional, Sequence

from clary.toolkit import borrowed, frames

borrowed.lean("http.client", without=("ssl",))  # 4 MB, for sockets that are a process's own

import http.client  # noqa: E402

GRACE = 60.0  # seconds beyond a prediction's own deadline after which a front that does not answer counts as gone
TIMEOUT_HEADER = "x-clary-timeout"


class Away(Exception):
    """The front is away, or takes nothing at the moment: the same may be sent again."""


class Predicted(NamedTuple):
    """`status` is the model's own: 200 with the body; 0: it did not answer in time; else `message` are its words."""

    status: int
    body: bytes
    message: str = ""


class Caller:
    """One connection, made when it is needed. `endpoint` is (account, region, name) of the private route."""

    def __init__(self, address: str, endpoint: Sequence[str], token: str) -> None:
        self._address = address
        self._endpoint = list(endpoint)
        self._token = token
        self._http: Optional[http.client.HTTPConnection] = None

    def predict(self, body: bytes, headers: Dict[str, str], timeout: float) -> Predicted:
        """Have the body predicted within `timeout` seconds. Away when there is nobody who could."""
        connection = self._http or self._dial()
        try:
            assert connection.sock is not None
            connection.sock.settimeout(timeout + GRACE)
            connection.request("POST", "/invocations", body, {**headers, TIMEOUT_HEADER: f"{timeout:g}"})
            response = connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Away(f"the front went away: {type(error).__name__}") from error
        if response.will_close:
            self.close()
        return _read(response, said)

    def _dial(self) -> http.client.HTTPConnection:
        try:
            channel = frames.Channel.dial(self._address)
        except OSError as error:
            raise Away(f"no front is there: {error}") from error
        try:
            channel.greet("caller", "", self._token, 0, more={"endpoint": self._endpoint})
        except (frames.Closed, frames.FrameError, OSError) as error:
            channel.close()
            raise Away(f"the front does not know the job: {error}") from error
        self._http = _Http(channel.sock)
        return self._http

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None


class _Http(http.client.HTTPConnection):
    """HTTP over a connection that is there already; it is never made anew under a request."""

    auto_open = 0

    def __init__(self, sock: socket.socket) -> None:
        super().__init__("front")
        self.sock = sock


def _read(response: http.client.HTTPResponse, said: bytes) -> Predicted:
    if response.status == 200:
        return Predicted(200, said)
    told = _members(said)
    message = str(told.get("Message", ""))
    if response.status == 424:
        return Predicted(
            int(str(told.get("OriginalStatusCode", 500))), b"", str(told.get("OriginalMessage") or message)
        )
    if response.status == 503:
        raise Away(message)
    return Predicted(response.status, b"", message)


def _members(said: bytes) -> Dict[str, object]:
    try:
        told = json.loads(said or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
