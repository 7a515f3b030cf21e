"""Checksums that are put together of pieces."""

from __future__ import annotations

import os
import zlib

import pytest

from clary.objects import crc
from clary.wire.checksums import checksum


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
@pytest.mark.parametrize("sizes", [(1, 1), (0, 5), (5, 0), (1000, 70_000)])
def test_the_crc_of_two_pieces(algorithm: str, sizes: tuple[int, int]) -> None:
    first, second = os.urandom(sizes[0]), os.urandom(sizes[1])

    def of(data: bytes) -> bytes:
        sums = checksum(algorithm)
        sums.update(data)
        return sums.digest()

    assert crc.combine(algorithm, of(first), of(second), len(second)) == of(first + second)


def test_the_crc_agrees_with_zlib() -> None:
    whole = crc.combine("CRC32", zlib.crc32(b"ab").to_bytes(4, "big"), zlib.crc32(b"cd").to_bytes(4, "big"), 2)
    assert int.from_bytes(whole, "big") == zlib.crc32(b"abcd")
