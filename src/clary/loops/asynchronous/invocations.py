"""One asynchronous invocation from its record to its answer in S3: fetch the input, predict, store the answer, notify.

Owns: the order that survives a crash. The prediction goes under the invocation's own id, so a successor's second sending joins it;
the output goes to a key of its own, and who finds it there does not predict again; the record is saved last. Does not know:
queues, capacity, whose turn it is.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from clary.domain.endpoints import async_inference
from clary.domain.endpoints.async_inference import COMPLETED, FAILED, LARGEST, QUEUED
from clary.domain.endpoints.backlog import Entry
from clary.domain.errors import AlreadyExists, ClaryError, Denied, Invalid, NotFound, Stale, Unavailable
from clary.domain.resources import Record, Scope
from clary.domain.s3 import parse_uri
from clary.loops.core.samples import Samples
from clary.ports import Artifacts, Clock, Logs, Store, Topics
from clary.prediction_ports import Asked, Predicted, Predictor

log = logging.getLogger(__name__)

FEW = 16  # invocations that are failed at once: a whole backlog may expire together
NAMESPACE = "AWS/SageMaker"
UNITS = {  # of AWS's metrics that are not mere numbers
    "RequestDownloadLatency": "Microseconds",
    "ResponseUploadLatency": "Microseconds",
    "TimeInBacklog": "Milliseconds",
    "TotalProcessingTime": "Milliseconds",
    "ApproximateAgeOfOldestRequest": "Seconds",
}
_HERE = (NotFound, Denied, Invalid)  # the user's own doing; Unavailable passes, and is tried again
_LACKS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


def passes(error: BaseException) -> bool:
    """Whether the invocation may succeed later although nothing of it is changed: something is away, or the machine lacks something
    (no room on the disk)."""
    return isinstance(error, Unavailable) or (isinstance(error, OSError) and error.errno in _LACKS)


def save_file(path: str, content: bytes) -> None:
    """OSError when there is no room for it."""
    with open(path, "wb") as file:
        file.write(content)


@dataclass(frozen=True, slots=True)
class AsyncPorts:
    """The world of asynchronous inference. `save` writes a small file."""

    store: Store
    artifacts: Artifacts
    predictor: Predictor
    topics: Topics
    samples: Samples
    logs: Logs
    clock: Clock
    save: Callable[[str, bytes], None] = save_file


@dataclass(frozen=True, slots=True)
class Failure:
    """There is no answer. `reason` is FailureReason, `text` what the failure object holds, `metric` what counts it."""

    reason: str
    text: str
    metric: str = "InvocationFailures"


@dataclass(frozen=True, slots=True)
class Answer:
    """It lies in S3. `response`: its content, where the notification carries it."""

    content_type: str
    response: bytes | None = None


class InvocationWork:
    """`folder` holds inputs and outputs on their way, on the object store's filesystem: they go in and out as links."""

    def __init__(self, ports: AsyncPorts, folder: str) -> None:
        self.ports = ports
        self._folder = folder
        self._few = asyncio.Semaphore(FEW)

    def clean(self) -> None:
        """What a predecessor left half done. The folder itself stays: a full disk has no room for another."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for entry in list(os.scandir(self._folder)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)

    async def carry(self, scope: Scope, entry: Entry, variant: str) -> None:
        """From queued to answered. `variant`: whom to count what no variant answered. An error that `passes`: later."""
        record = await self.ports.store.get(async_inference.KIND, scope, entry.id)
        if record is None or record.status != QUEUED:
            return
        count = _Count(self.ports, record, variant)
        count.add("TimeInBacklog", (self.ports.clock.now() - record.created) * 1000)
        folder = f"{self._folder}/{entry.id}"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        try:
            known = await self._stored(record) if entry.doubtful else None
            outcome = known or await self._predict(record, folder, count)
            await self._finish(record, outcome, count)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    async def fail(self, scope: Scope, entry: Entry, variant: str, failure: Failure) -> None:
        """Answer it without a prediction: it waited too long, or its endpoint is gone. Errors as of `carry`."""
        async with self._few:
            record = await self.ports.store.get(async_inference.KIND, scope, entry.id)
            if record is not None and record.status == QUEUED:
                await self._finish(record, failure, _Count(self.ports, record, variant))

    # -- the prediction -----------------------------------------------------------------------------------------------------------

    async def _stored(self, record: Record) -> Answer | None:
        """The answer that a predecessor stored before it died. (A key that the user chose says nothing: others may have it too.)"""
        if record.document["named"]:
            return None
        output = parse_uri(record.document["output"])
        try:
            found = await self.ports.artifacts.of(record.scope.account).head(output.bucket, output.key)
        except _HERE:
            return None
        return Answer(found.content_type)

    async def _predict(self, record: Record, folder: str, count: _Count) -> Answer | Failure:
        document, scope = record.document, record.scope
        began = self.ports.clock.monotonic()
        try:
            source, content_type = await self._input(record, f"{folder}/in")
        except _HERE as error:
            reason = f"ClientError: The input {document['input']} could not be downloaded: {error.message}"
            return Failure(reason, reason, "RequestDownloadFailures")
        count.add("RequestDownloadLatency", (self.ports.clock.monotonic() - began) * 1e6)
        asked = Asked(
            account=scope.account,
            region=scope.region,
            endpoint=document["endpoint"],
            id=record.name,
            timeout=float(document["timeout"]),
            content_type=content_type,
            accept=document["accept"],
            attributes=document["attributes"],
            inference=document["inference"],
        )
        predicted = await self.ports.predictor.predict(asked, source, f"{folder}/out")
        count.variant = predicted.variant or count.variant
        if predicted.status != 200:
            return Failure(_reason(predicted), predicted.original or predicted.message)
        return await self._store(record, predicted, f"{folder}/out", count)

    async def _input(self, record: Record, folder: str) -> tuple[str, str]:
        """(file, content type)."""
        document = record.document
        path = f"{folder}/input"
        if not document["input"]:
            os.makedirs(folder, exist_ok=True)
            await asyncio.to_thread(self.ports.save, path, base64.b64decode(document["body"]))
            return path, document["content_type"]
        location = parse_uri(document["input"])
        artifacts = self.ports.artifacts.of(record.scope.account)
        found = await artifacts.head(location.bucket, location.key)
        if found.size > LARGEST:
            raise Invalid(f"it has {found.size} bytes, and the limit is {LARGEST}.")
        if not os.path.exists(path):
            await artifacts.place(location.bucket, {location.key: "input"}, folder)
        return path, document["content_type"] or found.content_type

    async def _store(self, record: Record, predicted: Predicted, path: str, count: _Count) -> Answer | Failure:
        output = parse_uri(record.document["output"])
        response = None
        if async_inference.wants_response(record.document, False) and predicted.size <= async_inference.INCLUDED:
            response = await asyncio.to_thread(_load, path)
        began = self.ports.clock.monotonic()
        try:
            artifacts = self.ports.artifacts.of(record.scope.account)
            if output.bucket == async_inference.default_bucket(record.scope):  # nobody was told to make it
                await artifacts.make(output.bucket, record.scope.region)
            await artifacts.store_file(path, output.bucket, output.key, predicted.content_type, move=True)
        except _HERE as error:
            reason = f"ClientError: The output could not be uploaded to {output}: {error.message}"
            return Failure(reason, reason, "ResponseUploadFailures")
        count.add("ResponseUploadLatency", (self.ports.clock.monotonic() - began) * 1e6)
        return Answer(predicted.content_type, response)

    # -- its end ------------------------------------------------------------------------------------------------------------------

    async def _finish(self, record: Record, outcome: Answer | Failure, count: _Count) -> None:
        """Failure object, notification, record: each may be done again by a successor, and is the same then."""
        if isinstance(outcome, Failure):
            await self._store_failure(record, outcome)
            self._log(record, outcome, count.variant)
            count.add(outcome.metric, 1.0)
            if outcome.metric not in ("InvocationFailures", "ExpiredRequests"):
                count.add("InvocationFailures", 1.0)
        await self._notify(record, outcome, count)
        now = self.ports.clock.now()
        status = FAILED if isinstance(outcome, Failure) else COMPLETED
        with suppress(Stale):  # a client's DeleteEndpoint and the like: somebody else ended it
            await self.ports.store.save(async_inference.answered(record, status, now))
        count.add("InvocationsProcessed", 1.0)
        count.add("TotalProcessingTime", (now - record.created) * 1000)
        count.put(now)

    async def _store_failure(self, record: Record, failure: Failure) -> None:
        if not record.document["failure"]:
            return
        location = parse_uri(record.document["failure"])
        path = f"{self._folder}/{record.name}.failure"
        await asyncio.to_thread(self.ports.save, path, failure.text.encode())
        try:
            artifacts = self.ports.artifacts.of(record.scope.account)
            await artifacts.store_file(path, location.bucket, location.key, "text/plain; charset=utf-8", move=True)
        except _HERE as error:
            log.warning("%s: its failure cannot be stored at %s: %s", record.arn, location, error.message)
            os.unlink(path)

    async def _notify(self, record: Record, outcome: Answer | Failure, count: _Count) -> None:
        failed = isinstance(outcome, Failure)
        topic = async_inference.topic_of(record.document, failed)
        if not topic:
            return
        now = self.ports.clock.now()
        if isinstance(outcome, Failure):
            wanted = async_inference.wants_response(record.document, True)
            response = outcome.text.encode() if wanted else None
            message = async_inference.notification(record, now, failure=outcome.reason, response=response)
        else:
            kind, response = outcome.content_type, outcome.response
            message = async_inference.notification(record, now, content_type=kind, response=response)
        try:
            await self.ports.topics.publish(topic, message, now, account=record.scope.account, id_=record.name)
        except Unavailable:
            raise
        except ClaryError as error:
            log.warning("%s: no notification to %s: %s", record.arn, topic, error.message)
            count.add("NotificationFailures", 1.0)

    def _log(self, record: Record, failure: Failure, variant: str) -> None:
        """A line in the endpoint's data log."""
        group, stream = f"/aws/sagemaker/Endpoints/{record.document['endpoint']}", f"{variant}/data-log"
        now = self.ports.clock.now()
        with suppress(AlreadyExists):
            self.ports.logs.add_group(record.scope, group, now, {})
        with suppress(AlreadyExists):
            self.ports.logs.add_stream(record.scope, group, stream, now)
        line = f"{record.document['inference']}: {failure.reason}"
        self.ports.logs.append(record.scope, group, stream, [(int(now * 1000), line)])


class _Count:
    """Samples of one invocation, until it is known which variant they are of; those of an attempt that came to nothing are dropped."""

    def __init__(self, ports: AsyncPorts, record: Record, variant: str) -> None:
        self._ports = ports
        self._record = record
        self._samples: list[tuple[str, float]] = []
        self.variant = variant

    def add(self, metric: str, value: float) -> None:
        self._samples.append((metric, value))

    def put(self, now: float) -> None:
        """They are datapoints now."""
        dimensions = {"EndpointName": self._record.document["endpoint"], "VariantName": self.variant}
        for metric, value in self._samples:
            unit = UNITS.get(metric, "None")
            self._ports.samples.add(self._record.scope, NAMESPACE, metric, dimensions, unit, value, now)


def _reason(predicted: Predicted) -> str:
    whose = "ClientError" if predicted.code == "ModelError" or predicted.status == 400 else "InternalServerError"
    return f"{whose}: {predicted.message}"


def _load(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
