"""SNS topics, their subscriptions, and the deliveries of a message. Pure. Source: SNS API reference and developer guide.

A *topic* and a *subscription* are records. A *delivery* is a record too: one message on its way to one subscription, tried again with
growing pauses until it is taken or given up. Who may be delivered to is the operator's word (`Allowed`): the setting `subscribers`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urlsplit

from clary.domain.endpoints.async_inference import stamp
from clary.domain.errors import Invalid
from clary.domain.ids import arn as make_arn
from clary.domain.ids import belongs
from clary.domain.queues.record import parse_arn as parse_queue
from clary.domain.resources import Record, Scope
from clary.domain.s3 import parse_uri

TOPIC, SUBSCRIPTION, DELIVERY = "sns-topic", "sns-subscription", "sns-delivery"
PENDING = "Pending"
PROTOCOLS = ("http", "https", "file", "s3", "sqs")
LONGEST_MESSAGE = 262_144  # bytes
TRIES = 12
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds between tries
_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")
_ARN = re.compile(
    r"arn:aws[a-z-]*:sns:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):(?P<name>[A-Za-z0-9_-]{1,256})(?::(?P<id>[0-9a-f-]{36}))?"
)


def check_name(name: str) -> str:
    """The name of a new topic."""
    if name.endswith(".fifo"):
        raise Invalid("Invalid parameter: FIFO topics are not available in Clary: leave .fifo off the name.")
    if not _NAME.fullmatch(name):
        raise Invalid("Invalid parameter: Topic Name")
    return name


def topic_arn(scope: Scope, name: str) -> str:
    return make_arn("sns", scope.region, scope.account, name)


def parse_arn(arn: str) -> tuple[Scope, str, str]:
    """(scope, topic's name, subscription's id or ''). Invalid for anything else."""
    match = _ARN.fullmatch(arn)
    if match is None or not belongs(arn, match["region"]):
        raise Invalid(f"Invalid parameter: '{arn[:300]}' is not the ARN of an SNS topic or subscription")
    return Scope(match["account"], match["region"]), match["name"], match["id"] or ""


# -- who may be delivered to --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the setting `subscribers` names: URL prefixes (`http://host:port/path`) and folders (`file:///folder`)."""

    prefixes: tuple[str, ...] = ()

    def check(self, protocol: str, endpoint: str) -> None:
        """Invalid unless the operator allows deliveries there. A bucket and a queue need no leave: they must be the
        subscriber's own."""
        if protocol not in PROTOCOLS:
            raise Invalid(
                f"Invalid parameter: Protocol '{protocol}' is not supported by Clary; it supports {', '.join(PROTOCOLS)}"
            )
        if protocol == "sqs":
            parse_queue(endpoint)
            return
        if protocol == "s3":
            if not endpoint.startswith("s3://") or not parse_uri(endpoint).bucket:
                raise Invalid("Invalid parameter: Endpoint of protocol s3 must look like s3://bucket/prefix")
            return
        if not endpoint.startswith(f"{protocol}://"):
            raise Invalid(
                f"Invalid parameter: Endpoint must match the specified protocol: it must begin with {protocol}://"
            )
        wanted = _place(endpoint)
        if not any(_within(wanted, _place(prefix)) for prefix in self.prefixes):
            known = ", ".join(self.prefixes) or "nothing"
            raise Invalid(
                f"Invalid parameter: Endpoint {endpoint} is not allowed: the setting 'subscribers' names the "
                f"URLs and folders that topics may deliver to (now: {known})"
            )


def check_prefix(prefix: str) -> None:
    """Invalid for what cannot stand in the setting `subscribers`."""
    if _place(prefix)[0] not in ("http", "https", "file"):
        raise Invalid(f"'subscribers' takes http://, https:// and file:/// prefixes, not '{prefix}'")


def _place(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path) so that equal places are equal texts. Invalid where a URL could mean two things."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError as error:
        raise Invalid(f"Invalid parameter: '{url[:300]}' is not a URL: {error}") from None
    path = unquote(parts.path) or "/"
    strange = "@" in parts.netloc or "\\" in url or any(ord(c) < 33 or ord(c) == 127 for c in url) or "\0" in path
    if (
        strange
        or parts.fragment
        or (parts.scheme != "file" and not parts.hostname)
        or (parts.scheme == "file" and parts.netloc)
    ):
        raise Invalid(
            f"Invalid parameter: '{url[:300]}' is not a plain URL (no user, no fragment, no blanks; file:///path)"
        )
    if ".." in path.split("/"):
        raise Invalid(f"Invalid parameter: '{url[:300]}' has .. in its path")
    return parts.scheme, (parts.hostname or "").lower(), port, normpath(path).replace("//", "/")


def _within(wanted: tuple[str, str, int, str], allowed: tuple[str, str, int, str]) -> bool:
    """Whole segments: /a allows /a and /a/b, not /ab."""
    folder = allowed[3].rstrip("/")
    return wanted[:3] == allowed[:3] and (wanted[3] == folder or wanted[3].startswith(folder + "/"))


# -- deliveries ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one subscription. `body` is what is sent, `headers` go with it over HTTP."""

    id: str  # of the delivery
    message: str  # MessageId
    topic: str
    subscription: str
    protocol: str
    endpoint: str
    body: str
    raw: bool
    account: str


def envelope(
    topic: str, id_: str, message: str, now: float, subject: str = "", attributes: Mapping[str, Any] | None = None
) -> str:
    """The JSON that SNS sends, without SigningCertURL and Signature: there is no certificate of AWS's here to sign with."""
    body: dict[str, Any] = {"Type": "Notification", "MessageId": id_, "TopicArn": topic}
    if subject:
        body["Subject"] = subject
    body |= {"Message": message, "Timestamp": stamp(now)}
    if attributes:
        body["MessageAttributes"] = attributes
    return json.dumps(body, indent=2)


def message_id(id_: str) -> str:
    """The MessageId for what a publisher calls a message: a UUID, the same for the same words."""
    try:
        return str(uuid.UUID(id_))
    except ValueError:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, id_))


def deliveries(
    topic: Record,
    subscriptions: Sequence[Record],
    message: str,
    now: float,
    id_: str,
    subject: str = "",
    attributes: Mapping[str, Any] | None = None,
) -> list[Record]:
    """A record for each subscription; its name follows from message and subscription, so publishing again adds none."""
    id_ = message_id(id_)
    whole = envelope(topic.arn, id_, message, now, subject, attributes)
    found = []
    for subscription in subscriptions:
        kept = subscription.document
        raw = kept["attributes"].get("RawMessageDelivery") == "true"
        name = f"{id_}.{subscription.name}"
        document = {
            "message": id_,
            "topic": topic.arn,
            "subscription": subscription.arn,
            "protocol": kept["protocol"],
            "endpoint": kept["endpoint"],
            "body": message if raw else whole,
            "raw": raw,
            "tries": 0,
            "due": now,
            "failure": "",
        }
        arn = make_arn("sns", topic.scope.region, topic.scope.account, f"delivery/{name}")
        found.append(Record(DELIVERY, topic.scope, name, arn, PENDING, now, now, document))
    return found


def delivery_of(record: Record) -> Delivery:
    """What is to be sent."""
    document = record.document
    return Delivery(
        id=record.name,
        message=document["message"],
        topic=document["topic"],
        subscription=document["subscription"],
        protocol=document["protocol"],
        endpoint=document["endpoint"],
        body=document["body"],
        raw=document["raw"],
        account=record.scope.account,
    )


def wait_after(tries: int) -> float:
    """Seconds to the next try."""
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 20)))
