"""A network of their own for the sandboxes of one job, or of one replica, which `pasta` connects to the outside.

FOLDER/members   a FIFO that the shim of each member holds open, and holds a shared flock of
FOLDER/lock      held by who makes, mends, joins or ends it
FOLDER/net.json  while there is one: pid of its anchor and of pasta, with their ticks
FOLDER/log       what pasta said

The anchor is a `cat` inside the new namespaces that reads the FIFO: when no shim holds it open any more, however they ended, so does the
anchor, and pasta, which watches it, within two seconds. The last shim that leaves in order ends both at once.

No process of Clary's own stays for a network: who makes it (`Opening`) is forked off a shim and ends when the way out is there. Meanwhile
the sandbox is made in the namespaces, which are there long before pasta is ready; its command waits for both. Each shim watches pasta,
and has it started again when it dies.

Link-local addresses (169.254.0.0/16, fe80::/10: a cloud's metadata service, the neighbours of the machine) and loopback addresses are
*local* on the way out's own device, so that no packet to them leaves it. A blackhole route would not do: where a socket is bound to a
device, Linux takes an address that no route leads to for a neighbour's (ip_route_output_key_hash_rcu). Nothing inside a sandbox may
change that: the network belongs to a user namespace above it.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct

from clary.backends.shim.proc import pidfd, signal_quietly, started_ticks
from clary.backends.shim.records import load, note

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from clary.backends.shim.records import Record

TUN = "/dev/net/tun"
DEVICE = "clary0"
# RFC 2544's addresses for benchmarks and a unique local prefix (RFC 4193): nobody is met there.
ADDRESS, GATEWAY = "198.19.255.254", "198.19.255.253"
ADDRESS6, GATEWAY6 = "fd63:6c61:7279::2", "fd63:6c61:7279::1"
READY_SECONDS = 10.0  # for pasta
END_SECONDS = 0.5  # an anchor without members takes some milliseconds
NOT_MADE = "its network could not be made"
READY = b"ready"
_MTU = 65520
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000


class Lost(OSError):
    """There can be no network, in words."""


class Unmade(OSError):
    """There is no network to enter; `Opening.outcome` tells why."""


# -- a member: the shim ----------------------------------------------------------------------------------------------------------------


def join(network: Record) -> int:
    """In the shim: be a member for as long as the descriptor is open."""
    folder = network["folder"]
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        os.mkfifo(folder + "/members", 0o600)
    except FileExistsError:
        pass
    return os.open(folder + "/members", os.O_RDWR | os.O_CLOEXEC)


def leave(network: Record, member: int) -> None:
    """Be no member any more; the last one ends the network."""
    with _Lock(network["folder"]):
        os.close(member)
        if not _has_members(network["folder"]):
            _end(network["folder"])


class Opening:
    """A process that sees that the network is there, making what is missing of it. `first` False: only pasta may be missing."""

    def __init__(self, network: Record, member: int, *, first: bool = True) -> None:
        self.found, told_anchor = os.pipe()
        self.said, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _open(network, member, first, told_anchor, told)
        os.close(told_anchor)
        os.close(told)

    def enter(self) -> None:
        """In the sandbox's process, before it is one: be in the network as soon as it has its devices and routes."""
        libc = _libc()  # while the network is made
        anchor = _all(self.found)
        if not anchor:
            raise Unmade
        # Root stays in the user namespace in which files are its own: it may enter a network of one below.
        for name, kind in (("net", _NEW_NET),) if os.geteuid() == 0 else (("user", _NEW_USER), ("net", _NEW_NET)):
            fd = os.open(f"/proc/{int(anchor)}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            _checked(libc.setns(fd, kind), "cannot enter the network of the sandbox")
            os.close(fd)

    def outcome(self) -> str:
        """When `said` can be read: "" if the way out is there, else the reason. The process is gone then."""
        words = _all(self.said)
        os.waitpid(self.pid, 0)
        os.close(self.found)
        os.close(self.said)
        if words == READY:
            return ""
        return f"{NOT_MADE}: " + (words.decode("utf-8", "replace") or "who made it died")


def enter(network: Record, member: int) -> None:
    """Be in the network when its way out is there. OSError with the reason when it cannot be."""
    opening = Opening(network, member)
    try:
        opening.enter()
    except Unmade:
        pass
    words = opening.outcome()
    if words:
        raise Lost(words)


def alive(folder: str) -> Record | None:
    """What is written of the network; None when it has ended. (An older Clary wrote of a keeper, which ends with the anchor.)"""
    said = load(folder, "net.json")
    anchor = _handle(said["pid"], said["ticks"]) if said is not None else None
    if anchor is None:
        return None
    os.close(anchor)
    return said


def watched(network: Record) -> tuple[int | None, int | None]:
    """Pidfds of the anchor and of pasta; None for what is gone."""
    said = alive(network["folder"])
    if said is None:
        return None, None
    return _handle(said["pid"], said["ticks"]), _handle(said["pasta"], said.get("pasta_ticks"))


def remove(folder: str, seconds: float = END_SECONDS) -> None:
    """The files of a network that has ended, or ends within so many seconds; one that others are in stays."""
    if not os.path.isdir(folder):
        return
    said = alive(folder)
    anchor = _handle(said["pid"], said["ticks"]) if said else None
    if anchor is not None:
        poll = select.poll()
        poll.register(anchor, select.POLLIN)
        poll.poll(seconds * 1000)
        os.close(anchor)
    with _Lock(folder):
        if alive(folder) is not None:
            return
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)


def _handle(pid: int, ticks: int | None) -> int | None:
    """A pidfd of the process that had these ticks; None when it is gone, though nobody may have reaped it yet."""
    fd = pidfd(pid) if pid and ticks is not None else None
    if fd is None:
        return None
    ended = select.poll()
    ended.register(fd, select.POLLIN)
    if ended.poll(0) or started_ticks(pid) != ticks:
        os.close(fd)
        return None
    return fd


def _has_members(folder: str) -> bool:
    """Whether a shim is one; asked by one that is not, under the lock."""
    fd = os.open(folder + "/members", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def _end(folder: str) -> None:
    """Under the lock, without members. The anchor may have ended already: pasta would go on for up to two seconds."""
    said = load(folder, "net.json")
    if said is None or "anchor" in said:  # an older Clary's keeper ends its own network
        return
    for pid, ticks in ((said["pasta"], said["pasta_ticks"]), (said["pid"], said["ticks"])):
        fd = _handle(pid, ticks)
        if fd is not None:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
    os.unlink(folder + "/net.json")


class _Lock:
    def __init__(self, folder: str) -> None:
        self.path = folder + "/lock"
        self.fd = -1

    def __enter__(self) -> None:
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _all(fd: int) -> bytes:
    words = b""
    while piece := os.read(fd, 4096):
        words += piece
    return words


# -- who makes it ----------------------------------------------------------------------------------------------------------------------


def _open(network: Record, member: int, first: bool, told_anchor: int, told: int) -> NoReturn:
    """In a process of its own: make what is missing, tell the anchor's pid, then that the way out is there; or why not."""
    try:
        os.setsid()
        low = 3
        for fd in (*sorted((member, told_anchor, told)), 1 << 20):
            os.closerange(low, fd)  # the lock that tells that the shim lives, above all
            low = fd + 1
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.chdir("/")
        folder = network["folder"]
        with _Lock(folder):
            if first and not _has_members(folder):
                _end(folder)  # of members that were killed: it may be about to end
            fcntl.flock(member, fcntl.LOCK_SH)  # the shim's, for as long as it has the descriptor
            said = alive(folder)
            if said is None and not first:
                raise Lost("it has ended")
            _see_to(network, said, told_anchor)
        os.write(told, READY)
    except OSError as error:
        os.write(told, str(error).encode())
    finally:
        os._exit(0)


def _see_to(network: Record, said: Record | None, told_anchor: int) -> None:
    folder = network["folder"]
    log = os.open(folder + "/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for source, target in ((null, 0), (null, 1), (log, 2)):
        os.dup2(source, target)
    made = 0
    if said is None:
        made = _anchor(network)
        said = {"pid": made, "ticks": started_ticks(made), "pasta": 0, "pasta_ticks": None}
    os.write(told_anchor, str(said.get("anchor", said["pid"])).encode())
    os.close(told_anchor)
    if "anchor" in said:  # an older Clary's: its keeper keeps pasta
        return
    there = _handle(said["pasta"], said["pasta_ticks"])
    if there is not None:
        os.close(there)
        return
    try:
        pasta = _start_pasta(network, said["pid"])
        note(folder, "net.json", {**said, "pasta": pasta, "pasta_ticks": started_ticks(pasta)})
    except OSError:
        if made:
            os.kill(made, signal.SIGKILL)
        raise


def _start_pasta(network: Record, anchor: int) -> int:
    """Its pid, when it is ready. OSError in its words when it ends before."""
    ready, told = os.pipe()
    owner = network["uid"]
    if owner is not None:
        os.fchown(told, owner, -1)
    pasta = os.fork()
    if pasta == 0:
        _become_pasta(network, anchor, told)
    os.close(told)
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    said = os.read(ready, 64) if poll.poll(READY_SECONDS * 1000) else b""
    os.close(ready)
    if not said:
        signal_quietly(pasta, signal.SIGKILL)
        raise Lost(_words(network["folder"] + "/log") or f"pasta was not ready within {READY_SECONDS:.0f} s")
    return pasta


def _become_pasta(network: Record, anchor: int, told: int) -> NoReturn:
    """In the machine's network, as an ordinary user who owns the sandboxes'. Says its pid on its standard output when it is ready."""
    try:
        os.dup2(told, 1)
        _descend(network["uid"])
        os.nice(network["nice"])
        ports = ",".join(map(str, network["ports"])) or "none"
        # Named after the folder, so that who looks at the processes knows whose it is. (pasta looks at the end of its name.)
        argv = [network["folder"] + "/pasta", "--foreground", "--quiet", "--pid", "/dev/stdout"]
        argv += ["--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", ports, "--udp-ns", "none"]
        argv += ["--no-map-gw", "--no-dhcp", "--no-dhcpv6", "--no-ra", "--ns-ifname", DEVICE, "--netmask", "30"]
        for address in (ADDRESS, ADDRESS6):
            argv += ["--address", address]
        for gateway in (GATEWAY, GATEWAY6):
            argv += ["--gateway", gateway]
        for resolver in (GATEWAY, GATEWAY6):
            argv += ["--dns-forward", resolver]
        argv += ["--userns", f"/proc/{anchor}/ns/user", "--netns", f"/proc/{anchor}/ns/net"]
        os.execve(network["pasta"], argv, {"PATH": "/usr/bin:/bin"})
    except OSError as error:
        os.write(2, f"cannot run pasta: {error}\n".encode())
    finally:
        os._exit(126)


def _descend(uid: int | None) -> None:
    """As root, become another user for good."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _words(path: str) -> str:
    with open(path, errors="replace") as file:
        lines = file.read().strip().splitlines()
    return lines[-1] if lines else ""


# -- the anchor ------------------------------------------------------------------------------------------------------------------------


def _anchor(network: Record) -> int:
    """The pid of a process in new namespaces, with its devices, addresses and routes; it ends when there are no members."""
    asked, ask = os.pipe()  # the anchor has its namespaces
    mapped, map_ = os.pipe()  # they have their users
    made, make = os.pipe()  # the network is there
    pid = os.fork()
    if pid == 0:
        _be_anchor(network, (ask, mapped, make))
    for fd in (ask, mapped, make):
        os.close(fd)
    try:
        if os.read(asked, 1):
            uid, gid = (os.geteuid(), os.getegid()) if network["uid"] is None else (network["uid"],) * 2
            for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
                with open(f"/proc/{pid}/{name}", "w") as file:
                    file.write(text)
            os.write(map_, b"m")
        words = b""
        while piece := os.read(made, 4096):
            words += piece
        if words:
            raise Lost(words.decode("utf-8", "replace"))
        return pid
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        for fd in (asked, map_, made):
            os.close(fd)


def _be_anchor(network: Record, fds: tuple[int, int, int]) -> NoReturn:
    ask, mapped, make = fds
    try:
        members = os.open(network["folder"] + "/members", os.O_RDONLY | os.O_CLOEXEC)
        import _socket  # noqa: F401  as its user, modules may be out of reach

        libc = _libc()
        _descend(network["uid"])
        _checked(libc.unshare(_NEW_USER | _NEW_NET), "no user namespace with a network of its own")
        os.write(ask, b"a")
        os.read(mapped, 1)
        configure()
        os.dup2(members, 0)
        os.execve("/bin/cat", [network["folder"] + "/cat"], {})
    except OSError as error:
        os.write(make, str(error).encode())
    finally:
        os._exit(126)


def _libc() -> Any:
    import ctypes  # takes milliseconds: only those who need it wait

    return ctypes.CDLL(None, use_errno=True)


def _checked(answer: int, what: str) -> None:
    if answer != 0:
        import ctypes

        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


# -- devices, addresses and routes (rtnetlink(7)) --------------------------------------------------------------------------------------

_V4, _V6 = 2, 10  # AF_INET, AF_INET6
_NEW_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 20, 24
_REQUEST, _CREATE = 0x1 | 0x4, 0x400  # with an acknowledgement
_UP, _NO_DAD = 0x1, 0x2
_MAIN, _LOCAL_TABLE = 254, 255
_UNICAST, _LOCAL = 1, 2
_SCOPE_WORLD, _SCOPE_HOST = 0, 254
_ATTRIBUTE = {"address": 1, "local": 2, "mtu": 4, "destination": 1, "device": 4, "gateway": 5, "metric": 6}
_SET_DEVICE, _SET_PERSISTENT, _SET_OWNER = 0x400454CA, 0x400454CB, 0x400454CC  # TUNSETIFF, TUNSETPERSIST, TUNSETOWNER
_TAP, _NO_INFO = 0x2, 0x1000
OWN = ((_V4, "169.254.0.0", 16), (_V4, "127.0.0.0", 8), (_V6, "fe80::", 10), (_V6, "::1", 128))


def configure() -> None:
    """In a new network namespace, with all rights over it: the loopback device, and one for pasta with its routes."""
    from _socket import SOCK_RAW, if_nametoindex, inet_pton, socket  # the module around it takes 40 ms to import

    try:
        device = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Lost(f"{TUN} cannot be opened: {error.strerror}") from error
    fcntl.ioctl(device, _SET_DEVICE, struct.pack("16sH22x", DEVICE.encode(), _TAP | _NO_INFO))
    fcntl.ioctl(device, _SET_OWNER, os.geteuid())
    fcntl.ioctl(device, _SET_PERSISTENT, 1)
    os.close(device)
    talk = socket(16, SOCK_RAW, 0)  # AF_NETLINK, NETLINK_ROUTE

    def ask(kind: int, body: bytes, **attributes: bytes) -> None:
        for name, value in attributes.items():
            size = 4 + len(value)
            body += struct.pack("=HH", size, _ATTRIBUTE[name]) + value + bytes(-size % 4)
        talk.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | _CREATE, 0, 0) + body)
        code = -struct.unpack_from("=i", talk.recv(65536), 16)[0]
        if code:
            raise OSError(code, f"cannot set the network up (request {kind}): {os.strerror(code)}")

    def route(family: int, kind: int, size: int, **attributes: bytes) -> None:
        table, scope = (_LOCAL_TABLE, _SCOPE_HOST) if kind == _LOCAL else (_MAIN, _SCOPE_WORLD)
        ask(
            _NEW_ROUTE,
            struct.pack("=BBBBBBBBI", family, size, 0, 0, table, 4, scope, kind, 0),
            device=index,
            metric=struct.pack("=I", 512),
            **attributes,
        )

    for name, more in (("lo", {}), (DEVICE, {"mtu": struct.pack("=I", _MTU)})):
        ask(_NEW_LINK, struct.pack("=BxHiII", 0, 0, if_nametoindex(name), _UP, _UP), **more)
    number = if_nametoindex(DEVICE)
    index = struct.pack("=I", number)
    families = (_V4, _V6) if os.path.exists("/proc/net/if_inet6") else (_V4,)
    for family, destination, size in OWN:  # before there is a way out
        if family in families:
            route(family, _LOCAL, size, destination=inet_pton(family, destination))
    for family, address, size, gateway in ((_V4, ADDRESS, 30, GATEWAY), (_V6, ADDRESS6, 64, GATEWAY6)):
        if family in families:
            own = inet_pton(family, address)
            ask(_NEW_ADDRESS, struct.pack("=BBBBI", family, size, _NO_DAD, 0, number), local=own, address=own)
            route(family, _UNICAST, 0, gateway=inet_pton(family, gateway))
    talk.close()
