"""SQS: queues are records. Source: SQS API reference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from clary.api import paging, records
from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.registry import operation
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.queues import messages
from clary.domain.queues import record as queues
from clary.domain.resources import Query, Record, Scope
from clary.guarded import until_first

PAGE = 1000
Change = Callable[[dict[str, str]], dict[str, str]]
PURGED_AT_ONCE = 200
_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")


@operation("sqs", "CreateQueue")
async def create_queue(call: Call, params: Params) -> Params:
    """Create the queue, or answer the one that is there with the same attributes."""
    given = params.get("Attributes") or {}
    _known(given)
    fifo = given.get("FifoQueue") == "true"
    name = queues.check_name(params["QueueName"], fifo)
    attributes = queues.checked(given, fifo)
    await _check_target(call, attributes, fifo)
    tags = _tags(params.get("tags") or {})
    document = {"id": call.new_code(16), "attributes": attributes, "tags": tags}
    arn = queues.queue_arn(call.scope, name)
    try:
        await call.store.add(Record(queues.QUEUE, call.scope, name, arn, "", call.now, call.now, document))
    except AlreadyExists:
        found = await call.store.get(queues.QUEUE, call.scope, name)
        shown = queues.shown(found) if found is not None else {}
        different = [key for key, value in attributes.items() if shown.get(key) != value]
        if found is not None and different:
            raise AlreadyExists(
                f"A queue already exists with the same name and a different value for attribute {different[0]}"
            ) from None
    return {"QueueUrl": url(call, call.scope.account, name)}


@operation("sqs", "GetQueueUrl")
async def get_queue_url(call: Call, params: Params) -> Params:
    owner = params.get("QueueOwnerAWSAccountId") or call.scope.account
    name = params["QueueName"]
    if owner != call.scope.account or await call.store.get(queues.QUEUE, call.scope, name) is None:
        raise _none()
    return {"QueueUrl": url(call, owner, name)}


@operation("sqs", "ListQueues")
async def list_queues(call: Call, params: Params) -> Params:
    """As on AWS; without MaxResults the first thousand, and no token."""
    prefix, limit = params.get("QueueNamePrefix") or "", _limit(params)
    query = Query(
        queues.QUEUE, call.scope, name_contains=prefix, sort_by="name", descending=False, limit=limit or PAGE,
        after=paging.resume(call, params),
    )  # fmt: skip
    found, more = await paging.page(call, params, query, lambda record: record.name.startswith(prefix))
    urls = [url(call, record.scope.account, record.name) for record in found]
    return {**({"QueueUrls": urls} if urls else {}), **(more if limit else {})}


@operation("sqs", "DeleteQueue")
async def delete_queue(call: Call, params: Params) -> Params:
    """Delete the queue with its messages. Its name is free at once."""

    async def attempt() -> None:
        queue = await find(call, params["QueueUrl"])
        with suppress(AlreadyExists):  # from a try before
            await call.store.add(queues.deleted(queue, call.now))
        await call.store.remove(queue)

    await until_first(attempt)
    return {}


@operation("sqs", "PurgeQueue")
async def purge_queue(call: Call, params: Params) -> Params:
    """Delete all messages that were sent before, those that are being worked on too."""
    queue = await find(call, params["QueueUrl"])
    query = messages.of_queue(queue.scope, queue.document["id"], PURGED_AT_ONCE, call.now)

    async def drop(record: Record) -> None:
        async def attempt() -> None:
            current = await call.store.get(record.kind, record.scope, record.name)
            if current is not None:
                await call.store.remove(current)

        await until_first(attempt)

    while found := await call.store.page(query):
        await asyncio.gather(*(drop(record) for record in found))
    return {}


@operation("sqs", "GetQueueAttributes")
async def get_queue_attributes(call: Call, params: Params) -> Params:
    """Attributes by name, or `All`; numbers of messages are exact."""
    queue = await find(call, params["QueueUrl"])
    wanted = params.get("AttributeNames") or []
    every = "All" in wanted
    found = queues.shown(queue)
    if every or any(name in wanted for name in _COUNTS):
        shown = (
            messages.visible(queue, call.now, 1),
            *(messages.hidden(queue, call.now, 1, state) for state in ("received", "new")),
        )
        numbers = await asyncio.gather(*(call.store.count(query) for query in shown))
        found |= {name: str(number) for name, number in zip(_COUNTS, numbers, strict=True)}
    return {"Attributes": {name: value for name, value in found.items() if every or name in wanted}}


@operation("sqs", "SetQueueAttributes")
async def set_queue_attributes(call: Call, params: Params) -> Params:
    given = params["Attributes"]
    _known(given)
    queue = await find(call, params["QueueUrl"])
    if given.get("FifoQueue", "true" if queues.is_fifo(queue) else "") != ("true" if queues.is_fifo(queue) else ""):
        raise ApiError(
            "InvalidAttributeValue", "Invalid value for the parameter FifoQueue: a queue cannot change its type."
        )
    cleared = {name for name, value in given.items() if value == "" and name not in queues.NUMBERS}
    attributes = queues.checked({k: v for k, v in given.items() if k not in cleared}, queues.is_fifo(queue))
    await _check_target(call, attributes, queues.is_fifo(queue))

    def change(old: Record) -> Record:
        kept = {k: v for k, v in old.document["attributes"].items() if k not in cleared}
        return replace(old, modified=call.now, document={**old.document, "attributes": {**kept, **attributes}})

    await records.amend(call, lambda: find(call, params["QueueUrl"]), change)
    return {}


@operation("sqs", "ListDeadLetterSourceQueues")
async def list_dead_letter_source_queues(call: Call, params: Params) -> Params:
    """Queues whose dead-letter queue this one is."""
    target = await find(call, params["QueueUrl"])
    query = Query(
        queues.QUEUE, call.scope, sort_by="name", descending=False, limit=_limit(params) or PAGE,
        after=paging.resume(call, params),
    )  # fmt: skip

    def leads(record: Record) -> bool:
        redrive = queues.redrive_of(record.document["attributes"])
        return redrive is not None and redrive.target == target.arn

    found, more = await paging.page(call, params, query, leads)
    return {"queueUrls": [url(call, record.scope.account, record.name) for record in found], **more}


@operation("sqs", "TagQueue")
async def tag_queue(call: Call, params: Params) -> Params:
    await _retag(call, params["QueueUrl"], lambda tags: {**tags, **params["Tags"]})
    return {}


@operation("sqs", "UntagQueue")
async def untag_queue(call: Call, params: Params) -> Params:
    keys = params["TagKeys"]
    await _retag(call, params["QueueUrl"], lambda tags: {k: v for k, v in tags.items() if k not in keys})
    return {}


@operation("sqs", "ListQueueTags")
async def list_queue_tags(call: Call, params: Params) -> Params:
    queue = await find(call, params["QueueUrl"])
    return {"Tags": dict(queue.document["tags"])}


# -- records ------------------------------------------------------------------------------------------------------------------------


def url(call: Call, account: str, name: str) -> str:
    """The queue's URL at Clary's own address."""
    return f"{call.settings.address.rstrip('/')}/{account}/{name}"


def _limit(params: Params) -> int | None:
    """How many a page has at most; None where the request does not say."""
    limit: int | None = params.get("MaxResults")
    if limit is not None and not 1 <= limit <= PAGE:
        raise ApiError(
            "InvalidParameterValue",
            f"Value {limit} for parameter MaxResults is invalid. Reason: it must be 1 to {PAGE}.",
        )
    return limit


async def find(call: Call, address: str) -> Record:
    """The caller's queue of that URL."""
    account, name = queues.parse_url(address)
    found = await call.store.get(queues.QUEUE, call.scope, name) if account == call.scope.account else None
    if found is None:
        raise _none()
    return found


async def by_arn(call: Call, arn: str) -> Record | None:
    """The queue with that ARN, if it is this account's."""
    scope, name = queues.parse_arn(arn)
    return await call.store.get(queues.QUEUE, scope, name) if scope.account == call.scope.account else None


def _none() -> NotFound:
    return NotFound("The specified queue does not exist.")


def _known(given: Mapping[str, str]) -> None:
    for name in given:
        if name not in queues.CHECKS:
            raise ApiError("InvalidAttributeName", f"Unknown Attribute {name[:100]}.")


async def _check_target(call: Call, attributes: Mapping[str, str], fifo: bool) -> None:
    """The dead-letter queue must be there, in this region, and of the same type."""
    redrive = queues.redrive_of(attributes)
    if redrive is None:
        return
    scope, _ = queues.parse_arn(redrive.target)
    target = await by_arn(call, redrive.target) if scope == Scope(call.scope.account, call.scope.region) else None
    if target is None or queues.is_fifo(target) != fifo:
        why = (
            "Dead letter target does not exist."
            if target is None
            else "Dead-letter queue must be of the same type as the source."
        )
        raise ApiError("InvalidParameterValue", f"Value for parameter RedrivePolicy is invalid. Reason: {why}")


def _tags(given: Mapping[str, str]) -> dict[str, str]:
    if len(given) > 50:
        raise Invalid("Too many tags added for queue: at most 50.")
    return dict(given)


async def _retag(call: Call, address: str, change: Change) -> None:
    def changed(old: Record) -> Record:
        return replace(old, document={**old.document, "tags": _tags(change(old.document["tags"]))})

    await records.amend(call, lambda: find(call, address), changed)
