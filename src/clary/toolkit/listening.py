"""Who listens on which TCP port, as /proc tells a process of its own sandbox. Knows nothing of servers."""

from __future__ import annotations

import os
import select
from typing import Dict, Iterator, NamedTuple, Set

EVERYWHERE, LOOPBACK, ELSEWHERE = "everywhere", "loopback", "elsewhere"
_LISTEN = "0A"
_ANY = ("00000000", "0" * 32)
_LOCAL = ("0100007F", "0" * 24 + "01000000")


class Listener(NamedTuple):
    port: int
    reach: str
    inode: int


def sockets() -> Dict[int, str]:
    """Ports that a process of this sandbox listens on, and who can reach each."""
    ours = _inodes()
    found: Dict[int, str] = {}
    for listener in _listeners():
        if listener.inode in ours and found.get(listener.port) != EVERYWHERE:
            found[listener.port] = listener.reach
    return found


def taken(port: int) -> bool:
    """Whether anybody who shares this network listens on that port."""
    return any(listener.port == port for listener in _listeners())


def own_network() -> bool:
    """Whether nobody else's ports are in this network: its way out is a device that only such a network has (`shim/network.py`)."""
    with open("/proc/net/dev") as file:
        return any(line.split(":")[0].strip() == "clary0" for line in file)


def readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def parse(line: str) -> Listener:
    """A line of /proc/net/tcp or tcp6; port 0 when it is not listening."""
    words = line.split()
    address, _, port = words[1].partition(":")
    if words[3] != _LISTEN:
        return Listener(0, "", 0)
    reach = EVERYWHERE if address in _ANY else LOOPBACK if address in _LOCAL else ELSEWHERE
    return Listener(int(port, 16), reach, int(words[9]))


def _listeners() -> Iterator[Listener]:
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(name) as file:
                next(file)
                for line in file:
                    listener = parse(line)
                    if listener.port:
                        yield listener
        except FileNotFoundError:
            continue  # a kernel without IPv6


def _inodes() -> Set[int]:
    """Sockets of all processes that can be seen here: those of the sandbox."""
    found: Set[int] = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            descriptors = os.listdir("/proc/{}/fd".format(pid))
        except OSError:
            continue  # it ended meanwhile, or is not ours to look into
        for descriptor in descriptors:
            try:
                target = os.readlink("/proc/{}/fd/{}".format(pid, descriptor))
            except OSError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    return found
