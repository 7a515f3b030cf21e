"""The CRC of two pieces put together, from their CRCs: what a FULL_OBJECT checksum of a multipart upload is made of.

A CRC is a remainder of polynomials over GF(2); appending n bytes multiplies what came before by x^(8n). Does not know: uploads.
"""

from __future__ import annotations

# Reflected polynomials (highest power in the lowest bit), all with all-ones start and end.
_POLYNOMIALS = {"CRC32": (0xEDB88320, 32), "CRC32C": (0x82F63B78, 32), "CRC64NVME": (0x9A6C9329AC4BC9B5, 64)}


def combines(algorithm: str) -> bool:
    return algorithm in _POLYNOMIALS


def combine(algorithm: str, first: bytes, second: bytes, length: int) -> bytes:
    """The checksum of A+B from those of A and B (big-endian bytes) and the length of B in bytes."""
    polynomial, width = _POLYNOMIALS[algorithm]
    moved = _multiply(_power(8 * length, polynomial, width), int.from_bytes(first, "big"), polynomial, width)
    return (moved ^ int.from_bytes(second, "big")).to_bytes(width // 8, "big")


def _multiply(a: int, b: int, polynomial: int, width: int) -> int:
    """a * b modulo the polynomial, reflected: bit width-1 is x^0."""
    product = 0
    bit = 1 << (width - 1)
    while bit:
        if a & bit:
            product ^= b
        bit >>= 1
        b = (b >> 1) ^ (polynomial if b & 1 else 0)
    return product


def _power(n: int, polynomial: int, width: int) -> int:
    """x^n modulo the polynomial."""
    result, square = 1 << (width - 1), 1 << (width - 2)
    while n:
        if n & 1:
            result = _multiply(result, square, polynomial, width)
        square = _multiply(square, square, polynomial, width)
        n >>= 1
    return result
