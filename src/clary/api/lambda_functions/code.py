"""The code of functions: a zip that is checked and kept as an object in a bucket of the account. Nothing is unpacked here: that happens in
the function's own sandbox.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import tempfile
import zipfile
from contextlib import suppress
from typing import Any

from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from clary.api.call import Call, Params
from clary.domain.errors import ClaryError, Invalid, NotFound
from clary.domain.functions.record import LARGEST_CODE

ENTRIES = 100_000
_SECONDS = 600  # that the URL of code is good for


def bucket(call: Call) -> str:
    return f"clary-functions-{call.scope.region}-{call.scope.account}"


async def store(call: Call, name: str, given: Params, keep: bool = True) -> dict[str, Any]:
    """Check the archive that a request brings or names, and keep it: where it is, its size and digest. Invalid says what is wrong."""
    if given.get("ImageUri"):
        raise Invalid(
            "ImageUri: images of containers are not run as functions here; give ZipFile, or S3Bucket and S3Key"
        )
    with tempfile.TemporaryDirectory(prefix="clary-code-") as folder:
        path = await _fetched(call, given, folder)
        size, digest = await asyncio.to_thread(_checked, path)
        found: dict[str, Any] = {
            "bucket": bucket(call),
            "key": f"{name}/{call.new_id()}.zip",
            "size": size,
            "sha256": digest,
        }
        if keep:
            artifacts = call.ports.artifacts.of(call.scope.account)
            await artifacts.make(found["bucket"], call.scope.region)
            await artifacts.store_file(path, found["bucket"], found["key"], "application/zip")
    return found


async def _fetched(call: Call, given: Params, folder: str) -> str:
    content, source, key = given.get("ZipFile"), given.get("S3Bucket"), given.get("S3Key")
    if (content is None) == (not source or not key):
        raise Invalid("Please provide a source for function code: either ZipFile, or S3Bucket and S3Key.")
    path = os.path.join(folder, "code.zip")
    if content is not None:
        await asyncio.to_thread(_write, path, bytes(content))
        return path
    assert source
    assert key
    artifacts = call.ports.artifacts.of(call.scope.account)
    try:
        found = await artifacts.head(source, key)
        if found.size > LARGEST_CODE:
            raise Invalid(f"The code s3://{source}/{key} has {found.size} bytes; at most {LARGEST_CODE} are taken.")
        await artifacts.place(source, {key: "code.zip"}, folder)
    except NotFound as error:
        raise Invalid(f"Error occurred while GetObject. S3 Error Message: {error.message}") from None
    return path


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _checked(path: str) -> tuple[int, str]:
    """(bytes, SHA-256 in base64) of a zip whose directory can be read and promises no more than a function may have."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, UnicodeError):
        raise Invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from None
    total = sum(info.file_size for info in infos)
    if not infos or total > LARGEST_CODE or len(infos) > ENTRIES:
        raise Invalid(
            "Uploaded file must be a non-empty zip"
            if not infos
            else f"Unzipped size must be smaller than {LARGEST_CODE} bytes, in at most {ENTRIES} files; this has {total} in {len(infos)}"
        )
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return os.path.getsize(path), base64.b64encode(digest.digest()).decode()


async def drop(call: Call, code: Params) -> None:
    """Remove what no function names any more. It is no error when that cannot be done now: nobody looks for it again."""
    with suppress(ClaryError, OSError):
        await call.ports.artifacts.of(call.scope.account).delete(code["bucket"], code["key"])


def url(call: Call, code: Params) -> str:
    """Where the code can be fetched, without credentials, for a while."""
    issued = call.ports.keys.issue(call.scope.account, call.principal, _SECONDS, call.now)
    request = AWSRequest("GET", f"{call.settings.address.rstrip('/')}/{code['bucket']}/{code['key']}")
    credentials = Credentials(issued.access_key_id, issued.secret, issued.session_token)
    S3SigV4QueryAuth(credentials, "s3", call.scope.region, _SECONDS).add_auth(request)
    return str(request.url)
