"""Names that Clary makes up: UUIDv7 (time-ordered), ARNs.

Pure: the caller gives the time and the random bytes.
"""

from __future__ import annotations

import uuid


def uuid7(milliseconds: int, random: bytes) -> uuid.UUID:
    """RFC 9562 version 7: 48 bits of Unix milliseconds, then 74 random bits taken from 10 bytes of `random`."""
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def arn(service: str, region: str, account: str, tail: str) -> str:
    """`arn:aws:SERVICE:REGION:ACCOUNT:TAIL`; SageMaker lower-cases the tail, names keep their case in Describe."""
    return f"arn:aws:{service}:{region}:{account}:{tail.lower() if service == 'sagemaker' else tail}"
