"""The conformance class of the `Topics` port, and the fake in memory."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest

from clary.domain.endpoints.topics import LONGEST_MESSAGE, parse_arn
from clary.domain.errors import Invalid, NotFound
from clary.ports import Topics

ACCOUNT = "000000000000"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:news"


class MemoryTopics:
    """`ports.Topics`: `told` is topic -> id -> (message, subject)."""

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self.subscriptions = dict(topics or {})
        self.told: dict[str, dict[str, tuple[str, str]]] = {}

    async def publish(
        self,
        topic: str,
        message: str,
        now: float,
        *,
        account: str,
        id_: str,
        subject: str = "",
        attributes: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> int:
        if parse_arn(topic)[0].account != account or topic not in self.subscriptions:
            raise NotFound(f"Topic does not exist: {topic}")
        if len(message.encode()) > LONGEST_MESSAGE:
            raise Invalid("Invalid parameter: Message too long")
        self.told.setdefault(topic, {}).setdefault(id_, (message, subject))
        return self.subscriptions[topic]


class TopicsConformance:
    """Inherit, and give the implementation as the fixture `topics`: it has TOPIC with two subscriptions. `told` answers the messages
    that are on their way, each once for every subscription."""

    async def told(self) -> list[str]:
        raise NotImplementedError

    async def test_a_message_goes_to_every_subscription(self, topics: Topics) -> None:
        assert await topics.publish(TOPIC, "hello", 1000.0, account=ACCOUNT, id_="m1") == 2
        assert await self.told() == ["hello", "hello"]

    async def test_the_same_id_twice_is_one_message(self, topics: Topics) -> None:
        for _ in range(2):
            await topics.publish(TOPIC, "hello", 1000.0, account=ACCOUNT, id_="arn:any/words 1", subject="s")
        await topics.publish(TOPIC, "again", 1000.0, account=ACCOUNT, id_="m2")
        assert sorted(await self.told()) == ["again", "again", "hello", "hello"]

    @pytest.mark.parametrize(
        ("topic", "account"),
        [(f"{TOPIC}-not", ACCOUNT), (TOPIC, "111111111111"), (TOPIC.replace("us-east-1", "eu-west-1"), ACCOUNT)],
    )
    async def test_a_topic_that_is_not_the_accounts_is_not_found(
        self, topics: Topics, topic: str, account: str
    ) -> None:
        with pytest.raises(NotFound):
            await topics.publish(topic, "hello", 1000.0, account=account, id_="m1")
        assert await self.told() == []

    async def test_nonsense_and_too_much_are_refused(self, topics: Topics) -> None:
        with pytest.raises(Invalid):
            await topics.publish("news", "hello", 1000.0, account=ACCOUNT, id_="m1")
        with pytest.raises(Invalid):
            await topics.publish(TOPIC, "é" * (LONGEST_MESSAGE // 2 + 1), 1000.0, account=ACCOUNT, id_="m1")
