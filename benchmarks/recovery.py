"""How soon Clary answers again after `kill -9`, and what clients notice: control plane and object store, on a quiet and on a busy machine.

Busy is four processes that only compute, at nice 0, beside 64 connections of predictions. A kill's time is the user's: from the kill until
a request that is made right behind it has its answer, asked again while it is refused. Beside the kills, boto3's clients as anybody makes
them create models and put objects one after another; what fails in their hands is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.common import Row, arguments, finish, pss, say
from benchmarks.load import save, wrk
from benchmarks.serve import signed
from benchmarks.start import BUCKET, CODE, PYTHON, ROLE, Bench, archive, configured, running

HOGS, CONNECTIONS = 4, 64
MUSTS = {"control": 2.0, "objects": 1.0}  # seconds, the median on a busy machine
SPIN = "while True: pass"


class Clients:
    """boto3's clients with nothing set, in threads of their own."""

    def __init__(self, bench: Bench) -> None:
        self.made = {"CreateModel": 0, "PutObject": 0}
        self.failed: dict[str, list[str]] = {name: [] for name in self.made}
        self._stop = threading.Event()
        sagemaker, s3 = bench.client("sagemaker"), bench.client("s3")
        self._run = f"{os.getpid()}-{time.time_ns()}"
        image = {"Image": PYTHON}

        def create(number: int) -> None:
            sagemaker.create_model(
                ModelName=f"m-{self._run}-{number}"[:63], ExecutionRoleArn=ROLE, PrimaryContainer=image
            )

        def put(number: int) -> None:
            s3.put_object(Bucket=BUCKET, Key=f"recovery/{self._run}/{number}", Body=b"x" * 10_000)

        works: tuple[tuple[str, Callable[[int], None]], ...] = (("CreateModel", create), ("PutObject", put))
        self._threads = [threading.Thread(target=self._keep, args=work, daemon=True) for work in works]

    def _keep(self, name: str, work: Callable[[int], None]) -> None:
        while not self._stop.wait(0.02):
            self.made[name] += 1
            try:
                work(self.made[name])
            except (ClientError, BotoCoreError) as error:
                self.failed[name].append(str(error))

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)


@contextlib.contextmanager
def busy(bench: Bench, endpoint: str, folder: Path) -> Iterator[None]:
    """Everybody else's work, for as long as the block lasts."""
    bench.runtime.invoke_endpoint(EndpointName=endpoint, ContentType="text/csv", Body=b"1,2,3")
    hogs = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(HOGS)]
    stop = threading.Event()

    def predict() -> None:
        while not stop.is_set():
            file = save(folder / "requests", signed(bench, endpoint, [b"1,2,3"]))  # a signature holds for five minutes
            wrk(bench.settings.port, file, CONNECTIONS, 2)

    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(predict)
        try:
            yield
        finally:
            stop.set()
            for hog in hogs:
                hog.kill()
                hog.wait()
            load.result()


def rows_of(bench: Bench) -> dict[str, Any]:
    return dict(json.loads((bench.settings.run / "processes.json").read_text()))


def killed(bench: Bench, name: str, ask: Callable[[], Any]) -> float:
    """Seconds from the kill until `ask` is answered by the successor."""
    old = int(rows_of(bench)[name]["pid"])
    gone = os.pidfd_open(old)
    began = time.perf_counter()
    os.kill(old, signal.SIGKILL)
    select.select([gone], [], [], 10)
    os.close(gone)
    while True:
        try:
            ask()
            return time.perf_counter() - began
        except (ClientError, BotoCoreError):
            time.sleep(0.01)


def kills(bench: Bench, where: str, count: int) -> list[Row]:
    plain = Config(retries={"total_max_attempts": 1})
    sagemaker, s3 = (bench.client(service, plain) for service in ("sagemaker", "s3"))
    asks: dict[str, Callable[[], Any]] = {
        "control": lambda: sagemaker.list_models(MaxResults=1),
        "objects": lambda: s3.head_bucket(Bucket=BUCKET),
    }
    rows = []
    with Clients(bench) as clients:
        for name, ask in asks.items():
            times = []
            for _ in range(count):
                time.sleep(1.0)
                times.append(killed(bench, name, ask))
            median, most = statistics.median(times), max(times)
            say(f"  {where}, {name}: {' '.join(f'{each:.2f}' for each in times)}")
            ok = median <= MUSTS[name]
            rows.append(
                Row(
                    f"{where}: {name} answers again, median of {count}",
                    median,
                    "s",
                    "",
                    None,
                    f"<= {MUSTS[name]:g}",
                    ok,
                )
            )
            rows.append(Row(f"{where}: {name}, slowest", most, "s"))
    for name, failed in clients.failed.items():
        for error in failed[:5]:
            say(f"  {name}: {error}")
        of = f"of {clients.made[name]:,}"
        rows.append(Row(f"{where}: {name} of a default boto3 that failed", len(failed), of, "", None, "0", not failed))
    return rows


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=20, help="of each process, quiet and busy")


def main() -> int:
    given = arguments("recovery", options)
    environments, folder = (tempfile.mkdtemp(prefix=f"clary-bench-{name}-") for name in ("env", "recovery"))
    try:
        with running(environments) as (bench, _):
            bench.s3.create_bucket(Bucket=BUCKET)
            bench.s3.put_object(Bucket=BUCKET, Key="code.tar.gz", Body=archive({"code/inference.py": CODE}))
            endpoint = configured(bench, PYTHON, f"s3://{BUCKET}/code.tar.gz", {})
            bench.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=endpoint)
            bench.sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=endpoint)
            own = pss([row["pid"] for row in rows_of(bench).values()]) / 2**20
            rows = [Row("memory of Clary's own processes, without the supervisor", own, "MiB PSS")]
            rows += kills(bench, "quiet", given.kills)
            with busy(bench, endpoint, Path(folder)):
                rows += kills(bench, "busy", given.kills)
    finally:
        shutil.rmtree(environments, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
