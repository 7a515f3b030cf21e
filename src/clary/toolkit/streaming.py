"""How a worker sends an answer in pieces.

Owns the frames of one streamed answer: BEGUN, a CHUNK per piece, the CHUNK that ends it; and the look for a CANCEL between two pieces.
Does not know models and processes. A front that reads slowly makes `send` wait: that is the brake, and nothing is gathered here.
"""

from __future__ import annotations

import sys
from typing import Iterator

from clary.toolkit import frames
from clary.toolkit.failure import user_traceback
from clary.toolkit.inference import Streamed
from clary.toolkit.paths import OWN

MOST_MESSAGE = 64 << 10  # characters of a failure's text


def send(channel: frames.Channel, number: int, meta: bytes, answer: Streamed, most: int = frames.CUT) -> None:
    """Send the whole answer, or as much of it as is wanted. Closed when the front is gone; what user code raises goes to the front."""
    try:
        channel.send(frames.begun(number, meta))
        how, last = _chunks(channel, number, iter(answer.pieces), most)
        if how == frames.CANCELLED:
            _close(answer)
        channel.send(frames.chunk(number, how, last))
    except frames.Closed:
        _close(answer)
        raise


def _close(answer: Streamed) -> None:
    try:
        answer.close()
    except Exception as error:  # of the generator's own `finally`: for the log, since nobody waits for the answer
        print(user_traceback(type(error), error, error.__traceback__, OWN), end="", file=sys.stderr, flush=True)


def _chunks(channel: frames.Channel, number: int, pieces: Iterator[bytes], most: int) -> "tuple[int, bytes]":
    """Send every piece, none longer than `most` bytes; how it ended, and what goes with that."""
    while True:
        try:
            piece = next(pieces, None)
        except Exception as error:
            trace = user_traceback(type(error), error, error.__traceback__, OWN)
            print(trace, end="", file=sys.stderr, flush=True)
            text = "{}\n{}".format(error, trace)
            return frames.BROKEN, text[:MOST_MESSAGE].encode("utf-8", "replace")
        if piece is None:
            return frames.LAST, b""
        for place in range(0, len(piece), most):
            channel.send(frames.chunk(number, frames.MORE, piece[place : place + most]))
            for payload in channel.arrived(frames.CANCEL):
                if number in frames.message(payload).get("ids", ()):
                    return frames.CANCELLED, b""
