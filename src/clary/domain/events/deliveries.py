"""A delivery: what one target of a rule, or of a schedule, is given, tried until it is taken or given up. Pure.

It is a record, whose name follows from what happened and who is to be told, so whoever plans it again after a crash plans the same one.
Delays double from a second to five minutes; the target's RetryPolicy bounds tries and age; then its dead-letter queue gets the input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.decisions import Decision
from clary.domain.errors import InvalidValue
from clary.domain.ids import arn as make_arn
from clary.domain.resources import Record, Scope

DELIVERY = "event-delivery"
PENDING = "Pending"
TRIES, AGE = 185, 86_400  # AWS's defaults
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
KEPT = 600.0  # seconds that the delivery of a time is kept when it is done: who plans it again finds it
SUPPORTED = "Lambda functions, SQS queues, SNS topics and SageMaker pipelines"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"


@dataclass(frozen=True, slots=True)
class Carry:
    """Give the input to the target."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Send the input to the dead-letter queue, where there is one."""


@dataclass(frozen=True, slots=True)
class Carried:
    """How that went: "" or why not; `final` when another try would end alike."""

    at: float
    failure: str = ""
    code: str = ""
    final: bool = False


DeliveryCommand = Carry | GiveUp


def service_of(arn: str, scope: Scope, universal: bool = False) -> str:
    """The service of a target that can be delivered to: lambda, sqs, sns, sagemaker, or aws-sdk. InvalidValue for all others."""
    if universal and arn.startswith(UNIVERSAL):
        return "aws-sdk"
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        raise InvalidValue(f"Parameter {arn[:200]} is not valid. Reason: Provided Arn is not in correct format.")
    service, tail = parts[2], parts[5]
    wanted = {"lambda": "function:", "sqs": "", "sns": "", "sagemaker": "pipeline/"}
    if service not in wanted or not tail.startswith(wanted[service]):
        raise InvalidValue(f"{arn[:200]} is not supported as a target: Clary delivers to {SUPPORTED}.")
    if (parts[4], parts[3]) != (scope.account, scope.region):
        raise InvalidValue(f"{arn[:200]} is not supported as a target: it must be of the same account and region.")
    return service


def check_policies(target: Mapping[str, Any], scope: Scope) -> None:
    """InvalidValue unless RetryPolicy and DeadLetterConfig can be kept."""
    policy = target.get("RetryPolicy") or {}
    if not 0 <= policy.get("MaximumRetryAttempts", TRIES) <= 185:
        raise InvalidValue("MaximumRetryAttempts must be 0 to 185.")
    if not 60 <= policy.get("MaximumEventAgeInSeconds", AGE) <= 86_400:
        raise InvalidValue("MaximumEventAgeInSeconds must be 60 to 86400.")
    dead = (target.get("DeadLetterConfig") or {}).get("Arn")
    if dead and service_of(dead, scope) != "sqs":
        raise InvalidValue("DeadLetterConfig.Arn must be the ARN of an SQS queue.")


def new(
    scope: Scope, source: str, occasion: str, target: Mapping[str, Any], text: str, now: float, kept: float = 0.0
) -> Record:
    """The delivery of one input. `source` is the ARN of the rule or schedule, `occasion` what happened: an event's id, a time.
    It stays for `kept` seconds when it is done."""
    mark = hashlib.sha256(f"{source}\0{occasion}\0{target.get('Id', '')}".encode()).hexdigest()
    arn = make_arn("events", scope.region, scope.account, f"delivery/{mark}")
    document = {
        "source": source,
        "target": dict(target),
        "input": text,
        "tries": 0,
        "due": now,
        "failure": "",
        "code": "",
        "final": False,
        "done": False,
        "kept": kept,
    }
    return Record(DELIVERY, scope, mark, arn, PENDING, now, now, document)


def decide(record: Record, now: float) -> Decision[DeliveryCommand]:
    document = record.document
    if document["done"]:
        left = record.modified + document["kept"] - now
        return Decision(record, again=left) if left > 0 else Decision(record, remove=True)
    policy = document["target"].get("RetryPolicy") or {}
    tried_out = document["tries"] > policy.get("MaximumRetryAttempts", TRIES)
    too_old = bool(document["tries"]) and now - record.created > policy.get("MaximumEventAgeInSeconds", AGE)
    if document["final"] or tried_out or too_old:
        return Decision(record, (GiveUp(),), remove=True)
    if document["due"] > now:
        return Decision(record, again=document["due"] - now)
    return Decision(record, (Carry(),))


def absorb(record: Record, carried: Carried) -> Record:
    tries = record.document["tries"] + 1
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 20))
    told = {
        "tries": tries,
        "failure": carried.failure,
        "code": carried.code,
        "final": carried.final,
        "done": not carried.failure,
        "due": carried.at + wait,
    }
    return replace(record, modified=carried.at, document={**record.document, **told})
