"""Inputs of processing jobs that are asked of an SQL database, or of Athena: the shapes of DatasetDefinition. Pure.

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
ATHENA = "AthenaDatasetDefinition"
ATHENA_FORMS: Mapping[str, tuple[str, ...]] = {  # as `toolkit/query.py` writes them
    "PARQUET": ("GZIP", "SNAPPY"),
    "JSON": ("GZIP",),
    "TEXTFILE": ("GZIP",),
}
FORMS: Mapping[str, tuple[str, ...]] = {  # as `toolkit/sources.py` writes them
    "PARQUET": ("NONE", "GZIP", "ZSTD", "SNAPPY"),
    "CSV": ("NONE", "GZIP", "ZSTD", "BZIP2"),
}
CATALOG = "AwsDataCatalog"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")  # of Redshift's clusters
_SELECT = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(select|with|values|table)\b", re.IGNORECASE | re.DOTALL)
_LOOPBACK = re.compile(r"localhost|127(?:\.\d+){3}|::1")


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """What one input is asked for: `input` is its channel's name, `location` the folder of its files. One for Athena has a `database`, and
    no source."""

    input: str
    source: str
    sql: str
    form: str
    compression: str
    location: Location
    database: str = ""


def query(entry: Mapping[str, Any], name: str, job: str) -> SourceQuery:
    """Of an input with a DatasetDefinition; `name` is that of its channel. Invalid for one that has neither shape, or a bad one."""
    definition, whose = entry["DatasetDefinition"], f"Input {entry['InputName']!r}"
    athena, redshift = definition.get(ATHENA), definition.get(SHAPE)
    if (athena is None) == (redshift is None):
        raise Invalid(f"{whose}: DatasetDefinition needs {SHAPE} or {ATHENA}, and one of them.")
    asked = athena or redshift
    if _SELECT.match(asked["QueryString"]) is None:
        raise Invalid(f"{whose}: QueryString must be one SELECT.")
    # Athena's UNLOAD packs with GZIP unless told otherwise.
    form, compression = asked["OutputFormat"], asked.get("OutputCompression") or ("GZIP" if athena else "NONE")
    compression = {"None": "NONE"}.get(compression, compression)
    if athena and form not in ATHENA_FORMS:
        raise Invalid(f"{whose}: OutputFormat {form} is not supported; {', '.join(ATHENA_FORMS)} are.")
    if compression not in (ATHENA_FORMS if athena else FORMS).get(form, ()):
        raise Invalid(f"{whose}: OutputFormat {form} does not go with OutputCompression {compression}.")
    if asked.get("KmsKeyId"):
        raise Invalid(f"{whose}: KmsKeyId is not supported: Clary does not encrypt data.")
    target = parse_uri(asked["OutputS3Uri"])
    key = "/".join(part for part in (target.key.rstrip("/"), job, entry["InputName"].replace("/", "_")) if part)
    location = Location(target.bucket, f"{key}/")
    if athena:
        if asked["Catalog"].lower() != CATALOG.lower():
            raise Invalid(f"{whose}: Catalog {asked['Catalog']} does not exist; there is {CATALOG}.")
        return SourceQuery(name, "", asked["QueryString"], form, compression, location, asked["Database"])
    return SourceQuery(name, asked["ClusterId"], asked["QueryString"], form, compression, location)


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
