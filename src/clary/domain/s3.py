"""Places in the object store, as requests name them: `s3://bucket/key`, and S3's https addresses. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from clary.domain.errors import Invalid

_SCHEME = re.compile(r"^(?P<scheme>s3|https?)://(?P<host>[^/]+)/?(?P<path>.*)$", re.DOTALL)
_PATH_STYLE = re.compile(r"^s3([.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?$")
_VIRTUAL_HOST = re.compile(r"^(?P<bucket>[a-z0-9][a-z0-9.-]*)\.s3([.-][a-z0-9-]+)*\.amazonaws\.com(\.cn)?$")


@dataclass(frozen=True, slots=True)
class Location:
    """A bucket and a key or prefix ('' for the whole bucket)."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def below(self, *names: str) -> Location:
        return Location(self.bucket, "/".join([*([self.key.rstrip("/")] if self.key.rstrip("/") else []), *names]))


def parse_uri(uri: str) -> Location:
    """`s3://bucket/key`, and the https forms that old notebooks use: path style on `s3`, `s3-REGION`, `s3.REGION` hosts, and
    `BUCKET.s3...`. Other https hosts are not read: Clary fetches only from the object store."""
    match = _SCHEME.match(uri)
    if match is None:
        raise Invalid(f'"{uri}" is not an S3 URI: it must look like s3://bucket/key.')
    host, path = match["host"], match["path"]
    if match["scheme"] == "s3":
        return Location(host, path)
    if _PATH_STYLE.match(host):
        bucket, _, key = path.partition("/")
        if not bucket:
            raise Invalid(f'"{uri}" names no bucket.')
        return Location(bucket, key)
    virtual = _VIRTUAL_HOST.match(host)
    if virtual is not None:
        return Location(virtual["bucket"], path)
    raise Invalid(
        f'"{uri}" is not an S3 URI: only s3:// and https:// addresses of Amazon S3 are read (from Clary\'s own store).'
    )
