"""SQS: messages. A message is a record; what is answered as sent, received or deleted is on disk. Source: SQS API reference."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from clary.api.call import Call, Params
from clary.api.errors import ApiError, code_of
from clary.api.registry import operation
from clary.api.sqs.queues import by_arn, find
from clary.domain.errors import AlreadyExists, ClaryError, Stale
from clary.domain.queues import messages
from clary.domain.queues import record as queues
from clary.domain.queues.messages import New
from clary.domain.resources import Record
from clary.guarded import until_first
from clary.ports import Store

BATCH = 10
_LOOKED_THROUGH = 1000  # messages of a FIFO queue, while all groups are under way
_MOST_UNDER_WAY = 20_000  # of a FIFO queue, as on AWS
_ENTRY = re.compile(r"[A-Za-z0-9_-]{1,80}")
_orders: WeakKeyDictionary[Store, dict[str, asyncio.Lock]] = WeakKeyDictionary()


# -- sending ------------------------------------------------------------------------------------------------------------------------


@operation("sqs", "SendMessage")
async def send_message(call: Call, params: Params) -> Params:
    return await _send(call, await find(call, params["QueueUrl"]), params)


@operation("sqs", "SendMessageBatch")
async def send_message_batch(call: Call, params: Params) -> Params:
    queue = await find(call, params["QueueUrl"])
    entries = _entries(params["Entries"])
    total = sum(messages.size(_new(entry)) for entry in entries)
    if total > queues.LARGEST:
        raise ApiError(
            "BatchRequestTooLong",
            f"Batch requests cannot be longer than {queues.LARGEST} bytes. You have sent {total} bytes.",
        )
    return await _each(call, "SendMessage", entries, lambda entry: _send(call, queue, entry), queues.is_fifo(queue))


def _new(params: Params) -> New:
    """The message that a request means."""
    system = params.get("MessageSystemAttributes") or {}
    traced = {name: _attribute(name, value) for name, value in system.items()}
    if any(name != "AWSTraceHeader" or value["DataType"] != "String" for name, value in traced.items()):
        raise ApiError(
            "InvalidParameterValue", "The only message system attribute is AWSTraceHeader, and it has DataType String."
        )
    trace = traced.get("AWSTraceHeader", {})
    attributes = {name: _attribute(name, value) for name, value in (params.get("MessageAttributes") or {}).items()}
    return New(
        params.get("MessageBody") or "",
        attributes,
        params.get("DelaySeconds"),
        params.get("MessageGroupId") or "",
        params.get("MessageDeduplicationId") or "",
        trace.get("StringValue", ""),
    )


def _attribute(name: str, value: Mapping[str, Any]) -> dict[str, str]:
    if value.get("StringListValues") or value.get("BinaryListValues"):
        raise ApiError(
            "UnsupportedOperation", f"Message attribute list values in attribute '{name}' are not supported."
        )
    kind = str(value.get("DataType") or "")
    if "BinaryValue" in value:
        return {"DataType": kind, "BinaryValue": base64.b64encode(bytes(value["BinaryValue"])).decode()}
    return {"DataType": kind, "StringValue": value.get("StringValue") or ""}


async def _send(call: Call, queue: Record, params: Params) -> Params:
    if not params.get("MessageBody"):
        raise ApiError("MissingParameter", "The request must contain the parameter MessageBody.")
    new = _new(params)
    if queues.is_fifo(queue) and not new.group:
        raise ApiError("MissingParameter", "The request must contain the parameter MessageGroupId.")
    new = messages.check(queue, new)
    sender = call.principal.rpartition("/")[2]
    if queues.is_fifo(queue):
        stored = await _in_order(call, queue, new, sender)
    else:
        stored = await call.store.add(messages.record_of(queue, new, call.now, call.new_id(), sender))
    return _sent(stored, new)


def _sent(stored: Record, new: New) -> Params:
    document = stored.document
    answer = {"MD5OfMessageBody": messages.md5(new.body), "MessageId": document["id"]}
    if new.attributes:
        answer["MD5OfMessageAttributes"] = messages.attributes_md5(new.attributes)
    if new.trace:
        traced = {"AWSTraceHeader": {"DataType": "String", "StringValue": new.trace}}
        answer["MD5OfMessageSystemAttributes"] = messages.attributes_md5(traced)
    return {**answer, "SequenceNumber": document["sequence"]} if "sequence" in document else answer


async def _in_order(call: Call, queue: Record, new: New, sender: str) -> Record:
    """Add it behind all others, or find the one of the same deduplication id that was sent in the last five minutes."""
    lock = _orders.setdefault(call.store, {}).setdefault(queue.arn, asyncio.Lock())
    nth = 0

    async def attempt() -> Record:
        nonlocal nth
        found = await call.store.page(messages.newest(queue))
        place = messages.next_place(found[0] if found else None, call.now)
        record = messages.record_of(queue, new, call.now, str(uuid.uuid4()), sender, place, nth)
        known = await call.store.get(record.kind, record.scope, record.name)
        if known is not None and messages.is_repetition(known, call.now):
            return known
        if known is not None:
            nth += 1
            raise AlreadyExists("an older message has that name")
        return await call.store.add(record)

    async with lock:
        return await until_first(attempt, "The queue", (AlreadyExists,))


# -- receiving ----------------------------------------------------------------------------------------------------------------------


@operation("sqs", "ReceiveMessage")
async def receive_message(call: Call, params: Params) -> Params:
    """Up to ten messages, each hidden from others until its visibility timeout; a long poll ends with the first that comes."""
    queue = await find(call, params["QueueUrl"])
    most = _within("MaxNumberOfMessages", params.get("MaxNumberOfMessages"), 1, BATCH, 1)
    seconds = _within(
        "VisibilityTimeout", params.get("VisibilityTimeout"), 0, 43_200, queues.number(queue, "VisibilityTimeout")
    )
    wait = _within(
        "WaitTimeSeconds", params.get("WaitTimeSeconds"), 0, 20, queues.number(queue, "ReceiveMessageWaitTimeSeconds")
    )
    found = await _poll(call, queue, most, seconds, min(wait, call.settings.longest_poll))
    names = [*(params.get("AttributeNames") or ()), *(params.get("MessageSystemAttributeNames") or ())]
    wanted = params.get("MessageAttributeNames") or []
    told = [_shown(call, message, names, wanted) for message in found]
    return {"Messages": told} if told else {}  # clients ask whether there are any by the member


def _within(name: str, value: int | None, smallest: int, largest: int, default: int) -> int:
    if value is None:
        return default
    if not smallest <= value <= largest:
        raise ApiError(
            "InvalidParameterValue",
            f"Value {value} for parameter {name} is invalid. Reason: Must be >= {smallest} and <= {largest}, if provided.",
        )
    return value


async def _poll(call: Call, queue: Record, most: int, seconds: int, wait: float) -> list[Record]:
    """Messages as they are received; after `wait` none. Wakes when one is written, or when one that is hidden comes back."""
    changed = asyncio.Event()
    id_ = queue.document["id"]

    def hear(record: Record) -> None:
        if (record.kind == messages.MESSAGE and record.status == id_) or record.arn == queue.arn:
            changed.set()

    if wait <= 0:
        return await _take(call, queue, most, seconds)
    unwatch = call.store.watch(hear)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    try:
        while True:
            changed.clear()
            current = await call.store.get(queue.kind, queue.scope, queue.name)
            if current is None or current.document["id"] != id_:
                return []
            before = call.ports.clock.now()  # what comes back while this looks is then still among the hidden ones
            found = await _take(call, current, most, seconds)
            left = deadline - loop.time()
            if found or left <= 0:
                return found
            soon = await call.store.page(messages.hidden(queue, before, 1))
            now = call.ports.clock.now()
            pause = min([left, *(max(0.01, each.modified - now) for each in soon)])
            try:
                async with asyncio.timeout(pause):
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        unwatch()


async def _take(call: Call, queue: Record, most: int, seconds: int) -> list[Record]:
    """Receive what may be received now. A message that another receiver got first is left to it, and so is its group in a FIFO queue:
    of a group that has a message under way none is given out."""
    now = call.ports.clock.now()
    redrive = queues.redrive_of(queue.document["attributes"])
    target = await by_arn(call, redrive.target) if redrive is not None else None
    taken: list[Record] = []
    after, looked, fifo = None, 0, queues.is_fifo(queue)
    while len(taken) < most and looked < _LOOKED_THROUGH:
        page = await call.store.page(messages.visible(queue, now, BATCH, after))
        blocked = await _under_way(call, queue, now, taken) if fifo and page else set()
        for message in page:
            if len(taken) == most or message.document["group"] in blocked:
                continue
            try:
                if target is not None and messages.is_dead(message, redrive):
                    await call.store.save(messages.buried(message, queue, target, now))
                else:
                    taken.append(await call.store.save(messages.receive(message, now, seconds)))
            except Stale:
                if fifo:
                    blocked.add(message.document["group"])
        if len(page) < BATCH:
            break
        looked += len(page)
        after = (page[-1].created if fifo else page[-1].name, page[-1].name)
    return taken


async def _under_way(call: Call, queue: Record, now: float, taken: Sequence[Record]) -> set[str]:
    """The groups of which others have messages."""
    hidden = await call.store.page(messages.hidden(queue, now, _MOST_UNDER_WAY, "received"))
    ours = {each.name for each in taken}
    return {each.document["group"] for each in hidden if each.name not in ours}


_SYSTEM: Mapping[str, Callable[[Record], Any]] = {
    "SenderId": lambda record: record.document["sender"],
    "SentTimestamp": lambda record: int(record.document["sent"] * 1000),
    "ApproximateReceiveCount": lambda record: record.document["received"],
    "ApproximateFirstReceiveTimestamp": lambda record: int(record.document["first"] * 1000),
    "SequenceNumber": lambda record: record.document.get("sequence"),
    "MessageDeduplicationId": lambda record: record.document["deduplication"],
    "MessageGroupId": lambda record: record.document["group"],
    "AWSTraceHeader": lambda record: record.document["trace"],
    "DeadLetterQueueSourceArn": lambda record: record.document.get("source"),
}


def _shown(call: Call, message: Record, names: Sequence[str], wanted: Sequence[str]) -> Params:
    document = message.document
    shown: Params = {
        "MessageId": document["id"],
        "ReceiptHandle": messages.handle(message, call.settings.page_key),
        "MD5OfBody": messages.md5(document["body"]),
        "Body": document["body"],
    }
    system = {name: read(message) for name, read in _SYSTEM.items() if "All" in names or name in names}
    if told := {name: str(value) for name, value in system.items() if value not in (None, "")}:
        shown["Attributes"] = told
    attributes = {name: value for name, value in document["attributes"].items() if _is_wanted(name, wanted)}
    if attributes:
        shown["MD5OfMessageAttributes"] = messages.attributes_md5(attributes)
        shown["MessageAttributes"] = {name: _raw(value) for name, value in attributes.items()}
    return shown


def _is_wanted(name: str, wanted: Sequence[str]) -> bool:
    """By name, `All` and `.*`, or a beginning such as `bar.*`."""
    return any(each in ("All", ".*", name) or (each.endswith(".*") and name.startswith(each[:-1])) for each in wanted)


def _raw(value: Mapping[str, str]) -> Params:
    if "BinaryValue" in value:
        return {"DataType": value["DataType"], "BinaryValue": base64.b64decode(value["BinaryValue"])}
    return dict(value)


# -- after receiving ----------------------------------------------------------------------------------------------------------------


@operation("sqs", "DeleteMessage")
async def delete_message(call: Call, params: Params) -> Params:
    """Delete what the receipt is for. Nothing is deleted, and no error told, by the receipt of one that was received again since."""
    return await _delete(call, await find(call, params["QueueUrl"]), params["ReceiptHandle"])


@operation("sqs", "DeleteMessageBatch")
async def delete_message_batch(call: Call, params: Params) -> Params:
    queue = await find(call, params["QueueUrl"])
    entries = _entries(params["Entries"])
    return await _each(call, "DeleteMessage", entries, lambda entry: _delete(call, queue, entry["ReceiptHandle"]))


@operation("sqs", "ChangeMessageVisibility")
async def change_message_visibility(call: Call, params: Params) -> Params:
    return await _hide(call, await find(call, params["QueueUrl"]), params)


@operation("sqs", "ChangeMessageVisibilityBatch")
async def change_message_visibility_batch(call: Call, params: Params) -> Params:
    queue = await find(call, params["QueueUrl"])
    entries = _entries(params["Entries"])
    return await _each(call, "ChangeMessageVisibility", entries, lambda entry: _hide(call, queue, entry))


async def _received(call: Call, queue: Record, handle: str) -> Record | None:
    """The message of that receipt; None when it is deleted or was received again since."""
    name, number = messages.open_handle(handle, queue, call.settings.page_key)
    found = await call.store.get(messages.MESSAGE, queue.scope, name)
    if found is None or found.status != queue.document["id"] or found.document["received"] != number:
        return None
    return found


async def _delete(call: Call, queue: Record, handle: str) -> Params:
    async def attempt() -> None:
        found = await _received(call, queue, handle)
        if found is None:
            return
        if queues.is_fifo(queue):
            await call.store.save(messages.trace(found, call.now))
        else:
            await call.store.remove(found)

    await until_first(attempt, "The message")
    return {}


async def _hide(call: Call, queue: Record, params: Params) -> Params:
    """Hide the message for so long from now on; 0 shows it at once."""
    seconds = _within(
        "VisibilityTimeout", params.get("VisibilityTimeout"), 0, 43_200, queues.number(queue, "VisibilityTimeout")
    )

    async def attempt() -> None:
        found = await _received(call, queue, params["ReceiptHandle"])
        if found is None:
            raise ApiError(
                "InvalidParameterValue",
                f"Value {params['ReceiptHandle'][:200]} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not "
                "available for visibility timeout change.",
            )
        if found.modified <= call.now:
            raise ApiError("MessageNotInflight", "The specified message isn't in flight.")
        await call.store.save(replace(found, modified=call.now + seconds))

    await until_first(attempt, "The message")
    return {}


# -- batches ------------------------------------------------------------------------------------------------------------------------


def _entries(entries: Sequence[Params]) -> Sequence[Params]:
    if not entries:
        raise ApiError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > BATCH:
        raise ApiError(
            "TooManyEntriesInBatchRequest",
            f"Maximum number of entries per request are {BATCH}. You have sent {len(entries)}.",
        )
    ids = [entry["Id"] for entry in entries]
    for id_ in ids:
        if not _ENTRY.fullmatch(id_):
            raise ApiError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
            )
        if ids.count(id_) > 1:
            raise ApiError("BatchEntryIdsNotDistinct", f"Id {id_} repeated.")
    return entries


async def _each(
    call: Call,
    single: str,
    entries: Sequence[Params],
    act: Callable[[Params], Awaitable[Params]],
    in_turn: bool = False,
) -> Params:
    """Each entry's answer, or its error as the operation for one would tell it."""

    async def one(entry: Params) -> tuple[bool, Params]:
        try:
            return True, {"Id": entry["Id"], **await act(entry)}
        except ApiError as error:
            code, message = error.code, error.message
        except ClaryError as error:
            code, message = code_of("sqs", single, type(error))[0], error.message
        return False, {"Id": entry["Id"], "SenderFault": True, "Code": code, "Message": message}

    # The order within a batch is the order in the queue.
    turns = [await one(entry) for entry in entries] if in_turn else await asyncio.gather(*map(one, entries))
    done = list(turns)
    return {
        "Successful": [found for well, found in done if well],
        "Failed": [found for well, found in done if not well],
    }
