"""Data capture at the front: which requests are taken, and the files in which they wait for the control plane to put them into S3.

Owns the sampling (exact, in even steps), the bound on what may wait in memory, and the files: records as lines, and beside them a
`.where` file, written last, that says whose they are and where they go. A client's answer never waits for any of it; what does not fit is
skipped and told in the log. What a front had in memory when it was killed is lost: `FLUSH` seconds at most.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from clary.domain.endpoints import capture
from clary.domain.endpoints.capture import Exchange, Side
from clary.domain.endpoints.routes import VariantRoute
from clary.serving.gathered import Gathered
from clary.serving.prediction import Brake, Prediction
from clary.toolkit import frames

log = logging.getLogger(__name__)

FLUSH = 2.0  # seconds that a record waits for others to share a file with
MOST = 64 << 20  # bytes that wait in memory
ATTRIBUTES, INFERENCE = "x-amzn-sagemaker-custom-attributes", "x-amzn-sagemaker-inference-id"

EndpointKey = tuple[str, str, str]


class Whose(NamedTuple):
    """Account, region and endpoint; its variant; the DataCaptureConfig as text."""

    endpoint: EndpointKey
    variant: str
    config: str


class Captures:
    """What one front captured. `most` bytes may wait to be written."""

    def __init__(
        self, folder: Path, loop: asyncio.AbstractEventLoop, wall: Callable[[], float], most: int = MOST
    ) -> None:
        self.wall = wall
        self._most = most
        self._folder = folder
        self._loop = loop
        self._waiting: dict[Whose, list[Exchange]] = {}
        self._bytes = self._skipped = 0
        self._writing: asyncio.Task[None] | None = None

    def clean(self) -> None:
        """Remove what a predecessor left half written. Blocking; before anything is captured."""
        whole = {path.stem for path in self._folder.glob("*.where")}
        for path in self._folder.glob("*"):
            if path.stem not in whole or path.suffix == ".new":
                path.unlink(missing_ok=True)

    def of(self, known: Capture | None, route: VariantRoute, endpoint: EndpointKey) -> Capture | None:
        """What captures for a variant from now on; what did so before goes on where nothing changed."""
        if not route.capture:
            return None
        whose = Whose(endpoint, route.name, json.dumps(dict(route.capture), sort_keys=True))
        return known if known is not None and known.whose == whose else Capture(self, whose, route.capture)

    def add(self, whose: Whose, exchange: Exchange) -> None:
        """Keep a record until it is written."""
        size = len(exchange.request.body) + len(exchange.answer.body)
        if not self.spare(size):
            return
        self._bytes += size
        self._waiting.setdefault(whose, []).append(exchange)
        if self._writing is None:
            self._writing = self._loop.create_task(self._write_soon())

    def spare(self, size: int) -> bool:
        """Whether a record of so many bytes may be kept; one that may not is skipped, and told of."""
        if self._bytes and self._bytes + size > self._most:
            self._skipped += 1
            return False
        return True

    def waiting(self) -> int:
        """How many records are not yet written."""
        return sum(map(len, self._waiting.values()))

    async def _write_soon(self) -> None:
        while self._waiting:
            await asyncio.sleep(FLUSH)
            await self._write()
        self._writing = None

    async def flush(self) -> None:
        """Write what waits; for a front that ends."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None
        await self._write()

    async def _write(self) -> None:
        waiting, skipped = self._waiting, self._skipped
        self._waiting, self._bytes, self._skipped = {}, 0, 0
        if skipped:
            log.warning("%d requests were not captured: more than %d bytes waited to be written", skipped, self._most)
        if waiting:
            # shielded: what is being written when the front ends is written to its end
            await asyncio.shield(self._loop.run_in_executor(None, self._save, waiting))

    def _save(self, waiting: Mapping[Whose, list[Exchange]]) -> None:
        for whose, exchanges in waiting.items():
            config = json.loads(whose.config)
            account, region, endpoint = whose.endpoint
            id_ = str(uuid.uuid4())
            place = capture.place(config, endpoint, whose.variant, exchanges[0].at, id_)
            where = {"account": account, "region": region, "endpoint": endpoint, "variant": whose.variant}
            where |= {"bucket": place.bucket, "key": place.key, **capture.told(config)}
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with open(self._folder / f"{id_}.jsonl", "w", encoding="utf-8") as file:
                    for exchange in exchanges:
                        file.writelines(capture.pieces(config, exchange))
                        file.write("\n")
                fresh = self._folder / f"{id_}.new"
                fresh.write_text(json.dumps(where))
                fresh.replace(self._folder / f"{id_}.where")
            except OSError as error:
                log.error("%d captured requests of %s are lost: %s", len(exchanges), endpoint, error)


class Capture:
    """What one variant's requests are chosen by."""

    def __init__(self, captures: Captures, whose: Whose, config: Mapping[str, Any]) -> None:
        self.whose = whose
        self._captures = captures
        self._share = config["InitialSamplingPercentage"] / 100
        self._credit = 0.0

    def take(self, prediction: Prediction) -> None:
        """The request was let in: perhaps it is one to be kept."""
        self._credit += self._share
        if self._credit < 1.0 - 1e-9:
            return
        self._credit -= 1.0
        watch = _Watch(self, prediction, self._captures.wall())
        prediction.waiters = [*(prediction.waiters or ()), watch]

    def kept(self, exchange: Exchange) -> None:
        self._captures.add(self.whose, exchange)

    def spare(self, size: int) -> bool:
        return self._captures.spare(size)


class _Watch:
    """Waits for the answer beside the client. It is `gone`: it keeps no prediction alive that nobody else wants."""

    gone = True

    def __init__(self, own: Capture, prediction: Prediction, at: float) -> None:
        self._own = own
        self._meta, self._body, self._at = prediction.meta, prediction.body, at

    def answer(self, response: bytes) -> None:
        head, found, body = response.partition(b"\r\n\r\n")
        if found and head.startswith(b"HTTP/1.1 200 "):  # refused, failed or late: AWS keeps what was answered well
            self._keep(head, body)

    def take(self, head: bytes, size: int, brake: Brake) -> Gathered | None:
        """A large answer comes in pieces: all of it is kept, where there is room."""
        if not self._own.spare(len(self._body) + size):
            return None
        return Gathered(size, lambda body: self._keep(head.removesuffix(b"\r\n\r\n"), body))

    def _keep(self, head: bytes, body: bytes) -> None:
        heads: dict[str, str] = {}
        for each in head.decode("latin-1").split("\r\n")[1:]:
            name, _, value = each.partition(": ")
            heads[name.lower()] = value
        content_type, _, asked = frames.decode_request_meta(self._meta)
        attributes = tuple(value for each in (asked, heads) if (value := each.get(ATTRIBUTES, "")))
        self._own.kept(
            Exchange(
                id=str(uuid.uuid4()),
                at=self._at,
                request=Side(content_type, self._body),
                answer=Side(heads.get("content-type", ""), body),
                inference=asked.get(INFERENCE, ""),
                attributes=attributes,
            )
        )
