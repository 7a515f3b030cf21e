"""Delivers messages of topics: `loop.Subject` of `sns-delivery` records. Each is carried until it is taken, or given up after its
last try; between tries it waits ever longer (`domain/endpoints/topics.py`).

A message may arrive twice when Clary dies between a subscriber's answer and the save, as SNS's own may.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from clary.domain.decisions import Decision
from clary.domain.endpoints import topics
from clary.domain.endpoints.topics import Delivery
from clary.domain.errors import ClaryError
from clary.domain.resources import Record
from clary.loops.core.samples import Samples
from clary.ports import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Send:
    """Carry it to its subscriber."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Sent:
    """How that went: '' or why not; and when."""

    failure: str
    at: float


class DeliverySubject:
    """`carry` delivers, or raises a ClaryError."""

    kind = topics.DELIVERY
    statuses = (topics.PENDING,)

    def __init__(self, carry: Callable[[Delivery], Awaitable[None]], clock: Clock, samples: Samples) -> None:
        self._carry = carry
        self._clock = clock
        self._samples = samples

    async def observe(self, record: Record) -> None:
        """There is nothing to see: only trying tells."""

    def decide(self, record: Record, observation: None, now: float) -> Decision[Send]:
        document = record.document
        if (document["tries"] and not document["failure"]) or document["tries"] >= topics.TRIES:
            return Decision(record, remove=True)
        if document["due"] > now:
            return Decision(record, again=document["due"] - now)
        return Decision(record, (Send(topics.delivery_of(record)),))

    async def run(self, command: Send, record: Record) -> Sent:
        failure = ""
        try:
            await self._carry(command.delivery)
        except ClaryError as error:
            failure = error.message
            log.warning("%s: try %d: %s", record.arn, record.document["tries"] + 1, failure)
        now = self._clock.now()
        metric = "NumberOfNotificationsFailed" if failure else "NumberOfNotificationsDelivered"
        topic = command.delivery.topic.rpartition(":")[2]
        self._samples.add(record.scope, "AWS/SNS", metric, {"TopicName": topic}, "Count", 1.0, now)
        return Sent(failure, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Send, Sent]]) -> Record:
        for _, sent in outcomes:
            tries = record.document["tries"] + 1
            told = {"tries": tries, "failure": sent.failure, "due": sent.at + topics.wait_after(tries)}
            record = replace(record, modified=sent.at, document={**record.document, **told})
        return record
