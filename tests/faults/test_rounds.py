"""Anything is killed at any time while clients put, create, train and predict; afterwards the invariants are counted (faults.md 34).

15 rounds by default; CLARY_FAULT_ROUNDS asks for more, CLARY_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.faults.scene import BUCKET, Scene, until
from tests.live import Server

from clary.app import up

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROUNDS = int(os.environ.get("CLARY_FAULT_ROUNDS") or 15)
RECOVERY = 5.0  # seconds until everything answers again
OWN = ("control", "front-0", "objects", "nginx")
ALLOWED = {503, 424}  # what a prediction may get instead of an answer: in a front that died, in a worker that died


class Clients:
    """Threads that use Clary as it comes, and remember what it answered."""

    def __init__(self, scene: Scene) -> None:
        self.objects: dict[str, bytes] = {}
        self.configs: set[str] = set()
        self.jobs: set[str] = set()
        self.odd: list[str] = []  # answers that no fault excuses
        self._stop = threading.Event()
        # Each has clients of its own, made before anything is killed: a Scene asks for its bucket once, and no more.
        self._threads = [
            threading.Thread(target=self._keep, args=(action, Scene(scene.server), place * 1_000_000), daemon=True)
            for place, action in enumerate((self._put, self._put, self._configure, self._train))
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _keep(self, action: Callable[[Scene, int], None], scene: Scene, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            try:
                action(scene, number)
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status != 503:
                    self.odd.append(f"{action.__name__}: {error}")
            except BotoCoreError:
                pass  # a connection that nginx's death cut
            self._stop.wait(0.01)

    def _put(self, scene: Scene, number: int) -> None:
        key, body = f"rounds/{number}", str(number).encode() * (1 if number % 4 else 20_000)
        scene.s3.put_object(Bucket=BUCKET, Key=key, Body=body)
        self.objects[key] = body

    def _configure(self, scene: Scene, number: int) -> None:
        scene.config(f"c-{number}", "rounds")
        self.configs.add(f"c-{number}")
        self._stop.wait(0.1)

    def _train(self, scene: Scene, number: int) -> None:
        scene.train(f"j-{number}", "import time\nprint('begun')\ntime.sleep(0.5)\n")
        self.jobs.add(f"j-{number}")
        self._stop.wait(2)


def victim(scene: Scene, chance: random.Random) -> tuple[str, int]:
    """Something to kill: one of Clary's own processes, a worker, a replica, a shim."""
    kind = chance.choice([*OWN, *OWN, "worker", "replica", "shim"])
    if kind in OWN:
        return kind, scene.pid(kind)
    if kind == "shim":
        pids = [p.pid for p in scene.everyone().values() if "backends.shim" in p.command and "/replicas/" in p.command]
    else:
        found = scene.sandboxed("clary.toolkit.zygote")
        first = {p.pid for p in found}
        pids = [p.pid for p in found if (p.parent in first) == (kind == "worker")]
    return (kind, chance.choice(pids)) if pids else ("control", scene.pid("control"))


def whole(scene: Scene) -> bool:
    """Whether every door answers."""
    try:
        scene.s3.head_bucket(Bucket=BUCKET)
        scene.sagemaker.list_endpoints()
        return bool(scene.invoke("rounds", text="x")["echo"] == "x")
    except (ClientError, BotoCoreError):
        return False


def crowded() -> float:
    """How much longer a process takes to start than on a machine that nobody else uses: this one, now, by a known start."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import clary.app.control"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return max(1.0, (time.monotonic() - began) / used)


def test_whatever_is_killed_nothing_answered_is_lost_and_nothing_is_doubled(start: Callable[..., Server]) -> None:
    seed = int(os.environ.get("CLARY_FAULT_SEED") or time.time())
    print("CLARY_FAULT_SEED", seed)
    chance, scene = random.Random(seed), Scene(start())
    scene.deploy("rounds", count=2)
    slow: list[tuple[str, float]] = []
    with scene.load("rounds", connections=4, pause=0.02) as load, Clients(scene) as clients:
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.0, 1.0))
            kind, pid = victim(scene, chance)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            began = time.monotonic()
            until(lambda pid=pid: not _alive(pid), 30)
            until(lambda: whole(scene), 30, f"all doors answer after the end of {kind} (seed {seed})")
            took = time.monotonic() - began
            if took > RECOVERY and took > RECOVERY * crowded():
                slow.append((kind, took))
    assert slow == [], seed
    assert clients.odd == [], seed
    assert {status for status, _ in load.failed} <= ALLOWED, (seed, load.failed)
    assert load.wrong == [], seed
    assert len(clients.objects) > ROUNDS
    assert clients.configs
    assert clients.jobs
    check(scene, clients, seed)
    up.down(scene.server.settings)
    assert scene.everyone() == {}, seed


def check(scene: Scene, clients: Clients, seed: int) -> None:
    until(lambda: all(row["pid"] and row["ready"] for row in scene.pids().values()), 20, "all of Clary is back")
    for key, body in clients.objects.items():
        assert scene.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body, (seed, key)
    pages = scene.sagemaker.get_paginator("list_endpoint_configs").paginate()
    listed = {row["EndpointConfigName"] for page in pages for row in page["EndpointConfigs"]}
    assert clients.configs <= listed, seed
    jobs: dict[str, Any] = {name: scene.ended(name, 60) for name in clients.jobs}
    for name, job in jobs.items():
        assert job["TrainingJobStatus"] == "Completed", (seed, name, job.get("FailureReason"))
        assert scene.lines(name).count("begun") == 1, (seed, name)
    scene.in_service("rounds")

    def counted() -> bool:  # what was killed last may be on its way back
        return bool(scene.status("rounds")["ProductionVariants"][0]["CurrentInstanceCount"] == 2)

    until(counted, 30, f"two replicas are told (seed {seed})")

    def settled() -> bool:
        found = scene.sandboxed("clary.toolkit.zygote")
        first = {p.pid for p in found}
        return len([p for p in found if p.parent not in first]) == 2

    until(settled, 30, f"two replicas, no more, no less (seed {seed})")
    assert scene.sandboxed("main.py") == [], seed


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
