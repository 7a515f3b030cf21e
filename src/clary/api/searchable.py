"""Which resources Search finds: one row a resource, given by the module that has its Describe (for a plain record by its `Noun`).

A row says what a result shows and how the records keep it; `sagemaker/search.py` does the rest from botocore's shape of the result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.api import registry
from clary.api.call import Call, Params
from clary.domain.resources import Record
from clary.domain.search.plan import Kept

TIMES: Mapping[str, str] = {"CreationTime": "created", "LastModifiedTime": "modified"}
_MEMBERS = {"ExperimentTrial": "Trial", "ExperimentTrialComponent": "TrialComponent"}


@dataclass(frozen=True, slots=True)
class Searchable:
    """One resource. `shown` answers what Describe does, by AWS's names, without asking the store; tags are added to it.

    A record of which several things are found has `parts`: each one's name, unique in it, and what is shown of it beside `shown`."""

    resource: str  # of botocore's ResourceType
    kind: str  # a row of domain/resources.KINDS
    shown: Callable[[Call, Record], Params]
    kept: Kept
    aliases: Mapping[str, str] = field(default_factory=dict)  # the first word of a property -> the member that is meant
    parts: Callable[[Record], Iterator[tuple[str, Params]]] | None = None
    also: tuple[str, ...] = ()  # text that is asked for by this name and that results do not show

    def found(self, call: Call, record: Record) -> Iterator[tuple[str, Params]]:
        """What a record gives: each result's name, unique among all, and what it shows."""
        shown = {**self.shown(call, record), "Tags": record.document.get("tags") or []}
        if self.parts is None:
            yield record.name, shown
            return
        for name, own in self.parts(record):
            yield f"{record.name} {name}", {**shown, **own}

    @property
    def shape(self) -> Any:
        """botocore's shape of a result; of what Describe answers where a result has no member for the resource."""
        return _shape(self.member, self.resource)

    @property
    def member(self) -> str:
        """Of a result."""
        return _MEMBERS.get(self.resource, self.resource)


@functools.cache
def _shape(member: str, resource: str) -> Any:
    members = registry.operation_model("sagemaker", "Search").output_shape.members["Results"].member.members
    found = members.get(member)
    return found if found is not None else registry.operation_model("sagemaker", f"Describe{resource}").output_shape


ROWS: dict[str, Searchable] = {}
"""Resource -> row."""


def register(row: Searchable) -> None:
    """ValueError, at import, for a resource that botocore's model does not have, or that has a row."""
    asked = registry.operation_model("sagemaker", "Search").input_shape.members["Resource"]
    if row.resource not in asked.enum:
        raise ValueError(f"Search knows no resource {row.resource}")
    if row.resource in ROWS:
        raise ValueError(f"{row.resource} has a row already")
    ROWS[row.resource] = row
