"""The checksums that S3 knows, each with hashlib's ``update`` and ``digest``.

Owns: CRC32C and CRC64NVME, which the standard library lacks, at a speed that streams (about 100 MB/s and more, in pure
Python). Does not know: headers and where a checksum was announced.

How the CRCs are fast: a CRC is a remainder of polynomials over GF(2), and Python's big integers shift and XOR long
polynomials at memory speed. A block is folded in half again and again (the first half times x^n mod P, which is a
handful of shifts, XORed onto the second half) until a few bytes are left for the table.
"""

from __future__ import annotations

import hashlib
import zlib
from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple, Protocol


class Checksum(Protocol):
    """Takes bytes, gives the digest of all taken so far."""

    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Poly(NamedTuple):
    """A reflected CRC: its width in bits and its polynomial with the lowest power in the highest bit."""

    width: int
    reflected: int


_CRC32C = _Poly(32, 0x82F63B78)
_CRC64NVME = _Poly(64, 0x9A6C9329AC4BC9B5)
_SMALL = 64
_BLOCK = 1 << 17

# What is left after each fold, in bytes. A fold takes at most 8 bytes less than what stays, so that the product of the
# folded bytes with a 64-bit remainder fits over it; fixed sizes keep the remainders few.
_STEPS = [_SMALL]
while _STEPS[-1] < _BLOCK:
    _STEPS.append(2 * _STEPS[-1] - 8)


@lru_cache(maxsize=8)
def _table(poly: _Poly) -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (poly.reflected if value & 1 else 0)
        table.append(value)
    return table


@lru_cache(maxsize=256)
def _shifts(poly: _Poly, bits: int) -> tuple[int, ...]:
    """x^bits mod P as the shifts that multiply a reflected polynomial by it.

    In reflected form bit i of a w-bit remainder is the coefficient of x^(w-1-i).
    """
    value = 1 << (poly.width - 1)  # x^0
    power = value >> 1  # x^1
    while bits:
        if bits & 1:
            value = _multiply(poly, value, power)
        power = _multiply(poly, power, power)
        bits >>= 1
    return tuple(at for at in range(poly.width) if value >> at & 1)


def _multiply(poly: _Poly, left: int, right: int) -> int:
    product = 0
    for power in range(poly.width):
        if left >> (poly.width - 1 - power) & 1:
            product ^= right
        right = (right >> 1) ^ (poly.reflected if right & 1 else 0)
    return product


def _advance(poly: _Poly, state: int, data: bytes) -> int:
    table = _table(poly)
    size = len(data)
    if size > _SMALL:
        # The running state belongs in front of the data: XOR it onto the first bytes and start from nothing.
        value = int.from_bytes(data, "little") ^ state
        while size > _SMALL:
            low = _STEPS[bisect_left(_STEPS, size) - 1]
            high = size - low  # bytes that are folded away: the first ones, which are the high powers
            folded = value & ((1 << (high * 8)) - 1)
            value >>= high * 8
            # The product of h bits and a w-bit remainder has h+w-1 bits; its lowest power lines up with the low half's.
            align = low * 8 - (high * 8 + poly.width - 1)
            for shift in _shifts(poly, low * 8):
                value ^= folded << (shift + align)
            size = low
        data = value.to_bytes(size, "little")
        state = 0
    mask = (1 << poly.width) - 1
    for byte in data:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state & mask


class _Crc:
    """A reflected CRC with all-ones start and end."""

    def __init__(self, poly: _Poly) -> None:
        self._poly = poly
        self._mask = (1 << poly.width) - 1
        self._state = self._mask

    def update(self, data: bytes, /) -> None:
        view = memoryview(data)
        for at in range(0, len(view), _BLOCK):
            self._state = _advance(self._poly, self._state, bytes(view[at : at + _BLOCK]))

    def digest(self) -> bytes:
        return (self._state ^ self._mask).to_bytes(self._poly.width // 8, "big")


class _Crc32:
    def __init__(self) -> None:
        self._state = 0

    def update(self, data: bytes, /) -> None:
        self._state = zlib.crc32(data, self._state)

    def digest(self) -> bytes:
        return self._state.to_bytes(4, "big")


ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")


def checksum(algorithm: str) -> Checksum:
    """A fresh checksum by S3's name for it, in any case; raises LookupError for others."""
    match algorithm.lower():
        case "crc32":
            return _Crc32()
        case "crc32c":
            return _Crc(_CRC32C)
        case "crc64nvme":
            return _Crc(_CRC64NVME)
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "sha256":
            return hashlib.sha256()
        case "md5":
            return hashlib.md5(usedforsecurity=False)
    raise LookupError(f"no checksum {algorithm!r}")
