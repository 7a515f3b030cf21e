"""Model cards and their versions. A card is a record; a change of its content makes a version, a change of its status does not."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from clary.api import paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.searchable import Searchable
from clary.domain.errors import InUse, Invalid, NotFound
from clary.domain.registry import card_content, cards
from clary.domain.resources import Query, Record
from clary.domain.search.plan import Kept
from clary.guarded import MADE_OR_CHANGED, until_first


@operation("sagemaker", "CreateModelCard", again=lambda _, record: {"ModelCardArn": record.arn})
async def create_model_card(call: Call, params: Params) -> Params:
    """Record version 1; its content must match the schema of model cards."""
    card_content.parsed(params["Content"])
    document = {
        "name": params["ModelCardName"],
        "request": {
            name: value for name, value in params.items() if name not in ("Tags", "Content", "ModelCardStatus")
        },
        "tags": tagging.checked(params.get("Tags")),
        "content": params["Content"],
        "version": 1,
        "version_created": call.now,
        "id": call.new_id(),
        "by": call.principal,
        "changed_by": call.principal,
    }
    card = records.new(call, cards.CARD, params["ModelCardName"], document, params["ModelCardStatus"])
    taken = f'Cannot create already existing model card "{card.arn}": it already exists.'
    return {"ModelCardArn": (await records.add(call, card, taken)).arn}


async def of_version(call: Call, name: str, version: int | None) -> tuple[Record, Record]:
    """The card, and the card or the snapshot that has that version (None: the newest). NotFound."""
    card = await records.named(call, cards.CARD, name)
    if version is None or version == cards.number(card):
        return card, card
    found = await call.store.get(cards.VERSION, card.scope, cards.name_of(card, version)) if version > 0 else None
    if found is None or version > cards.number(card):
        raise NotFound(f"Model card {card.arn} has no version {version}: its newest is {cards.number(card)}.")
    return card, found


@operation("sagemaker", "DescribeModelCard")
async def describe_model_card(call: Call, params: Params) -> Params:
    """The newest version, or the one that is asked for."""
    card, version = await of_version(call, params["ModelCardName"], params.get("ModelCardVersion"))
    return described(card, version)


def described(card: Record, version: Record) -> Params:
    """DescribeModelCard's answer for a version of the card."""
    answer = {
        "ModelCardArn": card.arn,
        "ModelCardName": card.name,
        "ModelCardVersion": cards.number(version),
        "Content": version.document["content"],
        "ModelCardStatus": version.status,
        "CreationTime": card.created,
        "CreatedBy": records.user_context(card.document["by"]),
        "LastModifiedTime": version.modified,
        "LastModifiedBy": records.user_context(version.document["changed_by"]),
    }
    if "SecurityConfig" in card.document["request"]:
        answer["SecurityConfig"] = card.document["request"]["SecurityConfig"]
    if card.document.get("deleting"):
        answer["ModelCardProcessingStatus"] = cards.DELETING
    return answer


searchable.register(
    Searchable(
        "ModelCard",
        cards.CARD,
        lambda _, card: {**described(card, card), **cards.named_in(card)},
        Kept({**searchable.TIMES, "ModelCardArn": "arn", "ModelCardName": "name", "ModelCardStatus": "status"}),
    )
)


@operation("sagemaker", "UpdateModelCard")
async def update_model_card(call: Call, params: Params) -> Params:
    """Another content, which is a new version, or another status of the newest one: not both at once, as on AWS."""
    content, status = params.get("Content"), params.get("ModelCardStatus")
    if (content is None) == (status is None):
        raise Invalid("Please provide either Content or ModelCardStatus, not both and not neither.")
    if content is not None:
        card_content.parsed(content)

    async def attempt() -> Record:
        card = await records.named(call, cards.CARD, params["ModelCardName"])
        _check_there(card)
        if status is not None:
            return await call.store.save(cards.with_status(card, status, call.principal, call.now))
        if content is None or cards.same(content, card.document["content"]):
            return card
        await _keep(call, card)
        return await call.store.save(cards.with_content(card, content, call.principal, call.now))

    return {"ModelCardArn": (await until_first(attempt)).arn}


def _check_there(card: Record) -> None:
    if card.document.get("deleting"):
        raise InUse(f"Model card {card.arn} is being deleted; delete it again, should that have been interrupted.")


async def _keep(call: Call, card: Record) -> None:
    """Copy the newest version to where the older ones are."""
    copy = cards.snapshot(card, call.arn(cards.VERSION, cards.name_of(card, cards.number(card))))

    async def attempt() -> Record:
        there = await call.store.get(cards.VERSION, card.scope, copy.name)
        return await (call.store.add(copy) if there is None else call.store.save(replace(copy, version=there.version)))

    await until_first(attempt, lost=MADE_OR_CHANGED)


@operation("sagemaker", "DeleteModelCard")
async def delete_model_card(call: Call, params: Params) -> Params:
    """With its versions and export jobs; files that were exported stay. May be repeated, should it have been interrupted."""
    name = params["ModelCardName"]
    card = await records.amend(
        call,
        lambda: records.find(call, cards.CARD, name),
        lambda card: replace(card, document={**card.document, "deleting": True}),
    )
    for kind in (cards.VERSION, cards.EXPORT):
        while found := await call.store.page(Query(kind, card.scope, where={"id": card.document["id"]}, limit=100)):
            for each in found:
                with contextlib.suppress(NotFound):
                    await records.drop(call, kind, each.name)
    await records.drop(call, cards.CARD, name)
    return {}


@operation("sagemaker", "ListModelCards")
async def list_model_cards(call: Call, params: Params) -> Params:
    """Pages of cards, each as its newest version is."""
    statuses = (params["ModelCardStatus"],) if params.get("ModelCardStatus") else ()
    query = replace(paging.query(call, params, cards.CARD), statuses=statuses)
    found, more = await paging.page(call, params, query)
    return {"ModelCardSummaries": [_summary(card) for card in found], **more}


def _summary(card: Record) -> Params:
    return {
        "ModelCardName": card.name,
        "ModelCardArn": card.arn,
        "ModelCardStatus": card.status,
        "CreationTime": card.created,
        "LastModifiedTime": card.modified,
    }


@operation("sagemaker", "ListModelCardVersions")
async def list_model_card_versions(call: Call, params: Params) -> Params:
    """Pages of the versions of one card, by number."""
    card = await records.named(call, cards.CARD, params["ModelCardName"])
    asked = {**{name: value for name, value in params.items() if name != "NextToken"}, "SortBy": "Name"}
    statuses = (params["ModelCardStatus"],) if params.get("ModelCardStatus") else ()
    query = paging.query(call, asked, cards.VERSION)
    query = replace(query, where={"id": card.document["id"]}, statuses=statuses, after=paging.resume(call, params))
    newest = cards.snapshot(card, "")
    # A copy of the newest version may be left of a change that was interrupted: the card itself is what counts.
    found, more = await paging.page(call, params, query, lambda each: each.name < newest.name)
    if _fits(newest, query):
        found, more = _joined(call, params, query, found, more, newest)
    shown = [
        {**_summary(replace(each, name=card.name, arn=card.arn)), "ModelCardVersion": cards.number(each)}
        for each in found
    ]
    return {"ModelCardVersionSummaryList": shown, **more}


def _fits(newest: Record, query: Query) -> bool:
    """Whether the newest version is on this page or a later one, and meets the filters."""
    if query.after is not None:
        seen = str(query.after[1])
        if not (newest.name < seen if query.descending else newest.name > seen):
            return False
    early = query.created_after is not None and newest.created <= query.created_after
    late = query.created_before is not None and newest.created >= query.created_before
    return not early and not late and (not query.statuses or newest.status in query.statuses)


def _joined(
    call: Call, params: Params, query: Query, found: list[Record], more: Params, newest: Record
) -> tuple[list[Record], Params]:
    """The page with the newest version, which comes first or last of all."""
    if query.descending:
        together = [newest, *found]
    elif more:
        return found, more
    else:
        together = [*found, newest]
    if len(together) <= query.limit:
        return together, more
    kept = together[: query.limit]
    return kept, {"NextToken": paging.token(call, params, paging.position(kept[-1], "name"))}
