"""Where backups are kept: a folder, or a prefix of a bucket in any S3. What was put is whole, or is not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from clary.domain.errors import Invalid, NotFound, Unavailable
from clary.domain.s3 import parse_uri
from clary.objects.files import copy_file, sync_file, sync_folder

_MARK = ".part-"  # of what is being written into a folder


class Vault(Protocol):
    """Paths are relative and use `/`. Unavailable when it cannot be reached or written; NotFound for a path that is not there."""

    where: str

    def names(self, prefix: str) -> list[str]:
        """Paths below that prefix, sorted."""

    def put(self, path: str, data: bytes) -> None:
        """Durable when it returns, in place of what was there."""

    def put_file(self, path: str, source: Path) -> None:
        """The same, of a file's content."""

    def get(self, path: str) -> bytes: ...

    def get_file(self, path: str, target: Path) -> None:
        """Write its content to a file that is not there yet."""

    def delete(self, path: str) -> None:
        """Nothing happens when it is not there."""

    def settle(self) -> None:
        """What `put_file` took is durable once this returns."""


def vault_at(target: str) -> Vault:
    """The vault of a command line: `s3://BUCKET/PREFIX` or a folder, which need not be there."""
    if not target:
        raise Invalid("name a folder or s3://BUCKET/PREFIX for the backup")
    return BucketVault(target) if target.startswith("s3://") else FolderVault(Path(target))


class FolderVault:
    """See `Vault`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.where = str(folder)
        self._dirty: set[Path] = set()

    def names(self, prefix: str) -> list[str]:
        with _explained(self.where):
            found = self._folder.joinpath(prefix).rglob("*")
            return sorted(
                str(path.relative_to(self._folder)) for path in found if path.is_file() and _MARK not in path.name
            )

    def put(self, path: str, data: bytes) -> None:
        with _explained(self.where), self._staged(path) as staged:
            staged.write_bytes(data)
        self.settle()

    def put_file(self, path: str, source: Path) -> None:
        with _explained(self.where), self._staged(path) as staged:
            copy_file(str(source), str(staged))

    def get(self, path: str) -> bytes:
        with _explained(self.where):
            return (self._folder / path).read_bytes()

    def get_file(self, path: str, target: Path) -> None:
        with _explained(self.where):
            copy_file(str(self._folder / path), str(target))

    def delete(self, path: str) -> None:
        with _explained(self.where):
            (self._folder / path).unlink(missing_ok=True)

    def settle(self) -> None:
        with _explained(self.where):
            for folder in self._dirty:
                sync_folder(str(folder))
        self._dirty.clear()

    @contextmanager
    def _staged(self, path: str) -> Iterator[Path]:
        """A file beside `path` that takes its place, synced, at the end."""
        target = self._folder / path
        self._make(target.parent)
        staged = target.parent / f"{_MARK}{secrets.token_hex(8)}"
        try:
            yield staged
            sync_file(str(staged))
            os.replace(staged, target)
        finally:
            staged.unlink(missing_ok=True)
        self._dirty.add(target.parent)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            with suppress(FileExistsError):
                folder.mkdir(0o700)
            self._dirty.add(folder.parent)


@contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{where} holds no {error.filename}") from error
    except OSError as error:
        raise Unavailable(f"{where} cannot be used: {error.strerror or error}") from error


class BucketVault:
    """See `Vault`. Credentials, region and endpoint are those of the shell, as for the AWS CLI."""

    def __init__(self, uri: str, client: Any = None) -> None:
        place = parse_uri(uri)
        self._bucket, self._prefix = place.bucket, f"{place.key.rstrip('/')}/" if place.key.strip("/") else ""
        self.where = uri
        with self._explained():
            self._client = client or _client()

    @property
    def endpoint(self) -> str:
        return str(self._client.meta.endpoint_url)

    def names(self, prefix: str) -> list[str]:
        with self._explained():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            return sorted(
                entry["Key"].removeprefix(self._prefix) for page in pages for entry in page.get("Contents", ())
            )

    def put(self, path: str, data: bytes) -> None:
        with self._explained():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=data)

    def put_file(self, path: str, source: Path) -> None:
        with self._explained():
            self._client.upload_file(str(source), self._bucket, self._prefix + path)

    def get(self, path: str) -> bytes:
        with self._explained(path):
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"].read()
            return data

    def get_file(self, path: str, target: Path) -> None:
        with self._explained(path):
            self._client.download_file(self._bucket, self._prefix + path, str(target))

    def delete(self, path: str) -> None:
        with self._explained():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + path)

    def settle(self) -> None:
        """S3's answer means durable."""

    @contextmanager
    def _explained(self, path: str = "") -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            if path and error.response.get("Error", {}).get("Code") in ("NoSuchKey", "404"):
                raise NotFound(f"{self.where} holds no {path}") from error
            raise Unavailable(f"{self.where} cannot be used: {error}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise Unavailable(f"{self.where} cannot be used: {error}") from error


def _client() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 6}))
