"""Names that Clary makes up: UUIDv7 (time-ordered), ARNs in the partition of their region.

Pure: the caller gives the time and the random bytes.
"""

from __future__ import annotations

import re
import uuid
from functools import lru_cache


def uuid7(milliseconds: int, random: bytes) -> uuid.UUID:
    """RFC 9562 version 7: 48 bits of Unix milliseconds, then 74 random bits taken from 10 bytes of `random`."""
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


_CODE = "abcdefghijklmnopqrstuvwxyz0123456789"


def code(random: bytes) -> str:
    """A lower-case letter or digit for each byte of `random`: the form of ids that AWS makes up, such as d-xxxxxxxxxxxx."""
    return "".join(_CODE[byte % len(_CODE)] for byte in random)


# Beginnings of regions' names -> AWS's partition of them; every other region is in `aws` (botocore's partitions.json).
_PARTITIONS = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-isob-", "aws-iso-b"),
    ("us-isof-", "aws-iso-f"),
    ("us-iso-", "aws-iso"),
    ("eu-isoe-", "aws-iso-e"),
    ("eusc-", "aws-eusc"),
)
_IN = re.compile(r"^arn:[a-z0-9-]+:")
GLOBAL = "aws"  # what things of an account in all its regions are stored with, whatever partition they are shown in


@lru_cache(maxsize=256)
def partition(region: str) -> str:
    """The partition that a region is in: the second part of every ARN there."""
    return next((found for beginning, found in _PARTITIONS if region.startswith(beginning)), GLOBAL)


def arn(service: str, region: str, account: str, tail: str) -> str:
    """`arn:PARTITION:SERVICE:REGION:ACCOUNT:TAIL`; SageMaker lower-cases the tail, names keep their case in Describe."""
    tail = tail.lower() if service == "sagemaker" else tail
    return f"arn:{partition(region)}:{service}:{region}:{account}:{tail}"


@lru_cache(maxsize=1024)  # every request has the ARN of who asks written
def written(arn: str, region: str) -> str:
    """The ARN of a thing that has no region, such as a role, as it is written in a region."""
    return _IN.sub(f"arn:{partition(region)}:", arn)


def belongs(arn: str, region: str) -> bool:
    """Whether the ARN is of the partition that the region is in: nothing is reached from another one."""
    return arn.startswith(f"arn:{partition(region)}:")


def stored(arn: str) -> str:
    """The same thing's ARN as its record has it."""
    return _IN.sub(f"arn:{GLOBAL}:", arn)
