"""The sandbox as a value: (workload, host facts) -> bwrap's arguments. Pure; `local` and the shim run what is said here.

The root file system is a tmpfs with the system's folders bound read-only, its own processes, IPC, host name and, when asked for, its
own network. Two ways in:

- Clary runs as root: no user namespace (root inside one that maps 0 would still be the host's root); bwrap keeps only the
  capabilities that setpriv needs to become uid `UID`, one per sandbox, and setpriv drops the rest.
- Clary runs as an ordinary user: a user namespace, in which no further one can be made.

A user's environment never touches a program that still has rights: LD_PRELOAD and its like are obeyed by bwrap and setpriv as by any
other program. So it travels as bwrap's `--setenv` (in a file, never on a command line) under other names, and a shell that runs when
all rights are gone gives the variables their own names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from clary.backends.host import Host
from clary.domain.errors import Unschedulable
from clary.domain.machine.workload import Mount, MountMode, Workload

UID = "@uid@"  # stands in a plan for the user id that start allocates
FILES = "@files@"  # ... for the folder of the small files made for this sandbox
GPU = "@gpu@"  # ... for a GPU device node; one of these for each that was asked for
LIBRARY = "/opt/clary/lib"
HOME = "/tmp/home"
PATH = "/usr/local/bin:/usr/bin:/bin"
CARRIED = "CLARY_CARRIED_"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
SCRATCH = ("/dev/shm", "/tmp", "/var/tmp")  # each may hold as much as the workload has memory, where it is counted
# What programs of a container expect to write to beside that: the nginx of SageMaker's own example of a server, for one.
OPEN = ("/run/lock", "/var/lib/nginx", "/var/log/nginx")
_ROOT_BYTES = 64 << 20
_RIGHTS = ("cap_setuid", "cap_setgid", "cap_setpcap")


def arguments(workload: Workload, host: Host) -> tuple[str, ...]:
    """bwrap's options without the environment and the command. Raises Unschedulable where a mount cannot be made."""
    if host.problem:
        raise Unschedulable(host.problem)
    argv = [
        "--die-with-parent",
        "--new-session",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    argv += _identity(host)
    argv += ["--hostname", workload.hostname]
    if not workload.network:
        argv.append("--unshare-net")
    argv += ["--size", str(_ROOT_BYTES), "--perms", "0755", "--tmpfs", "/"]
    system = [*host.folders, *(link for link, _ in host.links)]
    argv += _parents(["/etc/hosts", *SCRATCH, *(target for _, target in host.files)], [*system, "/dev"])
    argv += _system(host)
    argv += ["--proc", "/proc", "--dev", "/dev"]
    argv += _devices(workload, host)
    for folder in SCRATCH:
        argv += ["--size", str(workload.memory), "--perms", "1777", "--tmpfs", folder]
    system += ["/dev", "/proc"]
    argv += _parents([f"{LIBRARY}/clary/toolkit", HOME, *OPEN], system)
    argv += ["--perms", "0777", "--dir", HOME]
    for folder in OPEN:
        argv += ["--perms", "1777", "--dir", folder]
    argv += ["--ro-bind", host.toolkit, f"{LIBRARY}/clary/toolkit"]
    argv += ["--symlink", "toolkit/preparation/library.py", f"{LIBRARY}/clary/prepare.py"]
    for mount in sorted(workload.mounts, key=lambda item: item.target.count("/")):
        argv += [*_parents([mount.target], system), *_mount(mount)]
    argv += ["--chdir", workload.cwd]
    return tuple(argv)


def command(workload: Workload, host: Host) -> tuple[str, ...]:
    """What bwrap executes: the way down to the workload's user, then the workload's command."""
    if not workload.command:
        raise Unschedulable("the workload has no command")
    return (*_descent(workload, host), *_naming(workload), *workload.command)


def environment(workload: Workload) -> tuple[str, ...]:
    """bwrap options that set the workload's environment under the names in which it is carried. Secret: goes into a file."""
    argv = ["--clearenv"]
    for name, value in effective_environment(workload).items():
        if "\0" in value:
            raise Unschedulable(f"the environment variable {name} holds a zero byte")
        argv += ["--setenv", CARRIED + name, value]
    return tuple(argv)


def effective_environment(workload: Workload) -> dict[str, str]:
    """The workload's variables, and HOME, PATH and LANG where it does not set them; with GPUs CUDA_VISIBLE_DEVICES, by which it counts
    those of the sandbox from 0, whichever of the machine's they are. Nothing else is added."""
    wanted = {"HOME": HOME, "LANG": "C.UTF-8", "PATH": PATH}
    if workload.gpus:
        wanted["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(workload.gpus)))
    folder, _, _ = workload.command[0].rpartition("/")
    if folder.startswith("/") and folder not in PATH.split(":"):
        wanted["PATH"] = f"{folder}:{PATH}"
    return {**wanted, **workload.environment}


def files(workload: Workload, uid: int, gid: int) -> Mapping[str, str]:
    """Small files made for this sandbox alone: name under /etc -> content."""
    hosts = {"localhost": "127.0.0.1", workload.hostname: "127.0.0.1", **workload.hosts}
    return {
        "hosts": "".join(f"{address}\t{name}\n" for name, address in hosts.items()) + "::1\tlocalhost ip6-localhost\n",
        "hostname": workload.hostname + "\n",
        "passwd": f"root:x:0:0:root:/root:/usr/sbin/nologin\nclary:x:{uid}:{gid}:clary:{HOME}:/bin/bash\n",
        "group": f"root:x:0:\nclary:x:{gid}:\n",
    }


def _identity(host: Host) -> list[str]:
    if not host.root:
        return ["--unshare-user", "--disable-userns"]
    argv = ["--cap-drop", "ALL"]
    for right in _RIGHTS:
        argv += ["--cap-add", right]
    return argv


def _descent(workload: Workload, host: Host) -> list[str]:
    if not host.root:
        # Counted in the sandbox's own user namespace, so it binds nobody else.
        return [host.prlimit, f"--nproc={workload.pids}", "--"] if host.prlimit else []
    drop = ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    return [host.setpriv, "--reuid", UID, "--regid", UID, *drop]


def _naming(workload: Workload) -> list[str]:
    """A shell that gives the carried variables their own names and becomes the command. Only names are on its command line."""
    names = sorted(effective_environment(workload))
    for name in names:
        if not _NAME.match(name):
            raise Unschedulable(f"{name!r} cannot be the name of an environment variable")
    # One `export` for all: an assignment to PATH or IFS in between would change how the rest is read.
    assigned = " ".join(f'{name}="${CARRIED}{name}"' for name in names)
    unset = " ".join(CARRIED + name for name in names)
    return ["/bin/sh", "-c", f'export {assigned}; unset {unset}; exec "$@"', "sh"]


def _parents(targets: Iterable[str], ready: Iterable[str]) -> list[str]:
    """Folders on the way to mounts, but for those below a folder that is there by then. Those that bwrap would make by itself are
    closed to the sandbox's user."""
    above = {
        "/".join(parts[:depth]) for parts in (target.split("/") for target in targets) for depth in range(2, len(parts))
    }
    within = tuple(folder + "/" for folder in ready)
    argv: list[str] = []
    for folder in sorted(above):
        if not (folder + "/").startswith(within):
            argv += ["--perms", "0755", "--dir", folder]
    return argv


def _system(host: Host) -> list[str]:
    argv: list[str] = []
    for folder in host.folders:
        argv += ["--ro-bind", folder, folder]
    for link, target in host.links:
        argv += ["--symlink", target, link]
    for source, target in host.files:
        argv += ["--ro-bind", source, target]
    for name in ("hosts", "hostname", "passwd", "group"):
        argv += ["--ro-bind", f"{FILES}/{name}", f"/etc/{name}"]
    return argv


def _devices(workload: Workload, host: Host) -> list[str]:
    if not workload.gpus:
        return []
    if workload.gpus > len(host.gpus):
        raise Unschedulable(f"{workload.gpus} GPUs are requested and this machine has {len(host.gpus)}")
    argv: list[str] = []
    for path in host.gpu_controls:
        argv += ["--dev-bind", path, path]
    for number in range(workload.gpus):
        argv += ["--dev-bind", f"{GPU}{number}", f"{GPU}{number}"]
    return argv


def _mount(mount: Mount) -> list[str]:
    if not mount.target.startswith("/") or "/../" in mount.target + "/":
        raise Unschedulable(f"a mount's target must be an absolute path, not {mount.target!r}")
    match mount.mode:
        case MountMode.READ_ONLY:
            return ["--ro-bind", mount.source, mount.target]
        case MountMode.READ_WRITE:
            return ["--bind", mount.source, mount.target]
        case MountMode.OVERLAY:
            # The upper layer's root is bwrap's own folder, closed to other users until it is opened.
            return ["--overlay-src", mount.source, "--tmp-overlay", mount.target, "--chmod", "0777", mount.target]


def printable(argv: tuple[str, ...]) -> str:
    """The argv as one could type it."""
    return shlex.join(argv)
