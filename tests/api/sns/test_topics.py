from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.api.conftest import ACCOUNT, REGION

from clary.api.call import Ports
from clary.api.dispatch import answer
from clary.api.errors import code_of
from clary.domain import errors
from clary.domain.endpoints import topics
from clary.domain.endpoints.topics import Allowed
from clary.domain.resources import Query, Scope
from clary.stores.topics import StoredTopics

SCOPE = Scope(ACCOUNT, REGION)
ARN = f"arn:aws:sns:{REGION}:{ACCOUNT}:news"


class Sns:
    """A caller; the operator allows http://127.0.0.1/ and nothing else."""

    def __init__(self, ports: Ports) -> None:
        settings = replace(ports.settings, subscribers=Allowed(("http://127.0.0.1/",)))
        self.ports = replace(ports, topics=StoredTopics(ports.store), settings=settings)

    async def __call__(self, operation: str, account: str = ACCOUNT, **params: Any) -> dict[str, Any]:
        principal = f"arn:aws:iam::{account}:user/clary"
        return await answer(self.ports, "sns", operation, params, account=account, region=REGION, principal=principal)

    async def deliveries(self) -> list[dict[str, Any]]:
        found = await self.ports.store.page(Query(topics.DELIVERY, SCOPE, limit=100))
        return [dict(record.document) for record in found]


@pytest.fixture
def sns(ports: Ports) -> Sns:
    return Sns(ports)


async def test_a_topic_is_made_once_shown_and_removed(sns: Sns) -> None:
    for _ in range(2):
        assert await sns("CreateTopic", Name="news") == {"TopicArn": ARN}
    assert await sns("ListTopics") == {"Topics": [{"TopicArn": ARN}]}
    await sns("SetTopicAttributes", TopicArn=ARN, AttributeName="DisplayName", AttributeValue="News")
    shown = (await sns("GetTopicAttributes", TopicArn=ARN))["Attributes"]
    assert (shown["DisplayName"], shown["Owner"], shown["SubscriptionsConfirmed"]) == ("News", ACCOUNT, "0")
    with pytest.raises(errors.Invalid, match="different attributes"):
        await sns("CreateTopic", Name="news", Attributes={"DisplayName": "Other"})
    for _ in range(2):
        await sns("DeleteTopic", TopicArn=ARN)
    assert await sns("ListTopics") == {"Topics": []}


async def test_lists_of_topics_have_pages(sns: Sns) -> None:
    for n in range(150):
        await sns("CreateTopic", Name=f"t{n:03}")
    first = await sns("ListTopics")
    second = await sns("ListTopics", NextToken=first["NextToken"])
    arns = [topic["TopicArn"] for topic in first["Topics"] + second["Topics"]]
    assert len(set(arns)) == 150
    assert "NextToken" not in second


async def test_a_subscription_is_confirmed_at_once_where_the_operator_allows_it(sns: Sns) -> None:
    await sns("CreateTopic", Name="news")
    made = await sns("Subscribe", TopicArn=ARN, Protocol="http", Endpoint="http://127.0.0.1/hook")
    assert await sns("Subscribe", TopicArn=ARN, Protocol="http", Endpoint="http://127.0.0.1/hook") == made
    [row] = (await sns("ListSubscriptionsByTopic", TopicArn=ARN))["Subscriptions"]
    assert row == {
        "SubscriptionArn": made["SubscriptionArn"],
        "Owner": ACCOUNT,
        "Protocol": "http",
        "Endpoint": "http://127.0.0.1/hook",
        "TopicArn": ARN,
    }
    assert (await sns("ListSubscriptions"))["Subscriptions"] == [row]
    assert (await sns("GetTopicAttributes", TopicArn=ARN))["Attributes"]["SubscriptionsConfirmed"] == "1"
    await sns("Unsubscribe", SubscriptionArn=made["SubscriptionArn"])
    assert (await sns("ListSubscriptions"))["Subscriptions"] == []


async def test_a_place_that_the_operator_does_not_allow_is_refused_with_the_setting(sns: Sns) -> None:
    await sns("CreateTopic", Name="news")
    with pytest.raises(errors.Invalid, match="setting 'subscribers'"):
        await sns("Subscribe", TopicArn=ARN, Protocol="http", Endpoint="http://10.0.0.1/hook")
    assert (await sns("ListSubscriptions"))["Subscriptions"] == []
    assert code_of("sns", "Subscribe", errors.Invalid) == ("InvalidParameter", 400)


async def test_a_removed_topics_subscriptions_go_with_it(sns: Sns) -> None:
    await sns("CreateTopic", Name="news")
    await sns("Subscribe", TopicArn=ARN, Protocol="s3", Endpoint="s3://b/p")
    await sns("DeleteTopic", TopicArn=ARN)
    assert (await sns("ListSubscriptions"))["Subscriptions"] == []
    with pytest.raises(errors.NotFound):
        await sns("ListSubscriptionsByTopic", TopicArn=ARN)


async def test_publishing_records_a_delivery_for_every_subscription(sns: Sns) -> None:
    await sns("CreateTopic", Name="news")
    raw = await sns(
        "Subscribe", TopicArn=ARN, Protocol="s3", Endpoint="s3://b/p", Attributes={"RawMessageDelivery": "true"}
    )
    await sns("Subscribe", TopicArn=ARN, Protocol="http", Endpoint="http://127.0.0.1/hook")
    attributes = {"colour": {"DataType": "String", "StringValue": "red"}}
    told = await sns("Publish", TopicArn=ARN, Message="hello", Subject="hi", MessageAttributes=attributes)
    found = {delivery["protocol"]: delivery for delivery in await sns.deliveries()}
    assert found["s3"]["body"] == "hello"
    envelope = json.loads(found["http"]["body"])
    assert (envelope["Message"], envelope["Subject"], envelope["MessageId"]) == ("hello", "hi", told["MessageId"])
    assert envelope["MessageAttributes"] == {"colour": {"Type": "String", "Value": "red"}}
    shown = (await sns("GetSubscriptionAttributes", SubscriptionArn=raw["SubscriptionArn"]))["Attributes"]
    assert (shown["RawMessageDelivery"], shown["PendingConfirmation"]) == ("true", "false")
    await sns(
        "SetSubscriptionAttributes",
        SubscriptionArn=raw["SubscriptionArn"],
        AttributeName="RawMessageDelivery",
        AttributeValue="false",
    )
    shown = (await sns("GetSubscriptionAttributes", SubscriptionArn=raw["SubscriptionArn"]))["Attributes"]
    assert shown["RawMessageDelivery"] == "false"


async def test_a_message_with_a_text_for_each_protocol_is_told_by_its_default(sns: Sns) -> None:
    await sns("CreateTopic", Name="news")
    await sns("Subscribe", TopicArn=ARN, Protocol="s3", Endpoint="s3://b")
    message = json.dumps({"default": "plain", "email": "long"})
    await sns("Publish", TargetArn=ARN, Message=message, MessageStructure="json")
    [delivery] = await sns.deliveries()
    assert json.loads(delivery["body"])["Message"] == "plain"
    with pytest.raises(errors.Invalid, match="No default entry"):
        await sns("Publish", TopicArn=ARN, Message="[]", MessageStructure="json")


@pytest.mark.parametrize(
    ("operation", "params", "error"),
    [
        ("Publish", {"Message": "m"}, errors.Invalid),
        ("Publish", {"TopicArn": ARN, "Message": ""}, errors.Invalid),
        ("Publish", {"TopicArn": ARN + "-not", "Message": "m"}, errors.NotFound),
        ("Publish", {"TopicArn": "news", "Message": "m"}, errors.Invalid),
        ("GetTopicAttributes", {"TopicArn": ARN + "-not"}, errors.NotFound),
        ("SetTopicAttributes", {"TopicArn": ARN, "AttributeName": "Colour", "AttributeValue": "red"}, errors.Invalid),
        ("Subscribe", {"TopicArn": ARN, "Protocol": "email", "Endpoint": "a@b"}, errors.Invalid),
        (
            "Subscribe",
            {"TopicArn": ARN, "Protocol": "s3", "Endpoint": "s3://b", "Attributes": {"FilterPolicy": "{}"}},
            errors.Invalid,
        ),
        ("CreateTopic", {"Name": "n.fifo"}, errors.Invalid),
        (
            "GetSubscriptionAttributes",
            {"SubscriptionArn": f"{ARN}:{'0' * 8}-0000-0000-0000-{'0' * 12}"},
            errors.NotFound,
        ),
    ],
)
async def test_what_is_refused(sns: Sns, operation: str, params: dict[str, Any], error: type[Exception]) -> None:
    await sns("CreateTopic", Name="news")
    with pytest.raises(error):
        await sns(operation, **params)


async def test_another_accounts_topic_is_not_there(sns: Sns) -> None:
    await sns("CreateTopic", Name="news")
    for operation, params in (
        ("Publish", {"TopicArn": ARN, "Message": "m"}),
        ("GetTopicAttributes", {"TopicArn": ARN}),
        ("Subscribe", {"TopicArn": ARN, "Protocol": "s3", "Endpoint": "s3://b"}),
        ("DeleteTopic", {"TopicArn": ARN}),
    ):
        with pytest.raises(errors.NotFound):
            await sns(operation, account="111111111111", **params)
