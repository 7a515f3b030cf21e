"""How each member of a plain record's operations is used, derived from its row and botocore's model: what `domain/fields` has for others.

*kept* is the use of their own: the record is the act, so nothing more could be done with the member than keep and show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from clary.api import handlers, registry
from clary.api.plain.noun import Noun
from clary.domain.fields import table
from clary.domain.fields.table import Field, Use

SERVICE = "sagemaker"
KEPT_OPERATIONS: dict[str, Mapping[str, Field]] = {}
"""Operation -> path -> use, of Create and Update: every path of botocore's."""
OTHER_OPERATIONS: dict[str, Mapping[str, Field]] = {}
"""Operation -> path -> use, of the other verbs: only what is ignored or refused."""


def derive(noun: Noun, verb: str, operation: str) -> None:
    """Make the operation's table. ValueError for a member of Create or Update that Describe does not show and the row does not explain."""
    shape = registry.operation_model(SERVICE, operation).input_shape
    members = shape.members if shape is not None else {}
    rows = {name: use_of(noun, operation, name) for name in members}
    if verb in ("Create", "Update"):
        shown = registry.operation_model(SERVICE, noun.operation("Describe")).output_shape.members
        lost = [
            n
            for n, row in rows.items()
            if row.use is Use.KEPT and noun.renames.get(n, n).removesuffix("ForUpdate") not in shown
        ]
        if lost:
            raise ValueError(
                f"{operation}: {', '.join(lost)} would be lost: {noun.operation('Describe')} does not show it"
            )
        tops = {path: rows[re.split(r"\.|\[", path, maxsplit=1)[0]] for path in paths(shape, "")}
        found = {path: Field(path, top.use, top.why) for path, top in tops.items()}
        KEPT_OPERATIONS[operation] = found
    else:
        OTHER_OPERATIONS[operation] = {name: row for name, row in rows.items() if row.use in (Use.IGNORED, Use.REFUSED)}


def use_of(noun: Noun, operation: str, member: str) -> Field:
    refused = noun.why(noun.refused, operation, member)
    if refused is not None:
        return Field(member, Use.REFUSED, refused)
    ignored = noun.why(noun.ignored, operation, member)
    if ignored is not None:
        return Field(member, Use.IGNORED, ignored)
    honoured = member in (*noun.key, "Tags", noun.unique, noun.removes, *noun.roles, *noun.indexed, *noun.acts)
    return Field(member, Use.HONOURED if honoured else Use.KEPT)


def paths(shape: Any, path: str) -> Iterator[str]:
    """Every path of an input, as the tables of `domain/fields` write them."""
    if shape is None:
        return
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            below = f"{path}.{name}" if path else name
            yield below
            yield from paths(member, below)
    elif shape.type_name == "list":
        yield from paths(shape.member, f"{path}[]")


def check(operation: str, params: Mapping[str, Any], strict: bool) -> None:
    """Invalid for what is refused, and for what is ignored if `strict`."""
    uses = {**KEPT_OPERATIONS.get(operation, {}), **OTHER_OPERATIONS.get(operation, {})}
    table.check_without_effect(
        {path: row for path, row in uses.items() if row.use in (Use.IGNORED, Use.REFUSED)}, params, strict
    )


def render() -> str:
    """`docs/fields.md`: the tables of `domain/fields`, and those that are derived here, one row for a member and all that is below it."""
    handlers.load()
    tops = {
        name: {path: row for path, row in rows.items() if "." not in path} for name, rows in KEPT_OPERATIONS.items()
    }
    return table.render(tops, OTHER_OPERATIONS)
