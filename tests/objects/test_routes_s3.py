"""What boto3 and plain HTTP clients meet beyond the acceptance cases."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import os
import socket
import time
import urllib.parse
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clary.stores.keys import FileKeys

MIB = 1 << 20


def refused(call: Any, code: str, status: int) -> dict[str, Any]:
    with pytest.raises(ClientError) as raised:
        call()
    answer: dict[str, Any] = raised.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    return answer


def fetch(
    url: str, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        connection.request(
            method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body or None, headers or {}
        )
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def unfinished(live: Any) -> list[str]:
    """Staging files but for the parts of open uploads."""
    return [name for name in os.listdir(live.root / "objects" / "staging") if "." not in name]


# -- accounts ------------------------------------------------------------------------------------------------------------------


def test_another_account_gets_nothing(live: Any, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"mine")
    other = live.other("111111111111")
    calls = [
        lambda: other.get_object(Bucket=bucket, Key="k"),
        lambda: other.get_object(Bucket=bucket, Key="missing"),
        lambda: other.put_object(Bucket=bucket, Key="k", Body=b"theirs"),
        lambda: other.list_objects_v2(Bucket=bucket),
        lambda: other.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}),
        lambda: other.create_multipart_upload(Bucket=bucket, Key="k"),
        lambda: other.delete_bucket(Bucket=bucket),
        lambda: other.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
        lambda: other.get_bucket_acl(Bucket=bucket),
    ]
    for call in calls:
        refused(call, "AccessDenied", 403)
    theirs = f"theirs-{bucket}"
    other.create_bucket(Bucket=theirs)
    source = {"Bucket": bucket, "Key": "k"}
    refused(lambda: other.copy_object(Bucket=theirs, Key="k", CopySource=source), "AccessDenied", 403)
    upload = other.create_multipart_upload(Bucket=theirs, Key="k")["UploadId"]
    copy = {"Bucket": theirs, "Key": "k", "UploadId": upload, "PartNumber": 1, "CopySource": source}
    refused(lambda: other.upload_part_copy(**copy), "AccessDenied", 403)
    refused(lambda: other.create_bucket(Bucket=bucket), "BucketAlreadyExists", 409)
    refused(lambda: s3.head_bucket(Bucket=bucket, ExpectedBucketOwner="111111111111"), "403", 403)
    assert [one["Name"] for one in other.list_buckets()["Buckets"]] == [theirs]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"
    other.close()


def test_temporary_keys_work_until_they_end(live: Any, bucket: str) -> None:
    keys = FileKeys(live.root / "keys")
    principal = "arn:aws:sts::000000000000:assumed-role/r/s"
    good = keys.issue("000000000000", principal, 600, time.time())
    old = keys.issue("000000000000", principal, 600, time.time() - 700)
    client = live.client(good.access_key_id, good.secret, good.session_token)
    client.put_object(Bucket=bucket, Key="k", Body=b"1")
    for signature in ("s3", "s3v4"):
        signer = live.client(good.access_key_id, good.secret, good.session_token, signature_version=signature)
        url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
        assert fetch(url)[0] == 200
        signer.close()
    client.close()
    expired = live.client(old.access_key_id, old.secret, old.session_token)
    refused(lambda: expired.get_object(Bucket=bucket, Key="k"), "ExpiredToken", 400)
    forged = live.client(good.access_key_id, good.secret, good.session_token[:-4] + "AAAA")
    refused(lambda: forged.get_object(Bucket=bucket, Key="k"), "InvalidToken", 400)


def test_a_public_bucket_of_aws_is_explained(s3: Any) -> None:
    for name in ("sagemaker-sample-files", "sagemaker-sample-data-us-west-2", "jumpstart-cache-prod-us-east-1"):
        answer = refused(lambda name=name: s3.get_object(Bucket=name, Key="k"), "NoSuchBucket", 404)
        assert "AWS's public buckets" in answer["Error"]["Message"]


# -- addressing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "style",
    ["{b}.localhost", "{b}.s3.us-east-1.amazonaws.com", "{b}.s3-us-west-2.amazonaws.com", "s3-eu-west-1.amazonaws.com"],
)
@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_hosts_that_name_the_bucket(live: Any, s3: Any, bucket: str, style: str, version: str) -> None:
    s3.put_object(Bucket=bucket, Key="a/ü k", Body=b"1")
    host = style.format(b=bucket)
    from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    hosted = "{b}" in style
    path = urllib.parse.quote("/a/ü k" if hosted else f"/{bucket}/a/ü k")
    credentials = Credentials(live.key.access_key_id, live.key.secret)
    request = AWSRequest("GET", f"http://{host}{path}")
    if version == "s3v4":
        S3SigV4QueryAuth(credentials, "s3", "us-east-1", expires=60).add_auth(request)
    else:
        request.auth_path = urllib.parse.quote(f"/{bucket}/a/ü k")
        HmacV1QueryAuth(credentials, expires=60).add_auth(request)
    query = urllib.parse.urlsplit(request.url).query
    status, _, body = fetch(f"{live.endpoint}{path}?{query}", headers={"Host": host})
    assert (status, body) == (200, b"1")


# -- objects -------------------------------------------------------------------------------------------------------------------


def test_one_range_and_the_part_of_an_object(s3: Any, bucket: str) -> None:
    body = os.urandom(300_000)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=1000-250000")
    assert got["Body"].read() == body[1000:250_001]
    assert (got["ContentLength"], got["ContentRange"]) == (249_001, "bytes 1000-250000/300000")
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-1,5-6")["Body"].read() == body
    answer = refused(lambda: s3.get_object(Bucket=bucket, Key="k", Range="bytes=300000-"), "InvalidRange", 416)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-range"] == "bytes */300000"
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=1)["ContentLength"] == 300_000
    head = s3.head_object(Bucket=bucket, Key="k", Range="bytes=0-9")
    assert (head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]) == (10, 206)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums_are_kept_for_small_and_large(live: Any, s3: Any, bucket: str, algorithm: str) -> None:
    from clary.wire.checksums import checksum

    member = f"Checksum{algorithm}"
    for size in (10, 700_000):
        body = os.urandom(size)
        sums = checksum(algorithm)
        sums.update(body)
        value = base64.b64encode(sums.digest()).decode()
        s3.put_object(Bucket=bucket, Key="k", Body=body, **{member: value})
        assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[member] == value
        [listed] = s3.list_objects_v2(Bucket=bucket)["Contents"]
        assert listed["ChecksumAlgorithm"] == [algorithm]
        wrong = base64.b64encode(bytes(len(sums.digest()))).decode()
        refused(
            lambda body=body, wrong=wrong: s3.put_object(Bucket=bucket, Key="k", Body=body, **{member: wrong}),
            "BadDigest",
            400,
        )
        attributes = s3.get_object_attributes(
            Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ETag", "StorageClass"]
        )
        assert attributes["Checksum"][member] == value
        assert attributes["StorageClass"] == "STANDARD"


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"), ("SHA256", "COMPOSITE")],
)
def test_checksums_of_multipart_uploads(s3: Any, bucket: str, algorithm: str, kind: str) -> None:
    from clary.wire.checksums import checksum

    bodies = [os.urandom(5 * MIB), os.urandom(1000)]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)[
        "UploadId"
    ]
    parts = []
    digests = []
    for number, body in enumerate(bodies, 1):
        sums = checksum(algorithm)
        sums.update(body)
        digests.append(sums.digest())
        value = base64.b64encode(sums.digest()).decode()
        sent = {f"Checksum{algorithm}": value}
        answer = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=body, **sent)
        assert answer[f"Checksum{algorithm}"] == value
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **sent})
    wrong = [{**parts[0], f"Checksum{algorithm}": parts[1][f"Checksum{algorithm}"]}, parts[1]]
    ending = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    refused(lambda: s3.complete_multipart_upload(**ending, MultipartUpload={"Parts": wrong}), "InvalidPart", 400)
    done = s3.complete_multipart_upload(**ending, MultipartUpload={"Parts": parts}, ChecksumType=kind)
    whole = checksum(algorithm)
    whole.update(b"".join(bodies) if kind == "FULL_OBJECT" else b"".join(digests))
    value = base64.b64encode(whole.digest()).decode() + ("" if kind == "FULL_OBJECT" else "-2")
    assert (done[f"Checksum{algorithm}"], done["ChecksumType"]) == (value, kind)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (value, kind)
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert second["Body"].read() == bodies[1]
    assert second["PartsCount"] == 2


def test_encryption_is_echoed(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"1", ServerSideEncryption="aws:kms", SSEKMSKeyId="my-key")
    head = s3.head_object(Bucket=bucket, Key="k")
    for answer in (put, head):
        assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"]) == ("aws:kms", "my-key")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", ServerSideEncryption="AES256")
    assert upload["ServerSideEncryption"] == "AES256"


def test_versions_of_an_object(s3: Any, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    one = s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="v=1")["VersionId"]
    two = s3.put_object(Bucket=bucket, Key="k", Body=b"2")["VersionId"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=one)["TagSet"] == [{"Key": "v", "Value": "1"}]
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert gone["DeleteMarker"]
    answer = refused(lambda: s3.get_object(Bucket=bucket, Key="k"), "NoSuchKey", 404)
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    refused(lambda: s3.get_object(Bucket=bucket, Key="k", VersionId=gone["VersionId"]), "MethodNotAllowed", 405)
    refused(lambda: s3.get_object(Bucket=bucket, Key="k", VersionId="none"), "NoSuchVersion", 404)
    source = {"Bucket": bucket, "Key": "k", "VersionId": one}
    copied = s3.copy_object(Bucket=bucket, Key="k", CopySource=source)
    assert copied["CopySourceVersionId"] == one
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    refused(lambda: s3.delete_bucket(Bucket=bucket), "BucketNotEmpty", 409)
    batch = [{"Key": "k", "VersionId": v} for v in (one, two, gone["VersionId"], copied["VersionId"])]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": batch})["Deleted"]) == 4
    s3.delete_bucket(Bucket=bucket)


def test_a_batch_deletes_under_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    s3.put_object(Bucket=bucket, Key="j", Body=b"1")
    asked = [{"Key": "k", "ETag": '"other"'}, {"Key": "j", "ETag": etag}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": asked})
    assert [one["Key"] for one in answer["Deleted"]] == ["j"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("k", "PreconditionFailed")]
    refused(lambda: s3.delete_object(Bucket=bucket, Key="k", IfMatch='"other"'), "PreconditionFailed", 412)


def test_what_bucket_settings_are_when_unset_and_set(s3: Any, bucket: str) -> None:
    for call, code in (
        (s3.get_bucket_policy, "NoSuchBucketPolicy"), (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (s3.get_bucket_lifecycle_configuration, "NoSuchLifecycleConfiguration"), (s3.get_bucket_tagging, "NoSuchTagSet"),
        (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
    ):  # fmt: skip
        refused(lambda call=call: call(Bucket=bucket), code, 404)
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert (
        s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"][0]["ObjectOwnership"]
        == "BucketOwnerEnforced"
    )
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert "TopicConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "a", "Value": "1"}]
    s3.delete_bucket_tagging(Bucket=bucket)
    refused(lambda: s3.get_bucket_tagging(Bucket=bucket), "NoSuchTagSet", 404)
    policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}'
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert s3.get_bucket_policy(Bucket=bucket)["Policy"] == policy
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    refused(lambda: s3.put_bucket_policy(Bucket=bucket, Policy="no"), "MalformedPolicy", 400)
    refused(lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"), "AccessControlListNotSupported", 400)
    website = {"IndexDocument": {"Suffix": "index.html"}}
    refused(lambda: s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=website), "NotImplemented", 501)


def test_the_region_of_a_bucket(live: Any, s3: Any, bucket: str) -> None:
    name = f"far-{bucket}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-south-1"})
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == "ap-south-1"
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "ap-south-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    refused(
        lambda: s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-south-1"}),
        "BucketAlreadyOwnedByYou", 409,
    )  # fmt: skip


def test_uploads_and_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    ids = [(key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in ("a", "a", "b/c", "d e")]
    found = []
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1}):
        found += [(one["Key"], one["UploadId"]) for one in page.get("Uploads", [])]
    assert sorted(found) == sorted(ids)
    rolled = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [one["Prefix"] for one in rolled["CommonPrefixes"]] == ["b/"]
    key, upload = ids[0]
    for number in (3, 1, 2):
        s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=b"x" * number)
    pages = s3.get_paginator("list_parts").paginate(
        Bucket=bucket, Key=key, UploadId=upload, PaginationConfig={"PageSize": 2}
    )
    assert [(one["PartNumber"], one["Size"]) for page in pages for one in page.get("Parts", [])] == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]
    parts = {"Parts": [{"PartNumber": n, "ETag": f'"{hashlib.md5(b"x" * n).hexdigest()}"'} for n in (1, 2)]}
    ending = {"Bucket": bucket, "Key": key, "UploadId": upload}
    refused(lambda: s3.complete_multipart_upload(**ending, MultipartUpload=parts), "EntityTooSmall", 400)
    parts["Parts"].reverse()
    refused(lambda: s3.complete_multipart_upload(**ending, MultipartUpload=parts), "InvalidPartOrder", 400)
    refused(lambda: s3.complete_multipart_upload(**ending, MultipartUpload={"Parts": []}), "MalformedXML", 400)
    refused(lambda: s3.upload_part(**ending, PartNumber=10_001, Body=b""), "InvalidArgument", 400)
    refused(lambda: s3.upload_part(**{**ending, "Key": "z"}, PartNumber=1, Body=b""), "NoSuchUpload", 404)


def test_parts_of_every_shape_become_the_object(live: Any, s3: Any, bucket: str) -> None:
    """Equal parts at their places, one sent twice, one of another size, gaps in the numbers, a last small one."""
    sizes = {1: 5 * MIB, 2: 5 * MIB, 4: 6 * MIB, 7: 5 * MIB, 9: 3}
    bodies = {number: os.urandom(size) for number, size in sizes.items()}
    for chosen in ([1, 2], [1, 2, 4, 7, 9], [2, 7], [9]):
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        etags = {}
        s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=os.urandom(5 * MIB))
        for number in (2, 1, 9, 7, 4):
            answer = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=bodies[number])
            etags[number] = answer["ETag"]
        listed = {"Parts": [{"PartNumber": number, "ETag": etags[number]} for number in chosen]}
        s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=listed)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(bodies[number] for number in chosen)
    assert list((live.root / "objects" / "staging").glob(f"{upload}*")) == []


def test_a_copy_of_a_large_object_costs_nothing(s3: Any, bucket: str) -> None:
    s3.upload_fileobj(io.BytesIO(os.urandom(20 * MIB)), bucket, "from")
    began = time.perf_counter()
    s3.copy_object(Bucket=bucket, Key="to", CopySource={"Bucket": bucket, "Key": "from"})
    assert time.perf_counter() - began < 5.0
    s3.delete_object(Bucket=bucket, Key="from")
    assert s3.head_object(Bucket=bucket, Key="to")["ContentLength"] == 20 * MIB


def test_lists_of_odd_arguments(s3: Any, live: Any, bucket: str) -> None:
    for key in ("a b/c", "a+b", "é"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    got = s3.list_objects_v2(Bucket=bucket, FetchOwner=True, MaxKeys=1)
    assert got["Contents"][0]["Owner"]["ID"] == "000000000000"
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    refused(lambda: s3.list_objects_v2(Bucket=bucket, ContinuationToken="rubbish"), "InvalidArgument", 400)
    url = s3.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket, "Prefix": "a b/"})
    assert b"<Key>a%20b/c</Key>" in fetch(url)[2]
    versions = s3.list_object_versions(Bucket=bucket, Prefix="a")["Versions"]
    assert [(one["Key"], one["VersionId"], one["IsLatest"]) for one in versions] == [
        ("a b/c", "null", True),
        ("a+b", "null", True),
    ]


# -- browsers ------------------------------------------------------------------------------------------------------------------


def form(fields: dict[str, str], file: bytes, name: str = "f.txt") -> tuple[dict[str, str], bytes]:
    edge = "xxEDGExx"
    parts = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
    ]
    parts.append(
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    )
    body = "".join(parts).encode() + file + f"\r\n--{edge}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={edge}"}, body


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_form_is_stored_under_its_policy(live: Any, s3: Any, bucket: str, version: str) -> None:
    signer = live.client(signature_version=version)
    made = signer.generate_presigned_post(
        bucket, "up/${filename}", Fields={"success_action_status": "201", "Content-Type": "text/x-form", "x-amz-meta-a": "1"},
        Conditions=[["starts-with", "$key", "up/"], {"success_action_status": "201"}, {"Content-Type": "text/x-form"},
                    {"x-amz-meta-a": "1"}, ["content-length-range", 5, 400_000]],
    )  # fmt: skip
    signer.close()
    file = os.urandom(300_000) + b"\r\n--xxEDGE\r\n"
    status, headers, body = fetch(made["url"], "POST", *form(made["fields"], file, "C:\\x\\ü.bin"))
    assert status == 201, body
    assert b"<Key>up/\xc3\xbc.bin</Key>" in body
    assert "up/%C3%BC.bin" in headers["location"]
    got = s3.get_object(Bucket=bucket, Key="up/ü.bin")
    assert got["Body"].read() == file
    assert (got["ContentType"], got["Metadata"]) == ("text/x-form", {"a": "1"})
    for fields, content, want in (
        (made["fields"], b"1234", 400),
        (made["fields"], b"1" * 400_001, 400),
        ({**made["fields"], "key": "down/x"}, b"12345", 403),
        ({**made["fields"], "x-amz-meta-b": "1"}, b"12345", 403),
        ({**made["fields"], "policy": base64.b64encode(b'{"conditions":[]}').decode()}, b"12345", 403),
        ({key: value for key, value in made["fields"].items() if key != "policy"}, b"12345", 403),
    ):
        assert fetch(made["url"], "POST", *form(fields, content))[0] == want
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    assert unfinished(live) == []


def test_cors_rules_are_kept_to(live: Any, s3: Any, bucket: str) -> None:
    ask = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "Content-Type",
    }
    url = f"{live.endpoint}/{bucket}/k"
    assert fetch(url, "OPTIONS", ask)[0] == 403
    rule = {
        "AllowedMethods": ["PUT", "GET"], "AllowedOrigins": ["https://*.example"], "AllowedHeaders": ["content-*"],
        "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60,
    }  # fmt: skip
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    status, headers, _ = fetch(url, "OPTIONS", ask)
    assert (status, headers["access-control-allow-origin"], headers["access-control-max-age"]) == (
        200,
        "https://app.example",
        "60",
    )
    assert fetch(url, "OPTIONS", {**ask, "Origin": "https://evil.test"})[0] == 403
    assert fetch(url, "OPTIONS", {**ask, "Access-Control-Request-Headers": "x-other"})[0] == 403
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    presigned = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    status, headers, _ = fetch(presigned, headers={"Origin": "https://app.example"})
    assert (status, headers["access-control-expose-headers"]) == (200, "ETag")


# -- the wire ------------------------------------------------------------------------------------------------------------------


def test_a_request_refused_before_its_body_does_not_poison_the_connection(live: Any, s3: Any, bucket: str) -> None:
    """A client that waits for 100-continue keeps its body when refused; what it sends next is its next request."""
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    for _ in range(30):
        refused(lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*"), "PreconditionFailed", 412)
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfMatch=etag)


def test_a_body_that_ends_early_is_nothing(live: Any, s3: Any, bucket: str) -> None:
    for size in (1000, 3_000_000):
        url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "half"})
        target = url.removeprefix(live.endpoint)
        with socket.create_connection(("127.0.0.1", live.port)) as connection:
            connection.sendall(
                f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\nContent-Length: {size}\r\n\r\n".encode()
            )
            connection.sendall(b"x" * (size // 2))
        refused(lambda: s3.head_object(Bucket=bucket, Key="half"), "404", 404)
    deadline = time.monotonic() + 10
    while unfinished(live):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 411),
        ({"Content-Length": "6000000000000"}, 400),
        ({"Content-Length": "1", "Content-MD5": "zz"}, 400),
    ],
)
def test_lengths_are_checked_first(live: Any, s3: Any, bucket: str, headers: dict[str, str], status: int) -> None:
    signer = live.client(signature_version="s3v4")
    url = signer.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    chunked = "" if headers else "Transfer-Encoding: chunked\r\n"
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        target = url.removeprefix(live.endpoint)
        connection.sendall(f"PUT {target} HTTP/1.1\r\nHost: 127.0.0.1:{live.port}\r\n{head}{chunked}\r\n".encode())
        if headers.get("Content-Length") == "1":
            connection.sendall(b"x")
        answer = connection.recv(4096).decode()
    assert answer.split(" ")[1] == str(status), answer


def test_presigned_urls_are_for_their_method_and_time(s3: Any, live: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    for version in ("s3", "s3v4"):
        signer = live.client(signature_version=version)
        url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
        assert fetch(url)[0] == 200
        assert fetch(url, "HEAD")[0] == 403
        assert fetch(url, "PUT", body=b"2")[0] == 403
        assert fetch(url, "DELETE")[0] == 403
        assert fetch(f"{url}&versionId=null")[0] == 403
        signer.close()
    weeks = live.client(signature_version="s3v4").generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=8 * 86400
    )
    assert fetch(weeks)[0] in (400, 403)


def test_the_default_checksum_is_right(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc")
    want = base64.b64encode(zlib.crc32(b"abc").to_bytes(4, "big")).decode()
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == want


def _attempt(client: Any, number: int) -> None:
    """Whatever this client asks from now on is that attempt at a call."""

    def change(request: Any, **_: Any) -> None:
        del request.headers["amz-sdk-request"]  # it is not signed
        request.headers["amz-sdk-request"] = f"attempt={number}; max=5"

    client.meta.events.register("before-send.s3", change)


def test_a_client_that_asks_again_for_what_it_has_made_does_not_fail(live: Any, s3: Any, bucket: str) -> None:
    """Its first success was not answered: the process died between the commit and the answer."""
    again = live.client()
    _attempt(again, 2)
    far = {"Bucket": f"far-{bucket}", "CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    s3.create_bucket(**far)
    again.create_bucket(**far)
    refused(lambda: s3.create_bucket(**far), "BucketAlreadyOwnedByYou", 409)
    elsewhere = {**far, "CreateBucketConfiguration": {"LocationConstraint": "eu-north-1"}}
    refused(lambda: again.create_bucket(**elsewhere), "BucketAlreadyOwnedByYou", 409)

    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ServerSideEncryption="AES256")["UploadId"]
    ending = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    parts = [
        {"PartNumber": number, "ETag": s3.upload_part(**ending, PartNumber=number, Body=part)["ETag"]}
        for number, part in ((1, b"x" * 5 * MIB), (2, b"end"))
    ]
    refused(
        lambda: again.complete_multipart_upload(**{**ending, "UploadId": "0" * 32}, MultipartUpload={"Parts": parts}),
        "NoSuchUpload",
        404,
    )
    first = s3.complete_multipart_upload(**ending, MultipartUpload={"Parts": parts})
    second = again.complete_multipart_upload(**ending, MultipartUpload={"Parts": parts})
    for name in ("ETag", "Location", "Key", "ChecksumCRC64NVME", "ServerSideEncryption"):
        assert second.get(name) == first.get(name)
    refused(lambda: s3.complete_multipart_upload(**ending, MultipartUpload={"Parts": parts}), "NoSuchUpload", 404)
    refused(
        lambda: again.complete_multipart_upload(**ending, MultipartUpload={"Parts": parts[:1]}), "NoSuchUpload", 404
    )
    odd = [{**parts[0], "ETag": "odd"}, parts[1]]
    refused(lambda: again.complete_multipart_upload(**ending, MultipartUpload={"Parts": odd}), "NoSuchUpload", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"another")
    refused(lambda: again.complete_multipart_upload(**ending, MultipartUpload={"Parts": parts}), "NoSuchUpload", 404)
