"""A job is slowed while the endpoints of this machine need CPU; other programs have no priority over it.

`tell`, `untell`: a replica's shim says where its CPU is counted: FOLDER/<name>. `Way`: a job's shim looks several times a second what the
replicas used, and holds its sandbox back while they want CPU, and for some seconds after. How, depends on what this user may do:

- A control group weighs (`cgroups.py`): always, so there is nothing to be done; only told.
- `autogroup`: where the kernel groups sessions (sched(7)), the niceness of a session may be lowered again by its user. That of a process
  may not: once at 19, it would give way to the whole machine for good.
- `priority`: root, or a user with RLIMIT_NICE, may lower niceness too, where sessions are not grouped.
- `turns`: else the sandbox's processes run for a fifth of the time: stopped and continued, which needs no right and leaves them what they
  know of the machine (the CPUs that they may run on would be taken by some as their number of threads).
"""

from __future__ import annotations

import os
import resource
import signal

from clary.backends.shim.proc import counter, cpu_time, families, give_way, signal_quietly, started_ticks, waited
from clary.backends.shim.records import load, note

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable

    from clary.backends.shim.records import Record

FILE = "way.json"
WANTED = 0.06  # of a CPU, used or waited for by the replicas together
HOLD_SECONDS = 5.0  # after they last wanted it
TOLD_SECONDS = 60.0  # between two lines of the log
NICE = 19
TURN_SECONDS = 0.1
TURN_SHARE = 0.2
_CAP_SYS_NICE = 23
HELD_BACK = "endpoints on this machine want CPU: until they do not, this run gets what they leave"


def tell(folder: str, name: str, pid: int, cpu: list[object] | None) -> None:
    """A replica's sandbox is there: `pid` is its first process, `cpu` the counter of its control group."""
    note(folder, name, {"pid": pid, "ticks": started_ticks(pid), "cpu": cpu})


def untell(folder: str, name: str) -> None:
    try:
        os.unlink(os.path.join(folder, name))
    except OSError:
        pass


def used(folder: str) -> dict[str, float]:
    """Seconds of CPU that each replica used, or waited for where the kernel tells it."""
    try:
        names = [name for name in os.listdir(folder) if not name.endswith(".new")]
    except OSError:
        return {}
    found: dict[str, float] = {}
    uncounted: dict[str, int] = {}
    for name in names:
        said = load(folder, name)
        if said is None or started_ticks(said["pid"]) != said["ticks"]:
            continue  # it ended: the process that should have removed it was killed
        counted = counter(said["cpu"])
        if counted is None:
            uncounted[name] = said["pid"]
        else:
            found[name] = counted
    if uncounted:
        members = families(list(uncounted.values()))
        for name, pid in uncounted.items():
            found[name] = cpu_time(members[pid]) + waited(members[pid])
    return found


def mechanism(weighed: bool) -> str:
    """weight | autogroup | priority | turns: what holds a run back here."""
    if weighed:
        return "weight"
    if _sessions_are_grouped():
        return "autogroup"
    return "priority" if _may_lower() else "turns"


def _sessions_are_grouped() -> bool:
    """The kernel does, and no control group of the CPU stands above us: in one, sessions count for nothing."""
    try:
        with open("/proc/sys/kernel/sched_autogroup_enabled") as file:
            if file.read().strip() != "1":
                return False
        with open("/proc/self/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "cpu" in controllers.split(",") and path != "/":
            return False
        if not controllers:  # version 2
            parts = path.strip("/").split("/")
            above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
            mounts = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
            if any(os.path.exists(f"{mount}/{folder}/cpu.weight") for mount in mounts for folder in above if folder):
                return False
    return True


def _may_lower() -> bool:
    """RLIMIT_NICE allows it (20 less the niceness), or CAP_SYS_NICE. Not tried: who may not would stay as nice as it tried."""
    if not 0 <= resource.getrlimit(resource.RLIMIT_NICE)[0] < 20:
        return True
    with open("/proc/self/status") as file:
        held = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    return bool(int(held, 16) >> _CAP_SYS_NICE & 1)


class Way:
    """Of one sandbox. `say` writes a line into the run's log."""

    def __init__(self, spec: Record, folder: str, say: Callable[[str], None]) -> None:
        self.by = str(spec["by"]) or mechanism(spec["weighed"])
        self.endpoints = str(spec["folder"])
        self.folder = folder
        self.say = say
        self.giving = False
        self.until = 0.0
        self.told = -TOLD_SECONDS
        self.before: dict[str, float] = {}
        self.looked = 0.0
        self.members: list[int] = []
        self.turn_due: float | None = None
        self.running = True

    def look(self, now: float, members: list[int]) -> None:
        """Several times a second. `members`: the sandbox's processes but for those that look after it."""
        seen = used(self.endpoints)
        spent = sum(max(0.0, seconds - self.before[name]) for name, seconds in seen.items() if name in self.before)
        if self.before and spent > WANTED * (now - self.looked):
            self.until = now + HOLD_SECONDS
        self.before, self.looked, self.members = seen, now, members
        if (now < self.until) != self.giving:
            self.giving = not self.giving
            note(self.folder, FILE, {"giving": self.giving, "by": self.by})
            if self.giving and now - self.told > TOLD_SECONDS:
                self.told = now
                self.say(HELD_BACK)
            if self.by == "turns":
                self.turn_due = now if self.giving else None
                self.let(True)
        self.hold()

    def hold(self) -> None:
        """New processes and sessions, too, begin as others did: so it is said again and again."""
        if self.by == "autogroup":
            give_way(self.members, NICE if self.giving else 0)
        elif self.by == "priority":
            lower(self.members, NICE if self.giving else 0)

    def turn(self, now: float) -> None:
        """`turn_due`: the next part of a turn begins."""
        self.let(not self.running)
        self.turn_due = now + TURN_SECONDS * (TURN_SHARE if self.running else 1 - TURN_SHARE)

    def let(self, run: bool) -> None:
        for pid in self.members:
            signal_quietly(pid, signal.SIGCONT if run else signal.SIGSTOP)
        self.running = run

    def end(self) -> None:
        """The sandbox is to end: it must be able to."""
        self.turn_due = None
        if not self.running:
            self.let(True)


def lower(pids: list[int], nice: int) -> None:
    """Niceness of all threads of these processes."""
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                if os.getpriority(os.PRIO_PROCESS, int(thread)) != nice:
                    os.setpriority(os.PRIO_PROCESS, int(thread), nice)
        except OSError:
            continue  # it has just ended
