"""The way to MLflow servers: who asks comes first; what is asked for is passed on, and nothing of ours with it."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.domain.mlflow.test_servers import server
from tests.loops.mlflow.mlflow_fake import FakeMlflow

from clary.api.identity import Identity
from clary.app.mlflow_door import LARGEST, MlflowDoor
from clary.domain.mlflow import visits
from clary.domain.mlflow.visits import Visit
from clary.domain.resources import Record
from clary.loops.mlflow.places import MlflowSettings
from clary.ports import Credential
from clary.testing.clock import FakeClock
from clary.testing.keys import MemoryKeys
from clary.testing.store import MemoryStore

ACCOUNT, REGION, KEY = "000000000000", "us-east-1", b"key"
PATH = "/api/2.0/mlflow/runs/create"


class Site:
    def __init__(self, folder: Path) -> None:
        self.store, self.keys, self.clock, self.mlflow = MemoryStore(), MemoryKeys(), FakeClock(), FakeMlflow()
        self.settings = MlflowSettings(str(folder / "d"), str(folder / "s"), "")
        identity = Identity(self.keys, self.clock)
        self.passed: list[str] = []
        self.door = MlflowDoor(self._behind, self.store, identity, self.clock, self.settings, KEY)
        self.socket = folder / "s" / "abc" / "s"

    async def _behind(self, scope: Any, receive: Any, send: Any) -> None:
        self.passed.append(scope.get("path", scope["type"]))

    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b"", query: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs, "query_string": query.encode()}
        await self.door(scope, receive, send)
        if not sent:
            return 0, {}, b""
        told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], told, b"".join(message.get("body", b"") for message in sent[1:])

    def signed(self, pair: Credential, arn: str, service: str = "sagemaker-mlflow", path: str = PATH) -> dict[str, str]:
        request = AWSRequest("POST", f"http://h{path}", headers={"x-mlflow-sm-tracking-server-arn": arn}, data=b"{}")
        auth = SigV4Auth(Credentials(pair.access_key_id, pair.secret, pair.session_token or None), service, REGION)
        auth.add_auth(request)
        return {"host": "h", **dict(request.headers.items())}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    made.clock.advance(time.time() - made.clock.now())  # botocore signs with the time that it is
    async with made.mlflow.at(made.socket):
        yield made


async def add(site: Site, status: str = "Created") -> Record:
    return await site.store.add(server(status))


async def test_other_requests_are_passed_on(site: Site) -> None:
    assert (await site.ask("POST", "/", {"host": "h"}))[0] == 0
    assert site.passed == ["/"]


async def test_the_plugins_requests_reach_mlflow_without_its_signature(site: Site) -> None:
    record, pair = await add(site), site.keys.create(ACCOUNT, "me")
    status, _, body = await site.ask("POST", PATH, site.signed(pair, record.arn), b"{}")
    assert (status, json.loads(body)) == (200, {"model_versions": []})
    assert site.mlflow.asked == [f"/_mlflow/abc{PATH}"]
    assert not {"authorization", "x-amz-date", "cookie"} & set(site.mlflow.headers[0])
    assert site.mlflow.headers[0]["host"] == "localhost"


async def test_strangers_learn_nothing(site: Site) -> None:
    record, pair = await add(site), site.keys.create(ACCOUNT, "me")
    other = site.keys.create("111111111111", "other")
    headers = {"host": "h", "x-mlflow-sm-tracking-server-arn": record.arn}
    wrong = {
        **site.signed(pair, record.arn),
        "authorization": site.signed(pair, record.arn)["Authorization"][:-4] + "0000",
    }
    wrong.pop("Authorization")
    missing = f"{record.arn}x"
    answers = [
        await site.ask("POST", PATH, headers, b"{}"),
        await site.ask("POST", PATH, wrong, b"{}"),
        await site.ask("POST", PATH, site.signed(other, record.arn), b"{}"),
        await site.ask("POST", PATH, site.signed(pair, missing), b"{}"),
        await site.ask("POST", PATH, site.signed(pair, record.arn, "s3"), b"{}"),
    ]
    assert [status for status, _, _ in answers] == [401, 403, 403, 403, 403]
    assert all(json.loads(body)["error_code"] in ("UNAUTHENTICATED", "PERMISSION_DENIED") for *_, body in answers)
    assert site.mlflow.asked == []


async def test_one_that_does_not_run_says_so(site: Site) -> None:
    record, pair = await add(site, "Stopped"), site.keys.create(ACCOUNT, "me")
    status, _, body = await site.ask("POST", PATH, site.signed(pair, record.arn), b"{}")
    assert (status, "t is Stopped" in json.loads(body)["message"]) == (503, True)


async def test_one_that_does_not_answer_says_so(site: Site) -> None:
    record, pair = await add(site), site.keys.create(ACCOUNT, "me")
    site.socket.unlink()
    status, _, body = await site.ask("POST", PATH, site.signed(pair, record.arn), b"{}")
    assert (status, "does not answer" in json.loads(body)["message"]) == (503, True)


async def test_a_request_has_a_largest_size(site: Site) -> None:
    record, pair = await add(site), site.keys.create(ACCOUNT, "me")
    status, _, body = await site.ask("POST", PATH, site.signed(pair, record.arn), b"x" * (LARGEST + 1))
    assert (status, "artifacts go to S3" in json.loads(body)["message"]) == (413, True)


async def test_a_presigned_url_begins_a_session(site: Site) -> None:
    record = await add(site)
    token = visits.token(KEY, Visit(record.arn, site.clock.now() + 60, 1800))
    status, told, _ = await site.ask("GET", "/_mlflow/abc/auth", {}, query=f"authToken={token}")
    assert (status, told["location"]) == (302, "/_mlflow/abc/")
    assert all(
        part in told["set-cookie"] for part in ("Path=/_mlflow/abc;", "HttpOnly", "SameSite=Lax", "Max-Age=1800")
    )
    cookie = told["set-cookie"].partition(";")[0]
    assert (await site.ask("GET", "/_mlflow/abc/", {"cookie": f"other=1; {cookie}"}))[0] == 200
    assert site.mlflow.asked == ["/_mlflow/abc/"]
    site.clock.advance(1801)
    assert (await site.ask("GET", "/_mlflow/abc/", {"cookie": cookie}))[0] == 403


async def test_no_token_stands_for_another_server_or_another_use(site: Site) -> None:
    record = await add(site)
    url = visits.token(KEY, Visit(record.arn, site.clock.now() + 60, 1800))
    session = visits.token(KEY, Visit(record.arn, site.clock.now() + 60))
    asked = [
        ("/_mlflow/other/auth", {}, f"authToken={url}"),
        ("/_mlflow/abc/auth", {}, f"authToken={session}"),
        ("/_mlflow/abc/", {"cookie": f"{visits.COOKIE}={url}"}, ""),
        ("/_mlflow/other/", {"cookie": f"{visits.COOKIE}={session}"}, ""),
        ("/_mlflow/abc/../other/", {}, ""),
        ("/_mlflow/abc/", {"cookie": "\x7f=;;=,"}, ""),
        ("/_mlflow/abc/auth", {}, f"authToken={visits.token(KEY, Visit(record.arn, site.clock.now() - 1, 1800))}"),
    ]
    found = [(await site.ask("GET", path, cast("Any", headers), query=query))[0] for path, headers, query in asked]
    assert found == [403] * len(asked)
    assert site.mlflow.asked == []
