"""What the kernel tells of processes, control groups and folders."""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

MARK = "CLARY_RUN"  # the variable that shim and bwrap are started with: their processes are known by it until they run the command
_TRIES = 1000  # at a process that is being executed, a millisecond apart
_LOOKS = 1000  # at all processes; each takes milliseconds
_ENV_END = 48  # field 51 of /proc/PID/stat (proc_pid_stat(5)), of those after the name
DISK_SLICE = 2000  # entries looked at between two looks at the log pipe


def counter(where: Sequence[Any] | None) -> float | None:
    """A number out of a control file: [path, key, divisor]; key "" means that the file is the number. None: not readable."""
    if not where:
        return None
    path, key, divisor = where
    try:
        with open(path) as file:
            text = file.read()
    except OSError:
        return None
    for line in text.splitlines():
        words = line.split()
        if words and not key:
            return float(int(words[0]) / divisor)
        if len(words) == 2 and words[0] == key:
            return float(int(words[1]) / divisor)
    return None


def started_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot: with the pid, a name that is never used twice. None when it is gone; OSError
    when that can't be told (no file descriptors left): a sandbox that lives must not be taken for one that is lost."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
        return None


def parents() -> dict[int, int]:
    """pid -> parent of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    found[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    return found


def family(pid: int) -> list[int]:
    """All descendants of `pid`, itself first, parents before children."""
    return families([pid])[pid]


def families(pids: list[int]) -> dict[int, list[int]]:
    """Those of each of them, by one look at all processes."""
    children: dict[int, list[int]] = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found = {}
    for pid in pids:
        members = found[pid] = [pid]
        for member in members:
            members.extend(sorted(children.get(member, ())))
    return found


def marked(mark: str) -> list[int]:
    """Processes that were started with this mark, or forked by one that was, and have not executed something else since."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if wanted in _environment(name).split(b"\0"):
                    found.append(int(name))
            except OSError:
                continue  # it has just ended, or is another user's
    return found


def _environment(pid: str) -> bytes:
    """What a process was started with. One that is just being executed shows none for a moment, though its lock is already let go."""
    for _ in range(_TRIES):
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
        if data or not _being_executed(pid):
            break
        time.sleep(0.001)
    if not data:  # what was opened may have been of the program before, and gone when it was read
        with open(f"/proc/{pid}/environ", "rb") as file:
            data = file.read()
    return data


def _being_executed(pid: str) -> bool:
    """Its new memory has no end of the environment yet. OSError for the kernel's own, and for what has ended: they never will."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    if fields[_ENV_END] != "0":
        return False
    os.readlink(f"/proc/{pid}/exe")
    return True


def end_marked(mark: str, find: Callable[[str], list[int]] = marked) -> None:
    """End what is left of a sandbox that was interrupted while it was made. Its first process takes all others with it, but bwrap binds
    it to its parent only when it is nearly ready: until then it outlives its parent, and waits, or goes on, by itself. The process
    that asks is let be.

    Until nobody is found, twice: one that forked while the first look was taken, and then died, is not seen in it, nor is its child.
    Bounded by looks, not by time: on a machine that stood still for a while, a process that is left would be left for ever."""
    clean = 0
    for _ in range(_LOOKS):
        left = [pid for pid in find(mark) if pid != os.getpid()]
        for pid in left:
            signal_quietly(pid, signal.SIGKILL)
        clean = 0 if left else clean + 1
        if clean == 2:
            return
        if left:
            time.sleep(0.002)


def give_way(pids: list[int], nice: int) -> None:
    """Niceness of the sessions of these processes. (Where the kernel groups sessions, a process's own counts only within its own.)"""
    wanted = f" nice {nice}\n"
    for pid in pids:
        try:
            with open(f"/proc/{pid}/autogroup", "r+") as file:
                if not file.read().endswith(wanted):
                    file.seek(0)
                    file.write(str(nice))
        except OSError:
            continue  # it has just ended, this kernel does not group, or it was told a moment ago


def resident(pids: list[int]) -> int:
    """Bytes of memory that processes hold together: pages shared by several are counted by their share."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                text = file.read()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith((b"Pss:", b"SwapPss:")):
                total += int(line.split()[1]) * 1024
    return total


def cpu_time(pids: list[int]) -> float:
    """Seconds of CPU of processes and of those children of theirs that have ended."""
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                ticks += sum(int(word) for word in file.read().rpartition(")")[2].split()[11:15])
        except (OSError, ValueError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


def waited(pids: list[int]) -> float:
    """Seconds in which the first threads of these processes were ready to run, and others ran. 0 where the kernel does not say."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/schedstat") as file:
                total += int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return total / 1e9


def scratch(pid: int, folders: list[str]) -> int:
    """Bytes of files that lie in memory, in these folders as process `pid` sees them."""
    total = 0
    for folder in folders:
        try:
            seen = os.statvfs(f"/proc/{pid}/root{folder}")
        except OSError:
            continue
        total += (seen.f_blocks - seen.f_bfree) * seen.f_frsize
    return total


def disk_use(paths: list[str]) -> Iterator[int | None]:
    """Yields None now and then while it walks, at last the bytes that the folders occupy on disk."""
    total = seen = 0
    pending = list(paths)
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                seen += 1
                if seen % DISK_SLICE == 0:
                    yield None
                try:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                except OSError:
                    continue
    yield total


def pidfd(pid: int) -> int | None:
    """A handle of the process that no other can take over; None when it is gone, OSError as `started_ticks`."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def signal_quietly(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass


def remove_groups(folders: list[str]) -> None:
    """Control groups of a run that ended; a group stays busy for a moment after its last process."""
    until = time.monotonic() + 1.0
    for folder in folders:
        while True:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > until:
                    break
                time.sleep(0.002)
                continue
            break
