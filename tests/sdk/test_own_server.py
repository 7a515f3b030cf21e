"""Servers that users already have for SageMaker, as they are: Flask behind `serve`, FastAPI by a command line."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.sdk.acts import PYTHON, User, targz, until
from tests.sdk.conftest import ROLE, Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

FLASK = """
import json, os, sys, flask
app = flask.Flask(__name__)
model = open("/opt/ml/model/weights").read()

@app.route("/ping", methods=["GET"])
def ping():
    return flask.Response(response="\\n", status=200, mimetype="application/json")

@app.route("/invocations", methods=["POST"])
def invocations():
    text = flask.request.data.decode()
    if text == "die":
        os._exit(9)
    if text == "raise":
        raise ValueError("the model cannot bear this")
    answer = {"model": model, "text": text, "type": flask.request.content_type}
    response = flask.Response(json.dumps(answer), mimetype="application/json")
    response.headers["X-Amzn-SageMaker-Custom-Attributes"] = flask.request.headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
    return response
"""
# As SageMaker's example of an own container has it (scikit_bring_your_own): nginx before gunicorn, logs into links to /dev/stdout.
BEHIND_NGINX = {
    "code/serve": """#!/usr/bin/env python
import os, subprocess
subprocess.check_call(["ln", "-sf", "/dev/stdout", "/var/log/nginx/access.log"])
subprocess.check_call(["ln", "-sf", "/dev/stderr", "/var/log/nginx/error.log"])
children = {
    subprocess.Popen(["nginx", "-c", "/opt/program/nginx.conf"]).pid,
    subprocess.Popen(["gunicorn", "-k", "sync", "-b", "unix:/tmp/gunicorn.sock", "wsgi:app"]).pid,
}
while os.wait()[0] not in children:
    pass
""",
    "code/nginx.conf": """
worker_processes 1;
daemon off;
pid /tmp/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
  include /etc/nginx/mime.types;
  access_log /var/log/nginx/access.log combined;
  upstream gunicorn { server unix:/tmp/gunicorn.sock; }
  server {
    listen 8080 deferred;
    location ~ ^/(ping|invocations) { proxy_pass http://gunicorn; }
  }
}
""",
    "code/predictor.py": """
import flask
app = flask.Flask(__name__)
@app.route("/ping")
def ping(): return flask.Response(status=200)
@app.route("/invocations", methods=["POST"])
def invocations(): return flask.Response(flask.request.data.upper(), mimetype="text/csv")
""",
    "code/wsgi.py": "import predictor as myapp\napp = myapp.app\n",
    "code/requirements.txt": "flask\ngunicorn\n",
}
SERVE = """#!/usr/bin/env python
import os, subprocess, sys
port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
os.execvp("gunicorn", ["gunicorn", "--workers", "2", "--bind", "127.0.0.1:" + port, "wsgi:app"])
"""
FASTAPI = """
import asyncio, os, time
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
app = FastAPI()

@app.get("/ping")
def ping():
    return {}

@app.post("/invocations")
async def invocations(request: Request):
    body = (await request.body()).decode()
    if body.startswith("sleep "):
        await asyncio.sleep(float(body[6:]))
    if body == "count":
        async def numbers():
            for n in range(3):
                yield f"{n} {time.time()}\\n"
                await asyncio.sleep(1)
        return StreamingResponse(numbers(), media_type="text/x-numbers")
    return {"text": body, "port": os.environ["SAGEMAKER_BIND_TO_PORT"]}
"""


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


@pytest.fixture(scope="module")
def flask(user: User) -> str:
    files = {
        "weights": "w",
        "code/serve": SERVE,
        "code/wsgi.py": "from predictor import app\n",
        "code/predictor.py": FLASK,
        "code/requirements.txt": "flask\ngunicorn\n",
    }
    return user.endpoint({"ModelName": user.scripted(files, image=PYTHON)}, seconds=180)


def refused(user: User, endpoint: str, body: str) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        user.ask(endpoint, body)
    return dict(caught.value.response)


def test_a_flask_app_behind_gunicorn(user: User, flask: str) -> None:
    answer = user.runtime.invoke_endpoint(
        EndpointName=flask, Body=b"hello", ContentType="text/x-mine", CustomAttributes="c=1"
    )
    assert json.loads(answer["Body"].read()) == {"model": "w", "text": "hello", "type": "text/x-mine"}
    assert (answer["ContentType"], answer["CustomAttributes"]) == ("application/json", "c=1")


def test_its_errors_are_model_errors(user: User, flask: str) -> None:
    wrong = refused(user, flask, "raise")
    assert (wrong["Error"]["Code"], wrong["OriginalStatusCode"]) == ("ModelError", 500)
    group = f"/aws/sagemaker/Endpoints/{flask}"

    def in_log() -> bool:
        events = user.logs.filter_log_events(logGroupName=group, filterPattern='"cannot bear"')["events"]
        return any("ValueError: the model cannot bear this" in event["message"] for event in events)

    until(in_log, seconds=20)


@pytest.fixture(scope="module")
def fastapi(user: User) -> str:
    files = {"code/app.py": FASTAPI, "code/requirements.txt": "fastapi\nuvicorn\n"}
    command = "uvicorn app:app --host 127.0.0.1 --port $SAGEMAKER_BIND_TO_PORT"
    return user.endpoint({"ModelName": user.scripted(files, {"CLARY_SERVE_COMMAND": command}, PYTHON)}, seconds=180)


def test_what_it_streams_is_streamed(user: User, fastapi: str) -> None:
    answer = user.runtime.invoke_endpoint_with_response_stream(EndpointName=fastapi, Body=b"count")
    assert answer["ContentType"].startswith("text/x-numbers")
    pieces = [(event["PayloadPart"]["Bytes"].decode(), time.time()) for event in answer["Body"]]
    assert [text.split()[0] for text, _ in pieces] == ["0", "1", "2"]
    assert all(arrived - float(text.split()[1]) < 0.9 for text, arrived in pieces), "each before the next was made"
    whole = user.ask(fastapi, "count")
    assert [line.split()[0] for line in whole.splitlines()] == [b"0", b"1", b"2"]


def test_a_fastapi_app_answers_as_many_at_once_as_it_can(user: User, fastapi: str) -> None:
    assert json.loads(user.ask(fastapi, "hello"))["text"] == "hello"
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: user.ask(fastapi, "sleep 2"), range(8)))) == 8
    assert time.monotonic() - began < 8, "eight sleeps of 2 s should overlap"


def test_isolated_it_has_port_8080_for_itself(user: User) -> None:
    serve = """
    import http.server, os
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self): self.send_response(200); self.end_headers()
        def do_POST(self): self.send_response(200); self.end_headers(); self.wfile.write(os.environ["SAGEMAKER_BIND_TO_PORT"].encode())
    http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
    """
    data = user.put("isolated/model.tar.gz", targz({"code/serve.py": serve}))
    container = {"Image": PYTHON, "ModelDataUrl": data}
    for name in ("isolated-1", "isolated-2"):
        user.sm.create_model(
            ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container, EnableNetworkIsolation=True
        )
    both = [user.endpoint({"ModelName": name}) for name in ("isolated-1", "isolated-2")]
    assert [user.ask(name) for name in both] == [b"8080", b"8080"]


@pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin") is None, reason="the machine has no nginx of its own"
)
def test_sagemakers_own_example_with_nginx_runs_as_it_is(user: User) -> None:
    container = {"Image": PYTHON, "ModelDataUrl": user.put("behind-nginx/model.tar.gz", targz(BEHIND_NGINX))}
    user.sm.create_model(
        ModelName="behind-nginx", ExecutionRoleArn=ROLE, PrimaryContainer=container, EnableNetworkIsolation=True
    )
    endpoint = user.endpoint({"ModelName": "behind-nginx"})
    assert user.ask(endpoint, "a,b", ContentType="text/csv") == b"A,B"
    group = f"/aws/sagemaker/Endpoints/{endpoint}"

    def logged() -> bool:
        events = user.logs.filter_log_events(logGroupName=group)["events"]
        return any('"POST /invocations HTTP/1.1" 200' in event["message"] for event in events)

    until(logged, seconds=30)


def test_a_server_that_cannot_start_fails_the_endpoint_with_its_reason(user: User) -> None:
    model = user.scripted({"code/serve.py": "import nothing_of_that_name\n"}, image=PYTHON)
    name = user.endpoint({"ModelName": model}, wait=False)
    reason = user.settled(name, "Failed")["FailureReason"]
    assert "did not pass the ping health check" in reason
    assert "The model's own server" in reason
    assert "ended with exit code 1 before it answered GET /ping" in reason


def test_a_server_that_dies_is_replaced(user: User, flask: str) -> None:
    """The request that kills it is lost, and so may be what comes before the replica's end is known; then a new one serves."""
    dying = """
    import http.server, os
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self): self.send_response(200); self.end_headers()
        def do_POST(self):
            if self.rfile.read(int(self.headers["Content-Length"])) == b"die": os._exit(9)
            self.send_response(200); self.end_headers(); self.wfile.write(b"alive")
    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
    """
    name = user.endpoint({"ModelName": user.scripted({"code/serve.py": dying}, image=PYTHON)})
    assert user.ask(name) == b"alive"
    assert refused(user, name, "die")["Error"]["Code"] == "ModelError"

    def alive() -> bool:
        try:
            return user.ask(name) == b"alive"
        except ClientError as error:
            if error.response["Error"]["Code"] != "ModelError":
                raise
            return False

    until(alive, seconds=30)
    log = "/aws/sagemaker/Endpoints/" + name
    events = user.logs.filter_log_events(logGroupName=log, filterPattern='"own server ended"')["events"]
    assert [event["message"] for event in events] == ["The model's own server ended with exit code 9."]


def test_gunicorn_replaces_its_worker_by_itself(user: User, flask: str) -> None:
    assert refused(user, flask, "die")["Error"]["Code"] == "ModelError"
    assert json.loads(user.ask(flask, "still"))["text"] == "still"
