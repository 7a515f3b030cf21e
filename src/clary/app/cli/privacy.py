"""`clary privacy`: finds and erases the rows of one person, and points to columns that look like personal data, in a job of the image
`clary-privacy` (`toolkit/privacy`): no content is read here. What was found or erased is put on record in the default bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.app.cli.output import FAILED, USAGE, CommandRefused, say, say_json, table, warn
from clary.app.cli.own_jobs import OwnJob
from clary.app.cli.site import here
from clary.domain.errors import Invalid
from clary.domain.s3 import parse_uri

IMAGE = "clary-privacy"
SHOWN = 20


@dataclass(frozen=True, slots=True)
class PrivacyRequest:
    """The command's options. `where` is COLUMN=VALUE, `columns` names those of CSV without a header line."""

    data: Sequence[str]
    where: str = ""
    endpoints: Sequence[str] = ()
    groups: Sequence[str] = ()
    columns: str = ""


def run(directory: str | None, act: str, asked: PrivacyRequest, *, as_json: bool) -> int:
    """The exit code: 1 where something could not be searched, or an erasure is not proven."""
    column, value = condition(asked.where) if act != "scan" else ("", "")
    if not (asked.data or asked.endpoints or asked.groups):
        raise CommandRefused("name where to look: s3://BUCKET/PREFIX, --endpoint or --group", USAGE)
    for uri in asked.data:
        try:
            parse_uri(uri)
        except Invalid as error:
            raise CommandRefused(str(error), USAGE) from None
    job = OwnJob(here(directory), f"privacy-{act}")
    audit = "" if act == "scan" else f"s3://{job.bucket}/privacy/audit/{job.name}.json"
    spec = {
        "act": act,
        "column": column,
        "value": value,
        "names": [name.strip() for name in asked.columns.split(",") if name.strip()],
        "data": list(asked.data),
        "endpoints": list(asked.endpoints),
        "groups": list(asked.groups),
        "audit": audit,
        "asked_by": job.asked_by,
    }
    job.run(IMAGE, spec, {"": f"s3://{job.bucket}/{job.name}/out"})
    report = job.read("out/report.json")
    if as_json:
        say_json({**report, "audit": audit})
    else:
        _scanned(report) if act == "scan" else _told(report, audit)
    return 0 if good(report) else FAILED


def condition(where: str) -> tuple[str, str]:
    column, sign, value = where.partition("=")
    if not sign or not column.strip() or not value.strip():
        raise CommandRefused(f"--where takes COLUMN=VALUE, not {where!r}", USAGE)
    return column.strip(), value


def good(report: Mapping[str, Any]) -> bool:
    """Whether all was searched, some of it has the column, and nothing that was to go is left."""
    if report["unsearched"]:
        return False
    if report["act"] == "erase" and not report["proof"]["proven"]:
        return False
    return report["act"] == "scan" or not report["objects"] or report["without_column"] < report["objects"]


def _told(report: Mapping[str, Any], audit: str) -> None:
    rows = [[str(each["rows"]), each["object"], "" if each["latest"] else each["version"]] for each in report["found"]]
    say(table(("ROWS", "OBJECT", "OLD VERSION"), rows[:SHOWN]))
    if len(rows) > SHOWN:
        say(f"and {len(rows) - SHOWN:,} more")
    verb = "erased" if report["act"] == "erase" else "found"
    records = f", {len(report['online'])} records of online stores" if report["online"] else ""
    say(
        f"{verb} {report['matched']:,} of {report['rows']:,} rows in {report['objects']:,} objects and versions{records}"
    )
    if report["without_column"]:
        say(f"{report['without_column']:,} objects have no column {report['column']}")
    _unsearched(report)
    if report["act"] == "erase":
        proof = report["proof"]
        left = f"{proof['matched']:,} rows left, {len(proof['unsearched'])} objects not searched"
        say("a second search found none" if proof["proven"] else f"not proven: {left}")
    say(f"on record: {audit}")


def _scanned(report: Mapping[str, Any]) -> None:
    rows = [
        [each["data"], found["column"], found["kind"], f"{found['share']:.0%}" if found["share"] else "-", found["why"]]
        for each in report["sets"]
        for found in each["columns"]
    ]
    say(table(("DATA", "COLUMN", "LOOKS LIKE", "VALUES", "BY"), rows))
    _unsearched(report)


def _unsearched(report: Mapping[str, Any]) -> None:
    for each in report["unsearched"][:SHOWN]:
        warn(f"not searched: {each['object']}: {each['why']}")
