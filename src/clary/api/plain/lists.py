"""Lists of plain records: which members of a List's request filter, sort and page, read from botocore's model once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.api import paging, registry
from clary.api.call import Call, Params
from clary.api.plain.answers import answer, document
from clary.api.plain.noun import Noun, own_name
from clary.domain.resources import Query, Record

_TIMES = re.compile(r"^(Creation|Created|LastModified|Modified)(?:Time)?(After|Before)$")
_DEFAULT = re.compile(r"The default(?: value)? is (\w+)")
_SORTS: Mapping[str, str] = {
    "creationtime": "CreationTime",
    "lastmodifiedtime": "LastModifiedTime",
    "version": "CreationTime",  # numbers are given in the order of creation
    "accountidowner": "CreationTime",  # one owner: all are this account's
}
Keep = Callable[[Record], bool]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a List's request may say. `common` maps its members to paging's names, `equal` to keys of the document."""

    noun: Noun
    items: str  # the member of the answer
    shape: Any  # of one item
    common: Mapping[str, str]
    contains: str
    equal: Mapping[str, str]
    sort: str
    order: str

    def query(self, call: Call, params: Params) -> Query:
        asked = {known: params[member] for member, known in self.common.items() if params.get(member) is not None}
        if asked.get("SortBy"):
            asked["SortBy"] = sort_of(asked["SortBy"])
        if asked.get("SortOrder"):
            asked["SortOrder"] = asked["SortOrder"].capitalize()
        wanted = paging.query(call, asked, self.noun.kind, sort=self.sort, order=self.order)
        where = {key: str(params[member]) for member, key in self.equal.items() if params.get(member) is not None}
        return replace(
            wanted, where=where, name_contains=params.get(self.contains) or "", after=paging.resume(call, params)
        )

    def keep(self, params: Params) -> Keep:
        """What the store cannot filter by: the record's own name (without its parent's), and the row's own filters."""
        text = (params.get(self.contains) or "").lower()
        own = [(each, params[member]) for member, each in self.noun.filters.items() if params.get(member) is not None]
        return lambda record: text in own_name(self.noun, record).lower() and all(f(record, value) for f, value in own)

    async def page(self, call: Call, params: Params, narrow: Keep | None = None) -> Params:
        keep = self.keep(params)
        both = keep if narrow is None else lambda record: keep(record) and narrow(record)
        found, more = await paging.page(call, params, self.query(call, params), both)
        return {self.items: [answer(self.shape, document(self.noun, record)) for record in found], **more}


def sort_of(value: str) -> str:
    """paging's name of a value of SortBy: CREATION_TIME, HubName, HubContentStatus ..."""
    plain = value.replace("_", "").lower()
    known = _SORTS.get(plain)
    return known or ("Status" if plain.endswith("status") else "Name")


def listing(noun: Noun, operation: str) -> Listing:
    """ValueError, at import, for a member of the request that nobody looks at."""
    model = registry.operation_model("sagemaker", operation)
    items, shape = next(
        (name, member.member) for name, member in model.output_shape.members.items() if member.type_name == "list"
    )
    members = model.input_shape.members if model.input_shape is not None else {}
    common: dict[str, str] = {}
    equal: dict[str, str] = {}
    contains = ""
    for name in members:
        times = _TIMES.match(name)
        if name in ("MaxResults", "SortBy", "SortOrder"):
            common[name] = name
        elif times is not None:
            common[name] = f"{'CreationTime' if times[1].startswith('Creat') else 'LastModifiedTime'}{times[2]}"
        elif name.endswith("NameContains"):
            contains = name
        elif name.removesuffix("Equals") in noun.key:
            equal[name] = name.removesuffix("Equals")
        elif name != "NextToken" and name not in noun.filters and noun.why(noun.ignored, operation, name) is None:
            raise ValueError(f"{operation}: nobody looks at {name}; give the row a filter, or say why it is ignored")
    sort, order = (
        default(members.get(name), known) for name, known in zip(("SortBy", "SortOrder"), noun.order, strict=True)
    )
    return Listing(noun, items, shape, common, contains, equal, sort_of(sort), order.capitalize())


def default(shape: Any, otherwise: str) -> str:
    """The default that AWS's reference tells of a member, which botocore's model carries."""
    told = _DEFAULT.search(re.sub(r"<[^>]+>", "", shape.documentation)) if shape is not None else None
    return told[1] if told is not None else otherwise
