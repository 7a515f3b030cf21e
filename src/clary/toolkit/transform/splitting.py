"""Objects cut into records, and records packed into requests, piece by piece in memory that does not grow with the object. Pure.

Source: the developer guide's "Batch transform" (SplitType, BatchStrategy, MaxPayloadInMB). A request never spans two objects, and
records keep their order. Standard library only, Python 3.9 or newer. Does not know where bytes come from, nor what is in a record.
"""

from __future__ import annotations

from typing import Callable, Iterable, Iterator, List, Optional

LINE, RECORD_IO, TF_RECORD, NONE = "Line", "RecordIO", "TFRecord", "None"
SPLITS = (NONE, LINE, RECORD_IO, TF_RECORD)
MULTI, SINGLE = "MultiRecord", "SingleRecord"
_MAGIC = (0xCED7230A).to_bytes(4, "little")  # the first word of each RecordIO record; its second one is the length
_LENGTH = (1 << 29) - 1  # the bits of that word that are the length
_MIB = 1 << 20


class BadRecord(ValueError):
    """A record that cannot be sent; its message names the record's number (from 1), the reason, and what to change."""


class Splitter:
    """`feed` takes the object's bytes in pieces of any size and gives whole records; `finish` gives what is left at its end.

    `most` is the largest record in bytes (0: no bound). A record of Line keeps its newline; the last one may lack it.
    """

    def __init__(self, split: str, most: int = 0) -> None:
        self.split = split
        self.most = most
        self.count = 0  # records that were given
        self._held = bytearray()
        self._seen = 0  # bytes of `_held` in which there is no newline

    def feed(self, piece: bytes) -> List[bytes]:
        self._held += piece
        records = list(self._whole())
        if self.most and self._needed() > self.most:
            raise self._too_large(self._needed())
        return records

    def finish(self) -> List[bytes]:
        if not self._held:
            return []
        if self.split in (RECORD_IO, TF_RECORD):
            raise BadRecord(
                f"Record {self.count + 1} is not whole: the object ends {len(self._held)} bytes after the record's start. "
                f"The object is not {self.split}, or was cut."
            )
        rest = bytes(self._held)
        self._held.clear()
        self._seen = 0
        return [self._given(rest)]

    def _whole(self) -> Iterator[bytes]:
        if self.split == NONE:
            return
        while (end := self._end()) is not None:
            record = bytes(memoryview(self._held)[:end])
            del self._held[:end]
            self._seen = 0
            yield self._given(record)

    def _end(self) -> Optional[int]:
        """Where the first record of what is held ends; None: not all of it is here."""
        if self.split == LINE:
            at = self._held.find(b"\n", self._seen)
            self._seen = len(self._held) if at < 0 else 0
            return None if at < 0 else at + 1
        size = self._framed()
        return size if size is not None and len(self._held) >= size else None

    def _framed(self) -> Optional[int]:
        """The size that the frame of the first record states, header included; None: the header is not here yet."""
        held = self._held
        if self.split == TF_RECORD:
            return None if len(held) < 12 else 16 + int.from_bytes(held[:8], "little")
        size = 0
        while True:  # a record whose content holds the magic word is several parts: the first one 1, the last one 3
            head = held[size : size + 8]
            if head[:4] != _MAGIC[: min(4, len(head))]:
                raise BadRecord(f"Record {self.count + 1} does not begin as RecordIO does: the object is not RecordIO.")
            if len(head) < 8:
                return None
            word = int.from_bytes(head[4:], "little")
            size += 8 + -(-(word & _LENGTH) // 4) * 4
            if word >> 29 in (0, 3):
                return size

    def _needed(self) -> int:
        """Bytes of the record that is not whole, as far as they are known."""
        framed = self._framed() if self._held and self.split in (RECORD_IO, TF_RECORD) else None
        return len(self._held) if framed is None else framed

    def _given(self, record: bytes) -> bytes:
        if self.most and len(record) > self.most:
            raise self._too_large(len(record))
        self.count += 1
        return record

    def _too_large(self, size: int) -> BadRecord:
        what = "The object" if self.split == NONE else f"Record {self.count + 1}"
        return BadRecord(
            f"{what} is larger than MaxPayloadInMB ({self.most // _MIB} MB): it has at least {size} bytes. "
            + ("Set SplitType, or raise MaxPayloadInMB." if self.split == NONE else "Raise MaxPayloadInMB.")
        )


def batches(records: Iterable[bytes], strategy: str, most: int) -> Iterator[List[bytes]]:
    """Records in order, packed into requests: one each (SingleRecord), or as many as `most` bytes hold (MultiRecord; 0: no bound)."""
    batch: List[bytes] = []
    size = 0
    for record in records:
        if batch and (strategy == SINGLE or (most and size + len(record) > most)):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record)
    if batch:
        yield batch


def blocks(read: Callable[[int], bytes], most: int, wanted: int = 0) -> Iterator[bytes]:
    """An object cut into pieces of whole lines, as many as `wanted` bytes hold (0: as `most`): what MultiRecord sends of SplitType Line,
    without a look at each line. A line may have up to `most` bytes. `read(n)` gives n bytes of it, fewer only at its end."""
    held, count, room = b"", 0, wanted or most
    while piece := read(room - len(held)):
        held += piece
        if len(held) < room:
            break
        end = held.rfind(b"\n") + 1
        if end:
            count += held.count(b"\n")
            yield held[:end]
            held, room = held[end:], wanted or most
        elif room < most:
            room = min(most, 2 * room)
        elif read(1):
            raise BadRecord(
                f"Record {count + 1} is larger than MaxPayloadInMB ({most // _MIB} MB): it has more than {most} bytes. "
                "Raise MaxPayloadInMB."
            )
        else:
            break
    if held:
        yield held
