"""A model's own boto3 finds the keys of its role by itself, and new ones when its old ones end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, ROLE, User, unique
from tests.sdk.conftest import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

ASKS = """
import json, os, boto3

def model_fn(model_dir):
    return boto3.Session()

def transform_fn(session, body, content_type, accept):
    found = session.get_credentials()
    keys = found.get_frozen_credentials()
    if body == b"as if they had ended":
        found._expiry_time = found._time_fetcher()
        keys = found.get_frozen_credentials()
    client = session.client("s3")
    client.put_object(Bucket=BUCKET, Key="from-inside", Body=b"x")
    return json.dumps({
        "who": session.client("sts").get_caller_identity()["Arn"],
        "method": found.method,
        "key": keys.access_key,
        "in_environment": [name for name in os.environ if "SECRET" in name],
    })
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def test_a_models_own_boto3_has_keys_and_renews_them(user: User) -> None:
    code = f"BUCKET = {user.bucket!r}\n" + ASKS
    model = user.scripted({"code/inference.py": code}, {"SAGEMAKER_MODEL_SERVER_WORKERS": "1"}, PYTHON)
    name = user.endpoint({"ModelName": model})

    def ask(body: bytes) -> dict[str, Any]:
        answer = user.runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="application/octet-stream")
        found: dict[str, Any] = json.load(answer["Body"])
        return found

    first = ask(b"x")
    assert first["method"] == "custom-process"
    assert first["who"].startswith("arn:aws:sts::000000000000:assumed-role/" + ROLE.rpartition("/")[2])
    assert first["in_environment"] == []
    assert user.s3.get_object(Bucket=user.bucket, Key="from-inside")["Body"].read() == b"x"

    # what a renewal writes: other keys in the same file
    (file,) = (
        path
        for path in (user.server.settings.root / "backend").glob("own/replica-*/files/spec/aws-credentials.json")
        if first["key"] in path.read_text()
    )
    document = json.loads(file.read_text())
    answer = user.server.client("sts").assume_role(RoleArn=ROLE, RoleSessionName=unique("renewed"))["Credentials"]
    document |= {k: answer[k] for k in ("AccessKeyId", "SecretAccessKey", "SessionToken")}
    file.write_text(json.dumps(document))
    assert ask(b"x")["key"] == first["key"]
    assert ask(b"as if they had ended")["key"] == answer["AccessKeyId"]
    user.sm.delete_endpoint(EndpointName=name)
