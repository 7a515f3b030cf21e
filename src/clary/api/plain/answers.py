"""Answers of plain records, cut to the shapes of botocore's outputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.api import records
from clary.api.plain.noun import Noun, above
from clary.domain.resources import Record


def document(noun: Noun, record: Record) -> Mapping[str, Any]:
    """Everything that an answer may show of the record, by the names of AWS's members."""
    kept = record.document
    shown: dict[str, Any] = {**kept["request"]}
    shown |= {noun.arn: record.arn, "CreationTime": record.created, "LastModifiedTime": record.modified}
    parent = above(noun)
    if parent is not None:
        shown[parent.arn] = kept["above"]
    if noun.status[0]:
        shown[noun.status[0]] = noun.status[1]
    if "by" in kept:
        shown["CreatedBy"] = records.user_context(kept["by"])
    if "changed_by" in kept:
        shown["LastModifiedBy"] = records.user_context(kept["changed_by"])
    return shown


def answer(shape: Any, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `shown` that the output shape has. A member `XSummary` is cut from `X`."""
    if shape is None:
        return {}
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        value = shown.get(name, shown.get(name.removesuffix("Summary")))
        if value is not None:
            found[name] = fit(member, value)
    return found


def fit(shape: Any, value: Any) -> Any:
    """The value without the members that the shape does not have: inputs and outputs of one name differ."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        return {name: fit(shape.members[name], each) for name, each in value.items() if name in shape.members}
    if shape.type_name == "list" and isinstance(value, list):
        return [fit(shape.member, each) for each in value]
    return value
