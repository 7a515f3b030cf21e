from __future__ import annotations

import json
from typing import Any

import pytest

from clary.domain.endpoints import topics
from clary.domain.endpoints.topics import Allowed
from clary.domain.errors import Invalid
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
ARN = "arn:aws:sns:eu-west-1:000000000000:news"
ID = "0193e0a0-0000-7000-8000-000000000001"
ALLOWED = Allowed(("http://127.0.0.1:9000/hooks", "https://example.com", "file:///srv/news"))


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [
        ("http", "http://127.0.0.1:9000/hooks"),
        ("http", "http://127.0.0.1:9000/hooks/a?b=c"),
        ("https", "https://example.com"),
        ("https", "https://EXAMPLE.com:443/any"),
        ("file", "file:///srv/news/a.jsonl"),
        ("s3", "s3://bucket/prefix"),
        ("s3", "s3://bucket"),
    ],
)
def test_places_that_are_allowed(protocol: str, endpoint: str) -> None:
    ALLOWED.check(protocol, endpoint)


@pytest.mark.parametrize(
    ("protocol", "endpoint", "words"),
    [
        ("http", "http://127.0.0.1:9000/hooksmith", "setting 'subscribers'"),
        ("http", "http://127.0.0.1:9000/", "setting 'subscribers'"),
        ("http", "http://127.0.0.1/hooks", "setting 'subscribers'"),
        ("http", "http://127.0.0.1:9000@evil.example/hooks", "not a plain URL"),
        ("http", "http://127.0.0.1:9000/hooks/../admin", "has .. in its path"),
        ("http", "http://127.0.0.1:9000/hooks/%2e%2e/admin", "has .. in its path"),
        ("http", "http://127.0.0.1:9000/hooks\\@evil", "not a plain URL"),
        ("http", "http://127.0.0.1:9000/hooks\r\nX: y", "not a plain URL"),
        ("http", "http://127.0.0.1:x/hooks", "not a URL"),
        ("http", "https://example.com/", "must begin with http://"),
        ("https", "https://example.com.evil.org/", "setting 'subscribers'"),
        ("https", "http://example.com/", "must begin with https://"),
        ("file", "file:///srv/newspaper", "setting 'subscribers'"),
        ("file", "file:///srv/news/../../etc/passwd", "has .. in its path"),
        ("file", "file://host/srv/news/a", "not a plain URL"),
        ("s3", "s3://", "must look like s3://bucket"),
        ("email", "a@example.com", "it supports http, https, file, s3"),
        ("lambda", "arn:aws:lambda:x", "it supports http, https, file, s3"),
    ],
)
def test_places_that_are_not(protocol: str, endpoint: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        ALLOWED.check(protocol, endpoint)


def test_nothing_but_buckets_is_allowed_where_the_operator_said_nothing() -> None:
    with pytest.raises(Invalid, match=r"setting .subscribers. names .* deliver to \(now: nothing\)"):
        Allowed().check("http", "http://127.0.0.1/")
    Allowed().check("s3", "s3://bucket")


@pytest.mark.parametrize("prefix", ["ftp://a", "/srv", "file://host/a", "http://u@h/", ""])
def test_what_cannot_stand_in_the_setting(prefix: str) -> None:
    with pytest.raises(Invalid):
        topics.check_prefix(prefix)


def test_names_and_arns() -> None:
    assert topics.topic_arn(SCOPE, topics.check_name("news")) == ARN
    assert topics.parse_arn(ARN) == (SCOPE, "news", "")
    assert topics.parse_arn(f"{ARN}:0193e0a0-0000-7000-8000-000000000001")[2].startswith("0193e0a0")
    for name in ("", "a b", "x" * 257, "n.fifo"):
        with pytest.raises(Invalid):
            topics.check_name(name)
    for arn in ("news", "arn:aws:sqs:eu-west-1:000000000000:q", ARN + ":nonsense"):
        with pytest.raises(Invalid, match="not the ARN"):
            topics.parse_arn(arn)


def made(kind: str, name: str, **document: Any) -> Record:
    return Record(kind, SCOPE, name, ARN if kind == topics.TOPIC else f"{ARN}:{name}", "", 1.0, 1.0, document)


def test_a_publishers_own_words_for_a_message_become_a_uuid() -> None:
    words = "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:a/17/1"
    assert topics.message_id(words) == topics.message_id(words) != topics.message_id(words + "2")
    assert len(topics.message_id(words)) == 36
    known = "0193e0a0-0000-7000-8000-000000000001"
    assert topics.message_id(known) == known


def test_a_message_becomes_one_delivery_per_subscription() -> None:
    topic = made(topics.TOPIC, "news")
    subscriptions = [
        made(topics.SUBSCRIPTION, "one", protocol="http", endpoint="http://a/", attributes={}),
        made(topics.SUBSCRIPTION, "two", protocol="s3", endpoint="s3://b", attributes={"RawMessageDelivery": "true"}),
    ]
    first, second = topics.deliveries(topic, subscriptions, "hello", 1000.5, ID, "Subject")
    assert [r.name for r in (first, second)] == [f"{ID}.one", f"{ID}.two"]
    assert json.loads(topics.delivery_of(first).body) == {
        "Type": "Notification",
        "MessageId": ID,
        "TopicArn": ARN,
        "Subject": "Subject",
        "Message": "hello",
        "Timestamp": "1970-01-01T00:16:40.500Z",
    }
    assert topics.delivery_of(second).body == "hello"
    assert first.arn != second.arn


def test_pauses_between_tries_grow_to_five_minutes() -> None:
    assert [topics.wait_after(tries) for tries in (1, 2, 3, 9, 30)] == [1.0, 2.0, 4.0, 256.0, 300.0]
