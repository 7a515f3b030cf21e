"""An SQS queue as a record: its names, attributes and defaults. Pure. Source: SQS API reference and developer guide.

A queue's messages name it by `document["id"]`, which is made anew whenever a queue is created: one that is created again under its
old name does not have its predecessor's messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import urlsplit

from clary.domain.errors import Invalid, InvalidValue, NotFound
from clary.domain.ids import arn as make_arn
from clary.domain.ids import belongs
from clary.domain.resources import Record, Scope

QUEUE, DELETED = "sqs-queue", "sqs-deleted-queue"
LARGEST = 1 << 20  # bytes of a message, and of a batch
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ARN = re.compile(r"arn:aws[a-z-]*:sqs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[A-Za-z0-9_.-]{1,80})")
# Attribute -> (smallest, largest, default) of numbers.
NUMBERS: Mapping[str, tuple[int, int, int]] = {
    "DelaySeconds": (0, 900, 0),
    "MaximumMessageSize": (1024, LARGEST, LARGEST),
    "MessageRetentionPeriod": (60, 1_209_600, 345_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20, 0),
    "VisibilityTimeout": (0, 43_200, 30),
}
_FIFO = {"ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"}
_WORDS: Mapping[str, tuple[str, ...]] = {
    "FifoQueue": ("true",),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("messageGroup", "queue"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "SqsManagedSseEnabled": ("true", "false"),
}
_KEPT = ("Policy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds")


def check_name(name: str, fifo: bool) -> str:
    """The name of a new queue."""
    if not _NAME.fullmatch(name.removesuffix(".fifo")) or len(name) > 80:
        raise Invalid(
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
            if name
            else "Queue name cannot be empty"
        )
    if name.endswith(".fifo") != fifo:
        raise Invalid("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must "
                           "end with .fifo suffix and be 1 to 80 in length; and no other queue's name ends so")  # fmt: skip
    return name


def queue_arn(scope: Scope, name: str) -> str:
    return make_arn("sqs", scope.region, scope.account, name)


def parse_arn(arn: str) -> tuple[Scope, str]:
    """(scope, queue's name). Invalid for anything else."""
    match = _ARN.fullmatch(arn)
    if match is None or not belongs(arn, match["region"]):
        raise Invalid(f"'{arn[:300]}' is not the ARN of an SQS queue")
    return Scope(match["account"], match["region"]), match["name"]


def parse_url(url: str) -> tuple[str, str]:
    """(account, queue's name): the last two parts of its path, whatever host the client knows Clary by. NotFound for anything else."""
    try:
        parts = urlsplit(url).path.strip("/").split("/")
    except ValueError:
        parts = []
    if len(parts) < 2 or not re.fullmatch(r"\d{12}", parts[-2]):
        raise NotFound(f"The address {url[:300]} is not valid for this endpoint: a queue's ends with /ACCOUNT/NAME.")
    return parts[-2], parts[-1]


def _number(name: str, value: str) -> str:
    smallest, largest, _ = NUMBERS[name]
    if not re.fullmatch(r"[0-9]{1,9}", value) or not smallest <= int(value) <= largest:
        raise InvalidValue(f"Invalid value for the parameter {name}: '{value[:100]}'. Must be {smallest} to {largest}.")
    return str(int(value))


@dataclass(frozen=True, slots=True)
class Redrive:
    """Where a message goes that was received `most` times and is still there."""

    target: str  # ARN of the dead-letter queue
    most: int


def redrive_of(attributes: Mapping[str, str]) -> Redrive | None:
    """The redrive policy. InvalidValue for what is none."""
    text = attributes.get("RedrivePolicy", "")
    if not text:
        return None
    try:
        policy = json.loads(text)
        target, most = policy["deadLetterTargetArn"], int(policy["maxReceiveCount"])
        scope, _ = parse_arn(str(target))
    except (ValueError, KeyError, TypeError, Invalid):
        raise InvalidValue(
            "Invalid value for the parameter RedrivePolicy: it must be JSON with deadLetterTargetArn, the ARN of a queue, "
            "and maxReceiveCount."
        ) from None
    if not 1 <= most <= 1000 or not scope:
        raise InvalidValue("Invalid value for the parameter RedrivePolicy: maxReceiveCount must be 1 to 1000.")
    return Redrive(str(target), most)


def _redrive(_: str, value: str) -> str:
    redrive_of({"RedrivePolicy": value})
    return value


def _word(name: str, value: str) -> str:
    if value not in _WORDS[name]:
        raise InvalidValue(
            f"Invalid value for the parameter {name}: '{value[:100]}'. Must be {' or '.join(_WORDS[name])}."
        )
    return value


CHECKS: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {
        **dict.fromkeys(NUMBERS, _number),
        **dict.fromkeys(_WORDS, _word),
        **dict.fromkeys(_KEPT, lambda name, value: value),
        "RedrivePolicy": _redrive,
    }
)


def checked(given: Mapping[str, str], fifo: bool) -> dict[str, str]:
    """Attributes of a request, whose names are known (`CHECKS`). InvalidValue for a bad value."""
    found = {name: CHECKS[name](name, value) for name, value in given.items()}
    only = [name for name in (*_FIFO, "FifoQueue") if name in found]
    if only and not fifo:
        raise InvalidValue(
            f"Invalid value for the parameter {only[0]}: it is for FIFO queues, whose names end with .fifo."
        )
    return found


def deleted(queue: Record, now: float) -> Record:
    """The record by which a loop removes the messages of a queue that is about to be deleted."""
    id_ = queue.document["id"]
    arn = make_arn("sqs", queue.scope.region, queue.scope.account, f"deleted-queue/{id_}")
    return Record(DELETED, queue.scope, id_, arn, "", now, now, {"queue": queue.name})


def number(queue: Record, name: str) -> int:
    """A number among the queue's attributes."""
    return int(queue.document["attributes"].get(name, NUMBERS[name][2]))


def is_fifo(queue: Record) -> bool:
    return bool(queue.document["attributes"].get("FifoQueue") == "true")


def shown(queue: Record) -> dict[str, str]:
    """All attributes that do not depend on messages."""
    defaults = {name: str(default) for name, (_, _, default) in NUMBERS.items()}
    more = {**_FIFO, "FifoQueue": "true"} if is_fifo(queue) else {}
    return {
        **defaults,
        "SqsManagedSseEnabled": "false",  # Clary encrypts nothing
        **more,
        **queue.document["attributes"],
        "QueueArn": queue.arn,
        "CreatedTimestamp": str(int(queue.created)),
        "LastModifiedTimestamp": str(int(queue.modified)),
    }
