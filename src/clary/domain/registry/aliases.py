"""Aliases of versions, and endpoints that follow them: Clary's plus to the registry (MLflow has aliases; AWS has none). Pure.

A version gets aliases by the tag `clary:alias` on its ARN; several are separated by blanks. A group's record says which version an alias
names (`aliases`), so that one write moves it; the tag is shown from there. `GROUP@ALIAS` stands wherever a package's name or ARN does. An
endpoint with the tag `clary:follow` and the value `GROUP@ALIAS` is moved to the alias's version whenever that changes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.resources import Record

TAG, FOLLOW = "clary:alias", "clary:follow"
_ALIAS = re.compile(r"[a-zA-Z][a-zA-Z0-9-]{0,62}")
_FOLLOWED = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9-]{0,62})@([a-zA-Z][a-zA-Z0-9-]{0,62})")


def parsed(value: str) -> tuple[str, ...]:
    """The aliases in a tag's value. Invalid for what is none."""
    found = tuple(dict.fromkeys(value.split()))
    wrong = next((each for each in found if not _ALIAS.fullmatch(each)), None)
    if wrong is not None or not found:
        raise Invalid(
            f"The tag {TAG} must be one alias or several with blanks between them, not '{value}': letters, digits and hyphens, a letter "
            "first, 63 characters at most."
        )
    return found


def followed(value: str) -> tuple[str, str]:
    """(group, alias) in the value of an endpoint's tag `clary:follow`. Invalid for what is none."""
    match = _FOLLOWED.fullmatch(value)
    if match is None:
        raise Invalid(f"The tag {FOLLOW} must be GROUP@ALIAS, not '{value}'.")
    return match[1], match[2]


def of(group: Record, version: int) -> tuple[str, ...]:
    """The aliases of a version, in the order of the alphabet."""
    return tuple(sorted(alias for alias, number in _held(group).items() if number == version))


def version_of(group: Record, alias: str) -> int | None:
    """The version that the alias names now."""
    return _held(group).get(alias)


def set_to(group: Record, version: int, wanted: tuple[str, ...]) -> Record:
    """The group where this version has these aliases and no others; they are taken from the versions that had them."""
    kept = {alias: number for alias, number in _held(group).items() if number != version}
    return replace(group, document={**group.document, "aliases": {**kept, **dict.fromkeys(wanted, version)}})


def _held(group: Record) -> Mapping[str, int]:
    held: Mapping[str, int] = group.document.get("aliases", {})
    return held


def follows(endpoint: Record) -> tuple[str, str] | None:
    """(group, alias) that an endpoint follows; None for one that follows nothing."""
    value: Any = next((tag["Value"] for tag in endpoint.document.get("tags", ()) if tag["Key"] == FOLLOW), None)
    match = _FOLLOWED.fullmatch(str(value)) if value else None
    return (match[1], match[2]) if match else None
