"""The worker protocol, both directions, without sockets where none is needed."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.toolkit import frames


def joined(pieces: list[bytes]) -> bytes:
    return b"".join(pieces)


def test_requests_come_back_as_they_went() -> None:
    plain = frames.request_meta("text/csv", "application/json")
    rich = frames.request_meta("text/csv", "", [("x-amzn-sagemaker-custom-attributes", "a=b")])
    frame = joined(frames.predict([(1, plain, b"1,2"), (2, rich, b""), (4_000_000_000, plain, b"x" * 100_000)]))
    [(kind, count, payload)] = frames.Parser().feed(frame)
    assert (kind, count) == (frames.PREDICT, 3)
    first, second, third = frames.requests(payload, count)
    assert first == (1, b"1,2", "text/csv", "application/json", {})
    assert second.headers == {"x-amzn-sagemaker-custom-attributes": "a=b"}
    assert second.body == b""
    assert third.id == 4_000_000_000
    assert len(third.body) == 100_000


def test_results_come_back_as_they_went() -> None:
    meta = frames.result_meta("text/csv", [("x-a", "1")])
    [(kind, count, payload)] = frames.Parser().feed(frames.results([(7, 200, meta, b"0.5"), (8, 415, b"", b"")]))
    assert (kind, count) == (frames.RESULT, 2)
    assert frames.answers(payload, count) == [(7, 200, meta, b"0.5"), (8, 415, b"", b"")]
    assert frames.decode_result_meta(meta) == ("text/csv", {"x-a": "1"})
    assert frames.decode_result_meta(b"") == ("", {})


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_any_cutting_of_the_stream_gives_the_same_frames(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frames.results([(i, 200, b"", body)]) for i, body in enumerate(bodies)) + frames.control(
        frames.PING
    )
    parser = frames.Parser()
    got = []
    place = turn = 0
    while place < len(stream):
        step = cuts[turn % len(cuts)]
        got += parser.feed(stream[place : place + step])
        place += step
        turn += 1
    assert [frames.answers(p, n)[0][3] for k, n, p in got if k == frames.RESULT] == bodies
    assert got[-1][0] == frames.PING


def in_cuts(parser: frames.Parser, stream: bytes, cuts: list[int]) -> list[frames.Frame]:
    got = []
    place = turn = 0
    while place < len(stream):
        step = cuts[turn % len(cuts)]
        got += parser.feed(stream[place : place + step])
        place += step
        turn += 1
    return got


def told(got: list[frames.Frame]) -> tuple[list[frames.Answer], int]:
    """The answers that frames of a parser amount to, and the bytes of the longest payload among them."""
    found: list[frames.Answer] = []
    for kind, count, payload in got:
        if kind == frames.RESULT:
            found += frames.answers(payload, count)
        elif kind == frames.OPENED:
            number, status, size, meta = frames.opened(payload)
            assert size > 20
            found.append((number, status, meta, b""))
        elif kind == frames.PART:
            number, status, meta, body = found.pop()
            found.append((number, status, meta, body + payload))
    return found, max(len(payload) for _, _, payload in got)


@given(
    st.lists(st.lists(st.binary(max_size=120), min_size=1, max_size=5), min_size=1, max_size=5),
    st.lists(st.integers(1, 60), min_size=1, max_size=50),
)
def test_results_of_any_length_come_piece_by_piece_and_are_never_gathered(
    batches: list[list[bytes]], cuts: list[int]
) -> None:
    """PINGs between them show where each one ends."""
    meta = frames.result_meta("text/csv")
    answers = [[(10 * n + i, 200, meta, body) for i, body in enumerate(batch)] for n, batch in enumerate(batches)]
    stream = b"".join(frames.results(batch) + frames.control(frames.PING) for batch in answers)
    got = in_cuts(frames.Parser(limit=60, most=1000, whole=20), stream, cuts)
    found, longest = told(got)
    assert found == [answer for batch in answers for answer in batch]
    assert longest <= 60
    assert [kind for kind, _, _ in got].count(frames.PING) == len(batches)
    assert got[-1][0] == frames.PING


@pytest.mark.parametrize(
    ("count", "payload"),
    [
        (1, frames.ANSWER.pack(1, 200, 0, 200) + bytes(100)),  # an entry longer than its frame
        (2, frames.ANSWER.pack(1, 88, 0, 200) + bytes(88)),  # an entry that is missing
        (1, frames.ANSWER.pack(1, 80, 0, 200) + bytes(88)),  # bytes too many
        (1, frames.ANSWER.pack(1, 80, 0, 200) + bytes(80) + frames.ANSWER.pack(2, 80, 0, 200) + bytes(80)),
    ],
)
def test_a_long_result_that_lies_about_its_entries_is_refused(count: int, payload: bytes) -> None:
    frame = frames.HEADER.pack(len(payload), frames.RESULT, 0, count) + payload
    with pytest.raises(frames.FrameError):
        frames.Parser(limit=60, most=1000, whole=20).feed(frame)


def test_a_gigabyte_is_passed_on_as_it_comes() -> None:
    """What a parser holds of it is at most what it was fed last."""
    size, piece = 1_000_000_000, bytes(1 << 18)
    parser = frames.Parser(limit=frames.MAX_RESULT, most=frames.MAX_FRAME)
    head = frames.HEADER.pack(size + 12, frames.RESULT, 0, 1) + frames.ANSWER.pack(1, size, 0, 200)
    assert [kind for kind, _, _ in parser.feed(head)] == [frames.OPENED]
    passed = 0
    while passed < size:
        [(kind, last, part)] = parser.feed(piece[: size - passed])
        assert kind == frames.PART
        passed += len(part)
        assert last == (passed == size)
    with pytest.raises(frames.FrameError):
        parser.feed(frames.HEADER.pack(frames.MAX_FRAME + 1, frames.RESULT, 0, 1))


@given(st.binary(max_size=200))
def test_noise_raises_only_frame_errors(noise: bytes) -> None:
    parser = frames.Parser(limit=1000)
    try:
        for kind, count, payload in parser.feed(noise):
            if kind == frames.PREDICT:
                frames.requests(payload, count)
            elif kind == frames.RESULT:
                for answer in frames.answers(payload, count):
                    frames.decode_result_meta(answer[2])
            else:
                frames.message(payload)
    except frames.FrameError:
        pass


@pytest.mark.parametrize("headers", [[("a", "x\0y")], [("a", "ā")], [("a", "x" * 70_000)]])
def test_meta_refuses_what_it_cannot_carry(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(frames.FrameError):
        frames.request_meta("text/csv", "", headers)


def test_an_oversize_frame_is_refused_before_it_is_read() -> None:
    with pytest.raises(frames.FrameError):
        frames.Parser(limit=10).feed(frames.HEADER.pack(11, frames.HELLO, 0, 0))


@pytest.mark.parametrize("address", ["tls:host:1", "/run/clary/front-0.sock", "unix:", "", "unix"])
def test_what_cannot_be_dialled_is_refused_by_name(address: str) -> None:
    with pytest.raises(frames.AddressError, match=f"the address {address!r} of a front"):
        frames.Channel.dial(address)


def test_an_address_says_how_it_is_dialled(tmp_path: Path) -> None:
    place = tmp_path / "front.sock"
    with pytest.raises(FileNotFoundError):
        frames.Channel.dial(f"unix:{place}")
    with socket.socket(socket.AF_UNIX) as front:
        front.bind(str(place))
        front.listen()
        channel = frames.Channel.dial(f"unix:{place}")
        there, _ = front.accept()
        channel.send(frames.control(frames.DRAIN))
        assert frames.Channel(there).read()[0] == frames.DRAIN
        channel.close()
        there.close()


def test_a_worker_is_welcomed_and_told_of_the_end() -> None:
    ours, theirs = socket.socketpair()
    worker, front = frames.Channel(ours), frames.Channel(theirs)

    def answer() -> None:
        kind, _, payload = front.read()
        assert kind == frames.HELLO
        assert frames.message(payload)["replica"] == "r1"
        front.send(frames.control(frames.WELCOME, {"version": 1, "workers": 2, "threads": 0}))
        front.close()

    thread = threading.Thread(target=answer)
    thread.start()
    assert worker.greet("worker", "r1", "secret", 12, timeout=5)["workers"] == 2
    thread.join(timeout=5)
    with pytest.raises(frames.Closed):
        worker.read()
    worker.close()


def test_a_refused_worker_learns_why() -> None:
    ours, theirs = socket.socketpair()
    worker, front = frames.Channel(ours), frames.Channel(theirs)
    front.send(frames.control(frames.REFUSED, {"reason": "no such replica"}))
    with pytest.raises(frames.Closed, match="no such replica"):
        worker.greet("worker", "r1", "secret", 12, timeout=5)
    worker.close()
    front.close()


@given(st.integers(0, 2**32 - 1), st.integers(0, 3), st.binary(max_size=500))
def test_pieces_round_trip(number: int, how: int, data: bytes) -> None:
    [(kind, _, payload)] = frames.Parser().feed(frames.chunk(number, how, data))
    assert (kind, frames.piece(payload)) == (frames.CHUNK, (number, how, data))
    [(kind, _, payload)] = frames.Parser().feed(frames.begun(number, data))
    assert (kind, frames.opening(payload)) == (frames.BEGUN, (number, data))


@pytest.mark.parametrize("payload", [b"", b"1234", b"1234\x04", b"1234\0" + bytes(frames.MAX_CHUNK + 1)])
def test_a_piece_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.piece(payload)


def test_a_beginning_without_a_number_is_refused() -> None:
    with pytest.raises(frames.FrameError):
        frames.opening(b"123")
