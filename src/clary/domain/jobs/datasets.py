"""Inputs of processing jobs that are asked of an SQL database: the Redshift shape of DatasetDefinition. Pure.

ClusterId names a source of the operator's (`[sources.NAME]` in the settings), which alone knows where the database is and who asks it.
The rows are stored below OutputS3Uri, in a folder of the job's own, and are an ordinary input from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from clary.domain.errors import Invalid
from clary.domain.jobs.channels import Channel
from clary.domain.s3 import Location, parse_uri

SHAPE = "RedshiftDatasetDefinition"
FORMS: Mapping[str, tuple[str, ...]] = {  # as `toolkit/sources.py` writes them
    "PARQUET": ("NONE", "GZIP", "ZSTD", "SNAPPY"),
    "CSV": ("NONE", "GZIP", "ZSTD", "BZIP2"),
}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  # of Redshift's clusters
_SELECT = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(select|with|values|table)\b", re.IGNORECASE | re.DOTALL)
_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1")


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """What one input is asked for: `input` is its channel's name, `location` the folder of its files."""

    input: str
    source: str
    sql: str
    form: str
    compression: str
    location: Location


def query(entry: Mapping[str, Any], name: str, job: str) -> SourceQuery:
    """Of an input with a DatasetDefinition; `name` is that of its channel. Invalid for another shape than Redshift's, or a bad one."""
    definition, whose = entry["DatasetDefinition"], f"Input {entry['InputName']!r}"
    if definition.get("AthenaDatasetDefinition"):
        raise Invalid(
            f"{whose}: AthenaDatasetDefinition is not supported. Ask Athena's StartQueryExecution, and give its result as S3Input."
        )
    asked = definition.get(SHAPE)
    if asked is None:
        raise Invalid(f"{whose}: DatasetDefinition needs {SHAPE}.")
    if _SELECT.match(asked["QueryString"]) is None:
        raise Invalid(f"{whose}: QueryString must be one SELECT.")
    form, compression = asked["OutputFormat"], asked.get("OutputCompression") or "NONE"
    compression = {"None": "NONE"}.get(compression, compression)
    if compression not in FORMS.get(form, ()):
        raise Invalid(f"{whose}: OutputFormat {form} does not go with OutputCompression {compression}.")
    if asked.get("KmsKeyId"):
        raise Invalid(f"{whose}: KmsKeyId is not supported: Clary does not encrypt data.")
    target = parse_uri(asked["OutputS3Uri"])
    key = "/".join(part for part in (target.key.rstrip("/"), job, entry["InputName"].replace("/", "_")) if part)
    return SourceQuery(
        name, asked["ClusterId"], asked["QueryString"], form, compression, Location(target.bucket, f"{key}/")
    )


def channel(entry: Mapping[str, Any], asked: SourceQuery, path: str) -> Channel:
    """The input that the files become."""
    definition = entry["DatasetDefinition"]
    return Channel(
        name=asked.input,
        location=asked.location,
        uri=str(asked.location),
        mode=definition.get("InputMode") or "File",
        distribution=definition.get("DataDistributionType") or "FullyReplicated",
        local_path=path,
    )


def check_sources(sources: Mapping[str, Mapping[str, str]], place: str = "sources") -> None:
    """Invalid for a source of the settings that cannot be one; its URL is not repeated: it may have a password in it."""
    for name, source in sources.items():
        where = f"{place}: {name}"
        if _NAME.fullmatch(name) is None:
            raise Invalid(f"{where} is no name: small letters, digits and hyphens, at most 63")
        if set(source) != {"url"}:
            raise Invalid(f"{where} has a url, and nothing else")
        parts = urlsplit(source["url"])
        if parts.scheme == "sqlite" and not parts.netloc and parts.path.startswith("/") and not parts.query:
            continue
        if parts.scheme not in ("postgresql", "postgres"):
            raise Invalid(f"{where}: url is postgresql://... or sqlite:///PATH")
        if _LOOPBACK.fullmatch(parts.hostname or "") or not (parts.hostname or socket_folder(source["url"])):
            raise Invalid(
                f"{where}: sandboxes do not reach this machine's loopback: name the database by another of its addresses, or its "
                "Unix socket: postgresql://USER@/DATABASE?host=/var/run/postgresql"
            )


def socket_folder(url: str) -> str:
    """The folder of the Unix socket that a PostgreSQL URL names; "" where it names a host."""
    found = parse_qs(urlsplit(url).query).get("host", [""])[0]
    return found if found.startswith("/") else ""


def shown(url: str) -> str:
    """A source's URL without its secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{'***@' if '@' in parts.netloc else ''}{host}{parts.path}{'?***' if parts.query else ''}"
