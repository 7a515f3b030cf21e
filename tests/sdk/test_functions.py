"""Lambda functions through unmodified boto3, the AWS CLI and SDK v2's Lambda helper, in real sandboxes."""

from __future__ import annotations

import base64
import io
import json
import sys
import threading
import time
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk import acts
from tests.sdk.conftest import ROLE, ROOT, Server

pytestmark = pytest.mark.live
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
CODE = """
import json, logging, os, sys, time
logging.getLogger().setLevel(logging.INFO)
calls = 0

def handler(event, context):
    global calls
    calls += 1
    what = event.get("do")
    if what == "raise":
        raise ValueError("no good: " + event["why"])
    if what == "sleep":
        time.sleep(event["seconds"])
    if what == "exit":
        sys.exit(7)
    if what == "much":
        return "x" * (7 << 20)
    if what == "memory":
        return len(bytearray(4 << 30))
    if what == "strange":
        return object()
    if what == "secret":
        print("the secret is", os.environ["SECRET"])
    if what == "s3":
        import boto3
        return boto3.client("sts").get_caller_identity()["Arn"]
    logging.info("call %d", calls)
    return {"event": event, "calls": calls, "name": context.function_name, "id": context.aws_request_id,
            "left": context.get_remaining_time_in_millis(), "secret": os.environ.get("SECRET")}
"""


def zipped(code: str = CODE, name: str = "index.py") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, code)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def lam(server: Server) -> Any:
    return server.client("lambda", read_timeout=300)


@pytest.fixture(scope="module")
def function(lam: Any) -> str:
    made = lam.create_function(
        FunctionName="echo",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": zipped()},
        Timeout=10,
        MemorySize=256,
        Environment={"Variables": {"SECRET": "swordfish"}},
    )
    return str(made["FunctionArn"])


def call(lam: Any, function: str, event: Any, **more: Any) -> tuple[Any, Any]:
    answer = lam.invoke(FunctionName=function, Payload=json.dumps(event).encode(), **more)
    return answer, json.loads(answer["Payload"].read())


def test_a_function_answers_and_its_sandbox_is_used_again(lam: Any, function: str) -> None:
    answer, first = call(lam, function, {"a": 1})
    assert (answer["StatusCode"], answer["ExecutedVersion"], "FunctionError" in answer) == (200, "$LATEST", False)
    assert (first["event"], first["calls"], first["name"]) == ({"a": 1}, 1, "echo")
    assert 0 < first["left"] <= 10_000
    began = time.monotonic()
    _, second = call(lam, "echo", {})
    assert second["calls"] == 2
    assert time.monotonic() - began < 1.0


def test_the_log_is_answered_and_kept(server: Server, lam: Any, function: str) -> None:
    answer, told = call(lam, function, {"do": "secret"}, LogType="Tail")
    text = base64.b64decode(answer["LogResult"]).decode()
    assert f"START RequestId: {told['id']} Version: $LATEST" in text
    assert "the secret is swordfish" in text  # what the user prints is the user's; nothing of Clary's prints it
    assert "[INFO]" in text
    assert f"REPORT RequestId: {told['id']}\tDuration:" in text
    logs = server.client("logs")
    [stream] = logs.describe_log_streams(logGroupName="/aws/lambda/echo")["logStreams"]
    kept = logs.get_log_events(logGroupName="/aws/lambda/echo", logStreamName=stream["logStreamName"])["events"]
    assert any("call" in event["message"] for event in kept)


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        ({"do": "raise", "why": "quite"}, "ValueError", "no good: quite"),
        ({"do": "exit"}, "Runtime.ExitError", "exit status 7"),
        ({"do": "much"}, "Function.ResponseSizeTooLarge", "exceeded maximum allowed payload size"),
        ({"do": "strange"}, "Runtime.MarshalError", "Unable to marshal response"),
        ({"do": "memory"}, "MemoryError|Runtime.OutOfMemory|Runtime.ExitError", ""),
    ],
)
def test_what_a_function_does_wrong_is_told_in_lambdas_words(
    lam: Any, function: str, event: Any, kind: str, words: str
) -> None:
    answer, error = call(lam, function, event)
    assert answer["FunctionError"] == "Unhandled"
    assert error["errorType"] in kind.split("|")
    assert words in error["errorMessage"]
    assert call(lam, function, {})[1]["name"] == "echo"  # the next one is served


def test_an_exception_has_its_own_trace(lam: Any, function: str) -> None:
    _, error = call(lam, function, {"do": "raise", "why": "x"})
    assert [line for line in error["stackTrace"] if "index.py" in line and "handler" in line]
    assert not [line for line in error["stackTrace"] if "toolkit" in line]


def test_a_function_that_never_ends_is_killed_at_its_timeout(server: Server, lam: Any, function: str) -> None:
    lam.update_function_configuration(FunctionName="echo", Timeout=1)
    began = time.monotonic()
    answer, error = call(lam, function, {"do": "sleep", "seconds": 600})
    assert time.monotonic() - began < 20
    assert (answer["FunctionError"], error["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    found = server.client("logs").filter_log_events(logGroupName="/aws/lambda/echo", filterPattern='"Task timed out"')
    assert found["events"]
    lam.update_function_configuration(FunctionName="echo", Timeout=10)


def test_many_at_once(server: Server, lam: Any, function: str) -> None:
    told: list[Any] = []

    def one() -> None:
        told.append(
            call(server.client("lambda", read_timeout=300), function, {"do": "sleep", "seconds": 0.5})[1]["event"]
        )

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert told == [{"do": "sleep", "seconds": 0.5}] * 4


def test_inside_boto3_speaks_for_the_functions_role(lam: Any, function: str) -> None:
    _, arn = call(lam, function, {"do": "s3"})
    assert arn == "arn:aws:sts::000000000000:assumed-role/FlowRole/echo"


def test_new_code_is_run_from_the_next_invocation_on(server: Server, lam: Any) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="f.zip", Body=zipped("def run(event, context): return 1\n", "deep/file.py"))
    made = lam.create_function(
        FunctionName="change",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="deep/file.run",
        Code={"S3Bucket": "code", "S3Key": "f.zip"},
    )
    assert call(lam, "change", {})[1] == 1
    changed = lam.update_function_code(
        FunctionName="change", ZipFile=zipped("def run(event, context): return 2\n", "deep/file.py")
    )
    assert changed["CodeSha256"] != made["CodeSha256"]
    assert call(lam, made["FunctionArn"], {})[1] == 2
    location = lam.get_function(FunctionName="change")["Code"]["Location"]
    import urllib.request

    with urllib.request.urlopen(location) as answer:
        assert zipfile.ZipFile(io.BytesIO(answer.read())).namelist() == ["deep/file.py"]
    lam.delete_function(FunctionName="change")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.invoke(FunctionName="change")


@pytest.mark.parametrize(
    ("code", "handler", "kind"),
    [
        ("import nothing_of_the_kind\n", "index.handler", "Runtime.ImportModuleError"),
        ("def handler(:\n", "index.handler", "Runtime.UserCodeSyntaxError"),
        ("x = 1\n", "index.handler", "Runtime.HandlerNotFound"),
        ("raise KeyError('at import')\n", "index.handler", "KeyError"),
    ],
)
def test_code_that_cannot_be_loaded(lam: Any, code: str, handler: str, kind: str) -> None:
    lam.create_function(
        FunctionName="broken", Runtime=RUNTIME, Role=ROLE, Handler=handler, Code={"ZipFile": zipped(code)}
    )
    try:
        answer, error = call(lam, "broken", {})
        assert (answer["FunctionError"], error["errorType"]) == ("Unhandled", kind)
    finally:
        lam.delete_function(FunctionName="broken")


def test_an_archive_that_leads_out_of_its_folder_is_refused(lam: Any) -> None:
    lam.create_function(
        FunctionName="slip",
        Runtime=RUNTIME,
        Role=ROLE,
        Handler="index.handler",
        Code={"ZipFile": zipped(name="../index.py")},
    )
    _, error = call(lam, "slip", {})
    assert "leads out of the archive" in error["errorMessage"]


def test_requests_that_are_wrong(lam: Any, function: str) -> None:
    with pytest.raises(lam.exceptions.ResourceConflictException, match="already exist"):
        lam.create_function(FunctionName="echo", Runtime=RUNTIME, Role=ROLE, Handler="a.b", Code={"ZipFile": zipped()})
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match=f"Clary has: {RUNTIME}"):
        lam.create_function(
            FunctionName="old", Runtime="python3.8", Role=ROLE, Handler="a.b", Code={"ZipFile": zipped()}
        )
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match="Could not unzip"):
        lam.create_function(FunctionName="junk", Runtime=RUNTIME, Role=ROLE, Handler="a.b", Code={"ZipFile": b"junk"})
    with pytest.raises(lam.exceptions.RequestTooLargeException):
        lam.invoke(FunctionName="echo", Payload=b'"' + b"x" * 6_291_556 + b'"')
    with pytest.raises(ClientError, match="Could not parse request body into json"):
        lam.invoke(FunctionName="echo", Payload=b"{")
    assert lam.invoke(FunctionName="echo", InvocationType="DryRun")["StatusCode"] == 204


def test_an_event_is_run_later(server: Server, lam: Any, function: str) -> None:
    answer = lam.invoke(FunctionName="echo", InvocationType="Event", Payload=b'{"do": "secret", "mark": 1}')
    assert answer["StatusCode"] == 202
    logs = server.client("logs")
    acts.until(lambda: logs.filter_log_events(logGroupName="/aws/lambda/echo", filterPattern="swordfish")["events"])


def test_sdk_v2s_helper(server: Server, tmp_path: Any) -> None:
    (tmp_path / "helped.py").write_text("def handler(event, context):\n    return {'helped': True}\n")
    program = f"""
import json
from sagemaker.lambda_helper import Lambda
one = Lambda(function_name="helped", execution_role_arn="{ROLE}", script="{tmp_path}/helped.py", handler="helped.handler",
             timeout=20, memory_size=128, runtime="{RUNTIME}")
print(one.upsert()["FunctionArn"])
print(one.upsert()["FunctionName"])
print(json.loads(one.invoke()["Payload"].read()))
one.delete()
"""
    done = server.run([str(ROOT / ".venv-v2" / "bin" / "python"), "-c", program])
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-3:] == [
        "arn:aws:lambda:us-east-1:000000000000:function:helped",
        "helped",
        "{'helped': True}",
    ]


VERSIONED = """
import os

def handler(event, context):
    return [os.environ["WHAT"], context.function_version, os.environ["AWS_LAMBDA_FUNCTION_VERSION"]]
"""


def test_versions_stay_as_they_were_and_aliases_lead_to_them(lam: Any) -> None:
    lam.create_function(
        FunctionName="versioned", Runtime=RUNTIME, Role=ROLE, Handler="index.handler", Code={"ZipFile": zipped(VERSIONED)}, Timeout=20,
        Environment={"Variables": {"WHAT": "one"}}, Publish=True,
    )  # fmt: skip
    assert lam.publish_version(FunctionName="versioned")["Version"] == "1"  # nothing changed
    made = lam.create_alias(FunctionName="versioned", Name="live", FunctionVersion="1")
    assert made["AliasArn"].endswith(":function:versioned:live")
    lam.update_function_configuration(FunctionName="versioned", Environment={"Variables": {"WHAT": "two"}})
    answer, told = call(lam, made["AliasArn"], {})
    assert (answer["ExecutedVersion"], told) == ("1", ["one", "1", "1"])
    assert call(lam, "versioned", {})[1] == ["two", "$LATEST", "$LATEST"]
    second = lam.publish_version(FunctionName="versioned", Description="the second")
    assert (second["Version"], second["Description"]) == ("2", "the second")
    lam.update_function_code(FunctionName="versioned", ZipFile=zipped("def handler(event, context): return 3\n"))
    assert call(lam, "versioned:2", {})[1] == ["two", "2", "2"]  # its code is still there
    lam.update_alias(FunctionName="versioned", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    executed = {lam.invoke(FunctionName="versioned", Qualifier="live")["ExecutedVersion"] for _ in range(30)}
    assert executed == {"1", "2"}
    listed = [each["Version"] for page in lam.get_paginator("list_versions_by_function").paginate(
        FunctionName="versioned", PaginationConfig={"PageSize": 1}) for each in page["Versions"]]  # fmt: skip
    assert listed == ["$LATEST", "1", "2"]
    with pytest.raises(lam.exceptions.ResourceConflictException, match="in use by alias"):
        lam.delete_function(FunctionName="versioned", Qualifier="2")
    with pytest.raises(lam.exceptions.ResourceConflictException, match="Alias already exists"):
        lam.create_alias(FunctionName="versioned", Name="live", FunctionVersion="1")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.create_alias(FunctionName="versioned", Name="other", FunctionVersion="9")
    with pytest.raises(lam.exceptions.PreconditionFailedException):
        lam.update_alias(FunctionName="versioned", Name="live", FunctionVersion="2", RevisionId="old")
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match="different from current CodeSHA256"):
        lam.publish_version(FunctionName="versioned", CodeSha256="x" * 44)
    with pytest.raises(lam.exceptions.InvalidParameterValueException, match="version or alias"):
        lam.update_function_configuration(FunctionName="versioned:1", Timeout=5)
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.invoke(FunctionName="versioned", Qualifier="7")
    lam.delete_alias(FunctionName="versioned", Name="live")
    lam.delete_function(FunctionName="versioned", Qualifier="1")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.get_function(FunctionName="versioned", Qualifier="1")
    lam.delete_function(FunctionName="versioned")
    with pytest.raises(lam.exceptions.ResourceNotFoundException):
        lam.invoke(FunctionName="versioned:2")
    made = lam.create_function(
        FunctionName="versioned", Runtime=RUNTIME, Role=ROLE, Handler="a.b", Code={"ZipFile": zipped()}
    )
    assert lam.list_versions_by_function(FunctionName="versioned")["Versions"] == [
        {**{key: made[key] for key in made if key != "ResponseMetadata"}}
    ]
    lam.delete_function(FunctionName="versioned")


def test_layers_are_refused_with_what_to_do_instead(lam: Any, function: str) -> None:
    with pytest.raises(ClientError, match="layers are not available: put packages into the archive"):
        lam.update_function_configuration(
            FunctionName=function, Layers=["arn:aws:lambda:us-east-1:000000000000:layer:l:1"]
        )
    with pytest.raises(ClientError, match="Put the packages into the function's archive"):
        lam.publish_layer_version(LayerName="l", Content={"ZipFile": zipped()})
    with pytest.raises(ClientError, match="no layers"):
        lam.list_layers()
