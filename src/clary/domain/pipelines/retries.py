"""When a step is tried again: RetryPolicies, and what the service retries by itself (reference/lifecycle.md 8.4). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import ClaryError, Invalid, LimitExceeded, Stale, Unavailable, Unschedulable

FAULT, THROTTLING = "Step.SERVICE_FAULT", "Step.THROTTLING"
INTERNAL, CAPACITY, LIMIT = (
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
)
EXCEPTIONS = (FAULT, THROTTLING, INTERNAL, CAPACITY, LIMIT)
MOST_ATTEMPTS, LONGEST_INTERVAL, LONGEST_LIFE = 20, 43_200, 14_400
_REASONS = (("InternalServerError", INTERNAL), ("CapacityError", CAPACITY), ("ResourceLimitExceeded", LIMIT))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts`: retries, None when `expire` (seconds after the first failure) bounds them; `interval`: seconds before the first."""

    exceptions: tuple[str, ...]
    interval: float = 1.0
    rate: float = 2.0
    attempts: int | None = 5
    expire: float | None = None


DEFAULT = RetryPolicy((FAULT, THROTTLING))


def parse(declared: Any, where: str) -> tuple[RetryPolicy, ...]:
    """Policies of a step. `where` names it in errors."""
    if not isinstance(declared, list):
        raise Invalid(f"RetryPolicies of {where} must be a list.")
    return tuple(_policy(each, where) for each in declared)


def _policy(each: Any, where: str) -> RetryPolicy:
    if not isinstance(each, dict):
        raise Invalid(f"A retry policy of {where} must be an object.")
    types = each.get("ExceptionType")
    names = [types] if isinstance(types, str) else types
    if not isinstance(names, list) or not names or any(name not in EXCEPTIONS for name in names):
        raise Invalid(
            f"A retry policy of {where} has the ExceptionType {types!r}; it must be of {', '.join(EXCEPTIONS)}."
        )
    attempts, expire = each.get("MaxAttempts"), each.get("ExpireAfterMin")
    if attempts is not None and expire is not None:
        raise Invalid(f"A retry policy of {where} has MaxAttempts and ExpireAfterMin; give one of them.")
    interval = _number(each.get("IntervalSeconds", 1), 0, LONGEST_INTERVAL, "IntervalSeconds", where)
    rate = _number(each.get("BackoffRate", 2.0), 0, 100, "BackoffRate", where)
    if expire is not None:
        life = 60 * _number(expire, 0, LONGEST_LIFE, "ExpireAfterMin", where)
        return RetryPolicy(tuple(names), interval, rate, None, life)
    most = 5 if attempts is None else int(_number(attempts, 0, MOST_ATTEMPTS, "MaxAttempts", where))
    return RetryPolicy(tuple(names), interval, rate, most)


def _number(value: Any, least: float, most: float, name: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise Invalid(f"{name} of a retry policy of {where} must be a number from {least} to {most}; it is {value!r}.")
    return float(value)


def exception_of(error: ClaryError) -> str:
    """What a refused Create is called in policies; "" for what no attempt would change."""
    if isinstance(error, Unavailable):
        return FAULT
    if isinstance(error, Stale):
        return THROTTLING
    return LIMIT if isinstance(error, LimitExceeded | Unschedulable) else ""


def reason_of(failure: str) -> str:
    """What a failed job's FailureReason is called in policies; "" for a failure of the user's own."""
    return next((name for beginning, name in _REASONS if failure.startswith(beginning)), "")


def again(
    policies: Sequence[RetryPolicy], exception: str, done: Mapping[str, int], first: float, now: float
) -> float | None:
    """When the next attempt begins (epoch seconds), or None. `done`: exception -> attempts that met it so far, this one included;
    `first`: when the first of them failed."""
    policy = next((each for each in (*policies, DEFAULT) if exception and exception in each.exceptions), None)
    if policy is None:
        return None
    count = sum(done.get(name, 0) for name in policy.exceptions)
    at = now + min(LONGEST_INTERVAL, policy.interval * policy.rate ** max(0, count - 1))
    if policy.attempts is not None:
        return at if count <= policy.attempts else None
    return at if policy.expire is not None and at - first <= policy.expire else None
