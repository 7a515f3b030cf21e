"""The CRCs against their published check values and against the bit-by-bit definition."""

import random

import pytest

from clary.wire.checksums import checksum

POLYNOMIALS = {"crc32c": (32, 0x82F63B78), "crc64nvme": (64, 0x9A6C9329AC4BC9B5)}


def digest(algorithm: str, data: bytes) -> bytes:
    found = checksum(algorithm)
    found.update(data)
    return found.digest()


@pytest.mark.parametrize(
    ("algorithm", "check"),
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_check_values(algorithm: str, check: str) -> None:
    assert digest(algorithm, b"123456789").hex() == check


@pytest.mark.parametrize("algorithm", POLYNOMIALS)
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 72, 120, 121, 1000, 4097, 131_072, 131_073])
def test_folding_equals_the_definition(algorithm: str, size: int) -> None:
    width, polynomial = POLYNOMIALS[algorithm]
    data = random.Random(size).randbytes(size)
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    state = full = (1 << width) - 1
    for byte in data:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    assert digest(algorithm, data) == (state ^ full).to_bytes(width // 8, "big")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(LookupError):
        checksum("crc16")
