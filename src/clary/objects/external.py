"""`ports.Artifacts` over any S3 server that the user named: botocore in threads, files by download and upload.

Owns: the client, whole-or-nothing downloads, the server's errors as ours. Does not know: Clary's own store.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from clary.domain.errors import Denied, Invalid, NotFound, Unavailable
from clary.objects.files import checked_names
from clary.ports import StoredObject

T = TypeVar("T")
THREADS = 8
PIECE = 1 << 20


class ExternalArtifacts:
    """See `ports.Artifacts`. One key pair of the server's serves all of Clary's accounts."""

    def __init__(
        self, endpoint: str, access_key: str, secret_key: str, region: str, session_token: str = "", bundle: str = ""
    ) -> None:
        """`session_token`: of temporary keys. `bundle`: a PEM file that the server's certificate must be signed by ("": the machine's)."""
        self._session_token, self._bundle = session_token, bundle
        self._endpoint, self._access_key, self._secret_key, self._region = endpoint, access_key, secret_key, region
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._lock = threading.Lock()
        self._made: Any = None

    def of(self, account: str) -> ExternalArtifacts:
        return self

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        if self._made is not None:
            self._made.close()

    def _client(self) -> Any:
        """Made on first use: botocore's models take a while to load."""
        import boto3
        from botocore.config import Config

        with self._lock:
            if self._made is None:
                token = self._session_token or None
                self._made = boto3.Session(self._access_key, self._secret_key, token, self._region).client(
                    "s3",
                    endpoint_url=self._endpoint,
                    verify=self._bundle or None,
                    config=Config(
                        signature_version="s3v4",
                        s3={"addressing_style": "path"},
                        retries={"mode": "standard", "max_attempts": 4},
                        max_pool_connections=2 * THREADS,
                    ),
                )
            return self._made

    async def _run(self, work: Callable[[], T], what: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except ClientError as error:
            code = error.response["Error"].get("Code", "")
            status = error.response["ResponseMetadata"].get("HTTPStatusCode")
            said = f"{what}: {error.response['Error'].get('Message') or code}"
            if status == 404:
                raise NotFound(said) from error
            if status in (401, 403):
                raise Denied(said) from error
            raise Unavailable(f"{said} ({code})") from error
        except ParamValidationError as error:  # a name that no bucket or object has
            raise NotFound(f"{what}: {error}") from error
        except BotoCoreError as error:
            raise Unavailable(f"{what}: {error}") from error

    async def find(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        def work() -> list[StoredObject]:
            pages = self._client().get_paginator("list_objects_v2")
            pages = pages.paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"MaxItems": limit})
            return [
                StoredObject(one["Key"], one["Size"], one["ETag"].strip('"'))
                for page in pages
                for one in page.get("Contents", [])
            ]

        found = await self._run(work, f"s3://{bucket}/{prefix}")
        return sorted(found, key=lambda one: one.key.encode())  # not every server lists in byte order

    async def exists(self, bucket: str) -> bool:
        try:
            await self._run(lambda: self._client().head_bucket(Bucket=bucket), f"s3://{bucket}")
        except (NotFound, Denied):
            return False
        return True

    async def make(self, bucket: str, region: str) -> None:
        """In the region of the store: Clary's own are names to it."""
        if await self.exists(bucket):
            return
        where = (
            {} if self._region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
        )
        await self._run(lambda: self._client().create_bucket(Bucket=bucket, **where), f"s3://{bucket}")

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        checked_names(keys)
        os.makedirs(folder, exist_ok=True)
        before = set(os.listdir(folder))
        jobs = [
            asyncio.create_task(
                self._run(partial(self._download, bucket, key, f"{folder}/{path}"), f"s3://{bucket}/{key}")
            )
            for key, path in keys.items()
        ]
        complete = False
        try:
            await asyncio.gather(*jobs)
            complete = True
        finally:
            if not complete:
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
                _remove_new(folder, before)

    def _download(self, bucket: str, key: str, path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        body = self._client().get_object(Bucket=bucket, Key=key)["Body"]
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444), "wb") as file:
            shutil.copyfileobj(body, file, PIECE)

    async def head(self, bucket: str, key: str) -> StoredObject:
        def work() -> StoredObject:
            found = self._client().head_object(Bucket=bucket, Key=key)
            return StoredObject(key, found["ContentLength"], found["ETag"].strip('"'), found.get("ContentType", ""))

        return await self._run(work, f"s3://{bucket}/{key}")

    async def read(self, bucket: str, key: str, limit: int) -> bytes:
        def work() -> bytes:
            answer = self._client().get_object(Bucket=bucket, Key=key)
            with answer["Body"] as body:
                if answer["ContentLength"] > limit:
                    raise Invalid(
                        f"s3://{bucket}/{key} has {answer['ContentLength']} bytes; Clary reads at most {limit} here."
                    )
                content: bytes = body.read()
                return content

        return await self._run(work, f"s3://{bucket}/{key}")

    async def store_file(self, path: str, bucket: str, key: str, content_type: str = "", move: bool = False) -> str:
        def work() -> str:
            extra = {"ContentType": content_type} if content_type else {}
            self._client().upload_file(path, bucket, key, ExtraArgs=extra)
            etag: str = self._client().head_object(Bucket=bucket, Key=key)["ETag"].strip('"')
            if move:
                os.unlink(path)
            return etag

        from boto3.exceptions import S3UploadFailedError

        try:
            return await self._run(work, f"s3://{bucket}/{key}")
        except S3UploadFailedError as error:
            cause = error.__context__
            if isinstance(cause, ClientError) and cause.response["ResponseMetadata"].get("HTTPStatusCode") == 404:
                raise NotFound(f"s3://{bucket}/{key}: {error}") from error
            raise Unavailable(f"s3://{bucket}/{key}: {error}") from error

    async def delete(self, bucket: str, key: str) -> None:
        await self._run(lambda: self._client().delete_object(Bucket=bucket, Key=key), f"s3://{bucket}/{key}")


def _remove_new(folder: str, before: set[str]) -> None:
    """What a failed placing left among other things of the folder."""
    for name in set(os.listdir(folder)) - before:
        path = f"{folder}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
