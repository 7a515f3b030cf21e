"""Networks of sandboxes: whether this machine can give jobs and replicas networks of their own, and what each shim is told of its own.

Owns the choice of the way out (`pasta`), the loopback ports of the machine that stay in reach, and the name servers that sandboxes ask.
How a network is made, `shim/network.py` knows. Does not know what runs in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from clary.backends.host import Host
from clary.backends.shim.network import END_SECONDS, GATEWAY, GATEWAY6, TUN, remove
from clary.domain.errors import Unschedulable
from clary.domain.machine.workload import Workload

INSTALL = "install pasta: the package `passt` of Debian, Ubuntu and Fedora"
# As Linux's own documentation has it (networking/tuntap.rst): who makes a device needs rights over a network besides.
OPEN_TUN = f"let every user open it: chmod 0666 {TUN}"
MISSING = "pasta is missing"
NICE = {False: 0, True: 10}  # in the background?
_RESOLVER = "/etc/resolv.conf"
_LOCAL = r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])"
# A URL on loopback; or a proxy as some write it, without a scheme: then with a port, for NO_PROXY names loopback too.
_END = r"(?![\w.:])"
_URL = re.compile(rf"\b(https?|socks5h?)://(?:[^/\s@]*@)?{_LOCAL}(?::(\d{{1,5}}))?{_END}", re.IGNORECASE)
_PLACE = re.compile(rf"^{_LOCAL}:(\d{{1,5}})/?$", re.IGNORECASE)
_PORTS = {"https": 443, "http": 80, "socks5": 1080, "socks5h": 1080}
_TRY = """
import os, sys
sys.path.insert(0, sys.argv[1])
import json
from clary.backends.shim import network
told = json.loads(sys.argv[2])
member = network.join(told)
try:
    network.enter(told, member)
except OSError as error:
    sys.exit(str(error.strerror or error))
network.leave(told, member)
"""

_ENTER = """
import os, sys
sys.path.insert(0, sys.argv[1])
import json, signal
from clary.backends.shim import network
told = json.loads(sys.argv[2])
member = network.join(told)
pid = os.fork()
if pid == 0:
    try:
        network.enter(told, member)
        os.execve(sys.argv[3], sys.argv[3:], {})
    except OSError as error:
        os.write(2, f"clary: {error.strerror or error}\\n".encode())
    finally:
        os._exit(126)
signal.signal(signal.SIGINT, signal.SIG_IGN)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255
network.leave(told, member)
os._exit(code)
"""
_ROOT = str(Path(__file__).resolve().parents[2])  # where the network's code finds its modules


@dataclass(frozen=True, slots=True)
class Networks:
    """`problem`: why workloads share the machine's network instead, in words; "" when each has its own. `uid`: as whom pasta runs when
    Clary is root: nobody's who runs in a sandbox, for it may change every network. `ports`: of the machine's loopback, in reach."""

    folder: Path
    pasta: str
    problem: str = ""
    uid: int | None = None
    ports: tuple[int, ...] = ()
    strict: bool = False

    def check(self, workload: Workload) -> None:
        """Unschedulable for a workload that would share the machine's network where that is not wanted."""
        if self.strict and self.problem and workload.network and workload.container is None:
            raise Unschedulable(
                f"only the machine's own network is left for it, and `strict_network` forbids that: {self.problem}"
            )

    def without(self, workload: Workload) -> Workload:
        """The workload, with no network where it opens no connection: a namespace alone costs a hundredth of one with a way out. Where
        none has its own, the kernel may refuse even that."""
        return workload if workload.connects or self.problem else dataclasses.replace(workload, network=False)

    def spec(self, workload: Workload) -> dict[str, Any] | None:
        """What the shim is told; None: nothing is to be made. A container's network is its engine's."""
        if self.problem or not workload.network or workload.container is not None:
            return None
        return {
            "folder": str(self.place(workload)),
            "pasta": self.pasta,
            "uid": self.uid,
            "ports": list(self.ports),
            "nice": NICE[workload.background],
        }

    def again(self, spec: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """A network that an ended run had, as it would be made now; None where it had none, or none can be made."""
        if not spec or self.problem:
            return None
        folder = self.folder / Path(spec["folder"]).name  # the state folder may have been moved since
        return {**spec, "folder": str(folder), "pasta": self.pasta, "ports": list(self.ports)}

    def note(self, workload: Workload) -> str:
        """A line for the workload's log; "" when there is nothing to say."""
        if not self.problem or not workload.network or workload.container is not None:
            return ""
        return f"Warning: this sandbox shares the machine's network ({self.problem}): {fix(self.problem)}"

    def place(self, workload: Workload) -> Path:
        return self.folder / hashlib.sha256((workload.peers or workload.key).encode()).hexdigest()[:24]

    def forget(self, spec: dict[str, Any] | None) -> None:
        """The files of a network, unless others are in it."""
        if spec:
            remove(str(self.folder / Path(spec["folder"]).name))

    def tidy(self) -> None:
        """Remove the files of every network that has ended, or is just ending."""
        until = time.monotonic() + END_SECONDS
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.is_dir():
                remove(str(path), max(0.0, until - time.monotonic()))


def find(
    folder: Path, uid: int | None, *, urls: Iterable[str] = (), files: Sequence[str] = (), strict: bool = False
) -> Networks:
    """What this machine offers; the answer is kept in `folder` for as long as it runs. `urls`: what sandboxes are given to reach, of
    which those on loopback stay in reach; `files`: settings of package tools that may name some too."""
    texts = [*urls, *(_read(path) for path in files)]
    return Networks(folder, pasta(), problem(folder, pasta(), uid), uid, ports(texts), strict)


def fix(problem: str) -> str:
    """What to do about the reason why workloads have no network of their own."""
    return OPEN_TUN if TUN in problem else INSTALL


def pasta() -> str:
    """Its path; "" without it."""
    return shutil.which("pasta") or ""


def ports(texts: Iterable[str]) -> tuple[int, ...]:
    """Ports of this machine's loopback that URLs in these texts name."""
    found = set()
    for text in texts:
        found |= {int(port or _PORTS[scheme.lower()]) for scheme, port in _URL.findall(text)}
        found |= {int(port) for port in _PLACE.findall(text.strip())}
    return tuple(sorted(port for port in found if 0 < port < 65536))


def problem(folder: Path, program: str, uid: int | None) -> str:
    """ "" when a network could be made here once, by this pasta, since the machine was started; else why not."""
    if not program:
        return MISSING
    tried = {
        "boot": _read("/proc/sys/kernel/random/boot_id").strip(),
        "pasta": program,
        "changed": os.stat(program).st_mtime_ns,
        "uid": uid,
    }
    kept = folder / "tried.json"
    if _read(kept) == json.dumps(tried):
        return ""
    said = attempt(program, uid)
    if not said:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept.write_text(json.dumps(tried))
    return said


@lru_cache
def attempt(program: str, uid: int | None) -> str:
    """Make a network, and let it go. "" or why it cannot be made."""
    with tempfile.TemporaryDirectory(prefix="clary-network-") as folder:
        told: dict[str, Any] = {"folder": folder + "/n", "pasta": program, "uid": uid, "ports": [], "nice": 0}
        argv = [sys.executable, "-I", "-S", "-c", _TRY, _ROOT, json.dumps(told)]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=20, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return "pasta did not come up within 20 s"
        words = done.stderr.strip().splitlines()
        remove(folder + "/n")
        return "" if done.returncode == 0 else words[-1] if words else f"exit {done.returncode}"


def entering(told: Mapping[str, Any]) -> list[str]:
    """What comes before a command line that is to run in such a network, which lasts as long as it does."""
    return [sys.executable, "-I", "-S", "-c", _ENTER, _ROOT, json.dumps(dict(told))]


def with_resolver(host: Host, folder: Path) -> Host:
    """The host with name servers that are in reach from a network of a sandbox's own: those on loopback and link-local addresses are
    asked by way of pasta."""
    text = resolver(_read(_RESOLVER))
    if text is None:
        return host
    path = folder / "resolv.conf"
    path.write_text(text)
    path.chmod(0o644)
    files = tuple((str(path) if target == _RESOLVER else source, target) for source, target in host.files)
    return dataclasses.replace(host, files=files)


def resolver(text: str) -> str | None:
    """The content of /etc/resolv.conf for sandboxes; None: as it stands."""
    lines, changed = [], False
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                address = ipaddress.ip_address(words[1].partition("%")[0])
            except ValueError:
                lines.append(line)
                continue
            if address.is_loopback or address.is_link_local:
                line, changed = f"nameserver {GATEWAY if address.version == 4 else GATEWAY6}", True
        if line not in lines:
            lines.append(line)
    return "\n".join(lines) + "\n" if changed else None


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
