"""scripts/test --chaos MINUTES: Clary is hurt for so long while clients work, then looked over; a table tells what it cost.

Kills of every process, pauses, steps of the clock, a slow and a full disk, one after another as `plan.py` says for the seed; clients as
in `clients.py`; what is wrong, `checker.py` says. Without root there is no full disk, without a compiler no slow one, without
libfaketime no other clock: the head of the table says what was left out. A run leaves its history, a line for each event, in the
folder that is told. Exit code 1: something was lost, wrong, doubled, or did not come back.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.faults import checker, tally
from tests.faults.checker import RECOVERY
from tests.faults.clients import CALLS, MODEL, MOVING, QUEUE, Crowd
from tests.faults.history import FAILED_CALL, UNKNOWN, Answered, Counted, Fault, History, Ran
from tests.faults.plan import CLOCK, FULL, SLOW, Act, acts
from tests.faults.scene import BUCKET, Scene, Seen, shim_of, until
from tests.live import Server

from clary.app import up
from clary.app.settings import Settings, load
from clary.domain.errors import ClaryError

BACK_WITHIN = 60.0  # seconds until every door answers again
ENDS_WITHIN = 180.0  # what is under way in the end
REPLICAS = 2  # of the endpoint whose parts are killed
DISK = "1500m"
MIB = 1 << 20
NUMBERS = """
import json
def model_fn(model_dir):
    return None
def transform_fn(model, body, content_type, accept):
    return json.dumps({"number": json.loads(body)["number"]})
"""
PROGRAM = "python3 -u /opt/ml/input/data/code/main.py"
FAKETIME = ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime")


# -- what can be done on this machine -----------------------------------------------------------------------------------------------


@dataclass
class Tools:
    """What a Clary is started with so that its clock and its disk obey; `missing` says what cannot be had here and why."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    disk: Path | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    @property
    def delay(self) -> Path:
        return self.folder / "delay"

    @property
    def others(self) -> tuple[str, ...]:
        """Kinds of acts that can be played."""
        preloaded = self.environment.get("LD_PRELOAD", "")
        found = [(CLOCK, "faketime" in preloaded), (SLOW, "slow_fsync" in preloaded), (FULL, self.disk is not None)]
        return tuple(kind for kind, there in found if there)

    @contextlib.contextmanager
    def preloaded(self) -> Iterator[None]:
        """What is started within is one of theirs."""
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


@contextlib.contextmanager
def tools(folder: Path, without: Collection[str] = ()) -> Iterator[Tools]:
    """All that is to be had, but for those kinds."""
    made = Tools(folder)
    makers = [make for kind, make in ((CLOCK, _faketime), (SLOW, _slow_fsync)) if kind not in without]
    libraries = [library for make in makers if (library := make(made))]
    if libraries:
        made.environment["LD_PRELOAD"] = " ".join(libraries)
    try:
        if FULL not in without:
            _small_disk(made)
        yield made
    finally:
        if made.disk is not None:
            subprocess.run(["umount", "-l", str(made.disk)], check=False)


def _faketime(made: Tools) -> str:
    found = [path for place in FAKETIME if (path := Path(place, "libfaketimeMT.so.1")).exists()]
    if not found:
        made.missing.append("clock steps (libfaketime is not installed)")
        return ""
    made.clock.write_text("+0\n")
    made.environment |= {
        "FAKETIME_TIMESTAMP_FILE": str(made.clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "FAKETIME_DISABLE_SHM": "1",  # its semaphores hang in a namespace of processes
    }
    return str(found[0])


def _slow_fsync(made: Tools) -> str:
    compiler, library = shutil.which("cc"), made.folder / "slow_fsync.so"
    source = Path(__file__).with_name("slow_fsync.c")
    if compiler is None:
        made.missing.append("a slow disk (there is no C compiler)")
        return ""
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"], check=True)
    made.delay.write_text("0")
    made.environment["SLOW_FSYNC"] = str(made.delay)
    return str(library)


def _small_disk(made: Tools) -> None:
    if os.geteuid() != 0:
        made.missing.append("a full disk (only root may mount a small one)")
        return
    disk = made.folder / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(disk)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        made.missing.append(f"a full disk ({done.stderr.strip()})")
    else:
        made.disk = disk


# -- the scene ----------------------------------------------------------------------------------------------------------------------


def furnish(scene: Scene) -> None:
    """The endpoints that clients use."""
    scene.deploy(MODEL, count=REPLICAS, wait=False)
    for letter in "ab":
        scene.model(f"{MOVING}-{letter}")
        scene.config(f"{MOVING}-{letter}", f"{MOVING}-{letter}")
    scene.sagemaker.create_endpoint(EndpointName=MOVING, EndpointConfigName=f"{MOVING}-a")
    scene.s3.create_bucket(Bucket=CALLS)
    scene.s3.put_bucket_versioning(Bucket=CALLS, VersioningConfiguration={"Status": "Enabled"})
    scene.model(QUEUE, NUMBERS)
    row = {"VariantName": "AllTraffic", "ModelName": QUEUE, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    scene.sagemaker.create_endpoint_config(
        EndpointConfigName=QUEUE,
        ProductionVariants=[row],
        AsyncInferenceConfig={
            "OutputConfig": {"S3OutputPath": f"s3://{CALLS}/out", "S3FailurePath": f"s3://{CALLS}/failed"}
        },
    )
    scene.sagemaker.create_endpoint(EndpointName=QUEUE, EndpointConfigName=QUEUE)
    for name in (MODEL, MOVING, QUEUE):
        scene.in_service(name, 300)


class Chaos:
    """Does what the plan says, and waits each time until all is well again."""

    def __init__(self, scene: Scene, history: History, made: Tools | None = None) -> None:
        self.scene, self.history, self.tools = scene, history, made
        patience = {"read_timeout": 3, "connect_timeout": 3}
        self._s3 = scene.server.client("s3", **patience)
        self._sagemaker = scene.server.client("sagemaker", **patience)
        self._runtime = scene.server.client("sagemaker-runtime", **patience)

    def act(self, act: Act) -> None:
        """Nothing when there is nobody whom it could happen to."""
        time.sleep(act.pause)  # as the plan says: not all faults follow on a recovery at once
        if act.kind in (CLOCK, SLOW, FULL):
            began, lasted = self._surround(act)
            self._over(act.kind, began, lasted, "")
            return
        whom = self.victim(act.whom, act.pick)
        if whom is None:
            return
        pid, of = whom
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL if act.kills else signal.SIGSTOP)
        if not act.kills:
            time.sleep(act.seconds)  # the fault itself: it stands still for that long
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            self._over(act.kind, began, act.seconds, of)
            return
        if act.whom == "clary up":
            self._start_again()
        self._over(act.kind, began, 0.0, of, pid if act.whom in ("zygote", "replica's shim") else 0)

    def _over(self, kind: str, began: float, lasted: float, of: str, replica: int = 0) -> None:
        back, room = None, 1.0
        while time.monotonic() < began + lasted + BACK_WITHIN:
            if self.whole() and (not replica or self._replaced(replica)):
                back = time.monotonic()
                break
            time.sleep(0.25 if replica else 0.05)
        if back is None or back - began - lasted > RECOVERY:
            room = crowded()
        self.history.add(Fault(kind, began, back, of, lasted, room))

    def _surround(self, act: Act) -> tuple[float, float]:
        """Something that happens to all of Clary at once. Answers when it began, and for how long it lasted."""
        assert self.tools is not None
        began = time.monotonic()
        if act.kind == CLOCK:  # and it stays so
            self.tools.clock.write_text(f"{act.seconds:+.1f}\n")
            return began, 0.0
        if act.kind == SLOW:
            self.tools.delay.write_text(str(int(50 + 450 * act.pick)))
            time.sleep(act.seconds)
            self.tools.delay.write_text("0")
            return began, act.seconds
        assert self.tools.disk is not None
        filler = self.tools.disk / "filler"
        try:
            _fill(filler, 0 if act.pick < 0.5 else 4 * MIB)
            time.sleep(act.seconds)
        finally:
            filler.unlink(missing_ok=True)
        return began, time.monotonic() - began  # to fill it takes a while

    def calm(self) -> None:
        """The clock is right, the disk is quick."""
        if self.tools is not None and CLOCK in self.tools.others:
            self.tools.clock.write_text("+0\n")

    # -- who ----------------------------------------------------------------------------------------------------------------------

    def victim(self, whom: str, pick: float) -> tuple[int, str] | None:
        """(pid, the job that it belongs to); None where there is nobody of the kind at the moment."""
        if whom in ("control", "objects", "front", "nginx master"):
            found = [row["pid"] for name, row in self.scene.pids().items() if name.partition("-")[0] == whom.split()[0]]
            found = [pid for pid in found if pid]
            return (_one(found, pick), "") if found else None
        if whom == "clary up":
            return self.scene.supervisor(), ""
        everyone = self.scene.everyone()
        if whom == "nginx worker":
            found = [pid for pid, seen in everyone.items() if seen.command.startswith("nginx: worker")]
        elif whom in ("job", "job's shim"):
            return self._job(everyone, whom, pick)
        elif whom == "replica's shim":
            found = [pid for pid, seen in everyone.items() if _shim_of("own/replica-", seen)]
        else:
            zygotes = _zygotes(everyone)
            first = {p.pid for p in zygotes}
            found = [p.pid for p in zygotes if (p.parent in first) == (whom == "worker")]
        return (_one(sorted(found), pick), "") if found else None

    def _job(self, everyone: dict[int, Seen], whom: str, pick: float) -> tuple[int, str] | None:
        found = [seen for seen in everyone.values() if seen.command.startswith(PROGRAM)]
        if not found:
            return None
        one = found[int(pick * len(found))]
        name = one.command.split()[3]
        if whom == "job":
            return one.pid, name
        shim = shim_of(one, everyone)
        return (shim.pid, name) if shim else None

    # -- whether all is well ------------------------------------------------------------------------------------------------------

    def whole(self) -> bool:
        """Whether every door answers."""
        try:
            self._s3.put_object(Bucket=BUCKET, Key="chaos/whole", Body=b"x")
            self._sagemaker.list_endpoints(MaxResults=1)
            return bool(self.scene.invoke(MODEL, self._runtime, text="x")["echo"] == "x")
        except (ClientError, BotoCoreError):
            return False

    def _replaced(self, pid: int) -> bool:
        """Whether the endpoints have all their replicas, without that process."""
        if pid in self.scene.everyone():
            return False
        try:
            rows = [
                self._sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0] for name in (MODEL, QUEUE)
            ]
        except (ClientError, BotoCoreError):
            return False
        return (
            all(row["CurrentInstanceCount"] == row["DesiredInstanceCount"] for row in rows)
            and self.zygotes() >= REPLICAS + 2
        )

    def zygotes(self) -> int:
        """Replicas that run. (By descent: what a sandbox mounts of a small disk does not name the state folder.)"""
        found = _zygotes(self.scene.everyone())
        first = {p.pid for p in found}
        return len([p for p in found if p.parent not in first])

    def _start_again(self) -> None:
        began = time.monotonic()
        while True:
            with self.tools.preloaded() if self.tools is not None else contextlib.nullcontext():
                try:
                    up.detached(self.scene.server.settings)
                    return
                except ClaryError as error:
                    if time.monotonic() > began + BACK_WITHIN:
                        raise AssertionError(f"clary up did not start again: {error}") from error
            time.sleep(0.1)


def crowded() -> float:
    """How much longer a process takes to start than on a machine that nobody else uses: this one, now, by a known start."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import clary.app.control"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return max(1.0, (time.monotonic() - began) / used)


def _zygotes(everyone: Mapping[int, Seen]) -> list[Seen]:
    """Zygotes and the workers that they forked."""
    found = [seen for seen in everyone.values() if "clary.toolkit.zygote" in seen.command]
    return [seen for seen in found if "bwrap" not in seen.command.split(" ")[0]]


def _shim_of(folder: str, seen: Seen) -> bool:
    return "clary.backends.shim" in seen.command and f"/{folder}" in seen.command


def _one(pids: list[int], pick: float) -> int:
    return pids[int(pick * len(pids))]


def _fill(path: Path, leave: int) -> None:
    free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
    with path.open("wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, free - leave))


# -- the end ------------------------------------------------------------------------------------------------------------------------


def look_over(chaos: Chaos, crowd: Crowd) -> None:
    """When clients have stopped and nothing is done to it any more: everything that was acknowledged is looked at once more."""
    scene, history = chaos.scene, chaos.history
    until(lambda: all(row["pid"] and row["ready"] for row in scene.pids().values()), 60, "all of Clary is back")
    until(chaos.whole, 60, "every door answers")
    for each in (*crowd.objects, *crowd.records):
        each.last_look()
    _jobs(scene, history, crowd)
    _calls(scene, history, crowd)
    seen = crowd.changes.settled(ENDS_WITHIN)
    wanted = REPLICAS + 1 + (crowd.changes.count if seen is not None else 0)

    def settled() -> bool:
        return chaos.zygotes() == wanted

    with contextlib.suppress(AssertionError):
        until(settled, 90)
    history.add(Counted("replicas", wanted, chaos.zygotes()))
    running = [seen for seen in scene.everyone().values() if seen.command.startswith(PROGRAM)]
    history.add(Counted("processes of jobs", 0, len(running)))


def _jobs(scene: Scene, history: History, crowd: Crowd) -> None:
    deadline = time.monotonic() + ENDS_WITHIN
    while crowd.jobs.open and time.monotonic() < deadline:
        for name in list(crowd.jobs.open):
            crowd.jobs.look(name)
        time.sleep(0.2)
    history.add(Counted("jobs that never end", 0, len(crowd.jobs.open)))
    for name, job in crowd.jobs.ended.items():
        status, result = str(job["TrainingJobStatus"]), False
        if status == "Completed":
            key = job["ModelArtifacts"]["S3ModelArtifacts"].partition(f"{BUCKET}/")[2]
            with contextlib.suppress(ClientError):
                result = bool(scene.s3.head_object(Bucket=BUCKET, Key=key))
        lines = tuple(line for line in scene.lines(name) if line in ("begun", "done"))
        history.add(Ran(name, status, lines, result, str(job.get("FailureReason", ""))))


def _calls(scene: Scene, history: History, crowd: Crowd) -> None:
    """Every version of every answer is read: one that was written twice has two."""

    def written() -> list[str]:
        pages = scene.s3.get_paginator("list_object_versions").paginate(Bucket=CALLS)
        return [row["Key"] for page in pages for row in page.get("Versions", ())]

    places = crowd.calls.places
    wanted = set(places.values())
    with contextlib.suppress(AssertionError):
        until(lambda: wanted <= {places.get(key, "") for key in written()}, ENDS_WITHIN, "every call is answered")
    answers: dict[str, list[str]] = {call: [] for call in crowd.calls.outcomes}
    for key in written():
        body = scene.s3.get_object(Bucket=CALLS, Key=key)["Body"].read()
        number = FAILED_CALL if key.startswith("failed/") else _number(body)
        answers.setdefault(places.get(key, f"unknown {key}"), []).append(number)
    for call, found in answers.items():
        history.add(Answered(call, crowd.calls.outcomes.get(call, UNKNOWN), tuple(found)))


def _number(body: bytes) -> str:
    return body.rpartition(b":")[2].strip(b' "}').decode(errors="replace")


def report(history: History, seed: int, missing: list[str], crowd: Crowd, seconds: float) -> str:
    rows = tally.rows(history)
    kills = sum(row.times for row in rows if row.kind.startswith("kill"))
    jobs = Counter(str(job["TrainingJobStatus"]) for job in crowd.jobs.ended.values())
    head = [
        f"CLARY_FAULT_SEED={seed}, {seconds / 60:.1f} minutes, {kills} kills, {sum(row.times for row in rows)} faults in all",
        f"{len(history.events)} events, {history.predictions} predictions, jobs: {dict(jobs)}, "
        f"{len(crowd.calls.outcomes)} asynchronous calls, {crowd.changes.done} changes of an endpoint "
        f"({crowd.changes.taken_back} taken back)",
        *([f"left out: {'; '.join(missing)}"] if missing else []),
    ]
    return "\n".join([*head, "", tally.table(rows)])


def rounds(chaos: Chaos, seed: int, others: tuple[str, ...], over: Any) -> Crowd:
    """Clients work and the plan is played until `over(number of acts)`, then everything is looked over."""
    crowd = Crowd(chaos.scene, chaos.history, seed)
    crowd.start()
    try:
        for number, act in enumerate(acts(seed, others)):
            if over(number):
                break
            chaos.act(act)
            if any(fault.back is None for fault in chaos.history.of(Fault)):
                break  # it does not come back: what follows would tell nothing
    finally:
        chaos.calm()
        crowd.stop()
    look_over(chaos, crowd)
    return crowd


def begin(folder: Path, made: Tools, environments: str) -> Settings:
    """A Clary that the tools have a hold on."""
    root = (made.disk or folder) / "state"
    flags = {
        "dir": str(root),
        "port": 0,
        "environments": environments,
        "container_engine": "none",
        "low_water": 2 * MIB,
    }
    machine = {name: value for name, value in os.environ.items() if not name.startswith("CLARY_")}
    with made.preloaded():
        return up.detached(load(flags, machine))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/test --chaos", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--environments", default="", help="folder of built environments, to be used again")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=(CLOCK, SLOW, FULL),
        help="leave this out: libfaketime slows all down",
    )
    given = parser.parse_args(argv)
    seed = int(os.environ.get("CLARY_FAULT_SEED") or random.SystemRandom().randrange(1 << 31))
    folder = Path(tempfile.mkdtemp(prefix="clary-chaos-"))
    print(
        f"CLARY_FAULT_SEED={seed} scripts/test --chaos {given.minutes:g}   (history: {folder}/history.jsonl)",
        flush=True,
    )
    history, began = History(), time.monotonic()
    with tools(folder, given.without) as made:
        settings = begin(folder, made, given.environments or str(folder / "environments"))
        try:
            scene = Scene(Server(settings))
            furnish(scene)
            started = time.monotonic()
            crowd = rounds(
                Chaos(scene, history, made),
                seed,
                made.others,
                lambda _: time.monotonic() - started > 60 * given.minutes,
            )
        finally:
            (folder / "history.jsonl").write_text("".join(f"{line}\n" for line in history.lines()))
            shutil.copytree(settings.root / "logs" / "clary", folder / "logs", dirs_exist_ok=True)
            up.down(settings)
    print(report(history, seed, made.missing, crowd, time.monotonic() - began))
    found = checker.check(history)
    for violation in found[:50]:
        print(violation)
    print(f"{len(found)} violations" if found else "nothing lost, nothing wrong, nothing doubled")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
