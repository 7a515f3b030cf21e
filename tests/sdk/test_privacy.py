"""`clary privacy` over S3 with and without versions, captures and feature groups."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from tests.sdk.acts import User, unique, until
from tests.sdk.conftest import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]
CSV = "email,x\nada@example.org,1\nbob@example.org,2\nada@example.org,3\n"
LEFT = "email,x\nbob@example.org,2\n"


class Officer(User):
    """Somebody who answers for the data."""

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [
            sys.executable,
            "-m",
            "clary.app.cli",
            "privacy",
            *words,
            "--json",
            "--dir",
            str(self.server.settings.root),
        ]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(self, started: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
        out, error = started.communicate(timeout=240)
        assert out, error
        return started.returncode, json.loads(out)

    def privacy(self, *words: str) -> tuple[int, dict[str, Any]]:
        return self.ended(self.start(*words))

    def versions(self, prefix: str) -> list[str]:
        """The contents of all versions of all objects."""
        listed = self.s3.list_object_versions(Bucket=self.bucket, Prefix=prefix)
        contents = []
        for each in listed.get("Versions", []):
            body = self.s3.get_object(Bucket=self.bucket, Key=each["Key"], VersionId=each["VersionId"])["Body"]
            contents.append(body.read().decode())
        return contents


@pytest.fixture(scope="module")
def officer(server: Server) -> Officer:
    return Officer(server)


def test_erased_with_its_versions_and_on_record(officer: Officer) -> None:
    top = unique("people")
    officer.s3.put_bucket_versioning(Bucket=officer.bucket, VersioningConfiguration={"Status": "Enabled"})
    officer.put(f"{top}/a.csv", CSV)
    officer.s3.put_object(
        Bucket=officer.bucket, Key=f"{top}/a.csv", Body=CSV, ContentType="text/csv", Metadata={"a": "b"}, Tagging="c=d"
    )
    officer.put(f"{top}/b.jsonl", '{"email": "ada@example.org"}\n{"email": "bob@example.org"}\n')
    table = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"email": ["ada@example.org", "bob@example.org"]}), table)
    officer.put(f"{top}/c.parquet", table.getvalue())
    officer.put(f"{top}/d.csv", LEFT)
    where = ["--where", "email=ada@example.org", f"s3://{officer.bucket}/{top}/"]
    code, found = officer.privacy("find", *where)
    assert (code, found["matched"], found["objects"]) == (0, 6, 5)
    code, erased = officer.privacy("erase", *where)
    assert (code, erased["matched"], erased["proof"]["proven"]) == (0, 6, True)
    assert sorted(officer.versions(f"{top}/a.csv")) == [LEFT]
    assert officer.versions(f"{top}/b.jsonl") == ['{"email": "bob@example.org"}\n']
    kept = pyarrow.parquet.read_table(io.BytesIO(officer.get(f"s3://{officer.bucket}/{top}/c.parquet")))
    assert kept.to_pylist() == [{"email": "bob@example.org"}]
    head = officer.s3.head_object(Bucket=officer.bucket, Key=f"{top}/a.csv")
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"a": "b"})
    assert officer.s3.get_object_tagging(Bucket=officer.bucket, Key=f"{top}/a.csv")["TagSet"] == [
        {"Key": "c", "Value": "d"}
    ]
    record = officer.get(erased["audit"]).decode()
    assert json.loads(record)["state"] == "done"
    assert "ada@" not in record
    spec = officer.s3.list_object_versions(Bucket="sagemaker-us-east-1-000000000000", Prefix="clary-privacy")
    assert not [each for each in spec.get("Versions", []) if "/spec/" in each["Key"]]  # the value is nowhere


def test_captures_and_a_feature_group(officer: Officer) -> None:
    line = {"captureData": {"endpointInput": {"data": "1,ada", "encoding": "CSV", "observedContentType": "text/csv"}}}
    top = unique("capture")
    officer.put(f"{top}/one.jsonl", json.dumps(line) + "\n" + json.dumps(line).replace("ada", "bob") + "\n")
    group = unique("people")
    officer.sm.create_feature_group(
        FeatureGroupName=group,
        RecordIdentifierFeatureName="id",
        EventTimeFeatureName="at",
        FeatureDefinitions=[{"FeatureName": name, "FeatureType": "String"} for name in ("id", "at", "name")],
        OnlineStoreConfig={"EnableOnlineStore": True},
        OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{officer.bucket}/store"}},
        RoleArn=ROLE,
    )
    until(
        lambda: officer.sm.describe_feature_group(FeatureGroupName=group)["FeatureGroupStatus"] == "Created",
        seconds=180,
    )
    records = officer.server.client("sagemaker-featurestore-runtime")
    for who, name in (("7", "ada"), ("8", "bob")):
        row = {"id": who, "at": "2026-01-01T00:00:00Z", "name": name}
        entries = [{"FeatureName": key, "ValueAsString": value} for key, value in row.items()]
        records.put_record(FeatureGroupName=group, Record=entries)
    words = ["--where", "name=ada", f"s3://{officer.bucket}/{top}/", "--group", group, "--columns", "x,name"]
    code, erased = officer.privacy("erase", *words)
    assert (code, erased["proof"]["proven"], erased["online"]) == (0, True, [{"group": group, "stored": False}])
    assert erased["matched"] == 2  # one captured line, one row of the history
    gone, kept = (
        records.get_record(FeatureGroupName=group, RecordIdentifierValueAsString=who).get("Record") for who in "78"
    )
    assert gone is None
    assert kept is not None
    assert officer.get(f"s3://{officer.bucket}/{top}/one.jsonl").decode().count("\n") == 1


def test_scan_points_to_columns_and_what_cannot_be_searched_is_said(officer: Officer) -> None:
    top = unique("scan")
    officer.put(f"{top}/a.csv", CSV)
    officer.put(f"{top}/b.bin", b"\0\1\2")
    code, told = officer.privacy("scan", f"s3://{officer.bucket}/{top}/")
    assert code == 1
    assert [(each["column"], each["kind"]) for each in told["sets"][0]["columns"]] == [("email", "e-mail address")]
    assert [each["object"] for each in told["unsearched"]] == [f"s3://{officer.bucket}/{top}/b.bin"]
    code, found = officer.privacy("find", "--where", "nobody=1", f"s3://{officer.bucket}/{top}/a.csv")
    assert (code, found["without_column"]) == (1, 1)


def _programs(server: Server) -> Sequence[int]:
    """The processes of an erasure in this server's sandboxes."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            mounts = Path(f"/proc/{entry}/mountinfo").read_text()
            if (
                b"clary.toolkit.privacy" in command
                and command[0].endswith(b"python")
                and str(server.settings.root) in mounts
            ):
                found.append(int(entry))
    return found


def test_a_killed_erasure_leaves_old_or_new_objects_and_the_next_one_ends_it(officer: Officer) -> None:
    top = unique("killed")
    old = CSV + "".join(f"bob@example.org,{n}\n" for n in range(20_000))
    new = LEFT + old[len(CSV) :]
    keys = [f"{top}/{number:03}.csv" for number in range(60)]
    for key in keys:
        officer.put(key, old)
    words = ("erase", "--where", "email=ada@example.org", f"s3://{officer.bucket}/{top}/")
    started = officer.start(*words)
    until(lambda: officer.get(f"s3://{officer.bucket}/{keys[2]}").decode() == new)
    for pid in _programs(officer.server):
        os.kill(pid, signal.SIGKILL)
    _, error = started.communicate(timeout=120)
    assert started.returncode == 1, error
    contents = {officer.get(f"s3://{officer.bucket}/{key}").decode() for key in keys}
    assert contents == {old, new}
    code, again = officer.privacy(*words)
    assert (code, again["proof"]["proven"]) == (0, True)
    assert {officer.get(f"s3://{officer.bucket}/{key}").decode() for key in keys} == {new}


def test_two_erasures_at_once_lose_neither(officer: Officer) -> None:
    top, people = unique("both"), [f"u{number}" for number in range(4)]
    text = "email,x\n" + "".join(f"{who},{row}\n" for row in range(3_000) for who in people)
    for number in range(20):
        officer.put(f"{top}/{number:02}.csv", text)
    began = time.monotonic()
    both = [officer.start("erase", "--where", f"email={who}", f"s3://{officer.bucket}/{top}/") for who in people[:2]]
    for started in both:
        code, told = officer.ended(started)
        assert (code, told["proof"]["proven"]) == (0, True)
    assert time.monotonic() - began < 240
    kept = "email,x\n" + "".join(f"{who},{row}\n" for row in range(3_000) for who in people[2:])
    assert {officer.get(f"s3://{officer.bucket}/{top}/{number:02}.csv").decode() for number in range(20)} == {kept}
