"""HTTP without a client's good manners: bytes are written as they are, and every answer on the connection is read."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Answer:
    """One response. `fields` have lower-case names; repeated ones are joined with a comma."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def code(self) -> str:
        """The AWS error code, wherever the protocol has it."""
        for opening, closing in ((b'"__type":"', b'"'), (b'"__type": "', b'"'), (b"<Code>", b"</Code>")):
            if opening in self.body:
                return self.body.partition(opening)[2].partition(closing)[0].decode()
        return self.fields.get("x-amzn-errortype", "")


class Wire:
    """One connection to 127.0.0.1."""

    def __init__(self, port: int, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._data = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> bool:
        """Whether all of it could be written."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def answer(self, head: bool = False) -> Answer | None:
        """The next answer (1xx passed over), None when the other side has closed."""
        while (found := self._answer(head)) and found.status < 200:
            pass
        return found

    def _answer(self, head: bool) -> Answer | None:
        while b"\r\n\r\n" not in self._data:
            if not self._more():
                return None
        start, _, self._data = self._data.partition(b"\r\n\r\n")
        lines = start.decode("latin-1").split("\r\n")
        fields: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = (
                f"{fields[name.lower()]},{value.strip()}" if name.lower() in fields else value.strip()
            )
        status = int(lines[0].split()[1])
        body = b"" if head or status in (204, 304) or status < 200 else self._body(fields)
        return Answer(status, fields, body)

    def _body(self, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding", "").lower() == "chunked":
            whole = b""
            while True:
                while b"\r\n" not in self._data and self._more():
                    pass
                size, _, self._data = self._data.partition(b"\r\n")
                length = int(size or b"0", 16)
                while len(self._data) < length + 2 and self._more():
                    pass
                whole, self._data = whole + self._data[:length], self._data[length + 2 :]
                if not length:
                    return whole
        length = int(fields.get("content-length", "0"))
        while len(self._data) < length and self._more():
            pass
        body, self._data = self._data[:length], self._data[length:]
        return body

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        self._data += data
        return bool(data)

    def rest(self) -> list[Answer]:
        """Every further answer until the other side closes, or has been silent for two seconds."""
        found = []
        self.socket.settimeout(2)
        try:
            while (one := self.answer()) is not None:
                found.append(one)
        except TimeoutError:
            pass
        return found

    def closed(self, seconds: float) -> float | None:
        """After how many seconds the other side closed; None when it did not in that time."""
        began = time.monotonic()
        self.socket.settimeout(seconds)
        try:
            while self._more():
                pass
        except TimeoutError:
            return None
        return time.monotonic() - began


def call(port: int, method: str, target: str, fields: dict[str, str] | None = None, body: bytes = b"") -> Answer:
    """One request, one answer. Content-Length and Host are given unless `fields` has them."""
    given = {"Host": f"127.0.0.1:{port}", **(fields or {})}
    if body or method in ("POST", "PUT", "PATCH"):
        given.setdefault("Content-Length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    with Wire(port) as wire:
        wire.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        found = wire.answer(head=method == "HEAD")
        assert found is not None, f"{method} {target}: closed without an answer"
        return found
