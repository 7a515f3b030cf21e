"""A message as a record, and what of it is found by columns. Pure. Source: SQS API reference and developer guide.

`status` is the id of the queue that the message is in, `created` when it was sent (of a FIFO queue: its place in the order), `modified` the
moment from which on it may be received. So the messages that can be received are found by an index, a receipt is one guarded save, and
the move to a dead-letter queue is one too.

A message of a FIFO queue is named by its deduplication id, so a second one cannot be added; for five minutes after it was deleted it
stays as a *trace* (status `ID.gone`), to which a sender's repetition runs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.errors import Invalid, InvalidValue
from clary.domain.ids import arn as make_arn
from clary.domain.queues import record as queues
from clary.domain.resources import Query, Record, Scope

MESSAGE = "sqs-message"
DEDUPLICATION = 300.0  # seconds
_ALLOWED = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")
_ATTRIBUTE = re.compile(r"(?!aws\.)(?!amazon\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", re.IGNORECASE)
_ID = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_MAC = 16
_MOST_ATTRIBUTES = 10


@dataclass(frozen=True, slots=True)
class New:
    """A message that is to be sent. `attributes`: name -> {"DataType", "StringValue" or "BinaryValue" (base64)}; `trace` is X-Ray's."""

    body: str
    attributes: Mapping[str, Mapping[str, str]]
    delay: int | None = None
    group: str = ""
    deduplication: str = ""
    trace: str = ""


def size(new: New) -> int:
    """Bytes that count: body, and names, types and values of attributes."""
    total = len(new.body.encode("utf-8", "surrogatepass"))
    for name, value in new.attributes.items():
        total += len(name.encode()) + len(value["DataType"].encode()) + len(_content(value))
    return total


def _content(value: Mapping[str, str]) -> bytes:
    return base64.b64decode(value["BinaryValue"]) if "BinaryValue" in value else value.get("StringValue", "").encode()


def check(queue: Record, new: New) -> New:
    """Invalid unless the queue takes it; with the deduplication id that holds for it."""
    most = queues.number(queue, "MaximumMessageSize")
    if size(new) > most:
        raise InvalidValue(f"One or more parameters are invalid. Reason: Message must be shorter than {most} bytes.")
    if not _ALLOWED.fullmatch(new.body):
        raise Invalid("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to "
                      "#xFFFD | #x10000 to #x10FFFF")  # fmt: skip
    _check_attributes(new.attributes)
    if new.group and not _ID.fullmatch(new.group):
        raise InvalidValue(
            f"Value {new.group[:200]} for parameter MessageGroupId is invalid. Reason: it has 1 to 128 letters, digits and punctuation."
        )
    if new.delay is not None and not 0 <= new.delay <= 900:
        raise InvalidValue(
            f"Value {new.delay} for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."
        )
    return _check_fifo(queue, new) if queues.is_fifo(queue) else _check_standard(new)


def _check_standard(new: New) -> New:
    if new.deduplication:
        raise InvalidValue(f"Value {new.deduplication[:200]} for parameter MessageDeduplicationId is invalid. Reason: The request "
                           "includes a parameter that is not valid for this queue type.")  # fmt: skip
    return new


def _check_fifo(queue: Record, new: New) -> New:
    if not new.group:
        raise InvalidValue("The request must contain the parameter MessageGroupId.")
    if new.delay is not None:
        raise InvalidValue(f"Value {new.delay} for parameter DelaySeconds is invalid. Reason: The request include parameter that is not "
                           "valid for this queue type: a FIFO queue has one delay for all its messages.")  # fmt: skip
    id_ = new.deduplication
    if not id_:
        if queue.document["attributes"].get("ContentBasedDeduplication") != "true":
            raise InvalidValue("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId "
                               "provided explicitly")  # fmt: skip
        id_ = hashlib.sha256(new.body.encode()).hexdigest()
    if not _ID.fullmatch(id_):
        raise InvalidValue(f"Value {id_[:200]} for parameter MessageDeduplicationId is invalid. Reason: it has 1 to 128 letters, digits "
                           "and punctuation.")  # fmt: skip
    return replace(new, deduplication=id_)


def _check_attributes(attributes: Mapping[str, Mapping[str, str]]) -> None:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise InvalidValue(
            f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{_MOST_ATTRIBUTES}]."
        )
    for name, value in attributes.items():
        if not _ATTRIBUTE.fullmatch(name) or len(name) > 256:
            raise InvalidValue(f"Invalid message attribute name '{name[:300]}'.")
        kind = value["DataType"].split(".")[0]
        if kind not in ("String", "Number", "Binary"):
            raise InvalidValue(f"The type of message (user) attribute '{name}' is invalid. You must use only the following supported type "
                               "prefixes: Binary, Number, String.")  # fmt: skip
        if not _content(value) or (kind == "Binary") != ("BinaryValue" in value):
            raise InvalidValue(f"The message (user) attribute '{name}' must contain a non-empty message attribute value of type "
                               f"'{value['DataType']}'.")  # fmt: skip
        if kind == "Number" and not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", value["StringValue"]):
            raise InvalidValue(f"Can't cast the value of message (user) attribute '{name}' to a number.")


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def attributes_md5(attributes: Mapping[str, Mapping[str, str]]) -> str:
    """Over all of them by name: lengths, name, type, 1 for text and 2 for bytes, value (developer guide, message metadata)."""
    found = hashlib.md5(usedforsecurity=False)
    for name in sorted(attributes):
        value = attributes[name]
        for part in (name.encode(), value["DataType"].encode()):
            found.update(struct.pack("!I", len(part)) + part)
        content = _content(value)
        found.update((b"\x02" if "BinaryValue" in value else b"\x01") + struct.pack("!I", len(content)) + content)
    return found.hexdigest()


def record_of(
    queue: Record, new: New, now: float, id_: str, sender: str, place: float | None = None, nth: int = 0
) -> Record:
    """The record of a checked message. `place`: its own in the order of a FIFO queue, later than all before; `nth`: how many of that
    deduplication id are there that are older than five minutes."""
    delay = queues.number(queue, "DelaySeconds") if new.delay is None else new.delay
    document: dict[str, Any] = {
        "id": id_,
        "body": new.body,
        "attributes": {name: dict(value) for name, value in new.attributes.items()},
        "sender": sender,
        "sent": now,
        "received": 0,
        "state": "new",
        "group": new.group,
        "deduplication": new.deduplication,
        "trace": new.trace,
    }
    name = f"{int(now * 1e6):015x}-{id_}"
    if place is not None:
        scoped = queue.document["attributes"].get("DeduplicationScope") == "messageGroup"
        over = f"{new.group}\0{new.deduplication}" if scoped else new.deduplication
        name = f"{queue.document['id']}.{hashlib.sha256(over.encode()).hexdigest()}.{nth}"
        document["sequence"] = f"{int(place * 1e6):020d}"
    arn = make_arn("sqs", queue.scope.region, queue.scope.account, f"message/{name}")
    created = now if place is None else place
    return Record(MESSAGE, queue.scope, name, arn, queue.document["id"], created, now + delay, document)


def is_repetition(found: Record, now: float) -> bool:
    """Whether a message of the same deduplication id counts as the same one."""
    return now - float(found.document["sent"]) < DEDUPLICATION


def next_place(newest: Record | None, now: float) -> float:
    """A place behind all others, a microsecond apart, whatever the clock says."""
    return now if newest is None else max(now, newest.created + 1e-6)


def trace(message: Record, now: float) -> Record:
    """What stays of a deleted message of a FIFO queue: no body."""
    kept = {key: message.document[key] for key in ("id", "sent", "sequence", "state")}
    kept["md5"], kept["attributes_md5"] = md5(message.document["body"]), attributes_md5(message.document["attributes"])
    kept["attributed"] = bool(message.document["attributes"])
    return replace(message, status=gone(message.status), modified=now + DEDUPLICATION, document=kept)


def gone(queue: str) -> str:
    """The status of a queue's traces."""
    return f"{queue}.gone"


def receive(message: Record, now: float, seconds: float) -> Record:
    """As it is received: hidden for so long."""
    document = {**message.document, "received": message.document["received"] + 1, "state": "received"}
    document.setdefault("first", now)
    return replace(message, modified=now + seconds, document=document)


def is_dead(message: Record, redrive: queues.Redrive | None) -> bool:
    """Whether it was received as often as its queue's policy allows."""
    return redrive is not None and message.document["received"] >= redrive.most


def buried(message: Record, queue: Record, target: Record, now: float) -> Record:
    """The message in the dead-letter queue; there it counts from the start again."""
    document = {**message.document, "received": 0, "state": "new", "source": queue.arn}
    document.pop("first", None)
    return replace(message, status=target.document["id"], modified=now, document=document)


# -- handles ------------------------------------------------------------------------------------------------------------------------


def handle(message: Record, key: bytes) -> str:
    """The receipt handle of a message just received: it names this one receipt, and nobody can make one up."""
    text = f"{message.name}:{message.document['received']}:{message.status}".encode()
    return base64.urlsafe_b64encode(_mac(text, key) + text).decode()


def open_handle(text: str, queue: Record, key: bytes) -> tuple[str, int]:
    """(message's name, which receipt). Invalid for one that was not made for that queue."""
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii"))
    except ValueError:
        raw = b""
    mac, content = raw[:_MAC], raw[_MAC:]
    if not content or not hmac.compare_digest(mac, _mac(content, key)):
        raise Invalid(f'The input receipt handle "{text[:200]}" is not a valid receipt handle.')
    name, number, status = content.decode().rsplit(":", 2)
    if status != queue.document["id"]:
        raise Invalid(f'The input receipt handle "{text[:200]}" is not valid for this queue.')
    return name, int(number)


def _mac(text: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"sqs " + text, "sha256")[:_MAC]


# -- queries ------------------------------------------------------------------------------------------------------------------------


def visible(queue: Record, now: float, limit: int, after: tuple[float | str, str] | None = None) -> Query:
    """Messages that may be received, oldest first."""
    return Query(
        MESSAGE,
        queue.scope,
        statuses=(queue.document["id"],),
        modified_before=_after(now),
        created_after=now - queues.number(queue, "MessageRetentionPeriod"),
        sort_by="created" if queues.is_fifo(queue) else "name",
        descending=False,
        limit=limit,
        after=after,
    )


def hidden(queue: Record, now: float, limit: int, state: str = "") -> Query:
    """Messages that may not be received yet, those first that soonest may; with `state` new (delayed) or received only."""
    return Query(
        MESSAGE,
        queue.scope,
        statuses=(queue.document["id"],),
        modified_after=now,
        created_after=now - queues.number(queue, "MessageRetentionPeriod"),
        sort_by="modified",
        descending=False,
        limit=limit,
        where={"state": state} if state else {},
    )


def newest(queue: Record) -> Query:
    """The last place given in a FIFO queue."""
    id_ = queue.document["id"]
    return Query(MESSAGE, queue.scope, statuses=(id_, gone(id_)), sort_by="created", limit=1)


def expired(queue: Record, now: float, limit: int) -> tuple[Query, ...]:
    """What nobody can receive any more, and the traces that no sender runs to."""
    id_, before = queue.document["id"], now - queues.number(queue, "MessageRetentionPeriod")
    traces = Query(
        MESSAGE,
        queue.scope,
        statuses=(gone(id_),),
        modified_before=now,
        sort_by="modified",
        descending=False,
        limit=limit,
    )
    return of_queue(queue.scope, id_, limit, before), traces


def of_queue(scope: Scope, id_: str, limit: int, before: float | None = None) -> Query:
    """All messages of a queue, or those sent before then."""
    return Query(MESSAGE, scope, statuses=(id_,), created_before=before, sort_by="name", descending=False, limit=limit)


def _after(now: float) -> float:
    """A little later, since filters leave out the moment itself."""
    return now + 1e-6
