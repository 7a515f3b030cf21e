"""Model cards: their versions and the jobs that export them. Pure.

A card's record holds its newest version. What was before is in records of its own (`VERSION`), one a version, written before the card
changes: whoever dies in between leaves a copy that the next change writes again. Versions belong to a card by its id, not by its name:
another card may have the name later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.domain.resources import Record
from clary.domain.s3 import parse_uri

CARD, VERSION, EXPORT = "model-card", "model-card-version", "model-card-export-job"
IN_PROGRESS, COMPLETED, FAILED = "InProgress", "Completed", "Failed"
DELETING = "DeleteInProgress"


def number(card: Record) -> int:
    return int(card.document["version"])


def snapshot(card: Record, arn: str) -> Record:
    """The card's newest version as a record of its own. Its name sorts by number; `arn` is the record's own, which nobody is shown."""
    document = {name: card.document[name] for name in ("content", "version", "id", "name", "by", "changed_by")}
    created = card.document["version_created"]
    return Record(VERSION, card.scope, name_of(card, number(card)), arn, card.status, created, card.modified, document)


def name_of(card: Record, version: int) -> str:
    return f"{card.document['id']}/{version:09d}"


def same(one: str, other: str) -> bool:
    """Whether two contents say the same, however they are written."""
    return bool(json.loads(one) == json.loads(other))


def named_in(card: Record) -> dict[str, str]:
    """What Search finds a card by beside its own members: the model or package that its content is about, and the risk rating."""
    content = json.loads(card.document["content"])
    package = content.get("model_package_details", {})
    found = {
        "ModelId": content.get("model_overview", {}).get("model_id") or package.get("model_package_arn"),
        "RiskRating": content.get("intended_uses", {}).get("risk_rating"),
        "ModelPackageGroupName": package.get("model_package_group_name"),
    }
    return {name: text for name, text in found.items() if text}


def with_content(card: Record, content: str, by: str, now: float) -> Record:
    """The next version of it."""
    document = {**card.document, "content": content, "version": number(card) + 1, "version_created": now}
    return replace(card, modified=now, document={**document, "changed_by": by})


def with_status(card: Record, status: str, by: str, now: float) -> Record:
    """The same version with another status."""
    return replace(card, status=status, modified=now, document={**card.document, "changed_by": by})


@dataclass(frozen=True, slots=True)
class Export:
    """Write a card's version as a PDF, to this object. Writing it again writes the same."""

    name: str
    version: int
    status: str
    content: Mapping[str, Any]
    uri: str


def export_of(job: Record) -> Export:
    document = job.document
    return Export(
        document["card"],
        document["version"],
        document["card_status"],
        json.loads(document["content"]),
        object_of(
            document["request"]["OutputConfig"]["S3OutputPath"], document["card"], document["version"], document["job"]
        ),
    )


def object_of(prefix: str, card: str, version: int, job: str) -> str:
    """Where a job writes: below the prefix, named after the card, its version and the job. Invalid for what is no S3 URI."""
    return str(parse_uri(prefix).below(card, str(version), f"{job}.pdf"))


def ended(job: Record, why: str, now: float) -> Record:
    """The job after its file was written, or could not be: `why`."""
    document = {**job.document, "failure": why} if why else job.document
    return replace(job, status=FAILED if why else COMPLETED, modified=now, document=document)
