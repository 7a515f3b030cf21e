"""SNS: topics and subscriptions are records, a published message is delivered by its loop. Source: SNS API reference.

Deliveries go where the operator allows (`domain/endpoints/topics.py`), so a subscription is confirmed at once; over HTTP they carry
SNS's JSON and headers, without a certificate's signature.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.endpoints import topics
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.queues import record as queues
from clary.domain.resources import Query, Record, Scope
from clary.guarded import until_first

PAGE = 100
_TOPIC_ATTRIBUTES = ("DisplayName", "Policy", "DeliveryPolicy", "TracingConfig", "KmsMasterKeyId", "SignatureVersion")


# -- topics -------------------------------------------------------------------------------------------------------------------------


@operation("sns", "CreateTopic")
async def create_topic(call: Call, params: Params) -> Params:
    """Create the topic, or return the existing one."""
    name = topics.check_name(params["Name"])
    attributes = params.get("Attributes") or {}
    for attribute in attributes:
        _check_topic_attribute(attribute)
    if params.get("DataProtectionPolicy"):
        raise Invalid("Invalid parameter: DataProtectionPolicy is not available in Clary")
    arn = topics.topic_arn(call.scope, name)
    document = {"attributes": attributes, "tags": tagging.checked(params.get("Tags"))}
    try:
        await call.store.add(Record(topics.TOPIC, call.scope, name, arn, "", call.now, call.now, document))
    except AlreadyExists:
        found = await _topic(call, arn)
        if any(found.document["attributes"].get(key) != value for key, value in attributes.items()):
            raise Invalid(
                "Invalid parameter: Attributes Reason: Topic already exists with different attributes"
            ) from None
    return {"TopicArn": arn}


@operation("sns", "DeleteTopic")
async def delete_topic(call: Call, params: Params) -> Params:
    """Remove the topic and its subscriptions; no error if it does not exist."""
    scope, name, _ = _own(call, params["TopicArn"])
    record = await call.store.get(topics.TOPIC, scope, name)
    if record is not None:
        await _remove(call, record)
        while subscriptions := await call.store.page(_of_topic(scope, record.arn)):
            for subscription in subscriptions:
                await _remove(call, subscription)
    return {}


@operation("sns", "ListTopics")
async def list_topics(call: Call, params: Params) -> Params:
    query = Query(
        topics.TOPIC, call.scope, sort_by="name", descending=False, limit=PAGE, after=paging.resume(call, params)
    )
    found, more = await paging.page(call, params, query)
    return {"Topics": [{"TopicArn": topic.arn} for topic in found], **more}


@operation("sns", "GetTopicAttributes")
async def get_topic_attributes(call: Call, params: Params) -> Params:
    topic = await _topic(call, params["TopicArn"])
    confirmed = await call.store.count(_of_topic(topic.scope, topic.arn))
    attributes = {
        "TopicArn": topic.arn,
        "Owner": topic.scope.account,
        "DisplayName": "",
        "SubscriptionsConfirmed": str(confirmed),
        "SubscriptionsPending": "0",
        "SubscriptionsDeleted": "0",
        **topic.document["attributes"],
    }
    return {"Attributes": attributes}


@operation("sns", "SetTopicAttributes")
async def set_topic_attributes(call: Call, params: Params) -> Params:
    """Store the attribute. DisplayName is shown; the others have no effect."""
    name = _check_topic_attribute(params["AttributeName"])
    await _set(call, lambda: _topic(call, params["TopicArn"]), name, params.get("AttributeValue", ""))
    return {}


# -- subscriptions ------------------------------------------------------------------------------------------------------------------


@operation("sns", "Subscribe")
async def subscribe(call: Call, params: Params) -> Params:
    """Record the subscription, where the setting `subscribers` allows its endpoint; the same one again is answered."""
    topic = await _topic(call, params["TopicArn"])
    protocol, endpoint = params["Protocol"], params.get("Endpoint") or ""
    call.settings.subscribers.check(protocol, endpoint)
    if protocol == "sqs":
        await _check_queue(call, endpoint)
    attributes = {
        _check_subscription_attribute(name, value): value for name, value in (params.get("Attributes") or {}).items()
    }
    id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{topic.arn} {protocol} {endpoint}"))
    arn = f"{topic.arn}:{id_}"
    document = {"topic": topic.arn, "protocol": protocol, "endpoint": endpoint, "attributes": attributes}
    try:
        await call.store.add(Record(topics.SUBSCRIPTION, topic.scope, id_, arn, "", call.now, call.now, document))
    except AlreadyExists:
        for name, value in attributes.items():
            await _set(call, lambda: _subscription(call, arn), name, value)
    return {"SubscriptionArn": arn}


async def _check_queue(call: Call, arn: str) -> None:
    """A queue of this account that is there, and no FIFO queue: a topic that is none has no groups."""
    scope, name = queues.parse_arn(arn)
    found = await call.store.get(queues.QUEUE, scope, name) if scope.account == call.scope.account else None
    if found is None or queues.is_fifo(found):
        why = (
            "the queue does not exist" if found is None else "a FIFO queue cannot subscribe to a topic that is not FIFO"
        )
        raise Invalid(f"Invalid parameter: Endpoint {arn}: {why}")


@operation("sns", "Unsubscribe")
async def unsubscribe(call: Call, params: Params) -> Params:
    scope, _, id_ = _own(call, params["SubscriptionArn"])
    record = await call.store.get(topics.SUBSCRIPTION, scope, id_)
    if record is not None:
        await _remove(call, record)
    return {}


@operation("sns", "ListSubscriptions")
async def list_subscriptions(call: Call, params: Params) -> Params:
    query = Query(
        topics.SUBSCRIPTION, call.scope, sort_by="name", descending=False, limit=PAGE, after=paging.resume(call, params)
    )
    return await _listed(call, params, query)


@operation("sns", "ListSubscriptionsByTopic")
async def list_subscriptions_by_topic(call: Call, params: Params) -> Params:
    topic = await _topic(call, params["TopicArn"])
    return await _listed(call, params, _of_topic(topic.scope, topic.arn, paging.resume(call, params)))


@operation("sns", "GetSubscriptionAttributes")
async def get_subscription_attributes(call: Call, params: Params) -> Params:
    record = await _subscription(call, params["SubscriptionArn"])
    attributes = {
        "SubscriptionArn": record.arn,
        "TopicArn": record.document["topic"],
        "Owner": record.scope.account,
        "Protocol": record.document["protocol"],
        "Endpoint": record.document["endpoint"],
        "PendingConfirmation": "false",
        "ConfirmationWasAuthenticated": "true",
        "RawMessageDelivery": "false",
        **record.document["attributes"],
    }
    return {"Attributes": attributes}


@operation("sns", "SetSubscriptionAttributes")
async def set_subscription_attributes(call: Call, params: Params) -> Params:
    """RawMessageDelivery; others are refused."""
    name, value = params["AttributeName"], params.get("AttributeValue", "")
    _check_subscription_attribute(name, value)
    await _set(call, lambda: _subscription(call, params["SubscriptionArn"]), name, value)
    return {}


# -- messages -----------------------------------------------------------------------------------------------------------------------


@operation("sns", "Publish")
async def publish(call: Call, params: Params) -> Params:
    """Record a delivery for every subscription; a loop sends them."""
    arn = params.get("TopicArn") or params.get("TargetArn") or ""
    if not arn:
        raise Invalid("Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter")
    if not params["Message"]:
        raise Invalid("Invalid parameter: Empty message")
    _own(call, arn)
    message = _default_message(params) if params.get("MessageStructure") == "json" else params["Message"]
    id_ = call.new_id()
    await call.ports.topics.publish(
        arn,
        message,
        call.now,
        account=call.scope.account,
        id_=id_,
        subject=params.get("Subject", ""),
        attributes={name: _attribute(value) for name, value in (params.get("MessageAttributes") or {}).items()},
    )
    return {"MessageId": id_}


def _default_message(params: Params) -> str:
    """MessageStructure json: a text for each protocol; ours are told the default one."""
    try:
        texts = json.loads(params["Message"])
        return str(texts["default"])
    except (ValueError, KeyError, TypeError):
        raise Invalid("Invalid parameter: Message Structure - No default entry in JSON message body") from None


def _attribute(value: Mapping[str, Any]) -> dict[str, str]:
    if "BinaryValue" in value:
        raise Invalid("Invalid parameter: MessageAttributes with a BinaryValue are not available in Clary")
    return {"Type": value["DataType"], "Value": value.get("StringValue", "")}


# -- records ------------------------------------------------------------------------------------------------------------------------


def _own(call: Call, arn: str) -> tuple[Scope, str, str]:
    scope, name, id_ = topics.parse_arn(arn)
    if scope.account != call.scope.account:
        raise NotFound("Topic does not exist")
    return scope, name, id_


async def _topic(call: Call, arn: str) -> Record:
    scope, name, id_ = _own(call, arn)
    record = None if id_ else await call.store.get(topics.TOPIC, scope, name)
    if record is None:
        raise NotFound("Topic does not exist")
    return record


async def _subscription(call: Call, arn: str) -> Record:
    scope, _, id_ = _own(call, arn)
    record = await call.store.get(topics.SUBSCRIPTION, scope, id_)
    if record is None or record.arn != arn:
        raise NotFound("Subscription does not exist")
    return record


def _of_topic(scope: Scope, arn: str, after: paging.After | None = None) -> Query:
    where = {"topic": arn}
    return Query(topics.SUBSCRIPTION, scope, where=where, sort_by="name", descending=False, limit=PAGE, after=after)


async def _listed(call: Call, params: Params, query: Query) -> Params:
    found, more = await paging.page(call, params, query)
    rows = [
        {
            "SubscriptionArn": record.arn,
            "Owner": record.scope.account,
            "Protocol": record.document["protocol"],
            "Endpoint": record.document["endpoint"],
            "TopicArn": record.document["topic"],
        }
        for record in found
    ]
    return {"Subscriptions": rows, **more}


def _check_topic_attribute(name: str) -> str:
    if name not in _TOPIC_ATTRIBUTES:
        raise Invalid(f"Invalid parameter: AttributeName Reason: '{name}' is not available in Clary")
    return name


def _check_subscription_attribute(name: str, value: str) -> str:
    if name != "RawMessageDelivery":
        raise Invalid(
            f"Invalid parameter: Attributes Reason: '{name}' is not available in Clary; RawMessageDelivery is"
        )
    if value not in ("true", "false"):
        raise Invalid("Invalid parameter: Attributes Reason: RawMessageDelivery: Must be true or false")
    return name


async def _set(call: Call, find: Callable[[], Awaitable[Record]], name: str, value: str) -> None:
    def changed(record: Record) -> Record:
        attributes = {**record.document["attributes"], name: value}
        return replace(record, modified=call.now, document={**record.document, "attributes": attributes})

    await records.amend(call, find, changed)


async def _remove(call: Call, record: Record) -> None:
    """Delete it, whatever others change in it meanwhile."""

    async def attempt() -> None:
        current = await call.store.get(record.kind, record.scope, record.name)
        if current is not None:
            await call.store.remove(current)

    await until_first(attempt)
