"""The processes of a multi-model replica, as their zygote sees them: one for each copy of a model, forked when its front asks.

Owns loading (unpack, load, report), unloading, and the replica's memory: what the processes really hold is measured, a load that has
no room is refused, and a process that would take the whole replica over its limit is killed first. Refuses to choose what to unload:
the front knows what was used last. A process of its own for each model is what keeps a broken one from the others: a load that
crashes, hangs or eats memory ends alone, and unloading gives every byte back.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from clary.toolkit import frames, inference, loading
from clary.toolkit.archive import ArchiveError, extract
from clary.toolkit.staff import Staff, report_load, trim
from clary.toolkit.worker import Worker, ending

LOAD_SECONDS = 360.0  # the service's own limit of one load
UNLOAD_SECONDS = 25.0  # until a process that was told to go is killed
ROOM = 0.9  # of the replica's memory may be held by models and the zygote
BRINK = 0.96  # from here on somebody is killed, before the kernel or the shim ends the whole replica
LOOK_LOADING, LOOK = 0.05, 1.0  # seconds between measurements
MEASURED_AT_ONCE = 32
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROGRAM = "inference.py"


class Model(NamedTuple):
    """What a process was started for. `size` is its archive's, `held` what it holds by itself in bytes; `told` when it was told to
    go (0: it was not)."""

    name: str
    digest: str
    size: int
    loaded: bool = False
    held: int = 0
    told: float = 0.0


class Models(Staff):
    """Every method is called in the zygote. `tell(kind, message)` says something to the fronts."""

    def __init__(
        self,
        spec: Mapping[str, Any],
        fronts: List[str],
        after_fork: Callable[[], None],
        tell: Callable[[int, Dict[str, Any]], None],
    ) -> None:
        super().__init__(spec, fronts, after_fork)
        multi = spec["multi"]
        self._archives, self._folder = str(multi["archives"]), str(multi["folder"])
        self._memory = int(multi["memory"])
        self._resized = str(multi.get("resized") or "")  # a file with the memory that it has since
        self._load_seconds = float(multi.get("load_seconds") or LOAD_SECONDS)
        self._tell = tell
        self._models: Dict[int, Model] = {}
        self._sizes: Dict[str, int] = {}  # digest -> bytes that a process of it was seen to hold
        self._heard: Dict[int, bool] = {}  # processes whose failure the fronts were told of
        self._base = 0
        self._look_at = float("inf")
        self._turn = 0
        self._others_at = 0.0

    # -- what fronts ask ----------------------------------------------------------------------------------------------------------

    def load(self, message: Mapping[str, Any]) -> None:
        """LOAD: see that there are `copies` processes of the model. Said twice it is done once."""
        wanted = Model(str(message["model"]), str(message["digest"]), int(message["size"]))
        there = [model for model in self._models.values() if model.name == wanted.name and not model.told]
        if len(there) >= int(message.get("copies") or 1):
            return
        if there:
            wanted = wanted._replace(digest=there[0].digest, size=there[0].size)  # the same version as its siblings
        self._measure_base()
        over = self._used() + self._estimate(wanted) - int(self._memory * ROOM)
        if over > 0 and self._models:
            self._refuse(wanted.name, 507, "There is no memory for it at the moment.", over)
            return
        try:
            pid = self._start(lambda *place: self._serve(wanted, *place), reports=True)
        except OSError as error:  # as many processes as it may have, or no memory for another
            self._refuse(wanted.name, 507, "No process can be started for it: {}.".format(error.strerror), 1)
            return
        self._models[pid] = wanted
        self._look_at = min(self._look_at, time.monotonic() + LOOK_LOADING)

    def unload(self, pid: int) -> None:
        """UNLOAD: it answers what it has, and ends."""
        model = self._models.get(pid)
        if model is not None and not model.told:
            self._models[pid] = model._replace(told=time.monotonic())
            os.kill(pid, signal.SIGTERM)

    def drain(self) -> None:
        """The replica leaves: nobody will ask for what is still being loaded."""
        for pid, model in list(self._models.items()):
            if not model.loaded:
                self.kill(pid, "the replica leaves, and nobody waits for its model any more")

    # -- Staff --------------------------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Nothing is started unasked."""

    def wait(self) -> float:
        now = time.monotonic()
        due = [self._deadline, self._look_at]
        for pid, model in self._models.items():
            if model.told:
                due.append(model.told + UNLOAD_SECONDS)
            elif not model.loaded:
                due.append(self._members[pid].born + self._load_seconds)
        return max(0.0, min(due) - now)

    def watch(self) -> None:
        """What is due by now: loads and unloads that take too long, and a look at the memory."""
        now = time.monotonic()
        for pid, model in list(self._models.items()):
            if pid in self._killed:
                continue
            if model.told and now >= model.told + UNLOAD_SECONDS:
                self.kill(pid, "it was to be unloaded and did not end")
            elif not model.told and not model.loaded and now >= self._members[pid].born + self._load_seconds:
                self._give_up(pid, 504, "It was not loaded within {:g} s.".format(self._load_seconds))
        if now >= self._look_at:
            self._look(now)

    def reports(self) -> Iterator[Dict[str, Any]]:
        """Loads that ended are dealt with here: nothing is left to hear for the zygote."""
        for pid, report in self._collected():
            model = self._models[pid]
            if report.get("error"):
                self._heard[pid] = True
                self._refuse(model.name, int(report["status"]), str(report["error"]))
                continue
            self._sizes[model.digest] = held = int(report["held"])
            self._models[pid] = model._replace(loaded=True, held=held)
            _note("Model {} loaded in {:.3f} s ({:.1f} MB).".format(model.name, report["seconds"], held / 1e6))
            self._look_at = min(self._look_at, time.monotonic())
        return iter(())

    def reap(self) -> List[Tuple[int, int, bool]]:
        """As `Staff.reap`; a load that ended without a word is told of, and what nobody has open any more is removed."""
        ended = super().reap()
        for _ in self.reports():
            pass
        for pid, code, _ in ended:
            model = self._models.pop(pid)
            if not self._heard.pop(pid, False) and not model.loaded and not model.told:
                self._refuse(
                    model.name, 500, "The process that loaded it {}.".format(ending(code, self._spec.get("remedy", "")))
                )
            if all(other.digest != model.digest for other in self._models.values()):
                self._remove(model.digest)
        return ended

    # -- memory -------------------------------------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Measure those that load, and some of the others; act when it is too much."""
        self._measure_base()
        loading = [pid for pid, model in self._models.items() if not model.loaded]
        others = [pid for pid, model in self._models.items() if model.loaded]
        for pid in loading + (self._due(others) if now >= self._others_at else []):
            model = self._models[pid]
            self._models[pid] = model._replace(held=private_bytes(pid) or model.held)
        self._look_at = now + (LOOK_LOADING if loading else LOOK) if self._models else float("inf")
        used = self._used()
        if used > self._memory * BRINK:
            self._avert(loading or others)
        elif used > self._memory * ROOM and not loading:
            self._tell(frames.FULL, {"over": used - int(self._memory * ROOM)})

    def _due(self, others: List[int]) -> List[int]:
        """Those of the loaded ones whose turn to be measured it is: a measurement costs as much as a prediction."""
        self._others_at = time.monotonic() + LOOK
        start = self._turn % len(others) if others else 0
        self._turn = start + MEASURED_AT_ONCE
        return (others[start:] + others[:start])[:MEASURED_AT_ONCE]

    def _avert(self, suspects: List[int]) -> None:
        """Kill the largest, of those that are being loaded if there are any: it goes before the replica does."""
        alive = [pid for pid in suspects if pid not in self._killed]
        if alive:
            largest = max(alive, key=lambda pid: self._models[pid].held)
            text = "It needs more memory than the {:.0f} MB that the replica has.".format(self._memory / 1e6)
            self._give_up(largest, 507, text)

    def _give_up(self, pid: int, status: int, why: str) -> None:
        model = self._models[pid]
        if not model.loaded:
            self._heard[pid] = True
            self._refuse(model.name, status, why)
        self.kill(pid, "model {}: {}".format(model.name, why.rstrip(".")))

    def _used(self) -> int:
        return self._base + sum(model.held for model in self._models.values())

    def _estimate(self, model: Model) -> int:
        """What it will hold: as much as last time, else as the others do, and at least twice its archive."""
        known = self._sizes.get(model.digest)
        if known is not None:
            return known
        loaded = [other.held for other in self._models.values() if other.loaded]
        return max(2 * model.size, sum(loaded) // len(loaded) if loaded else 0)

    def _measure_base(self) -> None:
        """What the zygote holds, and how much there is now: a replica may be resized while it serves."""
        if self._resized and os.path.exists(self._resized):
            with open(self._resized, encoding="ascii") as file:
                self._memory = int(file.read())
        if not self._base:
            self._base = resident_bytes(os.getpid())

    def _refuse(self, name: str, status: int, text: str, over: int = 0) -> None:
        _note("Model {} is not loaded: {}".format(name, text.rstrip()), sys.stderr)
        self._tell(frames.NOT_LOADED, {"model": name, "status": status, "message": text[-100_000:], "over": over})

    # -- a model's process --------------------------------------------------------------------------------------------------------

    def _serve(self, model: Model, slot: int, front: str, read: int, write: int) -> int:
        """Its whole life, in the child."""
        os.close(read)
        started = time.monotonic()
        folder = os.path.join(self._folder, model.digest, "model")
        try:
            self._unpack(model, folder)
            spec = spec_of(self._spec, folder)
            handler = loading.load(spec)
        except BaseException as error:
            report_load(write, {"error": _load_failure(error), "status": 500})
            return 1
        trim()  # what loading took beyond the model: there may be a thousand of these
        seconds, held = time.monotonic() - started, private_bytes(os.getpid())
        batch = int(self._spec.get("batch") or 1) if handler.batchable else 1
        report_load(write, {"seconds": seconds, "held": held})
        hello = {"model": model.name, "batch": batch, "held": held, "seconds": round(seconds, 4)}
        return Worker({**spec, "hello": hello}, front, self._busy, slot, self.threads).run(handler)

    def _unpack(self, model: Model, folder: str) -> None:
        if os.path.isdir(folder):
            return  # a sibling's
        archive = os.path.join(self._archives, model.digest, "model.tar.gz")
        os.makedirs(os.path.dirname(folder), exist_ok=True)
        try:
            extract(archive, folder)
        except ArchiveError as error:
            raise inference.LoadError("Cannot extract {}: {}.".format(model.name, error)) from None
        except OSError:
            if not os.path.isdir(folder):  # else a sibling was quicker
                raise

    def _remove(self, digest: str) -> None:
        """Away at once, deleted in the background: a large model must not hold the zygote up."""
        folder = os.path.join(self._folder, digest)
        trash = "{}.gone-{}".format(folder, time.monotonic_ns())
        try:
            os.rename(folder, trash)
        except FileNotFoundError:
            return  # it was never unpacked
        try:
            child = os.fork()
        except OSError:
            child = -1
        if child > 0:
            return
        shutil.rmtree(trash, ignore_errors=True)
        if child == 0:
            os._exit(0)


def spec_of(spec: Mapping[str, Any], folder: str) -> Dict[str, Any]:
    """The replica's spec for one of its models: the container's own code where there is some, else what the archive carries."""
    found = {**spec, "model_dir": folder}
    code = os.path.join(folder, "code")
    program = str(spec.get("program") or _PROGRAM)
    if not spec.get("code_dir") and (spec.get("program") or os.path.isfile(os.path.join(code, program))):
        found.update(program=program, code_dir=code)
    return found


def private_bytes(pid: int) -> int:
    """Memory that the process shares with nobody; 0 when it is gone."""
    return _sum(pid, ("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:"))


def resident_bytes(pid: int) -> int:
    return _sum(pid, ("Rss:",))


def _sum(pid: int, names: Tuple[str, ...]) -> int:
    try:
        with open("/proc/{}/smaps_rollup".format(pid), encoding="ascii") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith(names))
    except (FileNotFoundError, ProcessLookupError):
        return _from_statm(pid, "Rss:" in names)


def _from_statm(pid: int, whole: bool) -> int:
    """Kernels without smaps_rollup: what is not backed by files counts as private."""
    try:
        with open("/proc/{}/statm".format(pid), encoding="ascii") as file:
            _, resident, shared = (int(number) for number in file.read().split()[:3])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (resident if whole else resident - shared) * _PAGE


def _load_failure(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "It needs more memory than there is: {}".format(error or "MemoryError")
    return inference.load_failure(error)


def _note(line: str, stream: Optional[Any] = None) -> None:
    print(line, file=stream or sys.stdout, flush=True)
