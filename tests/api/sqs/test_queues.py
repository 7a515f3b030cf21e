"""SQS over records: queues, messages, receipts, dead letters, FIFO order."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.api.world import ACCOUNT, REGION, World

from clary.domain.errors import Stale
from clary.domain.queues import messages
from clary.domain.resources import Lease, Query, Record, Scope
from clary.loops.queues.sweeps import DeletedQueues, LivingQueues
from clary.testing.clock import FakeClock
from clary.testing.store import MemoryStore


class Queue:
    """One queue of a world, and its one client."""

    def __init__(self, world: World, url: str) -> None:
        self.world, self.url = world, url

    async def __call__(self, operation: str, **params: Any) -> dict[str, Any]:
        return await self.world("sqs", operation, QueueUrl=self.url, **params)

    async def refused(self, operation: str, **params: Any) -> str:
        return (await self.world.refused("sqs", operation, QueueUrl=self.url, **params))[0]

    async def send(self, body: str, **params: Any) -> dict[str, Any]:
        return await self("SendMessage", MessageBody=body, **params)

    async def receive(self, most: int = 10, **params: Any) -> list[dict[str, Any]]:
        return list((await self("ReceiveMessage", MaxNumberOfMessages=most, **params)).get("Messages", []))

    async def bodies(self, most: int = 10) -> list[str]:
        return [message["Body"] for message in await self.receive(most)]

    async def attribute(self, name: str) -> str:
        return str((await self("GetQueueAttributes", AttributeNames=[name]))["Attributes"][name])


async def made(world: World, name: str = "q", **attributes: Any) -> Queue:
    if name.endswith(".fifo"):
        attributes["FifoQueue"] = "true"
    answer = await world("sqs", "CreateQueue", QueueName=name, Attributes=attributes)
    return Queue(world, answer["QueueUrl"])


def clock(world: World) -> FakeClock:
    assert isinstance(world.ports.clock, FakeClock)
    return world.ports.clock


async def test_a_message_is_sent_received_and_deleted() -> None:
    queue = await made(World())
    attributes = {
        "kind": {"DataType": "String", "StringValue": "x"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00"},
    }
    sent = await queue.send("hello", MessageAttributes=attributes)
    assert sent["MD5OfMessageBody"] == hashlib.md5(b"hello").hexdigest()
    [got] = await queue.receive(AttributeNames=["All"], MessageAttributeNames=["All"])
    assert (got["MessageId"], got["Body"]) == (sent["MessageId"], "hello")
    assert got["MessageAttributes"] == attributes
    assert got["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert got["Attributes"]["ApproximateReceiveCount"] == "1"
    assert await queue.receive() == []
    await queue("DeleteMessage", ReceiptHandle=got["ReceiptHandle"])
    clock(queue.world).advance(31)
    assert await queue.receive() == []


def test_the_digest_of_attributes_is_the_one_that_aws_documents() -> None:
    # botocore's own example of SendMessage with three attributes: published by AWS in its SDK tests
    value = {"a": {"DataType": "String", "StringValue": "b"}}
    raw = b"\x00\x00\x00\x01a" + b"\x00\x00\x00\x06String" + b"\x01" + b"\x00\x00\x00\x01b"
    assert messages.attributes_md5(value) == hashlib.md5(raw).hexdigest()


async def test_a_message_comes_back_after_its_visibility_timeout_and_old_receipts_delete_nothing() -> None:
    queue = await made(World(), VisibilityTimeout="5")
    await queue.send("again")
    [first] = await queue.receive()
    clock(queue.world).advance(4.9)
    assert await queue.receive() == []
    clock(queue.world).advance(0.2)
    [second] = await queue.receive(AttributeNames=["ApproximateReceiveCount"])
    assert second["Attributes"] == {"ApproximateReceiveCount": "2"}
    await queue("DeleteMessage", ReceiptHandle=first["ReceiptHandle"])
    clock(queue.world).advance(6)
    assert await queue.bodies() == ["again"]


async def test_visibility_is_changed_for_what_is_under_way_only() -> None:
    queue = await made(World())
    await queue.send("m")
    [got] = await queue.receive()
    handle = got["ReceiptHandle"]
    await queue("ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=0)
    assert (
        await queue.refused("ChangeMessageVisibility", ReceiptHandle=handle, VisibilityTimeout=9)
        == "MessageNotInflight"
    )
    [again] = await queue.receive(VisibilityTimeout=0)
    await queue("DeleteMessage", ReceiptHandle=again["ReceiptHandle"])
    refused = await queue.refused("ChangeMessageVisibility", ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=1)
    assert refused == "InvalidParameterValue"


@pytest.mark.parametrize("handle", ["", "junk", "AAAA", "é", "QUFBQUFBQUFBQUFBQUFBQTphOjE6Yg=="])
async def test_a_guessed_receipt_is_refused(handle: str) -> None:
    queue = await made(World())
    await queue.send("m")
    assert await queue.refused("DeleteMessage", ReceiptHandle=handle) == "ReceiptHandleIsInvalid"


async def test_a_receipt_is_for_its_own_queue() -> None:
    world = World()
    one, other = await made(world, "one"), await made(world, "other")
    await one.send("m")
    [got] = await one.receive()
    assert await other.refused("DeleteMessage", ReceiptHandle=got["ReceiptHandle"]) == "ReceiptHandleIsInvalid"


async def test_delays_hide_and_are_counted() -> None:
    queue = await made(World(), DelaySeconds="10")
    await queue.send("late")
    await queue.send("now", DelaySeconds=0)
    await queue.send("later", DelaySeconds=20)
    assert await queue.bodies() == ["now"]
    every = (await queue("GetQueueAttributes", AttributeNames=["All"]))["Attributes"]
    assert [every[f"ApproximateNumberOfMessages{x}"] for x in ("", "NotVisible", "Delayed")] == ["0", "1", "2"]
    clock(queue.world).advance(11)
    assert await queue.bodies() == ["late"]


async def test_what_is_older_than_the_retention_is_not_received() -> None:
    queue = await made(World(), MessageRetentionPeriod="60")
    await queue.send("old")
    clock(queue.world).advance(61)
    await queue.send("young")
    assert await queue.bodies() == ["young"]


async def test_a_message_that_nobody_deletes_goes_to_the_dead_letter_queue() -> None:
    world = World()
    dead = await made(world, "dead")
    policy = json.dumps({"deadLetterTargetArn": await dead.attribute("QueueArn"), "maxReceiveCount": "2"})
    queue = await made(world, RedrivePolicy=policy, VisibilityTimeout="0")
    await queue.send("poison")
    assert [await queue.bodies() for _ in range(3)] == [["poison"], ["poison"], []]
    [got] = await dead.receive(AttributeNames=["All"])
    assert got["Body"] == "poison"
    assert got["Attributes"]["DeadLetterQueueSourceArn"].endswith(":q")
    assert (await dead("ListDeadLetterSourceQueues"))["queueUrls"] == [queue.url]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "-1"}, "InvalidAttributeValue"),
        ({"MaximumMessageSize": "lots"}, "InvalidAttributeValue"),
        ({"RedrivePolicy": "{}"}, "InvalidAttributeValue"),
        ({"FifoQueue": "true"}, "InvalidParameterValue"),
        ({"ContentBasedDeduplication": "true"}, "InvalidAttributeValue"),
        ({"Colour": "red"}, "InvalidAttributeName"),
    ],
)
async def test_wrong_attributes_are_refused(attributes: dict[str, str], code: str) -> None:
    assert (await World().refused("sqs", "CreateQueue", QueueName="q", Attributes=attributes))[0] == code


async def test_a_queue_is_made_once_found_listed_tagged_and_deleted() -> None:
    world = World()
    queue = await made(world, "q", DelaySeconds="1")
    assert queue.url == f"http://127.0.0.1:4600/{ACCOUNT}/q"
    assert (await made(world, "q", DelaySeconds="1")).url == queue.url
    refused = await world.refused("sqs", "CreateQueue", QueueName="q", Attributes={"DelaySeconds": "2"})
    assert refused[0] == "QueueNameExists"
    await made(world, "other")
    assert (await world("sqs", "ListQueues", QueueNamePrefix="q"))["QueueUrls"] == [queue.url]
    assert (await world("sqs", "GetQueueUrl", QueueName="q"))["QueueUrl"] == queue.url
    await queue("TagQueue", Tags={"a": "1", "b": "2"})
    await queue("UntagQueue", TagKeys=["a"])
    assert (await queue("ListQueueTags"))["Tags"] == {"b": "2"}
    await queue("SetQueueAttributes", Attributes={"DelaySeconds": "3"})
    assert await queue.attribute("DelaySeconds") == "3"
    await queue("DeleteQueue")
    assert await queue.refused("SendMessage", MessageBody="m") == "QueueDoesNotExist"
    assert (await world.refused("sqs", "GetQueueUrl", QueueName="q"))[0] == "QueueDoesNotExist"


async def test_another_account_has_no_part_in_a_queue() -> None:
    world = World()
    queue = await made(world)
    refused = await world.refused("sqs", "SendMessage", QueueUrl=queue.url, MessageBody="m", _account="111111111111")
    assert refused[0] == "QueueDoesNotExist"


async def test_a_queue_that_is_made_again_has_none_of_its_predecessors_messages() -> None:
    queue = await made(World())
    await queue.send("old")
    await queue("DeleteQueue")
    assert await (await made(queue.world)).receive() == []


async def test_purge_removes_what_was_sent_before() -> None:
    queue = await made(World())
    for n in range(450):
        await queue.send(str(n))
    clock(queue.world).advance(1)
    await queue("PurgeQueue")
    await queue.send("after")
    assert await queue.bodies() == ["after"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "x" * (1 << 20) + "x"}, "InvalidParameterValue"),
        ({"MessageBody": "\x00"}, "InvalidMessageContents"),
        ({"MessageBody": "\ud800"}, "InvalidMessageContents"),
        ({"MessageBody": "m", "DelaySeconds": 901}, "InvalidParameterValue"),
        ({"MessageBody": "m", "MessageDeduplicationId": "d"}, "InvalidParameterValue"),
        (
            {"MessageBody": "m", "MessageAttributes": {"a": {"DataType": "Colour", "StringValue": "x"}}},
            "InvalidParameterValue",
        ),
        (
            {"MessageBody": "m", "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}},
            "InvalidParameterValue",
        ),
        (
            {"MessageBody": "m", "MessageAttributes": {"AWS.a": {"DataType": "String", "StringValue": "x"}}},
            "InvalidParameterValue",
        ),
    ],
)
async def test_what_is_no_message_is_refused(params: dict[str, Any], code: str) -> None:
    queue = await made(World())
    assert await queue.refused("SendMessage", **params) == code
    assert await queue.receive() == []


async def test_a_batch_tells_of_each_entry() -> None:
    queue = await made(World())
    entries = [{"Id": "good", "MessageBody": "m"}, {"Id": "bad", "MessageBody": ""}]
    done = await queue("SendMessageBatch", Entries=entries)
    assert ([e["Id"] for e in done["Successful"]], [(e["Id"], e["Code"]) for e in done["Failed"]]) == (
        ["good"],
        [("bad", "MissingParameter")],
    )
    [got] = await queue.receive()
    receipts = [{"Id": "a", "ReceiptHandle": got["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "junk"}]
    later = await queue("ChangeMessageVisibilityBatch", Entries=[{**e, "VisibilityTimeout": 60} for e in receipts])
    assert [e["Code"] for e in later["Failed"]] == ["ReceiptHandleIsInvalid"]
    done = await queue("DeleteMessageBatch", Entries=receipts)
    assert [e["Id"] for e in done["Successful"]] == ["a"]
    clock(queue.world).advance(61)
    assert await queue.receive() == []


@pytest.mark.parametrize(
    ("ids", "code"),
    [([], "EmptyBatchRequest"), (["a", "a"], "BatchEntryIdsNotDistinct"), (["a b"], "InvalidBatchEntryId"),
     ([str(n) for n in range(11)], "TooManyEntriesInBatchRequest")],
)  # fmt: skip
async def test_a_batch_that_is_none(ids: list[str], code: str) -> None:
    queue = await made(World())
    assert await queue.refused("SendMessageBatch", Entries=[{"Id": id_, "MessageBody": "m"} for id_ in ids]) == code


async def test_a_batch_has_a_size() -> None:
    queue = await made(World())
    entries = [{"Id": str(n), "MessageBody": "x" * (600 << 10)} for n in range(2)]
    assert await queue.refused("SendMessageBatch", Entries=entries) == "BatchRequestTooLong"


# -- FIFO ---------------------------------------------------------------------------------------------------------------------------


async def test_a_group_is_in_order_and_has_one_receiver_at_a_time() -> None:
    queue = await made(World(), "q.fifo", ContentBasedDeduplication="true")
    for body in ("a1", "b1", "a2", "b2"):
        await queue.send(body, MessageGroupId=body[0])
    [first] = await queue.receive(1)
    assert first["Body"] == "a1"
    assert await queue.bodies() == ["b1", "b2"]
    await queue("DeleteMessage", ReceiptHandle=first["ReceiptHandle"])
    assert await queue.bodies() == ["a2"]
    clock(queue.world).advance(31)
    assert await queue.bodies() == ["b1", "a2", "b2"]


async def test_the_same_deduplication_id_is_one_message_for_five_minutes_even_after_it_was_deleted() -> None:
    queue = await made(World(), "q.fifo")
    first = await queue.send("m", MessageGroupId="g", MessageDeduplicationId="d")
    [got] = await queue.receive()
    await queue("DeleteMessage", ReceiptHandle=got["ReceiptHandle"])
    clock(queue.world).advance(299)
    again = await queue.send("m", MessageGroupId="g", MessageDeduplicationId="d")
    assert (again["MessageId"], again["SequenceNumber"]) == (first["MessageId"], first["SequenceNumber"])
    assert await queue.receive() == []
    clock(queue.world).advance(2)
    await queue.send("n", MessageGroupId="g", MessageDeduplicationId="d")
    assert await queue.bodies() == ["n"]


async def test_sequence_numbers_grow_when_the_clock_is_set_back() -> None:
    queue = await made(World(), "q.fifo", ContentBasedDeduplication="true")
    first = await queue.send("1", MessageGroupId="g")
    clock(queue.world).jump(-3600)
    second = await queue.send("2", MessageGroupId="g")
    assert int(second["SequenceNumber"]) > int(first["SequenceNumber"])


async def test_fifo_needs_a_group_and_an_id() -> None:
    queue = await made(World(), "q.fifo")
    assert await queue.refused("SendMessage", MessageBody="m") == "MissingParameter"
    assert await queue.refused("SendMessage", MessageBody="m", MessageGroupId="g") == "InvalidParameterValue"
    refused = await queue.refused(
        "SendMessage", MessageBody="m", MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=1
    )
    assert refused == "InvalidParameterValue"


class Racing(MemoryStore):
    """A store in which another receiver is always first, once for each message."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()

    async def save(self, record: Record, lease: Lease | None = None) -> Record:
        if record.kind == messages.MESSAGE and record.name not in self.lost:
            self.lost.add(record.name)
            raise Stale("another was first")
        return await super().save(record, lease)


async def test_a_message_that_another_received_first_is_left_to_it_and_so_is_its_group() -> None:
    queue = await made(World(store=Racing()), "q.fifo", ContentBasedDeduplication="true")
    for body in ("1", "2"):
        await queue.send(body, MessageGroupId="g")
    assert await queue.bodies() == []  # not the second one either
    assert await queue.bodies() == ["1"]


# -- long polls, and what is swept --------------------------------------------------------------------------------------------------


async def test_a_long_poll_ends_with_the_message() -> None:
    world = World()
    world.ports = _patient(world)
    queue = await made(world)
    polling = asyncio.create_task(queue.receive(WaitTimeSeconds=20))
    await asyncio.sleep(0)
    await queue.send("news")
    async with asyncio.timeout(5):
        assert [message["Body"] for message in await polling] == ["news"]


class Ticking(FakeClock):
    """A clock that goes on a little whenever it is looked at."""

    def now(self) -> float:
        self.advance(0.4)
        return super().now()


@pytest.mark.parametrize("offset", [-0.4, -0.2, 0.0, 0.2])
async def test_a_message_that_comes_back_while_a_long_poll_looks_is_not_overlooked(offset: float) -> None:
    world = World()
    queue = await made(world)
    await queue.send("back")
    await queue.receive(VisibilityTimeout=1)
    world.ports = replace(_patient(world), clock=Ticking(world.now + offset))
    async with asyncio.timeout(5):
        assert [message["Body"] for message in await queue.receive(WaitTimeSeconds=20)] == ["back"]


def _patient(world: World) -> Any:
    return replace(world.ports, settings=replace(world.ports.settings, longest_poll=20.0))


async def test_sweeps_remove_old_messages_traces_and_deleted_queues() -> None:
    world = World()
    queue = await made(world, "q.fifo", ContentBasedDeduplication="true", MessageRetentionPeriod="600")
    await queue.send("deleted", MessageGroupId="g")
    [got] = await queue.receive()
    await queue("DeleteMessage", ReceiptHandle=got["ReceiptHandle"])
    await queue.send("old", MessageGroupId="h")
    clock(world).advance(601)
    await queue.send("young", MessageGroupId="h")
    await _swept(world, LivingQueues(world.store, world.ports.clock), "sqs-queue")
    assert await _bodies(world) == ["young"]
    await queue("DeleteQueue")
    await _swept(world, DeletedQueues(world.store, world.ports.clock), "sqs-deleted-queue")
    assert await _bodies(world) == []


async def _swept(world: World, subject: Any, kind: str) -> None:
    for record in await world.store.page(Query(kind, Scope(ACCOUNT, REGION), limit=100)):
        decision = subject.decide(record, await subject.observe(record), world.now)
        for command in decision.commands:
            await subject.run(command, record)


async def _bodies(world: World) -> list[str]:
    found = await world.store.page(Query(messages.MESSAGE, Scope(ACCOUNT, REGION), limit=100))
    return [record.document.get("body", "") for record in found]
