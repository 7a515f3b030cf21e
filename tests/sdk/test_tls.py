"""The same over https: clients get the certificate from `clary env`, and send bodies in the form that they keep for TLS."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import SSLError
from tests.sdk.acts import SKLEARN, User
from tests.sdk.conftest import ACCEPTANCE, Server

from clary.app import up

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate"),
]
FLOW = """
import os, boto3
s3 = boto3.client("s3")
s3.create_bucket(Bucket="over-tls")
large = os.urandom(20 << 20)
import io
s3.upload_fileobj(io.BytesIO(large), "over-tls", "large")      # aws-chunked, in parts, with trailers
s3.put_object(Bucket="over-tls", Key="small", Body=b"small")   # unsigned payload with a trailer
assert s3.get_object(Bucket="over-tls", Key="large")["Body"].read() == large
assert s3.get_object(Bucket="over-tls", Key="small")["Body"].read() == b"small"
print(boto3.client("sts").get_caller_identity()["Arn"], boto3.client("sagemaker").list_models()["Models"])
try:
    boto3.client("sagemaker-runtime").invoke_endpoint(EndpointName="none", Body=b"1")
except Exception as error:
    print(error)
"""


@pytest.fixture(scope="module")
def secure(start: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = start(tls_cert=str(folder / "cert.pem"), tls_key=str(folder / "key.pem"))
    yield server
    up.down(server.settings)


def variables(server: Server) -> dict[str, str]:
    done = server.run([sys.executable, "-m", "clary.app.cli", "env", "--json", "--dir", server.settings.dir])
    return {name: str(value) for name, value in json.loads(done.stdout).items()}


def test_clients_over_tls(secure: Server) -> None:
    values = variables(secure)
    assert values["AWS_ENDPOINT_URL"].startswith("https://127.0.0.1:")
    assert Path(values["AWS_CA_BUNDLE"]).exists()
    done = secure.run([sys.executable, "-c", FLOW], **values)
    assert done.returncode == 0, done.stderr
    assert "arn:aws:iam::000000000000:user/clary []" in done.stdout
    assert "(ValidationError)" in done.stdout


def test_a_job_and_a_model_reach_it_from_inside(secure: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", variables(secure)["AWS_CA_BUNDLE"])
    user = User(secure)
    script = """
    import boto3, json
    arn = boto3.client("sts").get_caller_identity()["Arn"]
    json.dump({"arn": arn}, open("/opt/ml/model/report.json", "w"))
    """
    seen = user.report(user.train(SKLEARN, files={"train.py": script}))
    assert seen["arn"].startswith("arn:aws:sts::000000000000:assumed-role/FlowRole/")
    asking = """
    import boto3
    def model_fn(model_dir): return None
    def transform_fn(model, data, content_type, accept):
        return boto3.client("sts").get_caller_identity()["Arn"], "text/plain"
    """
    name = user.endpoint({"ModelName": user.scripted({"code/inference.py": asking}, image=SKLEARN)})
    assert user.ask(name).startswith(b"arn:aws:sts::000000000000:assumed-role/FlowRole/")
    user.sm.delete_endpoint(EndpointName=name)


def test_without_the_certificate_nobody_is_trusted(secure: Server) -> None:
    keys = {"aws_access_key_id": secure.key.access_key_id, "aws_secret_access_key": secure.key.secret}
    client = boto3.client("sts", "us-east-1", endpoint_url=secure.settings.endpoint, **keys)
    with pytest.raises(SSLError):
        client.get_caller_identity()


@pytest.mark.skipif(not ACCEPTANCE.exists(), reason="set CLARY_ACCEPTANCE to the folder of the acceptance scripts")
def test_every_s3_case_over_tls(secure: Server) -> None:
    cases = [sys.executable, str(ACCEPTANCE / "s3_cases.py"), "--endpoint", secure.settings.endpoint]
    keys = ["--access-key", secure.key.access_key_id, "--secret-key", secure.key.secret]
    values = variables(secure)
    done = secure.run(
        [*cases, *keys], **{**values, "SSL_CERT_FILE": values["AWS_CA_BUNDLE"]}
    )  # it speaks plain http.client too
    assert [line for line in done.stdout.splitlines() if line.startswith("FAIL")] == []
    assert "95 passed, 0 failed" in done.stdout, done.stdout[-500:] + done.stderr[-2000:]
