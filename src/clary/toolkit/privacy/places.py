"""Objects of S3 with all their versions: listed, fetched into a file, replaced only as they were read.

A replacement is one PUT with If-Match: a reader, or who looks after this process was killed, finds the old object or the new one. When
somebody else wrote meanwhile, `ObjectChanged` says so, and the object is to be read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Tuple

NULL = "null"  # the version of an object that was written without versioning
LARGEST = 5 << 30  # bytes of one PUT
_KEPT = ("ContentType", "ContentDisposition", "ContentLanguage", "CacheControl", "Metadata")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "NoSuchVersion")


class ObjectChanged(Exception):
    """The object is not what it was when it was read."""


@dataclass(frozen=True)
class ObjectVersion:
    """One version of one object."""

    bucket: str
    key: str
    version: str
    etag: str
    size: int
    latest: bool

    def __str__(self) -> str:
        return "s3://{}/{}".format(self.bucket, self.key)


def split(uri: str) -> Tuple[str, str]:
    bucket, _, key = uri[len("s3://") :].partition("/")
    return bucket, key


class VersionedObjects:
    """What is done with S3. `client`: boto3's."""

    def __init__(self, client: Any) -> None:
        self._s3 = client

    def versions(self, uri: str) -> Iterator[ObjectVersion]:
        """Of all objects whose keys begin so. Old ones too, where the bucket keeps them."""
        bucket, prefix = split(uri)
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Versions", ()):
                yield ObjectVersion(
                    bucket, each["Key"], each["VersionId"], each["ETag"], each["Size"], bool(each["IsLatest"])
                )

    def fetch(self, held: ObjectVersion, path: str) -> None:
        """`ObjectChanged` where it is gone, or another one."""
        from botocore.exceptions import ClientError

        which = {} if held.version == NULL else {"VersionId": held.version}
        try:
            answer = self._s3.get_object(Bucket=held.bucket, Key=held.key, IfMatch=held.etag, **which)
        except ClientError as error:
            raise _told(error) from error
        with open(path, "wb") as file:
            for chunk in answer["Body"].iter_chunks(1 << 20):
                file.write(chunk)

    def replace(self, held: ObjectVersion, path: str) -> str:
        """The newest version by the file; answers the new version. What it replaces is not there any more afterwards, nor as an old one."""
        from botocore.exceptions import ClientError

        try:
            kept = self._kept(held)
            with open(path, "rb") as file:
                answer = self._s3.put_object(Bucket=held.bucket, Key=held.key, Body=file, IfMatch=held.etag, **kept)
        except ClientError as error:
            raise _told(error) from error
        fresh = str(answer.get("VersionId") or NULL)
        if held.version != fresh:
            self.delete(held)
        return fresh

    def _kept(self, held: ObjectVersion) -> Dict[str, Any]:
        from urllib.parse import urlencode

        head: Mapping[str, Any] = self._s3.head_object(Bucket=held.bucket, Key=held.key, IfMatch=held.etag)
        kept = {name: head[name] for name in _KEPT if head.get(name)}
        tags = self._s3.get_object_tagging(Bucket=held.bucket, Key=held.key)["TagSet"]
        return {**kept, **({"Tagging": urlencode({tag["Key"]: tag["Value"] for tag in tags})} if tags else {})}

    def delete(self, held: ObjectVersion) -> None:
        """This version, for good."""
        self._s3.delete_object(Bucket=held.bucket, Key=held.key, VersionId=held.version)

    def write(self, uri: str, body: bytes) -> None:
        bucket, key = split(uri)
        self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def _told(error: Any) -> Exception:
    code = str(error.response["Error"]["Code"])
    return ObjectChanged(code) if code in _CHANGED or code in ("404", "412", "409") else error  # type: ignore[no-any-return]
