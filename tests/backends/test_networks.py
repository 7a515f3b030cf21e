"""Networks of sandboxes: what is in reach and what is not, whoever is killed. Needs `pasta`, but for what only computes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clary.backends import local, networks
from clary.backends.shim import network
from clary.domain.errors import Unschedulable
from clary.domain.machine.workload import ContainerImage, Workload

from .conftest import FACTS, PYTHON, Sandboxes, needs_sandbox

UID = 214_096 if FACTS.root else None
PROBLEM = FACTS.problem or (networks.attempt(networks.pasta(), UID) if networks.pasta() else networks.MISSING)
needs_pasta = pytest.mark.skipif(bool(PROBLEM), reason=f"NO NETWORKS OF THEIR OWN HERE: {PROBLEM}")


class Server:
    """Listens on an address of this machine and greets."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.socket = socket.socket()
        self.socket.bind((address, 0))
        self.socket.listen()
        self.address, self.port = self.socket.getsockname()
        self._task = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        self.socket.setblocking(False)
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(self.socket)
            with client:
                client.send(b"hello")

    async def close(self) -> None:
        self._task.cancel()
        self.socket.close()


@pytest.fixture
async def door() -> AsyncIterator[Server]:
    made = Server()
    yield made
    await made.close()


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    made = Server()
    yield made
    await made.close()


@pytest.fixture
async def reaching(tmp_path: Path, door: Server) -> AsyncIterator[Sandboxes]:
    """Sandboxes that are given `door`."""
    made = Sandboxes(tmp_path)
    made.backend = local.create(
        str(tmp_path / "backend"), facts=FACTS, reach=(f"http://127.0.0.1:{door.port}",), strict_network=True
    )
    yield made
    await made.close()


# Every way to send something to an address; each answers a word.
TOLD = """
import json, socket, struct, sys

def attempt(work):
    try:
        return work() or "nothing"
    except OSError as error:
        return type(error).__name__ if type(error) is not OSError else error.strerror

def tcp(address, port, **options):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as s:
        s.settimeout(0.7)
        if "device" in options:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options["device"])
        if "route" in options:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
        s.connect(socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4])
        return s.recv(99).decode()

def udp(address, port, **options):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        ancillary = []
        if "device" in options:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options["device"])
        if "interface" in options:
            s.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", options["interface"]))
        if "packet" in options:
            ancillary = [(socket.IPPROTO_IP, 8, struct.pack("=I8x", options["packet"]))]
        s.sendmsg([b"x"], ancillary, 0, socket.getaddrinfo(address, port, family, socket.SOCK_DGRAM)[0][4])

def sent():
    return [int(line.split()[10]) for line in open("/proc/net/dev") if "clary0:" in line][0]
"""


async def told(sandboxes: Sandboxes, key: str, code: str, *words: object, **more: Any) -> Any:
    """What the code prints, as JSON."""
    _, log = await sandboxes.run(key, PYTHON, "-c", TOLD + code, *map(str, words), **more)
    assert log.startswith(("{", "[", '"')), log
    return json.loads(log)


def pids(sandboxes: Sandboxes) -> list[int]:
    """Anchor and pasta of the networks that there are."""
    found = [json.loads(path.read_text()) for path in (sandboxes.folder / "backend/networks").glob("*/net.json")]
    return [said[name] for said in found for name in ("pid", "pasta")]


async def gone(those: list[int], seconds: float = 20) -> None:
    """Wait until these processes are. (pasta looks whether it is needed once a second.)"""
    async with asyncio.timeout(seconds):
        while any(Path(f"/proc/{pid}").exists() and _state(pid) != "Z" for pid in those):
            await asyncio.sleep(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@needs_sandbox
@needs_pasta
async def test_the_door_is_in_reach_and_nothing_else_of_the_machines_loopback(
    reaching: Sandboxes, door: Server, other: Server
) -> None:
    found = await told(
        reaching,
        "one",
        """
ports = [int(word) for word in sys.argv[1:]]
ways = {"plain": {}, "device": {"device": b"clary0"}, "lo": {"device": b"lo"}}
print(json.dumps({
    "door": attempt(lambda: tcp("127.0.0.1", ports[0])),
    "name": attempt(lambda: tcp("localhost", ports[0])),
    "other": sorted({attempt(lambda: tcp(address, ports[1], **way))
                     for address in ("127.0.0.1", "127.0.0.53", "::1", "::ffff:127.0.0.1", "0.0.0.0", "198.19.255.253")
                     for way in ways.values()}),
    "devices": sorted(name for _, name in socket.if_nameindex()),
    "listening": open("/proc/net/tcp").read().count(" 0A "),
}))
""",
        door.port,
        other.port,
    )
    assert found["door"] == found["name"] == "hello"
    assert "hello" not in found["other"]
    assert found["devices"] == ["clary0", "lo"]
    assert found["listening"] == 1  # pasta's, at the door


@needs_sandbox
@needs_pasta
async def test_no_packet_to_a_link_local_address_leaves_it(reaching: Sandboxes) -> None:
    """Not even from a socket that is bound to the device: for those Linux needs no route."""
    found = await told(
        reaching,
        "one",
        """
index = socket.if_nametoindex("clary0")
before, answers = sent(), {}
for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1%clary0", "fe80::a9fe:a9fe%clary0"):
    for name, way in {"plain": {}, "device": {"device": b"clary0"}, "route": {"route": 1},
                      "both": {"device": b"clary0", "route": 1}}.items():
        answers[f"tcp {address} {name}"] = attempt(lambda: tcp(address, 80, **way))
    for way in ({}, {"device": b"clary0"}, {"interface": index}, {"packet": index}):
        if address[0] == "1" or set(way) <= {"device"}:
            attempt(lambda: udp(address, 80, **way))
print(json.dumps({"answers": answers, "sent": sent() - before}))
""",
    )
    assert set(found["answers"].values()) == {"ConnectionRefusedError"}, found["answers"]
    # The kernel's own words to its neighbours (neighbour and listener discovery) are no packets to those addresses.
    assert found["sent"] < 8


@needs_sandbox
@needs_pasta
async def test_the_network_cannot_be_changed_from_inside(reaching: Sandboxes) -> None:
    found = await told(
        reaching,
        "one",
        """
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
    body = struct.pack("=BBBBBBBBI", 2, 16, 0, 0, 255, 4, 254, 2, 0) + struct.pack("=HH4B", 8, 1, 169, 254, 0, 0)
    s.send(struct.pack("=IHHII", 16 + len(body), 25, 5, 0, 0) + body)  # RTM_DELROUTE
    deleted = struct.unpack_from("=i", s.recv(65536), 16)[0]
raw = attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close())
tap = attempt(lambda: open("/dev/net/tun", "r+b", 0).close())
print(json.dumps({"deleted": deleted, "raw": raw, "tap": tap}))
""",
    )
    assert found == {"deleted": -1, "raw": "PermissionError", "tap": "FileNotFoundError"}


@needs_sandbox
@needs_pasta
async def test_the_world_is_in_reach(reaching: Sandboxes) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            pytest.skip("THIS MACHINE HAS NO NETWORK")
        address = probe.getsockname()[0]
    server = Server(address)
    try:
        found = await told(
            reaching,
            "one",
            "print(json.dumps(attempt(lambda: tcp(sys.argv[1], int(sys.argv[2])))))",
            address,
            server.port,
        )
    finally:
        await server.close()
    assert found == "hello"


@needs_sandbox
@needs_pasta
async def test_hosts_of_one_job_reach_each_other_and_nobody_else_does(reaching: Sandboxes) -> None:
    listens = "s = socket.create_server(('127.2.7.9', 4711)); print('up', flush=True); s.accept()[0].send(b'peer')"
    await reaching.start("first", PYTHON, "-c", TOLD + listens, peers="job")
    await reaching.shows("first", "up")
    connects = "print(json.dumps(attempt(lambda: tcp('127.2.7.9', 4711))))"
    assert await told(reaching, "stranger", connects) == "ConnectionRefusedError"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.2.7.9", 4711), timeout=5).close()
    assert await told(reaching, "second", connects, peers="job") == "peer"


@needs_sandbox
@needs_pasta
async def test_a_port_of_a_job_is_not_the_machines(reaching: Sandboxes) -> None:
    """Two may have the same, and neither is open to the machine's network."""
    listens = "s = socket.create_server(('0.0.0.0', 47119)); print('up', flush=True); s.accept()"
    for key in ("one", "two"):
        await reaching.start(key, PYTHON, "-c", TOLD + listens)
        await reaching.shows(key, "up")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", 47119), timeout=5).close()


@needs_sandbox
@needs_pasta
async def test_nothing_is_left_when_the_last_of_a_job_has_ended(reaching: Sandboxes, door: Server) -> None:
    ends = "print('up', flush=True); sys.stdin.read(); import time; time.sleep(600)"
    first = await reaching.start("first", PYTHON, "-c", TOLD + ends, peers="job")
    await reaching.shows("first", "up")
    second = await reaching.start("second", PYTHON, "-c", TOLD + ends, peers="job")
    await reaching.shows("second", "up")
    those = pids(reaching)
    assert len(those) == 2, "one network for both"
    for pid in those:
        assert Path(f"/proc/{pid}/cmdline").read_bytes().startswith(str(reaching.folder).encode()), "whose it is"
    with open(f"/proc/{those[0]}/environ", "rb") as environ:  # pasta's, no ordinary user may read
        assert environ.read().strip(b"\0") == b"", "the first one's mark is not upon it: it outlives the first"
    await reaching.backend.stop(first, 0)
    await reaching.ended(first)
    # The first to come has gone; the way out stays.
    connects = f"print(json.dumps(attempt(lambda: tcp('127.0.0.1', {door.port}))))"
    assert await told(reaching, "third", connects, peers="job") == "hello"
    assert pids(reaching) == those
    await reaching.backend.stop(second, 0)
    await reaching.ended(second)
    await gone(those)
    for handle in (first, second, "third"):
        await reaching.backend.forget(handle)
    assert [path.name for path in (reaching.folder / "backend/networks").iterdir()] == ["tried.json"]


@needs_sandbox
@needs_pasta
async def test_files_of_networks_that_ended_go_and_of_others_stay(reaching: Sandboxes) -> None:
    handles = [await reaching.start(key, "/bin/sh", "-c", "echo up; sleep 600") for key in ("ends", "stays")]
    for key in ("ends", "stays"):
        await reaching.shows(key, "up")
    folder = reaching.folder / "backend" / "networks"
    assert len(list(folder.glob("*/members"))) == 2
    await reaching.backend.stop(handles[0], 0)
    await reaching.ended(handles[0])
    reaching.backend.networks.tidy()
    (left,) = folder.glob("*/members")
    assert network.alive(str(left.parent)) is not None
    await reaching.backend.stop(handles[1], 0)
    await reaching.ended(handles[1])
    reaching.backend.networks.tidy()
    assert [path.name for path in folder.iterdir()] == ["tried.json"]


@needs_sandbox
@needs_pasta
async def test_the_last_run_that_ends_ends_pasta_itself(reaching: Sandboxes) -> None:
    """Even where the anchor is faster, which reads that there are no members: pasta would go on for up to two seconds."""
    for number in range(8):
        handle = await reaching.start(f"run{number}", "/bin/sh", "-c", "echo up; sleep 600")
        await reaching.shows(f"run{number}", "up")
        seen = await reaching.backend.observe(handle)
        assert seen is not None
        assert seen.pid
        those = pids(reaching)
        assert len(those) == 2
        await reaching.backend.stop(handle, 0)
        await gone([seen.pid])  # the shim, when it has left
        assert pids(reaching) == []
        await gone(those)
        await reaching.ended(handle)
        reaching.backend.networks.tidy()


@needs_sandbox
@needs_pasta
async def test_a_killed_shim_takes_the_network_along(reaching: Sandboxes) -> None:
    handle = await reaching.start("one", "/bin/sh", "-c", "echo up; sleep 600")
    await reaching.shows("one", "up")
    those = pids(reaching)
    seen = await reaching.backend.observe(handle)
    assert seen is not None
    assert seen.pid
    assert len(those) == 2
    os.kill(seen.pid, signal.SIGKILL)
    await gone(those)


@needs_sandbox
@needs_pasta
async def test_pasta_is_started_again(reaching: Sandboxes, door: Server) -> None:
    waits = f"""
print("up", flush=True)
import time
until = time.monotonic() + 60
while time.monotonic() < until and attempt(lambda: tcp("127.0.0.1", {door.port})) == "hello":
    pass
print("cut off", flush=True)
while time.monotonic() < until and attempt(lambda: tcp("127.0.0.1", {door.port})) != "hello":
    time.sleep(0.01)
print("back" if time.monotonic() < until else "lost", flush=True)
"""
    handle = await reaching.start("one", PYTHON, "-c", TOLD + waits)
    await reaching.shows("one", "up")
    _anchor, pasta = pids(reaching)
    os.kill(pasta, signal.SIGSTOP)  # so that there is a time in which it is away
    os.kill(pasta, signal.SIGKILL)
    await reaching.ended(handle, 90)
    assert reaching.log("one").splitlines()[-1] in ("back", "up"), reaching.log("one")


@needs_sandbox
@needs_pasta
async def test_a_run_whose_network_is_lost_ends_with_the_reason(reaching: Sandboxes) -> None:
    handle = await reaching.start("one", "/bin/sh", "-c", "echo up; sleep 600")
    await reaching.shows("one", "up")
    those = pids(reaching)
    os.kill(those[0], signal.SIGKILL)
    ended = await reaching.ended(handle)
    assert "network of the sandbox was lost" in ended.detail
    assert "network of the sandbox was lost" in reaching.log("one")
    await gone(those)


@needs_sandbox
@needs_pasta
async def test_a_network_that_cannot_be_made_fails_the_run_with_the_reason(reaching: Sandboxes) -> None:
    reaching.backend.networks = dataclasses.replace(reaching.backend.networks, pasta="/bin/false")
    ended, log = await reaching.run("one", "/bin/true")
    assert ended.exit_code != 0
    assert "its network could not be made" in log
    assert "its network could not be made" in ended.detail


@needs_sandbox
@needs_pasta
async def test_who_enters_an_ended_run_again_has_its_network(reaching: Sandboxes, door: Server) -> None:
    await reaching.run("one", "/bin/false", peers="job")
    way = reaching.backend.reentry("one", ["/bin/sh", "-c", "cat /proc/net/dev; exit 7"], {}, terminal=False)
    argv, files = way.open()
    done = await asyncio.to_thread(
        subprocess.run, argv, env={}, pass_fds=files, capture_output=True, text=True, check=False
    )
    for number in files:
        os.close(number)
    assert (done.returncode, done.stderr) == (7, "")
    assert f"{network.DEVICE}:" in done.stdout
    assert way.network is not None
    assert way.network["ports"] == [door.port]


# -- where there is no pasta -----------------------------------------------------------------------------------------------------------


def workload(**more: Any) -> Workload:
    return Workload(key="k", root="/r", command=("true",), environment={}, mounts=(), log_path=None, **more)


NOWHERE = networks.Networks(Path("/n"), "", networks.MISSING)


@needs_sandbox
async def test_without_pasta_the_log_says_whose_network_it_is(sandboxes: Sandboxes) -> None:
    sandboxes.backend.networks = NOWHERE
    ended, log = await sandboxes.run("one", "/bin/cat", "/proc/net/dev")
    assert ended.exit_code == 0
    assert "shares the machine's network (pasta is missing)" in log.splitlines()[0]
    assert "passt" in log.splitlines()[0]
    assert network.DEVICE not in log


def test_strict_refuses_what_would_share_the_machines_network() -> None:
    strict = dataclasses.replace(NOWHERE, strict=True)
    with pytest.raises(Unschedulable, match="strict_network"):
        strict.check(workload())
    strict.check(workload(network=False))
    strict.check(workload(container=ContainerImage("i", (), {})))
    NOWHERE.check(workload())
    dataclasses.replace(strict, problem="").check(workload())


def test_isolated_workloads_and_containers_get_none() -> None:
    some = networks.Networks(Path("/n"), "/usr/bin/pasta", uid=7, ports=(80,))
    assert some.spec(workload(network=False)) is None
    assert some.spec(workload(container=ContainerImage("i", (), {}))) is None
    told = some.spec(workload())
    assert told is not None
    assert (told["uid"], told["ports"], told["pasta"]) == (7, [80], "/usr/bin/pasta")
    assert some.note(workload()) == ""
    assert NOWHERE.note(workload(network=False)) == ""
    assert some.place(workload(peers="a")) == some.place(dataclasses.replace(workload(peers="a"), key="l"))
    assert some.place(workload()) != some.place(dataclasses.replace(workload(), key="l"))


def test_what_opens_no_connection_needs_no_way_out() -> None:
    """Where no network can be made, the kernel may refuse an empty one, too: then all is as it was."""
    some = networks.Networks(Path("/n"), "/usr/bin/pasta", uid=7)
    quiet = workload(connects=False)
    assert some.without(quiet).network is False
    assert some.without(workload()).network is True
    assert NOWHERE.without(quiet).network is True


@needs_sandbox
@needs_pasta
async def test_what_opens_no_connection_has_no_pasta(reaching: Sandboxes) -> None:
    code = "print(json.dumps(sorted(name for _, name in socket.if_nameindex())))"
    assert await told(reaching, "one", code, connects=False) == ["lo"]
    assert not list((reaching.folder / "backend/networks").glob("*/"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("http://127.0.0.1:4600", (4600,)),
        ("https://[::1]:4601/x", (4601,)),
        ("http://localhost/simple", (80,)),
        ("https://user:secret@localhost:3141/root/pypi", (3141,)),
        ("https://127.0.0.1", (443,)),
        ("127.0.0.1:3128", (3128,)),
        ("socks5h://localhost", (1080,)),
        ("http://localhost:1/ http://127.0.0.1:2/", (1, 2)),
        ("[global]\nindex-url = http://localhost:8081/simple\n", (8081,)),
        ("http://10.0.0.1:3128", ()),
        ("http://localhost.example.org:99", ()),
        ("http://127.0.0.1.example.org:99", ()),
        ("localhost,127.0.0.1,.internal", ()),
        ("localhost:1,127.0.0.1", ()),
        ("/opt/wheels", ()),
        ("http://127.0.0.1:99999", ()),
    ],
)
def test_which_ports_of_loopback_stay_in_reach(text: str, found: tuple[int, ...]) -> None:
    assert networks.ports([text]) == found


def test_name_servers_that_are_out_of_reach_are_asked_by_way_of_pasta() -> None:
    assert networks.resolver("nameserver 10.0.0.53\nsearch a.b\n") is None
    told = networks.resolver(
        "# mine\nnameserver 127.0.0.53\noptions edns0\nnameserver 169.254.169.254\nnameserver fe80::1%eth0\n"
    )
    assert told == f"# mine\nnameserver {network.GATEWAY}\noptions edns0\nnameserver {network.GATEWAY6}\n"


def test_what_to_do_follows_from_what_is_missing() -> None:
    assert "passt" in networks.fix(networks.MISSING)
    assert networks.fix("its network could not be made: /dev/net/tun cannot be opened: x") == networks.OPEN_TUN
