"""The process that carries a batch transform out: `python -m clary.toolkit.transform.driver SPEC`.

For each object: read, split, pack into requests, filter, have them predicted, join, filter, write. As many requests are on their way as
the job allows, one more is ready, and nothing else is held: memory does not grow with the object. Answers are written in the order of the
records. An output is complete once it has its name: `out/N`, for the N-th object; a driver that starts again goes on behind those.

SPEC is a JSON file (`domain/transform/request.py` and `loops/transform/places.py` write it). The folder `in` has `objects.jsonl`, a line
per object with its number N and key, and `data/N`, the object. `stored/N` marks outputs that went to the object store already. Exit code
0: all objects are done. 1: `out/failure.json` tells why not. Any other end is a crash: it is started again. Standard library only,
Python 3.9 or newer.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import sys
import threading
import time
import traceback
import zlib
from collections import deque
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, BinaryIO, Callable, Deque, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from clary.toolkit.transform.calls import Away, Caller, Predicted
from clary.toolkit.transform.joining import BadJoin
from clary.toolkit.transform.shaping import TransformShape
from clary.toolkit.transform.splitting import LINE, MULTI, NONE, BadRecord, Splitter, batches, blocks

PIECE = 1 << 20
LARGEST = 1 << 30  # bytes of a request of MaxPayloadInMB 0
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds before a front that is away is asked again
TOLD = 1000  # characters of the model's words in a failure
NARROWED = 1 << 17  # lines of a request beyond which the one at fault is not looked for


class Failure(Exception):
    """The job cannot go on. `blame`: ClientError (the data or the request) or AlgorithmError (the model); `where`: object and records."""

    def __init__(self, blame: str, where: str, message: str, log: str = "") -> None:
        super().__init__(message)
        self.blame = blame
        self.where = where
        self.message = message
        self.log = log


class Source(NamedTuple):
    number: int
    key: str
    name: str  # s3://bucket/key


class Batch(NamedTuple):
    """A request: `body` are the records as they are in the object, `asked` as the model gets them, `first` the first one's number.
    `body` None: the object ends here."""

    source: Source
    body: Optional[bytes]
    asked: bytes
    first: int
    records: int

    @property
    def where(self) -> str:
        if not self.first:
            return self.source.name
        last = self.first + self.records - 1
        return f"{self.source.name}, " + (
            f"line {self.first}" if last <= self.first else f"lines {self.first} to {last}"
        )


class Job:
    """What all lanes share."""

    def __init__(self, spec: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self.spec = spec
        self.shape = TransformShape(spec)
        self.say = say
        self.payload = int(spec["payload"])
        self.lines = spec["split"] == LINE
        self.headers = {
            name: str(spec[member])
            for name, member in (("Content-Type", "content_type"), ("Accept", "accept"))
            if spec.get(member)
        }
        self.over = threading.Event()  # a lane failed: the others begin nothing new
        self._local = threading.local()

    def predict(self, batch: Batch) -> Predicted:
        """The model's answer, asked again as often as the job allows. Failure when there is none."""
        if batch.body is None or not batch.asked:
            return Predicted(200, b"")
        tries = int(self.spec["retries"]) + 1
        said = Predicted(0, b"")
        for _ in range(tries):
            said = self._once(batch.asked)
            if 200 <= said.status < 300:
                return said
            if 400 <= said.status < 500:
                return self._refused(batch, said)
            self.say(f"{batch.where}: {_status(said)}: {_short(said.message)}")
        seconds = float(self.spec["timeout"])
        what = f"gave no answer within {seconds:g} s" if not said.status else f"answered {said.status}"
        raise Failure(
            "AlgorithmError",
            batch.where,
            f"the model {what}, at {tries} attempt{'s' if tries > 1 else ''}: {_short(said.message)}",
            self._log(batch, said),
        )

    def _once(self, body: bytes) -> Predicted:
        """One answer, whatever it is; waits for a front that is away, or for a model that starts again."""
        caller: Optional[Caller] = getattr(self._local, "caller", None)
        if caller is None:
            caller = self._local.caller = Caller(self.spec["front"], self.spec["endpoint"], self.spec["token"])
        pause = FIRST_PAUSE
        while True:
            try:
                return caller.predict(body, self.headers, float(self.spec["timeout"]))
            except Away:
                if self.over.wait(pause):
                    raise
                pause = min(LONGEST_PAUSE, 2 * pause)

    def _refused(self, batch: Batch, said: Predicted) -> Predicted:
        """The model does not take the request: which of its records is at fault?"""
        narrowed, said = self._narrowed(batch, said)
        raise Failure(
            "ClientError",
            narrowed.where,
            f"the model answered {said.status}: {_short(said.message)}",
            self._log(narrowed, said),
        )

    def _narrowed(self, batch: Batch, said: Predicted) -> Tuple[Batch, Predicted]:
        lines = batch.asked.splitlines(keepends=True) if self.lines else []
        if not 1 < len(lines) == batch.records <= NARROWED:
            return batch, said
        low, high = 0, len(lines)
        while high - low > 1:
            middle = (low + high) // 2
            answer = self._once(b"".join(lines[low:middle]))
            if 400 <= answer.status < 500:
                high = middle
            elif 200 <= answer.status < 300:
                low = middle
            else:
                return batch, said
        answer = self._once(lines[low])
        if not 400 <= answer.status < 500:
            return batch, said  # no record alone is at fault
        return batch._replace(first=batch.first + low, records=1), answer

    @staticmethod
    def _log(batch: Batch, said: Predicted) -> str:
        """As AWS's data-log has it."""
        place = batch.source.name[len("s3://") :]
        blame = "ClientError" if 400 <= said.status < 500 else "AlgorithmError"
        return f"{place}: {blame}: {said.status}\n\n{place}: Message:\n{place}: {_short(said.message)}"


class Lane:
    """The objects of one host, in order."""

    def __init__(self, job: Job, sources: List[Source]) -> None:
        self._job = job
        self._sources = sources
        self._out = str(job.spec["out"])
        self._writer: Optional[BinaryIO] = None

    def run(self) -> None:
        most = max(1, int(self._job.spec["concurrency"]))
        under_way: Deque[Tuple[Batch, "Future[Predicted]"]] = deque()
        pool = ThreadPoolExecutor(most)
        try:
            for batch in self._all():
                under_way.append((batch, pool.submit(self._job.predict, batch)))
                while len(under_way) > most + 1:
                    self._done(*under_way.popleft())
                if self._job.over.is_set():
                    return
            while under_way:
                self._done(*under_way.popleft())
        except BaseException:
            self._job.over.set()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _all(self) -> Iterator[Batch]:
        for source in self._sources:
            yield from self._batches(source)
            yield Batch(source, None, b"", 0, 0)

    def _batches(self, source: Source) -> Iterator[Batch]:
        shape, first = self._job.shape, 1
        lines = self._job.spec["split"] != NONE
        try:
            for body, count in self._cut(source):
                where = Batch(source, body, b"", first if lines else 0, count)
                try:
                    yield where._replace(asked=shape.asked(body))
                except BadJoin as error:
                    raise Failure("ClientError", where.where, str(error)) from error
                first += count
        except BadRecord as error:
            raise Failure("ClientError", source.name, str(error)) from error
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise Failure(
                "ClientError", source.name, f"CompressionType is Gzip, and the object cannot be unpacked: {error}"
            ) from error

    def _cut(self, source: Source) -> Iterator[Tuple[bytes, int]]:
        """Bodies of requests and how many records each has."""
        spec, payload = self._job.spec, self._job.payload
        most = payload or LARGEST
        with open(f"{spec['in']}/data/{source.number}", "rb") as raw:
            file: Any = gzip.GzipFile(fileobj=raw) if spec["gzip"] else raw
            if spec["split"] == LINE and spec["strategy"] == MULTI:
                for body in blocks(file.read, most, int(spec["piece"])):
                    yield body, body.count(b"\n") + (not body.endswith(b"\n"))
                return
            splitter = Splitter(spec["split"], most)
            for records in batches(_records(file, splitter), spec["strategy"], most):
                yield b"".join(records), len(records)

    def _done(self, batch: Batch, future: "Future[Predicted]") -> None:
        """Write what became of the oldest request under way."""
        said = future.result()
        number = batch.source.number
        if self._writer is None:
            self._writer = open(f"{self._out}/{number}.part", "wb", buffering=PIECE)
        if batch.body is not None:
            try:
                self._writer.write(self._job.shape.written(batch.body, said.body))
            except BadJoin as error:
                log = f"{batch.source.name[len('s3://') :]}: Failed to parse output from the algorithm: {error}"
                raise Failure("ClientError", batch.where, str(error), log) from error
            return
        self._writer.flush()
        os.fsync(self._writer.fileno())
        self._writer.close()
        self._writer = None
        os.rename(f"{self._out}/{number}.part", f"{self._out}/{number}")


def _records(file: BinaryIO, splitter: Splitter) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        yield from splitter.feed(piece)
    yield from splitter.finish()


def _status(said: Predicted) -> str:
    return f"the model answered {said.status}" if said.status else "the model did not answer in time"


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= TOLD else text[: TOLD // 2] + " ... " + text[-TOLD // 2 :]


class Log:
    """Lines in the shape of AWS's data-log, from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, text: str) -> None:
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}"
        with self._lock:
            for line in text.split("\n"):
                print(f"{stamp}:[sagemaker logs]: {line}", flush=True)


def sources(spec: Mapping[str, Any]) -> List[Source]:
    """The objects that are not done yet, in order."""
    with open(f"{spec['in']}/objects.jsonl", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    done = {name for folder in (spec["out"], spec["stored"]) for name in os.listdir(folder)}
    return [
        Source(int(row["number"]), row["key"], f"s3://{spec['bucket']}/{row['key']}")
        for row in rows
        if str(row["number"]) not in done
    ]


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        spec: Dict[str, Any] = json.load(file)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    say = Log()
    strategy = "SINGLE_RECORD" if spec["strategy"] != MULTI else "MULTI_RECORD"
    megabytes = int(spec["payload"]) >> 20
    say(f"MaxConcurrentTransforms={spec['concurrency']}, MaxPayloadInMB={megabytes}, BatchStrategy={strategy}")
    job, hosts = Job(spec, say), int(spec["hosts"])
    left = sources(spec)
    lanes = [Lane(job, [each for each in left if each.number % hosts == host]) for host in range(hosts)]
    ends = [ThreadPoolExecutor(1).submit(lane.run) for lane in lanes]
    wait(ends, return_when=FIRST_EXCEPTION)
    failures = [end.exception() for end in ends if end.done()]
    known = next((failure for failure in failures if isinstance(failure, Failure)), None)
    if known is not None:
        _report(known, str(spec["out"]), say)
        os._exit(1)  # without waiting for what is under way
    for failure in failures:
        if failure is not None:
            traceback.print_exception(type(failure), failure, failure.__traceback__)
            os._exit(2)
    return 0


def _report(failure: Failure, out: str, say: Callable[[str], None]) -> None:
    say(failure.log or f"{failure.where}: {failure.blame}: {failure.message}")
    told = {"blame": failure.blame, "where": failure.where, "message": failure.message}
    with open(f"{out}/failure.json.part", "w", encoding="utf-8") as file:
        json.dump(told, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{out}/failure.json.part", f"{out}/failure.json")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
