"""Which front is an endpoint's home: nginx's own `split_clients` over the endpoint's name, in Python.

Owns the hash (Austin Appleby's MurmurHash2, 32 bit, seed 0, as nginx uses it) and the division of its range, so that the edge's
configuration, the control plane and the tests agree. Pure.
"""

from __future__ import annotations

_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bit, seed 0."""
    length = len(data)
    value = length
    place = 0
    while length - place >= 4:
        word = int.from_bytes(data[place : place + 4], "little")
        word = word * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        value = value * _MULTIPLIER & _MASK ^ word
        place += 4
    tail = data[place:]
    if tail:
        value = (value ^ int.from_bytes(tail, "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15


def shares(count: int) -> list[str]:
    """The percentages of a `split_clients` block over `count` fronts, the last one as `*` (nginx takes two decimals)."""
    step = 10000 // count
    return [f"{step // 100}.{step % 100:02d}%" for _ in range(count - 1)] + ["*"]


def home(name: str, count: int) -> int:
    """The index, below `count`, of the front that serves endpoints of this name, and inference components (ENDPOINT/COMPONENT) on
    them."""
    value = murmur2(name.partition("/")[0].encode())
    step = 10000 // count
    limit = 0
    for index in range(count - 1):
        # nginx: each part ends at its percentage of 2^32 - 1, summed up in 32 bits
        limit = limit + 0xFFFFFFFF * step // 10000 & _MASK
        if value < limit:
            return index
    return count - 1
