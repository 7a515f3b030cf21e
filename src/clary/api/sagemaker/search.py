"""Search and GetSearchSuggestions, over every resource that has a row in `searchable.ROWS`.

The store decides what it can of the expression, in the database; what is left is decided here, a few records at a time, so that the event
loop is never held: each slice ends by giving it to others.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any

from clary.api import paging
from clary.api.call import Call, Params
from clary.api.plain.answers import fit
from clary.api.registry import operation
from clary.api.searchable import ROWS, TIMES, Searchable
from clary.domain.errors import Invalid
from clary.domain.resources import Query, Record
from clary.domain.search import plan
from clary.domain.search.expressions import Expression, Named, Property, matches, parse, sortable, values
from clary.domain.search.plan import Kept

SLICE = 25  # results that are looked at before others get the event loop
_FIRST, _LARGEST = 100, 200  # records of a read
_SUGGESTED = 100  # records whose own keys are suggested
_TYPES = {
    "timestamp": "time",
    "integer": "number",
    "long": "number",
    "float": "number",
    "double": "number",
    "boolean": "flag",
    "string": "text",
}
_Ranked = tuple[tuple[int, float, str], str, Params]


@operation("sagemaker", "Search")
async def search(call: Call, params: Params) -> Params:
    """Pages of resources that match, each as its Describe shows it, with its tags. Nothing is found of a resource that Clary does not
    have."""
    resource = params["Resource"]
    row = ROWS.get(resource) or Searchable(resource, "", lambda _, __: {}, Kept())  # which has AWS's properties
    expression = _expression(row, params)
    if resource not in ROWS or params.get("CrossAccountFilterOption") == "CrossAccount":  # there is no sharing
        return {"Results": [], "TotalHits": {"Value": 0, "Relation": "EqualTo"}}
    query = Query(
        row.kind,
        call.scope_of(row.kind),
        condition=plan.condition(expression, row.kept),
        descending=params.get("SortOrder", "Descending") == "Descending",
        limit=params.get("MaxResults", 10),
        after=paging.resume(call, params),
    )
    order = _resolver(row)(params.get("SortBy") or "LastModifiedTime", "")
    column = row.kept.columns.get(order.name)
    if column in ("name", "created", "modified", "status") and row.parts is None:
        found, more = await _in_order(call, params, row, expression, replace(query, sort_by=column))
    else:
        found, more = await _ranked(call, params, row, expression, query, order)
    known = not more and query.after is None
    hits = {"Value": len(found) + bool(more), "Relation": "EqualTo" if known else "GreaterThanOrEqualTo"}
    return {"Results": [_result(row, shown) for shown in found], **more, "TotalHits": hits}


def _expression(row: Searchable, params: Params) -> Expression:
    """What is asked, and what visibility it is bound to."""
    resolve = _resolver(row)
    asked = parse(params.get("SearchExpression") or {}, resolve)
    bound = [
        {"Name": each.get("Key") or "", "Operator": "Equals", "Value": each.get("Value") or ""}
        for each in params.get("VisibilityConditions") or ()
    ]
    return Expression((parse({"Filters": bound}, resolve), asked)) if bound else asked


def _result(row: Searchable, shown: Params) -> Params:
    return {row.member: fit(row.shape, shown)}


# -- finding ------------------------------------------------------------------------------------------------------------------


async def matching(
    call: Call, row: Searchable, expression: Expression, query: Query
) -> AsyncIterator[tuple[Record, str, Params]]:
    """Everything that matches, in the query's order from its `after` on: its record, its name and what is shown of it."""
    looked = 0
    size = max(_FIRST, query.limit + 1)  # one more tells whether there is another page
    while True:
        records = await call.store.page(replace(query, limit=size))
        for record in records:
            for name, shown in row.found(call, record):
                looked += 1
                if matches(expression, shown):
                    yield record, name, shown
                if looked % SLICE == 0:
                    await asyncio.sleep(0)
        if len(records) < size:
            return
        query = replace(query, after=paging.position(records[-1], query.sort_by))
        size = min(_LARGEST, size * 2)


async def _in_order(
    call: Call, params: Params, row: Searchable, expression: Expression, query: Query
) -> tuple[list[Params], Params]:
    """One page in the order of a column."""
    found: list[Params] = []
    last: Record | None = None
    async for record, _, shown in matching(call, row, expression, query):
        if len(found) == query.limit and last is not None:
            return found, {"NextToken": paging.token(call, params, paging.position(last, query.sort_by))}
        found.append(shown)
        last = record
    return found, {}


async def _ranked(
    call: Call, params: Params, row: Searchable, expression: Expression, query: Query, order: Property
) -> tuple[list[Params], Params]:
    """One page in the order of any property: all that matches is looked at, and no more is kept than the page."""
    after, everything = query.after, replace(query, sort_by="name", after=None)
    best: list[_Ranked] = []
    pick = heapq.nlargest if query.descending else heapq.nsmallest
    end = (_rank(str(after[0])), after[1]) if after is not None else None
    async for _, name, shown in matching(call, row, expression, everything):
        key = sortable(next(values(shown, order.steps), None))
        if end is None or ((key, name) < end if query.descending else (key, name) > end):
            best.append((key, name, shown))
        if len(best) > 2 * (query.limit + 1):
            best = pick(query.limit + 1, best, key=lambda ranked: ranked[:2])
    best = pick(query.limit + 1, best, key=lambda ranked: ranked[:2])
    page = best[: query.limit]
    found = [shown for _, _, shown in page]
    if len(best) <= query.limit:
        return found, {}
    (kind, value, text), name, _ = page[-1]
    return found, {"NextToken": paging.token(call, params, (f"{kind} {value!r} {text}", name))}


def _rank(written: str) -> tuple[int, float, str]:
    kind, value, text = written.split(" ", 2)
    return int(kind), float(value), text


# -- properties ---------------------------------------------------------------------------------------------------------------


def _resolver(row: Searchable) -> Any:
    """`expressions.Resolve` over the shape of the resource's results."""
    return functools.partial(_resolve, row)


def _resolve(row: Searchable, name: str, within: str) -> Property:
    shape = row.shape
    words = name.split(".")
    if within:
        shape = _element(row, within)
        if name.lower().startswith(f"{within.lower()}."):
            words = name[len(within) + 1 :].split(".")
    else:
        words[0] = row.aliases.get(words[0].lower(), words[0])
    steps = _steps(shape, words, bool(within))
    if steps is None and not within and "Model" in shape.members and row.resource == "Model":
        steps = _steps(shape, ["Model", *words], False)
    if steps is None and name in row.also and not within:
        steps = ((name,), "text", False)
    if steps is None and words[0] in TIMES and not within:  # every resource is sorted by them, shown or not
        steps = ((words[0],), "time", True)
    if steps is None:
        raise Invalid(f"Unknown property name: '{name}' of {row.resource}.")
    way, type_, flat = steps
    plain = [step for step in way if isinstance(step, str)]
    return Property(".".join(plain) if len(plain) == len(way) else name, way, type_, flat)


def _element(row: Searchable, within: str) -> Any:
    """The shape of the elements of a list."""
    shape = row.shape
    for word in within.split("."):
        known = _member(shape, word) if shape.type_name == "structure" else None
        if known is None:
            raise Invalid(f"Unknown property name: '{within}' of {row.resource}.")
        shape = shape.members[known]
        while shape.type_name == "list":
            shape = shape.member
    if shape.type_name != "structure":
        raise Invalid(f"'{within}' of {row.resource} has no nested properties.")
    return shape


_Way = tuple[tuple[str | Named, ...], str, bool]


def _steps(shape: Any, words: list[str], element: bool) -> _Way | None:
    """The way from the shape to what the words name, the type there, and whether no list is on it. None: there is nothing."""
    way: list[str | Named] = []
    flat = not element
    while words:
        if shape.type_name == "list":
            flat, shape = False, shape.member
            if not way or shape.type_name != "structure" or (_member(shape, words[0]) is not None and not _tags(shape)):
                continue
            named = _named(shape, words)
            if named is None:
                return None
            way, words = [*way, named[0]], named[1]
        elif shape.type_name == "structure":
            known = _member(shape, words[0])
            if known is None:
                return None
            way, words, shape = [*way, known], words[1:], shape.members[known]
        elif shape.type_name == "map":
            shape = shape.value
            last = _member(shape, words[-1]) if shape.type_name == "structure" and len(words) > 1 else None
            way, words = ([*way, ".".join(words[:-1])], [last]) if last else ([*way, ".".join(words)], [])
        else:
            return None
    while shape.type_name == "list":
        flat, shape = False, shape.member
    return tuple(way), _TYPES.get(shape.type_name, "any"), flat


def _member(shape: Any, word: str) -> str | None:
    """The member of that name, letters' case aside: clients write `metrics.loss.max`."""
    return next((name for name in shape.members if name.lower() == word.lower()), None)


def _tags(shape: Any) -> bool:
    return set(shape.members) == {"Key", "Value"}


def _named(shape: Any, words: list[str]) -> tuple[Named, list[str]] | None:
    """An element by its name: a tag by its key, a metric by its own, whose last word may be a member of it."""
    if _tags(shape):
        return Named("Key", ".".join(words)), ["Value"]
    if "MetricName" not in shape.members:
        return None
    last = _member(shape, words[-1]) if len(words) > 1 else None
    return (Named("MetricName", ".".join(words[:-1])), [last]) if last else (Named("MetricName", ".".join(words)), [])


# -- suggestions --------------------------------------------------------------------------------------------------------------


@operation("sagemaker", "GetSearchSuggestions")
async def get_search_suggestions(call: Call, params: Params) -> Params:
    """Names of properties that contain the hint: those of the resource, and keys (of tags, parameters) that the newest resources have."""
    row = ROWS.get(params["Resource"])
    if row is None:
        return {"PropertyNameSuggestions": []}
    hint = ((params.get("SuggestionQuery") or {}).get("PropertyNameQuery") or {}).get("PropertyNameHint", "").lower()
    names = dict.fromkeys([*_names(row.shape, "", 0), *row.also])
    query = Query(row.kind, call.scope_of(row.kind), sort_by="modified", limit=_SUGGESTED)
    looked = 0
    for record in await call.store.page(query):
        for _, shown in row.found(call, record):
            names |= dict.fromkeys(_own_names(row.shape, shown))
            looked += 1
            if looked % SLICE == 0:
                await asyncio.sleep(0)
    found = sorted(name for name in names if hint in name.lower())
    found.sort(key=lambda name: not name.lower().startswith(hint))
    return {"PropertyNameSuggestions": [{"PropertyName": name} for name in found[:_SUGGESTED]]}


def _names(shape: Any, before: str, deep: int) -> Iterator[str]:
    """Paths of all that is no structure."""
    while shape.type_name == "list":
        shape = shape.member
    if shape.type_name == "structure" and deep < 6:
        if before and _tags(shape):
            return
        for name, member in shape.members.items():
            yield from _names(member, f"{before}.{name}" if before else name, deep + 1)
    elif shape.type_name not in ("structure", "map"):
        yield before


def _own_names(shape: Any, shown: Mapping[str, Any]) -> Iterator[str]:
    for name, member in shape.members.items():
        found = shown.get(name)
        if member.type_name == "map" and isinstance(found, Mapping):
            yield from (f"{name}.{key}" for key in found)
        elif member.type_name == "list" and member.member.type_name == "structure" and _tags(member.member):
            yield from (f"{name}.{each['Key']}" for each in found or ())
