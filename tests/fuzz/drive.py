"""Sends nearly good requests to a Clary, many at a time, and looks whether all is well: every answer one that the protocol has, no 500,
nothing that hangs or hangs up, the same processes, bounded memory, and a good request answered at once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from tests.fuzz.corpus import Sample, samples
from tests.fuzz.mutate import inside, outside

ALLOWED = {501, 505}  # NotImplemented of S3; HTTP versions that nobody speaks
PATIENCE = 20.0  # seconds for an answer, on a busy machine
BROKEN_PATIENCE = 1.0  # for one to a request that may not be whole, before its sender hangs up
OUTSIDE = 0.2  # share of requests that are broken as bytes
BATCH, AT_ONCE = 100, 8
SOON = 1.0  # seconds for the next good request
MOST_GROWTH = 400 << 20  # bytes that a process may have grown by
ENOUGH = 20  # faults, after which a run ends


@dataclass(frozen=True)
class Fault:
    """What was wrong, and the number of the request that brings it back."""

    number: int
    name: str
    words: str
    raw: bytes = field(repr=False, default=b"")


@dataclass
class Target:
    """A Clary to be tried: where it is, with which key, and how it looks from outside."""

    port: int
    key: str
    secret: str
    pids: Callable[[], Mapping[str, int]]
    memory: Callable[[int], int]
    good: tuple[Sample, ...] = ()


class Fuzzer:
    """`seed` decides every request: number n is the same in every run."""

    def __init__(self, target: Target, seed: int, corpus: list[Sample] | None = None) -> None:
        self.target = target
        self.seed = seed
        self.samples = corpus or samples()
        self.faults: list[Fault] = []
        self.answers: Counter[int] = Counter()
        self.sent = 0

    def request(self, number: int) -> tuple[Sample, bytes, bool]:
        """(what it was made from, its bytes, whether it is sound HTTP)."""
        chance = random.Random(f"{self.seed}/{number}")
        sample = chance.choice(self.samples)
        broken = chance.random() < OUTSIDE
        if not broken or chance.random() < 0.3:
            sample = inside(chance, sample, self.samples)
        raw = self.signed(sample)
        return sample, outside(chance, raw) if broken else raw, not broken

    def signed(self, sample: Sample) -> bytes:
        """As it goes over the wire, with a signature of now."""
        target = quote(sample.target, safe="/%?&=+~!*'();:@$,[]-._", encoding="latin-1", errors="replace")
        host = f"127.0.0.1:{self.target.port}"
        request = AWSRequest(sample.method, f"https://{host}{target}", data=sample.body)
        for name, value in sample.headers:
            request.headers[name] = value
        signer = S3SigV4Auth if sample.service == "s3" else SigV4Auth
        if sample.header("x-amz-trailer"):
            request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
        signer(Credentials(self.target.key, self.target.secret), sample.service, "us-east-1").add_auth(request)
        lines = [f"{sample.method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        if "content-length" not in {name.lower() for name in request.headers}:
            lines.append(f"Content-Length: {len(sample.body)}")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + sample.body

    async def run(self, seconds: float, only: int | None = None) -> None:
        """Requests from number 0 on, for that long, or until there are faults enough; or one alone."""
        started = time.monotonic()
        before = dict(self.target.pids())
        sizes = {name: self.target.memory(pid) for name, pid in before.items()}
        await self.check(before, sizes)
        number = 0 if only is None else only
        while len(self.faults) < ENOUGH:
            numbers = range(number, number + BATCH) if only is None else range(number, number + 1)
            waiting = iter(numbers)
            await asyncio.gather(*(self._sender(waiting) for _ in range(AT_ONCE)))
            await self.check(before, sizes)
            number += BATCH
            if only is not None or time.monotonic() - started > seconds:
                break

    async def _sender(self, numbers: object) -> None:
        for number in numbers:  # type: ignore[attr-defined]
            sample, raw, sound = self.request(number)
            words = await self.try_one(sample, raw, sound)
            self.sent += 1
            if words:
                self.faults.append(Fault(number, sample.name, words, raw))

    async def try_one(self, sample: Sample, raw: bytes, sound: bool) -> str:
        """What is wrong with the answer; nothing where all is well."""
        began = time.monotonic()
        try:
            answer = await asyncio.wait_for(self.exchange(raw, sound), PATIENCE + BROKEN_PATIENCE)
        except TimeoutError:
            return f"no answer and no end within {PATIENCE:g} s"
        except ConnectionResetError:
            answer = b""
        while answer.startswith(b"HTTP/1.1 1"):  # 100 Continue, after which a body that is not whole may get nothing
            answer = answer.partition(b"\r\n\r\n")[2]
        if not answer:
            return f"hung up on without an answer after {time.monotonic() - began:.1f} s" if sound else ""
        if not sound and answer.startswith((b"{", b"<")):
            return ""  # to a request without an HTTP version: HTTP/0.9 has bodies only
        return self.judge(answer, sound and sample.method != "HEAD")

    async def exchange(self, raw: bytes, sound: bool) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target.port)
        try:
            writer.write(raw)
            if sound:
                return await reader.read(-1)
            reading = asyncio.ensure_future(reader.read(-1))
            done, _ = await asyncio.wait({reading}, timeout=BROKEN_PATIENCE)
            if not done:
                writer.write_eof()
            return await reading
        finally:
            writer.transport.abort()

    def judge(self, answer: bytes, whole: bool) -> str:
        """Of an answer's bytes: its status, and whether its body is what it says to be."""
        head, _, body = answer.partition(b"\r\n\r\n")
        words = head.split(b"\r\n")[0].split(b" ")
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            return f"no HTTP answer: {answer[:200]!r}"
        status = int(words[1])
        self.answers[status] += 1
        if status >= 500 and status not in ALLOWED:
            return f"{status}: {answer[-400:]!r}"
        if not whole or status < 400:
            return ""
        kind = head.lower()
        try:
            if b"json" in kind and body and b"chunked" not in kind:
                json.loads(body)
            elif b"xml" in kind and body and b"chunked" not in kind:
                ElementTree.fromstring(body)
        except (ValueError, ElementTree.ParseError) as error:
            if "invalid character number" in str(error):
                return ""  # S3 writes control characters as references, which XML 1.0 does not have
            return f"{status} with a body that cannot be read ({error}): {body[:200]!r}"
        return ""

    async def check(self, before: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        """Same processes, bounded memory, and good requests answered soon."""
        now = dict(self.target.pids())
        if now != before:
            self.faults.append(Fault(self.sent, "processes", f"{before} became {now}"))
            raise Lost(self)
        for name, pid in now.items():
            grown = self.target.memory(pid) - sizes[name]
            if grown > MOST_GROWTH:
                self.faults.append(Fault(self.sent, "memory", f"{name} has grown by {grown >> 20} MiB"))
        for sample in self.target.good:
            took = min([await self._good(sample) for _ in range(3)])
            if took > SOON:
                self.faults.append(Fault(self.sent, sample.name, f"a good request took {took:.2f} s, three times"))

    async def _good(self, sample: Sample) -> float:
        began = time.monotonic()
        answer = await asyncio.wait_for(self.exchange(self.signed(sample), True), PATIENCE)
        status = answer.split(b" ")[1] if b" " in answer else b""
        if status != b"200":
            self.faults.append(Fault(self.sent, sample.name, f"a good request was answered with {answer[:300]!r}"))
        return time.monotonic() - began

    def report(self) -> str:
        """What was done, and the faults, each with what brings it back."""
        lines = [
            f"seed {self.seed}: {self.sent} requests, answers {dict(sorted(self.answers.items()))}, {len(self.faults)} faults"
        ]
        for fault in self.faults:
            lines.append(f"  {fault.name}: {fault.words}")
            lines.append(f"    again: scripts/test --fuzz 1 {self.seed} {fault.number}    {fault.raw[:600]!r}")
        return "\n".join(lines)


class Lost(Exception):
    """A process of Clary's died: nothing that follows would say anything."""

    def __init__(self, fuzzer: Fuzzer) -> None:
        super().__init__(fuzzer.report())
