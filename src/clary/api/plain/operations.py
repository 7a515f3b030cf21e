"""`register`: from a `Noun` to the handlers of its operations.

A parent cannot be deleted while it holds children, whoever is first: a child is stored before its parent is written once more, so that a
Delete which counted no child loses its guarded write and counts again; a child whose parent is gone by then is taken back.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clary.api import records, registry, searchable, tagging
from clary.api.call import Call, Params
from clary.api.plain import fields
from clary.api.plain.answers import answer, document
from clary.api.plain.lists import Listing, listing
from clary.api.plain.noun import NOUNS, Noun, above, children, parents_key
from clary.api.searchable import Searchable
from clary.domain.errors import AlreadyExists, InUse, NotFound
from clary.domain.resources import KINDS, Query, Record
from clary.domain.search.plan import Kept

SERVICE = "sagemaker"


def register(noun: Noun) -> Noun:
    """Register the operations of the noun's verbs. ValueError for a row that says less or more than botocore's model."""
    NOUNS.setdefault(noun.kind, noun)
    for verb in noun.verbs:
        operation = noun.operation(verb)
        model = registry.operation_model(SERVICE, operation)
        fields.derive(noun, verb, operation)
        output = model.output_shape
        made = _handler(noun, verb, operation, output)
        made.__doc__ = noun.says.get(verb) or sentence(noun, verb)
        again = functools.partial(_again, output) if verb == "Create" else None
        registry.operation(SERVICE, operation, again=again)(made)
    if noun.search and NOUNS[noun.kind] is noun:
        searchable.register(searched(noun))
    parent = above(noun)
    if parent is not None and (found := registry.find(SERVICE, parent.operation("Delete"))) is not None:
        found.handler.__doc__ = parent.says.get("Delete") or sentence(parent, "Delete")  # which tells what it holds
    return noun


def searched(noun: Noun) -> Searchable:
    """Its row for Search: results show what Describe does."""
    given = registry.operation_model(SERVICE, noun.operation("Create")).input_shape.members
    columns = {**searchable.TIMES, noun.arn: "arn", **({noun.key[0]: "name"} if len(noun.key) == 1 else {})}
    if noun.status[0]:
        columns[noun.status[0]] = "status"
    verbatim = {noun.renames.get(name, name) for name in (*given, *noun.generated, noun.counter)} - {"Tags", ""}
    return Searchable(
        noun.search,
        noun.kind,
        lambda _, record: dict(document(noun, record)),
        Kept(columns, verbatim=frozenset(verbatim)),
    )


def _again(output: Any, call: Call, record: Record) -> Params:
    return answer(output, document(NOUNS[record.kind], record))


def sentence(noun: Noun, verb: str) -> str:
    """What docs/operations.md says where the row says nothing."""
    article = "an" if noun.label[0] in "aeiou" else "a"
    held = [KINDS[kind].label for kind in (*noun.holds, *(child.kind for child in children(noun)))]
    ends = (
        f", and every {' and '.join(held)} of it"
        if noun.cascade
        else f"; refused while it holds any {' or '.join(held)}"
    )
    return {
        "Create": f"Record {article} {noun.label}: the record is all there is, nothing is started.",
        "Describe": f"The {noun.label} as it was recorded, and what Clary gave it.",
        "List": f"Pages of {noun.label}s, with AWS's filters and sorts.",
        "Update": f"Change what was recorded of {article} {noun.label}.",
        "Delete": f"Delete {article} {noun.label}{ends if held else ''}.",
    }[verb]


def _handler(noun: Noun, verb: str, operation: str, output: Any) -> registry.Handler:
    lists = listing(noun, operation) if verb == "List" else None

    act = noun.own.get(verb) or _VERBS.get(verb, describe)

    async def handler(call: Call, params: Params) -> Params:
        fields.check(operation, params, call.settings.strict_fields)
        given = await named(call, noun, params)
        if lists is not None:
            return await listed(call, noun, given, lists)
        if noun.complete is not None:
            given = await noun.complete(call, verb, given)
        record = await act(call, noun, given)
        return answer(output, document(NOUNS[record.kind], record))

    handler.__name__ = handler.__qualname__ = operation
    return handler


async def named(call: Call, noun: Noun, params: Params) -> Params:
    """The request with names where it gives ARNs of the record or its parents. NotFound for an ARN of something else."""
    found: Params = {}
    holder: Noun | None = noun
    while holder is not None:
        member = holder.key[-1]
        if str(params.get(member, "")).startswith("arn:"):
            found[member] = (await records.named(call, holder.kind, params[member])).name.rpartition("/")[2]
        holder = above(holder)
    return {**params, **found} if found else params


async def find(call: Call, noun: Noun, params: Mapping[str, Any]) -> Record:
    """The record that a request names. NotFound in the words of the row."""
    name = "/".join(str(params[member]) for member in noun.key)
    record = await call.store.get(noun.kind, call.scope_of(noun.kind), name)
    if record is None:
        own = name.rpartition("/")[2]
        raise NotFound(noun.missing.format(label=noun.label, arn=call.arn(noun.kind, name), name=own))
    return record


async def listed(call: Call, noun: Noun, params: Params, lists: Listing) -> Params:
    """A page. A parent that the request must name has to exist; one that only filters does not."""
    parent = above(noun)
    if parent is not None and all(member in params for member in parent.key):
        await find(call, parent, params)
    return await lists.page(call, params, await noun.narrow(call, params) if noun.narrow is not None else None)


async def create(call: Call, noun: Noun, params: Params) -> Record:
    """Record it. AlreadyExists, NotFound for the parent, Invalid for a role that SageMaker may not take."""
    for member in noun.roles:
        if params.get(member):
            records.check_role(call, params[member])
    tags = tagging.checked(params.get("Tags"))
    parent = above(noun)
    holder = await find(call, parent, params) if parent is not None else None
    request = {noun.renames.get(name, name): value for name, value in params.items() if name != "Tags"}
    taken, alone = "", str(request[noun.unique]) if noun.unique else ""
    if alone:
        taken = await _check_unique(call, noun, alone)
    if parent is not None and noun.counter:
        holder = await (noun.numbered or _count)(call, parent, params)
        request[noun.counter] = holder.document["versions"]
    for member, make in noun.generated.items():
        if request.get(member) is None and (value := make(call, request)) is not None:
            request[member] = value
    name = "/".join(str(request[member]) for member in noun.key)
    made = {"request": request, "tags": tags, "by": call.principal, **noun.begin}
    made |= {member: str(request[member]) for member in (*noun.key, *noun.indexed, noun.unique) if member}
    if holder is not None:
        made["above"] = holder.arn
    taken = taken or noun.taken.format(name=name)
    record = await records.add(call, records.new(call, noun.kind, name, made, noun.status[1]), taken, alone)
    if parent is not None:
        await hold(call, parent, params, record)
    return record


async def _count(call: Call, parent: Noun, params: Params) -> Record:
    return await records.amend(call, lambda: find(call, parent, params), counted)


def counted(holder: Record) -> Record:
    """The parent with one more version counted: numbers are never given twice."""
    return replace(holder, document={**holder.document, "versions": holder.document.get("versions", 0) + 1})


async def _check_unique(call: Call, noun: Noun, value: str) -> str:
    """The words of a refusal, for when another one takes it at the same moment. Records of an older schema are found here only."""
    taken = f"Cannot create already existing {noun.label}: {noun.unique} '{value}' is taken."
    found = await call.store.count(Query(noun.kind, call.scope_of(noun.kind), where={noun.unique: value}))
    if found:
        raise AlreadyExists(taken)
    return taken


async def hold(call: Call, parent: Noun, params: Params, child: Record) -> None:
    """Write the parent once more, so that no Delete of it that counted before this child succeeds."""
    try:
        await records.amend(call, lambda: find(call, parent, params), lambda holder: holder)
    except NotFound:
        with contextlib.suppress(NotFound):
            await records.drop(call, child.kind, child.name)
        raise


async def describe(call: Call, noun: Noun, params: Params) -> Record:
    return await find(call, noun, params)


async def update(call: Call, noun: Noun, params: Params) -> Record:
    """Change what was recorded: members of structures that are given replace those that were there, others stay."""
    for member in noun.roles:
        if params.get(member):
            records.check_role(call, params[member])
    changes = {noun.renames.get(n, n): value for n, value in params.items() if n not in (*noun.key, noun.removes)}
    gone = params.get(noun.removes) or [] if noun.removes else []

    def change(old: Record) -> Record:
        request = {name: value for name, value in merged(old.document["request"], changes).items() if name not in gone}
        return replace(
            old, modified=call.now, document={**old.document, "request": request, "changed_by": call.principal}
        )

    return await records.amend(call, lambda: find(call, noun, params), change)


def merged(old: Mapping[str, Any], changes: Mapping[str, Any], deeper: bool = True) -> dict[str, Any]:
    """`old` with the changes, one structure deep. AWS calls some members of an Update `XForUpdate`: they change `X`."""
    found = dict(old)
    for name, value in changes.items():
        known = name.removesuffix("ForUpdate")
        before = found.get(known)
        both = deeper and isinstance(value, Mapping) and isinstance(before, Mapping)
        found[known] = merged(before or {}, value, deeper=False) if both else value
    return found


async def delete(call: Call, noun: Noun, params: Params) -> Record:
    """Delete it, with what it holds where AWS says so. InUse while it holds something otherwise."""
    record = await find(call, noun, params)
    return await records.drop(call, noun.kind, record.name, lambda current: _let_go(call, noun, current))


async def _let_go(call: Call, noun: Noun, record: Record) -> None:
    key = dict(zip(noun.key, record.name.split("/"), strict=True))
    held = [(child.kind, {member: key[member] for member in parents_key(child)}) for child in children(noun)]
    held += [(kind, {member: record.name}) for kind, member in noun.holds.items()]
    for kind, where in held:
        inside = Query(kind, record.scope, where=where, limit=100)
        if noun.cascade:
            while found := await call.store.page(inside):
                for each in found:
                    with contextlib.suppress(NotFound):
                        await records.drop(call, kind, each.name)
        elif count := await call.store.count(inside):
            raise InUse(
                f"Cannot delete {noun.label.title()} {record.arn}: it contains {count} {KINDS[kind].label.title()}(s). Delete these "
                "first."
            )


_VERBS = {"Create": create, "Describe": describe, "Update": update, "Delete": delete}
