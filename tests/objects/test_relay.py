"""Another S3 server in the place of ours, reached through Clary's port with Clary's keys. (The other one is our own store here.)"""

from __future__ import annotations

import io
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.objects.conftest import Live

from clary.app.settings import load


class Relayed(Live):
    """An object process whose settings name another server."""

    def __init__(self, root: Path, other: Live) -> None:
        super().__init__(root)
        settings = load(
            {
                "dir": str(root),
                "s3_endpoint": other.endpoint,
                "s3_access_key": other.key.access_key_id,
                "s3_secret_key": other.key.secret,
            },
            {},
        )
        settings.write(root / "settings.json")
        self.options = ("--settings", str(root / "settings.json"))


@pytest.fixture(scope="module")
def relayed(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relayed]:
    server = Relayed(tmp_path_factory.mktemp("relayed"), live)
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def near(relayed: Relayed) -> Any:
    client = relayed.client()
    client.create_bucket(Bucket="relayed")
    return client


def refused(call: Any, **params: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as info:
        call(**params)
    answer = info.value.response
    return str(answer["Error"]["Code"]), int(answer["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.parametrize("key", ["a b+c%20d.txt", "ü/é", "q?&=#", "tilde~(1)'*!.txt", "x//y/", "a/./b/../c"])
def test_a_key_is_the_same_there(near: Any, s3: Any, key: str) -> None:
    near.put_object(Bucket="relayed", Key=key, Body=key.encode())
    assert s3.get_object(Bucket="relayed", Key=key)["Body"].read() == key.encode()
    assert near.get_object(Bucket="relayed", Key=key)["Body"].read() == key.encode()
    assert key in {one["Key"] for one in near.list_objects_v2(Bucket="relayed")["Contents"]}


def test_large_bodies_and_ranges(near: Any, s3: Any, relayed: Relayed) -> None:
    body = os.urandom(20 << 20)
    near.upload_fileobj(io.BytesIO(body), "relayed", "parts")
    near.put_object(Bucket="relayed", Key="whole", Body=body, ChecksumAlgorithm="SHA256")
    assert s3.get_object(Bucket="relayed", Key="parts")["Body"].read() == body
    assert near.get_object(Bucket="relayed", Key="whole")["Body"].read() == body
    assert near.head_object(Bucket="relayed", Key="whole")["ContentLength"] == len(body)
    assert near.get_object(Bucket="relayed", Key="whole", Range="bytes=5-9")["Body"].read() == body[5:10]
    assert os.listdir(relayed.root / "objects" / "staging") == []


def test_metadata_and_headers_travel(near: Any, s3: Any) -> None:
    near.put_object(
        Bucket="relayed", Key="meta", Body=b"x", ContentType="text/csv", Metadata={"a": "b"}, ContentEncoding="gzip",
        ServerSideEncryption="aws:kms", ExpectedBucketOwner="000000000000",
    )  # fmt: skip
    head = s3.head_object(Bucket="relayed", Key="meta")
    assert (head["ContentType"], head["Metadata"], head["ContentEncoding"]) == ("text/csv", {"a": "b"}, "gzip")
    near.copy_object(Bucket="relayed", Key="copied", CopySource={"Bucket": "relayed", "Key": "meta"})
    assert s3.get_object(Bucket="relayed", Key="copied")["Body"].read() == b"x"


def test_presigned_urls_and_removal(near: Any) -> None:
    near.put_object(Bucket="relayed", Key="gone/1", Body=b"1")
    url = near.generate_presigned_url("get_object", Params={"Bucket": "relayed", "Key": "gone/1"})
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"1"
    near.delete_objects(Bucket="relayed", Delete={"Objects": [{"Key": "gone/1"}]})
    assert near.list_objects_v2(Bucket="relayed", Prefix="gone/")["KeyCount"] == 0


def test_the_other_server_s_refusals_pass(near: Any) -> None:
    assert refused(near.get_object, Bucket="relayed", Key="none") == ("NoSuchKey", 404)
    assert refused(near.head_object, Bucket="relayed", Key="none") == ("404", 404)
    assert refused(near.list_objects_v2, Bucket="not-there") == ("NoSuchBucket", 404)
    etag = near.put_object(Bucket="relayed", Key="same", Body=b"1")["ETag"]
    assert refused(near.get_object, Bucket="relayed", Key="same", IfNoneMatch=etag) == ("304", 304)


def test_only_clary_s_own_keys_are_taken(near: Any, relayed: Relayed, live: Live) -> None:
    stranger = relayed.client(live.key.access_key_id, live.key.secret)
    assert refused(stranger.list_buckets) == ("InvalidAccessKeyId", 403)
    wrong = relayed.client(relayed.key.access_key_id, "wrong")
    assert refused(wrong.put_object, Bucket="relayed", Key="x", Body=b"x") == ("SignatureDoesNotMatch", 403)


def test_an_unreachable_server_is_said(tmp_path: Path) -> None:
    away = Live(tmp_path / "away")
    server = Relayed(tmp_path / "near", away)
    server.start()
    try:
        with pytest.raises(ClientError, match="does not answer") as info:
            server.client(connect_timeout=5).list_buckets()
        assert info.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    finally:
        server.end(signal.SIGTERM)
