"""`python pipes.py SPEC COMMAND...`: Pipe mode. A feeder child streams channels into FIFOs; this process becomes the command.

SPEC is a JSON file: `{"failure": path of the failure text, "channels": [{"name", "folder": where its FIFOs go, "items": path,
"objects": folder, "wrapper": "None" | "RecordIO", "gzip": bool, "seed": int | null, "group": n}]}`. `items` is a file of JSON
lines, one item each: `{"file": name in objects}` or `{"text": "..."}`; `group` items belong together (the attributes of one line of
an augmented manifest) when shuffled.

For every epoch, from 0, there is a FIFO `<name>_<epoch>`: it carries the items' bytes one after the other, each as one RecordIO
record with the wrapper, gunzipped first with gzip. A reader that closes early moves on to the next epoch. The command never waits
for the feeder and the feeder dies with the sandbox. Standard library only, Python 3.9; it is run by path and imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import random
import signal
import struct
import sys
import threading
import time
import zlib
from typing import Any, Dict, Iterator, List

MAGIC = 0xCED7230A  # RecordIO's record mark (dmlc-core)
PART_LIMIT = (1 << 29) - 1  # 29 bits of length
CHUNK = 1 << 20
_GRACE = 10.0


def main(argv: List[str]) -> None:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    for channel in spec["channels"]:  # the first FIFOs are there before the command looks
        for epoch in (0, 1):
            _make(_folder(spec, channel), channel["name"], epoch)
    if os.fork() == 0:
        _feed(spec)
        os._exit(0)
    try:
        os.execvp(argv[2], argv[2:])
    except OSError as error:
        print("Cannot run {}: {}".format(argv[2], error.strerror), file=sys.stderr, flush=True)
        os._exit(127)


def _feed(spec: Dict[str, Any]) -> None:
    os.setsid()  # a signal to the command's group is not for the feeder
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    parent = os.getppid()
    threads = [threading.Thread(target=_guarded, args=(spec, channel, parent)) for channel in spec["channels"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _guarded(spec: Dict[str, Any], channel: Dict[str, Any], parent: int) -> None:
    """A channel that breaks ends the command: it must not take a part of the data for the whole."""
    try:
        feed(_folder(spec, channel), channel)
    except Exception as error:
        text = "ClientError: Channel {} cannot be streamed: {}".format(channel["name"], error)
        print(text, file=sys.stderr, flush=True)
        with open(spec["failure"], "w", encoding="utf-8") as file:
            file.write(text)
        _end(parent)


def _folder(spec: Dict[str, Any], channel: Dict[str, Any]) -> str:
    """Where a channel's FIFOs go; one place for all in what an earlier Clary wrote."""
    return str(channel.get("folder") or spec["folder"])


def _end(parent: int) -> None:
    """SIGTERM, then SIGKILL: to the command, never to the process that inherited us after it ended."""
    deadline = time.monotonic() + _GRACE
    if os.getppid() == parent:
        os.kill(parent, signal.SIGTERM)
    while os.getppid() == parent:
        if time.monotonic() > deadline:
            os.kill(parent, signal.SIGKILL)
            return
        time.sleep(0.05)


def feed(folder: str, channel: Dict[str, Any], epochs: int = 1 << 62) -> None:
    """Serve one channel, epoch after epoch. What breaks it is raised, and the FIFO stays open then: a reader would take its end for the
    end of the data."""
    with open(channel["items"], encoding="utf-8") as file:
        items = [json.loads(line) for line in file]
    for epoch in range(epochs):
        _make(folder, channel["name"], epoch + 1)
        path = _path(folder, channel["name"], epoch)
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # waits for a reader
        try:
            for item in ordered(items, channel, epoch):
                for data in _bytes_of(item, channel):
                    _write(descriptor, data)
        except BrokenPipeError:
            pass  # it has seen enough of this epoch
        os.close(descriptor)
        os.unlink(path)


def ordered(items: List[Any], channel: Dict[str, Any], epoch: int) -> List[Any]:
    """The items of an epoch: as listed, or shuffled by seed and epoch, groups kept together."""
    seed = channel.get("seed")
    if seed is None:
        return items
    size = int(channel.get("group") or 1)
    groups = [items[n : n + size] for n in range(0, len(items), size)]
    random.Random("{}/{}".format(seed, epoch)).shuffle(groups)
    return [item for group in groups for item in group]


def _bytes_of(item: Dict[str, str], channel: Dict[str, Any]) -> Iterator[bytes]:
    """What one item puts into the FIFO."""
    parts = _contents(item, channel)
    if channel["wrapper"] == "RecordIO":
        return record(b"".join(parts))
    return parts


def record(data: bytes) -> Iterator[bytes]:
    """One RecordIO record; what is longer than 29 bits of length goes in several parts (flags 1, 2, 3)."""
    pieces = [data[n : n + PART_LIMIT] for n in range(0, len(data), PART_LIMIT)] or [b""]
    for number, piece in enumerate(pieces):
        flag = 0 if len(pieces) == 1 else 1 if number == 0 else 3 if number == len(pieces) - 1 else 2
        yield struct.pack("<II", MAGIC, flag << 29 | len(piece))
        yield piece
        if len(piece) % 4:
            yield b"\0" * (-len(piece) % 4)


def _contents(item: Dict[str, str], channel: Dict[str, Any]) -> Iterator[bytes]:
    if "text" in item:
        yield item["text"].encode()
        return
    with open(os.path.join(channel["objects"], item["file"]), "rb") as file:
        if channel.get("gzip"):
            yield from _gunzip(file)
            return
        while True:
            data = file.read(CHUNK)
            if not data:
                return
            yield data


def _gunzip(file: Any) -> Iterator[bytes]:
    """A gzip stream of one or several members."""
    unzip = zlib.decompressobj(31)
    while True:
        data = file.read(CHUNK)
        if not data:
            if not unzip.eof:
                raise EOFError("a gzip object ends early")
            return
        while data:
            if unzip.eof:
                unzip = zlib.decompressobj(31)
            yield unzip.decompress(data)
            data = unzip.unused_data


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _path(folder: str, name: str, epoch: int) -> str:
    return os.path.join(folder, "{}_{}".format(name, epoch))


def _make(folder: str, name: str, epoch: int) -> None:
    try:
        os.mkfifo(_path(folder, name, epoch), 0o644)
    except FileExistsError:
        pass


if __name__ == "__main__":
    main(sys.argv)
