"""Carries one delivery of a topic's message to its subscriber: HTTP(S), a file, or an object in S3.

Owns: SNS's request over HTTP, appending to a file, and asking once more whether the operator allows it (a leave may be withdrawn, a
folder may have become a link). Does not know: when to try again.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from contextlib import suppress
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from clary.domain.endpoints.topics import Allowed, Delivery
from clary.domain.errors import NotFound, Unavailable
from clary.domain.queues import messages
from clary.domain.queues import record as queues
from clary.domain.queues.messages import New
from clary.domain.s3 import parse_uri
from clary.ports import Artifacts, Clock, Store

CONNECT_SECONDS, READ_SECONDS = 5.0, 15.0
ANSWER = 64 << 10  # bytes of a subscriber's answer that are read


class Courier:
    """`folder` is for what is on its way to S3; `store` has the queues."""

    def __init__(self, artifacts: Artifacts, allowed: Allowed, folder: str, store: Store, clock: Clock) -> None:
        self._records, self._clock = store, clock
        self._artifacts = artifacts
        self._allowed = allowed
        self._folder = folder
        self._http = urllib3.PoolManager(
            num_pools=32, maxsize=8, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        )

    async def deliver(self, delivery: Delivery) -> None:
        """ClaryError, in words, when it was not taken."""
        self._allowed.check(delivery.protocol, delivery.endpoint)
        if delivery.protocol == "s3":
            await self._store(delivery)
        elif delivery.protocol == "sqs":
            await self._send(delivery)
        elif delivery.protocol == "file":
            await asyncio.to_thread(self._write, delivery)
        else:
            await asyncio.to_thread(self._post, delivery)

    def close(self) -> None:
        self._http.clear()

    async def _send(self, delivery: Delivery) -> None:
        """The message's id follows from the delivery: it is the same when Clary dies before the delivery is noted, and sends it again."""
        scope, name = queues.parse_arn(delivery.endpoint)
        queue = await self._records.get(queues.QUEUE, scope, name)
        if queue is None or scope.account != delivery.account:
            raise NotFound(f"{delivery.endpoint}: the queue does not exist")
        new = messages.check(queue, New(delivery.body, {}))
        id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{delivery.id} {queue.document['id']}"))
        now = self._clock.now()
        await self._records.add(messages.record_of(queue, new, now, id_, "sns.amazonaws.com"))

    def _post(self, delivery: Delivery) -> None:
        headers = {
            "Content-Type": "text/plain; charset=UTF-8",
            "User-Agent": "Amazon Simple Notification Service Agent",
            "x-amz-sns-message-type": "Notification",
            "x-amz-sns-message-id": delivery.message,
            "x-amz-sns-topic-arn": delivery.topic,
            "x-amz-sns-subscription-arn": delivery.subscription,
        }
        if delivery.raw:
            headers["x-amz-sns-rawdelivery"] = "true"
        try:
            answer = self._http.request(
                "POST",
                delivery.endpoint,
                body=delivery.body.encode(),
                headers=headers,
                redirect=False,  # a redirect leads where the operator allowed nothing
                retries=False,
                preload_content=False,
            )
            try:
                answer.read(ANSWER)
            finally:
                answer.close()
        except (HTTPError, OSError) as error:
            raise Unavailable(f"{delivery.endpoint}: {error}") from error
        if not 200 <= answer.status < 300:
            raise Unavailable(f"{delivery.endpoint} answered {answer.status}")

    def _write(self, delivery: Delivery) -> None:
        """One line at the end of the file; in a folder, a file of its own."""
        path = unquote(urlsplit(delivery.endpoint).path)
        try:
            real = os.path.realpath(path)
            roots = tuple(f"file://{os.path.realpath(folder)}" for folder in _folders(self._allowed))
            Allowed(roots).check("file", f"file://{real}")
            target = os.path.join(real, f"{delivery.id}.json") if os.path.isdir(real) else real
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(target, flags, 0o600)
            try:
                os.write(descriptor, _line(delivery.body))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Unavailable(f"{delivery.endpoint}: {error.strerror}") from error

    async def _store(self, delivery: Delivery) -> None:
        location = parse_uri(delivery.endpoint).below(f"{delivery.message}.json")
        path = f"{self._folder}/{delivery.id}"
        store = self._artifacts.of(delivery.account)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            await asyncio.to_thread(_save, path, delivery.body)
            await store.store_file(path, location.bucket, location.key, "application/json", move=True)
        except OSError as error:
            raise Unavailable(f"{delivery.endpoint}: {error}") from error
        finally:
            with suppress(OSError):
                os.unlink(path)


def _line(body: str) -> bytes:
    """JSON on one line; what is no JSON (a raw message) as it is."""
    try:
        return json.dumps(json.loads(body)).encode() + b"\n"
    except ValueError:
        return body.encode() + b"\n"


def _folders(allowed: Allowed) -> list[str]:
    return [unquote(urlsplit(prefix).path) for prefix in allowed.prefixes if prefix.startswith("file://")]


def _save(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
