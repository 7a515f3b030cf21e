"""Answers in pieces, as a worker sends them: over a socket pair, with generators for models."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from clary.toolkit import frames, streaming
from clary.toolkit.frameworks.pieces import Pieces
from clary.toolkit.inference import Streamed


@pytest.fixture
def pair() -> Iterator[tuple[frames.Channel, frames.Channel]]:
    ours, theirs = socket.socketpair()
    worker, front = frames.Channel(ours), frames.Channel(theirs)
    yield worker, front
    worker.close()
    front.close()


def sent(front: frames.Channel) -> tuple[list[bytes], int, bytes]:
    """What arrived: the pieces, how it ended, and what went with that."""
    kind, _, payload = front.read()
    assert (kind, frames.opening(payload)) == (frames.BEGUN, (7, b"text/plain"))
    pieces = []
    while True:
        kind, _, payload = front.read()
        assert kind == frames.CHUNK
        number, how, data = frames.piece(payload)
        assert number == 7
        if how != frames.MORE:
            return pieces, how, data
        pieces.append(data)


def answer(source: Any) -> Streamed:
    pieces = Pieces(source)
    return Streamed(pieces, close=pieces.close)


def test_every_yield_is_a_piece(pair: tuple[frames.Channel, frames.Channel]) -> None:
    worker, front = pair
    given = iter([b"one", "zwölf", b"", bytearray(b"three"), memoryview(b"four")])
    streaming.send(worker, 7, b"text/plain", answer(given))
    assert sent(front) == ([b"one", "zwölf".encode(), b"three", b"four"], frames.LAST, b"")


def test_nothing_yielded_is_an_empty_answer(pair: tuple[frames.Channel, frames.Channel]) -> None:
    streaming.send(pair[0], 7, b"text/plain", answer(iter([])))
    assert sent(pair[1]) == ([], frames.LAST, b"")


def test_a_long_piece_is_cut(pair: tuple[frames.Channel, frames.Channel]) -> None:
    streaming.send(pair[0], 7, b"text/plain", answer(iter([b"123456789"])), most=4)
    assert sent(pair[1])[0] == [b"1234", b"5678", b"9"]


def test_the_next_piece_is_made_after_the_one_before_was_sent(pair: tuple[frames.Channel, frames.Channel]) -> None:
    worker, front = pair
    seen: list[tuple[int, bytes]] = []

    def model() -> Iterator[bytes]:
        yield b"first"
        assert front.read()[0] == frames.BEGUN
        seen.append(frames.piece(front.read()[2])[1:])
        yield b"second"

    streaming.send(worker, 7, b"text/plain", answer(model()))
    assert seen == [(frames.MORE, b"first")]


def test_what_the_model_raises_on_the_way_ends_the_answer(
    pair: tuple[frames.Channel, frames.Channel], capfd: pytest.CaptureFixture[str]
) -> None:
    def model() -> Iterator[Any]:
        yield b"first"
        raise ValueError("out of words")

    streaming.send(pair[0], 7, b"text/plain", answer(model()))
    pieces, how, text = sent(pair[1])
    assert (pieces, how) == ([b"first"], frames.BROKEN)
    assert text.startswith(b"out of words\nTraceback")
    assert "ValueError: out of words" in capfd.readouterr().err


def test_what_cannot_be_sent_is_named(pair: tuple[frames.Channel, frames.Channel]) -> None:
    streaming.send(pair[0], 7, b"text/plain", answer(iter([b"a", {"b": 1}])))
    _, how, text = sent(pair[1])
    assert how == frames.BROKEN
    assert b"must yield bytes or str, not dict" in text


def test_a_cancelled_answer_stops_between_two_pieces_and_other_frames_stay(
    pair: tuple[frames.Channel, frames.Channel],
) -> None:
    worker, front = pair
    ended = []

    def model() -> Iterator[bytes]:
        try:
            yield b"first"
            front.send(frames.control(frames.RESIZE, {"threads": 2}) + frames.control(frames.CANCEL, {"ids": [7]}))
            yield b"second"
            yield b"never"
        finally:
            ended.append(True)

    streaming.send(worker, 7, b"text/plain", answer(model()))
    assert sent(front) == ([b"first", b"second"], frames.CANCELLED, b"")
    assert ended == [True]
    assert worker.pending()
    kind, _, payload = worker.read()
    assert (kind, frames.message(payload)) == (frames.RESIZE, {"threads": 2})


def test_a_cancel_of_something_else_changes_nothing(pair: tuple[frames.Channel, frames.Channel]) -> None:
    pair[1].send(frames.control(frames.CANCEL, {"ids": [6]}))
    streaming.send(pair[0], 7, b"text/plain", answer(iter([b"a", b"b"])))
    assert sent(pair[1]) == ([b"a", b"b"], frames.LAST, b"")


def test_a_generator_is_closed_when_the_front_is_gone(pair: tuple[frames.Channel, frames.Channel]) -> None:
    worker, front = pair
    ended = []

    def model() -> Iterator[bytes]:
        try:
            yield b"first"
            front.close()
            while True:
                yield b"x" * 1000
        finally:
            ended.append(True)

    with pytest.raises(frames.Closed):
        streaming.send(worker, 7, b"text/plain", answer(model()))
    assert ended == [True]


def test_a_generator_that_will_not_end_hurts_nobody(
    pair: tuple[frames.Channel, frames.Channel], capfd: pytest.CaptureFixture[str]
) -> None:
    worker, front = pair

    def model() -> Iterator[bytes]:
        front.send(frames.control(frames.CANCEL, {"ids": [7]}))
        while True:
            try:
                yield b"word"
            except GeneratorExit:
                pass

    streaming.send(worker, 7, b"text/plain", answer(model()))
    assert sent(front)[1] == frames.CANCELLED
    assert "generator ignored GeneratorExit" in capfd.readouterr().err


def test_the_end_of_the_stream_is_left_for_read(pair: tuple[frames.Channel, frames.Channel]) -> None:
    worker, front = pair
    front.send(frames.control(frames.PING))
    front.close()
    assert worker.arrived(frames.CANCEL) == []
    assert worker.read()[0] == frames.PING
    with pytest.raises(frames.Closed):
        worker.read()
