"""A network of their own for the sandboxes of one job, or of one replica, which `pasta` connects to the outside.

FOLDER/members   a FIFO that the shim of each member holds open: when nobody does, the network ends
FOLDER/lock      held by who makes, joins or ends it
FOLDER/net.json  while there is one: the pids of keeper (and its ticks), anchor and pasta
FOLDER/log       what pasta said

The keeper, a process in the machine's own network, starts `pasta`, and starts it again when it dies. The anchor is a `cat` inside the new
namespaces that reads a pipe which only the keeper holds: when the keeper ends, however it does, so does the anchor, and pasta, which
watches it, within two seconds.

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
import time

from clary.backends.shim.proc import pidfd, signal_quietly, started_ticks
from clary.backends.shim.records import load, note

TYPE_CHECKING = False  # typing itself takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from clary.backends.shim.records import Record

DEVICE = "clary0"
# RFC 2544's addresses for benchmarks and a unique local prefix (RFC 4193): nobody is met there.
ADDRESS, GATEWAY = "198.19.255.254", "198.19.255.253"
ADDRESS6, GATEWAY6 = "fd63:6c61:7279::2", "fd63:6c61:7279::1"
READY_SECONDS = 10.0  # for pasta
END_SECONDS = 0.5  # a keeper without members takes some milliseconds
_AGAIN = 5  # so many starts of pasta within _SPELL seconds, and no more
_SPELL = 10.0
_MTU = 65520
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000


class Lost(OSError):
    """There can be no network, in words."""


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


def keeper(network: Record) -> int | None:
    """A pidfd of the network's keeper; None when it is gone."""
    said = load(network["folder"], "net.json")
    fd = pidfd(said["pid"]) if said else None
    if fd is not None and said is not None and started_ticks(said["pid"]) != said["ticks"]:
        os.close(fd)
        return None
    return fd


def enter(network: Record) -> None:
    """In the sandbox's process, before it is one: be in the network, and make it if nobody has. OSError with the reason when it cannot
    be."""
    folder = network["folder"]
    libc = _libc()
    lock = os.open(folder + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = keeper(network)
        if kept is None:
            _make(network)
        else:
            os.close(kept)
        said = load(folder, "net.json") or {}
        # Root stays in the user namespace in which files are its own: it may enter a network of one below.
        for name, kind in (("net", _NEW_NET),) if os.geteuid() == 0 else (("user", _NEW_USER), ("net", _NEW_NET)):
            fd = os.open(f"/proc/{said['anchor']}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            _checked(libc.setns(fd, kind), "cannot enter the network of the sandbox")
            os.close(fd)
    finally:
        os.close(lock)


def remove(folder: str, seconds: float = END_SECONDS) -> None:
    """The files of a network that has ended, or ends within so many seconds; one that others are in stays."""
    if not os.path.isdir(folder):
        return
    kept = keeper({"folder": folder})
    if kept is not None:
        poll = select.poll()
        poll.register(kept, select.POLLIN)
        poll.poll(seconds * 1000)
        os.close(kept)
    lock = os.open(folder + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = keeper({"folder": folder})
        if kept is not None:
            os.close(kept)
            return
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    finally:
        os.close(lock)


def _make(network: Record) -> None:
    """Start the keeper, no child of ours, and wait until the way out is there."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                os.close(ready)
                _keep(network, told)
        finally:
            os._exit(0)
    os.close(told)
    os.waitpid(child, 0)
    words = b""
    while piece := os.read(ready, 4096):
        words += piece
    os.close(ready)
    if words != b"ready":
        raise Lost("its network could not be made: " + (words.decode("utf-8", "replace") or "its keeper died"))


# -- the keeper ------------------------------------------------------------------------------------------------------------------------


def _keep(network: Record, told: int) -> NoReturn:
    """Make the network, keep the way out open as long as there are members."""
    try:
        os.setsid()
        # Opened while this process is a member itself: a FIFO without any at that moment would never tell that there is none.
        members = os.open(network["folder"] + "/members", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _rename("clary-network " + network["folder"])
        kept = sorted((told, members))
        for low, high in ((3, kept[0]), (kept[0] + 1, kept[1]), (kept[1] + 1, 1 << 20)):
            os.closerange(low, high)
        log = os.open(network["folder"] + "/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        for source, target in ((null, 0), (null, 1), (log, 2)):
            os.dup2(source, target)
        os.chdir("/")
        Keeper(network, members).run(told)
    except OSError as error:
        try:
            os.write(told, str(error).encode())
        except OSError:
            pass
    finally:
        os._exit(1)


def _rename(title: str) -> None:
    """Another command line, and no environment, in the place of those that this process was forked with: it is no shim, and lives longer
    than the one that made it, whose mark would end it (`proc.end_marked`)."""
    import ctypes

    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    for start, end, text in ((fields[45], fields[46], title.encode()), (fields[47], fields[48], b"")):
        size = int(end) - int(start)
        ctypes.memmove(int(start), text[: size - 1].ljust(size, b"\0"), size)


class Keeper:
    """Owns the anchor and pasta of one network."""

    def __init__(self, network: Record, members: int) -> None:
        self.network = network
        self.folder = network["folder"]
        self.members = members
        self.anchor = self.pasta = 0
        self.starts: list[float] = []

    def run(self, told: int) -> None:
        """Until nobody is a member any more, or the way out cannot be kept."""
        pipe, life = os.pipe()
        try:
            self.anchor = _anchor(self.network, pipe)
            os.close(pipe)
            anchor, way_out = pidfd(self.anchor), self.start()
            os.write(told, b"ready")
            os.close(told)
            while anchor is not None:
                poll = select.poll()
                poll.register(self.members, 0)  # POLLHUP: nobody holds the other end
                poll.register(anchor, select.POLLIN)
                poll.register(way_out, select.POLLIN)
                ready = {fd for fd, _ in poll.poll()}
                if anchor in ready or (self.members in ready and self.left()):
                    return
                if way_out in ready:
                    os.close(way_out)
                    os.waitpid(self.pasta, 0)
                    way_out = self.start()
        finally:
            self.end()
            os.close(life)

    def start(self) -> int:
        """pasta, until it is ready; its pidfd. OSError in its words when it ends before, or ends again and again."""
        now = time.monotonic()
        self.starts = [at for at in self.starts if now - at < _SPELL]
        if len(self.starts) >= _AGAIN:
            raise Lost("pasta keeps failing")
        self.starts.append(now)
        ready, told = os.pipe()
        owner = self.network["uid"]
        if owner is not None:
            os.fchown(told, owner, -1)
        self.pasta = os.fork()
        if self.pasta == 0:
            _become_pasta(self.network, self.anchor, told)
        os.close(told)
        way_out = pidfd(self.pasta)
        assert way_out is not None  # our child: it is not reaped yet
        poll = select.poll()
        poll.register(ready, select.POLLIN)
        said = os.read(ready, 64) if poll.poll(READY_SECONDS * 1000) else b""
        os.close(ready)
        if not said:
            raise Lost(_words(self.folder + "/log") or f"pasta was not ready within {READY_SECONDS:.0f} s")
        pids = {"pid": os.getpid(), "anchor": self.anchor, "pasta": self.pasta}
        note(self.folder, "net.json", {**pids, "ticks": started_ticks(os.getpid())})
        return way_out

    def left(self) -> bool:
        """Nobody is a member, and nobody can become one any more."""
        lock = os.open(self.folder + "/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        poll = select.poll()
        poll.register(self.members, 0)
        if not poll.poll(0):
            os.close(lock)
            return False
        self.end()
        os.close(lock)
        return True

    def end(self) -> None:
        try:
            os.unlink(self.folder + "/net.json")
        except OSError:
            pass
        for pid in (self.pasta, self.anchor):
            if pid:
                signal_quietly(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self.pasta = self.anchor = 0


def _become_pasta(network: Record, anchor: int, told: int) -> NoReturn:
    """In the machine's network, as an ordinary user who owns the sandboxes'. Says its pid on its standard output when it is ready."""
    try:
        os.dup2(told, 1)
        _descend(network["uid"])
        os.nice(network["nice"])
        ports = ",".join(map(str, network["ports"])) or "none"
        argv = [network["pasta"], "--foreground", "--quiet", "--pid", "/dev/stdout"]
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


def _anchor(network: Record, pipe: int) -> int:
    """The pid of a process in new namespaces, with its devices, addresses and routes; it ends when the other end of `pipe` is closed."""
    asked, ask = os.pipe()  # the anchor has its namespaces
    mapped, map_ = os.pipe()  # they have their users
    made, make = os.pipe()  # the network is there
    pid = os.fork()
    if pid == 0:
        _be_anchor(network, pipe, (ask, mapped, make))
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


def _be_anchor(network: Record, pipe: int, fds: tuple[int, int, int]) -> NoReturn:
    ask, mapped, make = fds
    try:
        import _socket  # noqa: F401  as its user, modules may be out of reach

        libc = _libc()
        _descend(network["uid"])
        _checked(libc.unshare(_NEW_USER | _NEW_NET), "no user namespace with a network of its own")
        os.write(ask, b"a")
        os.read(mapped, 1)
        configure()
        os.dup2(pipe, 0)
        os.execve("/bin/cat", ["clary-net"], {})
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

    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
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
