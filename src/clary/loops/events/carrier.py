"""Gives an input to a target, through the API's own handlers: a function, a queue, a topic, a pipeline, or (of schedules) any operation."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from clary.domain.errors import ClaryError, InUse, LimitExceeded, Stale, Unavailable
from clary.domain.events import deliveries, universal
from clary.domain.events.deliveries import Carried
from clary.domain.resources import Record
from clary.ports import Clock, Operations

_LATER = (Unavailable, LimitExceeded, Stale, InUse)  # errors of which another try may be free


class Carrier:
    """`carry` never raises what a target answered: that is in the outcome."""

    def __init__(self, operations: Operations, clock: Clock) -> None:
        self._operations = operations
        self._clock = clock

    async def carry(self, delivery: Record) -> Carried:
        document = delivery.document
        target = document["target"]
        service = deliveries.service_of(target["Arn"], delivery.scope, universal=True)
        try:
            called, operation, params = _request(service, delivery, target, document["input"])
            await self._operations.call(called, operation, params, parent=delivery, key=delivery.name)
        except ClaryError as error:
            status = int(getattr(error, "status", 400))
            final = not isinstance(error, _LATER) and status < 500 and status != 429
            code = str(getattr(error, "code", type(error).__name__))
            return Carried(self._clock.now(), error.message or code, code, final)
        return Carried(self._clock.now())

    async def give_up(self, delivery: Record) -> Carried:
        """The dead-letter queue gets the input, and why."""
        document = delivery.document
        dead = (document["target"].get("DeadLetterConfig") or {}).get("Arn")
        if not dead:
            return Carried(self._clock.now())
        told = {
            "RULE_ARN": document["source"],
            "TARGET_ARN": document["target"]["Arn"],
            "ERROR_CODE": document["code"] or "UNKNOWN",
            "ERROR_MESSAGE": document["failure"][:1024] or "unknown",
        }
        params = {
            "QueueUrl": _url(dead),
            "MessageBody": document["input"],
            "MessageAttributes": {name: {"DataType": "String", "StringValue": value} for name, value in told.items()},
            **_fifo(dead, {"MessageGroupId": "dead-letters"}, delivery),
        }
        try:
            await self._operations.call("sqs", "SendMessage", params, parent=delivery)
        except ClaryError as error:
            return Carried(self._clock.now(), error.message)
        return Carried(self._clock.now())


def _request(service: str, delivery: Record, target: Mapping[str, Any], text: str) -> tuple[str, str, dict[str, Any]]:
    """(service, operation, parameters) of the call that gives the input to the target."""
    arn = target["Arn"]
    if service == "lambda":
        return "lambda", "Invoke", {"FunctionName": arn, "InvocationType": "Event", "Payload": _blob(text)}
    if service == "sqs":
        return (
            "sqs",
            "SendMessage",
            {
                "QueueUrl": _url(arn),
                "MessageBody": text,
                **_fifo(arn, target.get("SqsParameters") or {}, delivery),
            },
        )
    if service == "sns":
        return "sns", "Publish", {"TopicArn": arn, "Message": text}
    if service == "sagemaker":
        given = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
        params: dict[str, Any] = {"PipelineName": arn, "ClientRequestToken": delivery.name}
        return "sagemaker", "StartPipelineExecution", {**params, "PipelineParameters": given} if given else params
    named = universal.parse(arn)
    assert named is not None  # `service_of` knows it
    called, operation = named
    params = json.loads(text or "{}")
    if (called, operation) == ("lambda", "Invoke") and isinstance(params.get("Payload"), str):
        params["Payload"] = _blob(params["Payload"])
    return called, operation, params


def _blob(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _url(arn: str) -> str:
    """A queue's address, of which its account and name alone count."""
    *_, account, name = arn.split(":")
    return f"/{account}/{name}"


def _fifo(arn: str, given: Mapping[str, Any], delivery: Record) -> dict[str, Any]:
    """What a FIFO queue wants besides: the delivery's name makes a repetition no second message."""
    if not given.get("MessageGroupId"):
        return {}
    named = {"MessageGroupId": given["MessageGroupId"]}
    return {**named, "MessageDeduplicationId": delivery.name} if arn.endswith(".fifo") else named
