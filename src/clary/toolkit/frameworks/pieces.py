"""The answer of a model that yields: bytes out of whatever its generator gives, one piece per yield.

Owns what may be yielded (bytes or str) and that the first piece is made before anything is answered: a model that fails before it has
none left the client with an ordinary error. Does not know frames and who reads."""

from __future__ import annotations

from typing import Any, Iterator


def yields(result: Any) -> bool:
    """Whether a function's result is to be read piece by piece: a generator, or any other iterator."""
    return hasattr(result, "__next__")


class Pieces:
    """The pieces of one answer, none of them empty. The first is fetched here: what raises until then concerns the whole answer."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._first = next(self._rest(), b"")

    def __iter__(self) -> Iterator[bytes]:
        if self._first:
            first, self._first = self._first, b""
            yield first
            del first
        yield from self._rest()

    def _rest(self) -> Iterator[bytes]:
        for piece in self._source:
            if isinstance(piece, str):
                piece = piece.encode("utf-8")
            elif not isinstance(piece, (bytes, bytearray, memoryview)):
                raise TypeError(
                    "a model that answers in pieces must yield bytes or str, not {}".format(type(piece).__name__)
                )
            if len(piece):
                yield bytes(piece)

    def close(self) -> None:
        """Nobody wants the rest: a generator's `finally` blocks run now."""
        close = getattr(self._source, "close", None)
        if close is not None:
            close()
