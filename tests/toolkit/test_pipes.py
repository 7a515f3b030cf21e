from __future__ import annotations

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import pipes


def channel(tmp_path: Path, items: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    objects = tmp_path / "objects"
    objects.mkdir(exist_ok=True)
    (tmp_path / "items").write_text("".join(json.dumps(item) + "\n" for item in items))
    made = {"name": "train", "items": str(tmp_path / "items"), "objects": str(objects)}
    return {**made, "wrapper": "None", "gzip": False, "seed": None, "group": 1, **more}


def stored(tmp_path: Path, *contents: bytes) -> list[dict[str, str]]:
    (tmp_path / "objects").mkdir(exist_ok=True)
    for number, content in enumerate(contents):
        (tmp_path / "objects" / str(number)).write_bytes(content)
    return [{"file": str(number)} for number in range(len(contents))]


def read(tmp_path: Path, made: dict[str, Any], epochs: int = 1) -> list[bytes]:
    feeder = threading.Thread(target=pipes.feed, args=(str(tmp_path), made, epochs), daemon=True)
    pipes._make(str(tmp_path), "train", 0)
    feeder.start()
    found = [(tmp_path / f"train_{epoch}").read_bytes() for epoch in range(epochs)]
    feeder.join(10)
    assert not feeder.is_alive()
    return found


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        magic, word = struct.unpack("<II", data[:8])
        assert magic == 0xCED7230A
        length = word & (1 << 29) - 1
        yield word >> 29, data[8 : 8 + length]
        data = data[8 + length + -length % 4 :]


def test_objects_follow_each_other_and_every_epoch_begins_anew(tmp_path: Path) -> None:
    made = channel(tmp_path, stored(tmp_path, b"one,", b"two,", b"three"))
    assert read(tmp_path, made, epochs=3) == [b"one,two,three"] * 3
    assert not (tmp_path / "train_0").exists(), "an epoch that is over cannot be read again"


def test_each_object_becomes_a_record(tmp_path: Path) -> None:
    made = channel(tmp_path, [*stored(tmp_path, b"abc", b"", b"abcd"), {"text": "label"}], wrapper="RecordIO")
    (data,) = read(tmp_path, made)
    assert list(records(data)) == [(0, b"abc"), (0, b""), (0, b"abcd"), (0, b"label")]


def test_a_record_too_long_for_its_length_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "PART_LIMIT", 4)
    assert list(records(b"".join(pipes.record(b"abcdefghij")))) == [(1, b"abcd"), (2, b"efgh"), (3, b"ij")]


def test_gzip_objects_are_opened_members_and_all(tmp_path: Path) -> None:
    two_members = gzip.compress(b"one") + gzip.compress(b"two")
    made = channel(tmp_path, stored(tmp_path, two_members, gzip.compress(b"x" * 3_000_000)), gzip=True)
    assert read(tmp_path, made) == [b"onetwo" + b"x" * 3_000_000]


def test_shuffling_is_by_seed_and_epoch_and_keeps_lines_whole() -> None:
    items = [{"text": str(n)} for n in range(20)]
    first = pipes.ordered(items, {"seed": 5, "group": 2}, 0)
    assert first == pipes.ordered(items, {"seed": 5, "group": 2}, 0)
    assert first != pipes.ordered(items, {"seed": 5, "group": 2}, 1)
    assert all(int(b["text"]) == int(a["text"]) + 1 for a, b in zip(first[::2], first[1::2], strict=True))
    assert pipes.ordered(items, {"seed": None}, 3) == items


def test_a_reader_that_closes_early_gets_the_next_epoch(tmp_path: Path) -> None:
    made = channel(tmp_path, stored(tmp_path, b"y" * 5_000_000))
    pipes._make(str(tmp_path), "train", 0)
    feeder = threading.Thread(target=pipes.feed, args=(str(tmp_path), made, 2), daemon=True)
    feeder.start()
    with open(tmp_path / "train_0", "rb") as file:
        assert file.read(10) == b"y" * 10
    assert len((tmp_path / "train_1").read_bytes()) == 5_000_000
    feeder.join(10)


def spec(tmp_path: Path, *channels: dict[str, Any]) -> str:
    content = {"folder": str(tmp_path), "channels": channels, "failure": str(tmp_path / "failure")}
    (tmp_path / "spec").write_text(json.dumps(content))
    return str(tmp_path / "spec")


def run(path: str, *command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, pipes.__file__, path, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30
    )


def test_the_process_becomes_the_command_and_a_broken_channel_ends_it(tmp_path: Path) -> None:
    made = channel(tmp_path, stored(tmp_path, gzip.compress(b"data"), b"no gzip"), gzip=True)
    program = f"import time; open('{tmp_path}/train_0').read(); time.sleep(60)"
    ran = run(spec(tmp_path, made), sys.executable, "-c", program)
    assert ran.returncode == -signal.SIGTERM
    assert "ClientError: Channel train cannot be streamed" in (tmp_path / "failure").read_text()


def test_a_reader_of_a_broken_channel_sees_no_end(tmp_path: Path) -> None:
    """It would take what came for the whole, and complete, before it is ended."""
    made = channel(tmp_path, stored(tmp_path, gzip.compress(b"data"), b"no gzip"), gzip=True)
    pipes._make(str(tmp_path), "train", 0)
    reader = os.open(tmp_path / "train_0", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(zlib.error):
        pipes.feed(str(tmp_path), made)
    assert os.read(reader, 100) == b"data"
    with pytest.raises(BlockingIOError):  # not b"", the end
        os.read(reader, 100)
    os.close(reader)


def test_a_command_that_is_not_there_ends_as_a_shell_would(tmp_path: Path) -> None:
    assert run(spec(tmp_path), "/no/such").returncode == 127
