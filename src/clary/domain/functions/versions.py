"""Versions and aliases of a Lambda function. Pure. Source: Lambda API reference; developer guide, versions and aliases.

A version is a copy of the function as it was: code, settings, and nothing of it changes. An alias names a version, or two of them of which
the second gets a share of the invocations. Both are records beside the function's, named FUNCTION:VERSION and FUNCTION:ALIAS.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from clary.domain.conditions import All, Column, Condition
from clary.domain.errors import Invalid
from clary.domain.functions.record import LATEST
from clary.domain.resources import Document, Record

VERSION, ALIAS = "lambda-version", "lambda-alias"
_ALIAS = re.compile(r"(?!\d+\Z)[A-Za-z0-9_-]{1,128}")
_NUMBER = re.compile(r"[1-9][0-9]{0,9}")


def full(function: str, at: str) -> str:
    """The name of a version's or alias's record."""
    return f"{function}:{at}"


def of(function: str) -> Condition:
    """Records of one function."""
    return All((Column("name", ">=", f"{function}:"), Column("name", "<", f"{function};")))  # ";" follows ":"


def is_number(at: str) -> bool:
    return _NUMBER.fullmatch(at) is not None


def snapshot(function: Record, number: int, description: str | None, revision: str) -> Document:
    """The document of a new version. `source`: the function's revision that it is of."""
    kept = function.document
    config = {**kept["config"], **({"Description": description} if description is not None else {})}
    return {
        "config": config,
        "code": kept["code"],
        "runtime": kept["runtime"],
        "revision": revision,
        "number": str(number),
        "source": kept["revision"],
        "policy": [],
        "tags": [],
    }


def check_alias(name: str) -> str:
    if not _ALIAS.fullmatch(name):
        raise Invalid(
            f"'{name[:200]}' cannot be the name of an alias: 1 to 128 letters, digits, hyphens and underscores, and not digits only"
        )
    return name


def weights(routing: Mapping[str, Any] | None, main: str) -> dict[str, float]:
    """Version -> share of the second version of an alias. Invalid for more than one, itself, or $LATEST."""
    found = {at: float(share) for at, share in ((routing or {}).get("AdditionalVersionWeights") or {}).items()}
    if not found:
        return {}
    if len(found) > 1:
        raise Invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")
    if main == LATEST or LATEST in found:
        raise Invalid("$LATEST is not supported for an alias pointing to more than 1 version")
    (at, share) = next(iter(found.items()))
    if at == main:
        raise Invalid(
            f"Invalid function version {at}. Function version {main} is already included in routing configuration."
        )
    if not is_number(at) or not 0.0 <= share <= 1.0:
        raise Invalid(
            f"AdditionalVersionWeights must be one version with a share from 0 to 1, not {at[:40]}: {share:g}"
        )
    return found


def chosen(alias: Record, id_: str) -> str:
    """The version that the invocation of this id goes to: each gets its share of all ids."""
    document = alias.document
    for at, share in document["weights"].items():
        drawn = int.from_bytes(hashlib.sha256(id_.encode()).digest()[:8], "big") / 2**64
        if drawn < share:
            return str(at)
    return str(document["version"])


def alias_described(alias: Record) -> dict[str, Any]:
    document = alias.document
    routing = {"RoutingConfig": {"AdditionalVersionWeights": dict(document["weights"])}} if document["weights"] else {}
    return {
        "AliasArn": alias.arn,
        "Name": alias.name.partition(":")[2],
        "FunctionVersion": document["version"],
        "Description": document["description"],
        "RevisionId": document["revision"],
        **routing,
    }


def names(alias: Record, at: str) -> bool:
    """Whether the alias leads to this version."""
    return alias.document["version"] == at or at in alias.document["weights"]
