"""Vaults: a folder, and a bucket (a stand-in of S3's client that answers from memory)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clary.app.backup.vaults import BucketVault, FolderVault, Vault
from clary.domain.errors import NotFound, Unavailable


class Bucket:
    """As much of S3's client as a vault asks for, pages of two keys. `file` is what an answer is read from."""

    def __init__(self, file: Path) -> None:
        self.objects: dict[str, bytes] = {}
        self.file = file

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:
        keys = [key for key in sorted(self.objects) if key.startswith(Prefix)]
        return [{"Contents": [{"Key": key} for key in keys[at : at + 2]]} for at in range(0, len(keys), 2)] or [{}]

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        self.objects[Key] = Body

    def upload_file(self, source: str, bucket: str, key: str) -> None:
        self.objects[key] = Path(source).read_bytes()

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        return {"Body": self._check(Key, "NoSuchKey").open("rb")}

    def download_file(self, bucket: str, key: str, target: str) -> None:
        Path(target).write_bytes(self._check(key, "404").read_bytes())

    def delete_object(self, Bucket: str, Key: str) -> None:
        self.objects.pop(Key, None)

    def _check(self, key: str, code: str) -> Path:
        if key not in self.objects:
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "GetObject")
        self.file.write_bytes(self.objects[key])
        return self.file


class Vaults:
    """What every vault does."""

    @pytest.fixture
    def vault(self, tmp_path: Path) -> Vault:
        raise NotImplementedError

    def test_what_was_put_is_there(self, vault: Vault, tmp_path: Path) -> None:
        (tmp_path / "source").write_bytes(b"content")
        vault.put("snapshots/b.json", b"{}")
        vault.put("snapshots/a.json", b"[]")
        vault.put_file("data/aa/aabb", tmp_path / "source")
        vault.settle()
        assert vault.names("snapshots/") == ["snapshots/a.json", "snapshots/b.json"]
        assert vault.names("data/") == ["data/aa/aabb"]
        assert vault.get("snapshots/a.json") == b"[]"
        vault.get_file("data/aa/aabb", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"content"

    def test_the_later_one_counts_and_what_is_deleted_is_gone(self, vault: Vault) -> None:
        vault.put("snapshots/a.json", b"1")
        vault.put("snapshots/a.json", b"2")
        assert vault.get("snapshots/a.json") == b"2"
        vault.delete("snapshots/a.json")
        vault.delete("snapshots/a.json")
        assert vault.names("snapshots/") == []

    def test_what_is_not_there_is_told(self, vault: Vault, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match=r"holds no .*data/aa/aabb"):
            vault.get("data/aa/aabb")
        with pytest.raises(NotFound):
            vault.get_file("data/aa/aabb", tmp_path / "target")


class TestFolderVault(Vaults):
    @pytest.fixture
    def vault(self, tmp_path: Path) -> Vault:
        return FolderVault(tmp_path / "new" / "vault")

    def test_what_a_killed_backup_was_writing_is_not_there(self, vault: Vault, tmp_path: Path) -> None:
        vault.put("data/aa/aabb", b"1")
        (tmp_path / "new/vault/data/aa/.part-1234").write_bytes(b"half")
        assert vault.names("data/") == ["data/aa/aabb"]

    def test_a_file_in_the_way_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(Unavailable, match="cannot be used: Not a directory"):
            FolderVault(tmp_path / "file").put("data/aa/aabb", b"1")


class TestBucketVault(Vaults):
    @pytest.fixture
    def vault(self, tmp_path: Path) -> Vault:
        return BucketVault("s3://backups/one/", Bucket(tmp_path / "answer"))
