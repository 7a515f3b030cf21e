"""What a user brings (archives, models, training code, expressions, log lines) is contained; the neighbours do not notice
(faults.md 1-8, 23, 25, 29-32)."""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle  # noqa: TID251 - to be refused
import shutil
import socket
import struct
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.faults.scene import BUCKET, PYTHON_IMAGE, Scene, tarball, until
from tests.live import ROLE, ROOT

from clary.backends import networks

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def neighbour(scene: Scene) -> Iterator[str]:
    """Somebody else's endpoint: whatever is done here, it answers."""
    scene.deploy("neighbour")
    yield "neighbour"
    assert scene.invoke("neighbour", text="x")["echo"] == "x"
    scene.delete("neighbour")


@pytest.fixture(scope="module")
def loose(scene: Scene, neighbour: str) -> Iterator[str]:
    """A model that does what it is told, with its network."""
    scene.deploy("loose", kind="ml.t2.medium")
    yield "loose"
    scene.delete("loose")


# -- archives -----------------------------------------------------------------------------------------------------------------------


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    padding = b"\0" * (-len(data) % 512)
    return info.tobuf(tarfile.GNU_FORMAT) + data + padding


def zipped(*entries: bytes) -> bytes:
    return gzip.compress(b"".join(entries) + b"\0" * 1024)


def nul_name() -> bytes:
    """A pax header with a NUL inside the name."""
    record = b"path=a\0b"
    length = len(record) + 4
    body = f"{length} ".encode() + record + b"\n"
    return entry("x", tarfile.XHDTYPE, body) + entry("x", data=b"1")


def sparse() -> bytes:
    info = tarfile.TarInfo("sparse")
    info.type = b"S"
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    raw[483:495] = b"\x80" + struct.pack(">Q", 8 << 60).rjust(11, b"\0")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


GOOD = entry("version", data=b"x")
LINK_CHAIN = b"".join(entry(f"l{n}", tarfile.SYMTYPE, linkname=("d" * 200 + "/") * 20) for n in range(16))

ARCHIVES: dict[str, tuple[bytes, str]] = {  # case -> (archive, what the reason names)
    "dots": (zipped(GOOD, entry("../../outside", data=b"x")), "../../outside"),
    "absolute": (zipped(GOOD, entry("/tmp/outside", data=b"x")), "/tmp/outside"),
    "windows": (zipped(GOOD, entry("C:\\outside", data=b"x")), "outside"),
    "nul": (zipped(nul_name()), "NUL"),
    "symlink": (
        zipped(entry("d", tarfile.SYMTYPE, linkname="/tmp"), entry("d/outside", data=b"x")),
        '"d"',
    ),
    "hardlink": (zipped(entry("h", tarfile.LNKTYPE, linkname="/etc/passwd")), '"h"'),
    "chain": (zipped(LINK_CHAIN), '"l0"'),
    "device": (zipped(entry("disk", tarfile.BLKTYPE, devmajor=8, devminor=0)), '"disk"'),
    "fifo": (zipped(entry("pipe", tarfile.FIFOTYPE)), '"pipe"'),
    "sparse": (zipped(sparse()), '"sparse"'),
    "truncated": (zipped(GOOD, entry("big", data=os.urandom(50_000)))[:20_000], "truncated|ends"),
    "magic": (b"PK\x03\x04" + bytes(2000), "gzip|tar"),
    "garbage": (zipped(GOOD) + b"garbage" * 100, "garbage|gzip|end"),
    "concatenated": (zipped(GOOD) + zipped(entry("other", data=b"y")), "garbage"),
    "empty": (b"", "empty|gzip|tar|ends"),
}


def bomb(size: int) -> bytes:
    """A .tar.gz of one member of that many zeros, a thousandth of it: one compressed piece over and over."""
    info = tarfile.TarInfo("zeros")
    info.size = size
    piece = 64 << 20
    return (
        gzip.compress(info.tobuf(tarfile.GNU_FORMAT))
        + gzip.compress(bytes(piece), 9) * (size // piece)
        + gzip.compress(bytes(1024))
    )


def test_a_malicious_model_fails_its_endpoint_with_the_members_name(scene: Scene, neighbour: str) -> None:
    for case, (archive, _) in ARCHIVES.items():
        scene.model(f"bad-{case}", archive=archive)
        scene.config(f"bad-{case}", f"bad-{case}")
        scene.sagemaker.create_endpoint(EndpointName=f"bad-{case}", EndpointConfigName=f"bad-{case}")
    wrong = {}
    for case, (_, names) in ARCHIVES.items():
        found = scene.settled(f"bad-{case}")
        reason = found.get("FailureReason", "")
        if found["EndpointStatus"] != "Failed" or not any(name in reason for name in names.split("|")):
            wrong[case] = (found["EndpointStatus"], reason)
        elif "ClientError" not in reason:
            wrong[case] = ("no ClientError", reason)
    assert wrong == {}
    assert not os.path.exists("/tmp/outside")
    assert not list(scene.server.settings.root.rglob("outside"))
    left = [p for p in (scene.server.settings.root / "models").rglob("*") if ".part-" in p.name or p.name == "h"]
    assert left == []
    for case in ARCHIVES:
        scene.delete(f"bad-{case}")


def test_a_bomb_is_stopped_by_its_ratio_and_leaves_nothing(scene: Scene, neighbour: str) -> None:
    free = shutil.disk_usage(scene.root).free
    archive = bomb(10 << 30)
    assert len(archive) < (64 << 20)
    with scene.load(neighbour, connections=4) as load:
        began = time.monotonic()
        scene.model("bomb", archive=archive)
        scene.config("bomb", "bomb")
        scene.sagemaker.create_endpoint(EndpointName="bomb", EndpointConfigName="bomb")
        found = scene.settled("bomb")
        took = time.monotonic() - began
    assert found["EndpointStatus"] == "Failed"
    assert "ClientError" in found["FailureReason"]
    assert "ratio" in found["FailureReason"] or "expands" in found["FailureReason"], found["FailureReason"]
    assert took < 30
    assert load.failed == {}
    scene.delete("bomb")
    until(lambda: shutil.disk_usage(scene.root).free > free - (256 << 20), 20, "the disk is as it was")


def crowd(members: int) -> bytes:
    """A .tar.gz of that many empty members: a thousand of them over and over."""
    piece = gzip.compress(b"".join(tarfile.TarInfo(f"empty-{n}").tobuf(tarfile.GNU_FORMAT) for n in range(1000)))
    return piece * (members // 1000) + gzip.compress(bytes(1024))


def test_a_million_empty_members_are_counted_not_written(scene: Scene) -> None:
    """It took three minutes to write so many and then to refuse them."""
    scene.model("crowd", archive=crowd(1_000_000))
    scene.config("crowd", "crowd")
    began = time.monotonic()
    scene.sagemaker.create_endpoint(EndpointName="crowd", EndpointConfigName="crowd")
    found = scene.settled("crowd")
    assert time.monotonic() - began < 60  # 5 s on a quiet machine
    assert found["EndpointStatus"] == "Failed"
    assert "ClientError" in found["FailureReason"]
    assert "more than 500000 entries" in found["FailureReason"]
    scene.delete("crowd")
    left = [p for p in (scene.server.settings.root / "models").rglob("*") if p.name.startswith("empty-")]
    assert left == []


def test_malicious_source_code_fails_its_job_with_the_members_name(scene: Scene, neighbour: str) -> None:
    source = zipped(entry("train.py", data=b"print(1)"), entry("../../outside", data=b"x"))
    uri = scene.put("source/evil.tar.gz", source)
    scene.sagemaker.create_training_job(
        TrainingJobName="evil-source",
        RoleArn=ROLE,
        AlgorithmSpecification={"TrainingImage": PYTHON_IMAGE, "TrainingInputMode": "File"},
        HyperParameters={"sagemaker_program": '"train.py"', "sagemaker_submit_directory": json.dumps(uri)},
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
    job = scene.ended("evil-source")
    assert job["TrainingJobStatus"] == "Failed"
    assert "ClientError" in job["FailureReason"]
    assert "../../outside" in job["FailureReason"]
    assert not list(scene.server.settings.root.rglob("outside"))


# -- models that are programs -------------------------------------------------------------------------------------------------------

SPY = """
import os, socket, subprocess
found = {}
def attempt(name, action):
    try:
        value = action()
        found[name] = repr(value)[:300] if value else ""
    except Exception as error:
        found[name] = ""
def connect(family, address):
    one = socket.socket(family, socket.SOCK_STREAM); one.settimeout(3); one.connect(address); one.close()
    return True
root, run, port = GIVEN
attempt("keys", lambda: os.listdir(root + "/keys"))
attempt("state", lambda: os.listdir(root))
attempt("records", lambda: open(root + "/records.db", "rb").read(16))
attempt("sockets", lambda: os.listdir(run))
attempt("ctl", lambda: connect(socket.AF_UNIX, run + "/ctl/front-0.sock"))
attempt("more than worker sockets", lambda: [n for n in os.listdir("/run/clary") if not n.startswith("front-")])
attempt("environments of others", lambda: [p for p in os.listdir("/proc") if p.isdigit()
    and os.stat("/proc/" + p).st_uid != os.getuid() and open("/proc/" + p + "/environ").read()])
attempt("uid of root", lambda: os.getuid() == 0)
attempt("write the model", lambda: open("/opt/ml/model/version", "w"))
attempt("write the spec", lambda: [n for f, _, ns in os.walk("/opt/clary") for n in ns if os.access(f + "/" + n, os.W_OK)])
attempt("core dumps", lambda: subprocess.run(["sh", "-c", "ulimit -c"], capture_output=True, text=True).stdout.strip() not in ("0", ""))
attempt("network", lambda: connect(socket.AF_INET, ("127.0.0.1", port)))
attempt("metadata", lambda: connect(socket.AF_INET, ("169.254.169.254", 80)))
"""


SCAN = """
import json, os, select, socket, sys, urllib.error, urllib.request
open_ports = set()
for first in range(1, 65536, 512):
    poll, asked = select.poll(), {}
    for port in range(first, min(first + 512, 65536)):
        one = socket.socket(); one.setblocking(False)
        if one.connect_ex(("127.0.0.1", port)) == 0:
            open_ports.add(port)
        asked[one.fileno()] = (port, one); poll.register(one, select.POLLOUT)
    while asked:
        for fd, _ in poll.poll():
            port, one = asked.pop(fd); poll.unregister(fd)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and one.getpeername() != one.getsockname():
                open_ports.add(port)
            one.close()
def metadata(**options):
    one = socket.socket(); one.settimeout(2)
    if options:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options["device"])
    try:
        one.connect(("169.254.169.254", 80))
        return "connected"
    except OSError as error:
        return type(error).__name__
others = {line.split()[1] for name in ("tcp", "udp") for line in open("/proc/net/" + name) if " 0A " in line}
try:
    door = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(os.environ["AWS_ENDPOINT_URL"], timeout=10).status
except urllib.error.HTTPError as error:
    door = error.code
answer = {"open": sorted(open_ports), "metadata": [metadata(), metadata(device=b"clary0")], "listening": len(others), "door": door > 0}
"""
_PASTA = networks.pasta()
SHARED = networks.attempt(_PASTA, 214_096 if os.geteuid() == 0 else None) if _PASTA else networks.MISSING
own_networks = pytest.mark.skipif(bool(SHARED), reason=f"SANDBOXES SHARE THIS MACHINE'S NETWORK: {SHARED}")


def spy(scene: Scene) -> str:
    settings = scene.server.settings
    return f"GIVEN = {(scene.root, str(settings.run), settings.port)!r}\n" + SPY


def environment(scene: Scene, name: str) -> dict[str, str]:
    code = "import os\nanswer = dict(os.environ)"
    return dict(scene.invoke(name, do="python", code=code)["answer"])


def test_a_pickle_that_looks_around_finds_nothing(scene: Scene, neighbour: str) -> None:
    """Loading it runs its code: in a sandbox, without network."""
    code = spy(scene) + "answer = found"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (f"(lambda names: (exec({code!r}, names), names['found'])[1])({{}})",)

    loader = (
        "import json, pickle\n"
        "def model_fn(model_dir):\n    return pickle.load(open(model_dir + '/model.pkl', 'rb'))\n"
        "def transform_fn(model, body, content_type, accept):\n    return json.dumps(model)\n"
    )
    archive = tarball({"model.pkl": pickle.dumps(Evil()), "code/inference.py": loader})
    scene.model("pickle", archive=archive, EnableNetworkIsolation=True)
    scene.config("pickle", "pickle")
    scene.sagemaker.create_endpoint(EndpointName="pickle", EndpointConfigName="pickle")
    scene.in_service("pickle")
    found = scene.invoke("pickle")
    assert {name: value for name, value in found.items() if value} == {}
    assert len(found) == 13
    scene.delete("pickle")


def test_a_model_with_a_network_finds_the_door_but_no_key(scene: Scene, loose: str) -> None:
    found = scene.invoke(loose, do="python", code=spy(scene) + "answer = found")["answer"]
    if SHARED:
        found.pop("metadata")  # reaches whatever this machine reaches
    assert found.pop("network") == "True"
    assert {name: value for name, value in found.items() if value} == {}
    seen = environment(scene, loose)
    assert scene.server.key.secret not in json.dumps(seen)
    assert scene.server.key.access_key_id not in json.dumps(seen)
    assert not [name for name in seen if name.startswith("CLARY_") and name not in ("CLARY_CPUS", "CLARY_REPLICA")]


@own_networks
def test_who_scans_finds_the_door_and_nothing_else_of_this_machine(scene: Scene, loose: str) -> None:
    """A model, and the hosts of a job: every port of loopback, the metadata service of a cloud, what the kernel tells of sockets."""
    port = scene.server.settings.port
    with socket.create_server(("127.0.0.1", 0)):  # somebody else's
        found = scene.invoke(loose, do="python", code=SCAN)["answer"]
        two = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
        peers = (
            "import time\n"
            "own = json.load(open('/opt/ml/input/config/resourceconfig.json'))\n"
            "first = own['hosts'][0]\n"
            "if own['current_host'] == first:\n"
            "    with socket.create_server((socket.gethostbyname(first), 4711)) as server:\n"
            "        print('SCANNED', json.dumps(answer)); server.accept()[0].send(b'a peer')\n"
            "else:\n"
            "    until = time.monotonic() + 60\n"
            "    while True:\n"
            "        try: one = socket.create_connection((first, 4711)); break\n"
            "        except OSError:\n"
            "            assert time.monotonic() < until; time.sleep(0.05)\n"
            "    print('SAW', one.recv(99).decode())\n"
        )
        scene.train("scans", SCAN + peers, ResourceConfig=two)
        job = scene.ended("scans")
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    lines = scene.lines("scans")
    assert "SAW a peer" in lines
    (told,) = [json.loads(line.removeprefix("SCANNED ")) for line in lines if line.startswith("SCANNED ")]
    for seen in (found, told):
        assert port in seen["open"]
        assert set(seen["open"]) <= {port, *networks.ports(scene.server.settings.passed.values())}
        assert seen["metadata"] == ["ConnectionRefusedError"] * 2
        assert seen["listening"] == len(seen["open"])
        assert seen["door"]


def test_a_replica_cannot_pass_for_another(scene: Scene, neighbour: str, loose: str) -> None:
    """It reaches the front's worker socket, as it must, and gets nowhere there without the other's token."""
    replicas = [
        p.name.removeprefix("replica-") for p in (scene.server.settings.root / "backend" / "own").glob("replica-*")
    ]
    code = (
        "import socket, os\nfrom clary.toolkit import frames\nanswer = []\n"
        f"for replica in {replicas!r}:\n"
        "    for token in ('', 'x' * 43):\n"
        "        for role in ('zygote', 'worker'):\n"
        "            try:\n"
        "                channel = frames.Channel.dial('unix:/run/clary/front-0.sock')\n"
        "                channel.greet(role, replica, token, 1, 3.0)\n"
        "                answer.append((replica, role))\n"
        "            except Exception: pass\n"
    )
    assert scene.invoke(loose, do="python", code=code)["answer"] == []
    assert scene.invoke(neighbour, text="x")["echo"] == "x"


def test_a_worker_that_speaks_nonsense_harms_itself_only(scene: Scene, neighbour: str, loose: str) -> None:
    code = (
        "import os, socket\nanswer = 0\n"
        "for fd in os.listdir('/proc/self/fd'):\n"
        "    try:\n"
        "        one = socket.socket(fileno=os.dup(int(fd)))\n"
        "        one.send(b'\\xff' * 100_000 + b'\\0' * 64)\n"
        "        answer += 1\n"
        "    except OSError: pass\n"
    )
    with scene.load(neighbour, connections=4) as load:
        for _ in range(3):
            with pytest.raises(ClientError) as caught:
                scene.invoke(loose, do="python", code=code)
            assert caught.value.response["Error"]["Code"] in ("ModelError", "ServiceUnavailable")
        load.more(100)
    assert load.failed == {}
    until(lambda: _answers(scene, loose), 20, "it has new workers")


def _answers(scene: Scene, name: str) -> bool:
    try:
        return bool(scene.invoke(name, text="x")["echo"] == "x")
    except ClientError:
        return False


def test_addresses_are_not_fetched(scene: Scene, neighbour: str) -> None:
    """A model or channel that names anything but the object store: nobody connects."""
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.settimeout(0.2)
        port = trap.getsockname()[1]
        urls = [
            f"http://127.0.0.1:{port}/m.tar.gz",
            f"https://127.0.0.1:{port}/m.tar.gz",
            f"https://localhost:{port}/bucket/m.tar.gz",
            f"https://2130706433:{port}/b/m.tar.gz",
            f"https://[::ffff:127.0.0.1]:{port}/b/m.tar.gz",
            f"https://s3.amazonaws.com.localhost:{port}/b/m.tar.gz",
            "https://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            f"gopher://127.0.0.1:{port}/x",
            "s3://../../etc/passwd",
        ]
        outcomes = {}
        for number, url in enumerate(urls):
            name = f"fetch-{number}"
            container = {"Image": PYTHON_IMAGE, "ModelDataUrl": url}
            try:
                scene.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
                scene.config(name, name)
                scene.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
                outcomes[url] = scene.settled(name, 30)["EndpointStatus"]
            except ClientError as error:
                outcomes[url] = error.response["Error"]["Code"]
        with pytest.raises(TimeoutError):
            trap.accept()
    assert set(outcomes.values()) <= {"ValidationException", "Failed"}, outcomes


def test_a_pickle_in_a_request_is_bytes(scene: Scene, neighbour: str) -> None:
    """Our code never unpickles what came over the wire: the generic runtime's default reader refuses the type."""
    script = "def model_fn(model_dir): return 1\ndef predict_fn(data, model): return {'got': type(data).__name__}\n"
    scene.deploy("reader", script=script)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, ("/tmp/unpickled",)

    for kind in ("application/x-pickle", "application/python-pickle", "application/x-npy", "application/x-yaml"):
        with pytest.raises(ClientError) as caught:
            scene.runtime.invoke_endpoint(EndpointName="reader", ContentType=kind, Body=pickle.dumps(Evil()))
        assert caught.value.response["OriginalStatusCode"] in (400, 415, 500), kind
        assert caught.value.response["Error"]["Code"] == "ModelError"
    scene.delete("reader")


# -- too much of everything ---------------------------------------------------------------------------------------------------------


def test_bombs_of_a_model_are_its_own(scene: Scene, neighbour: str, loose: str) -> None:
    with scene.load(neighbour, connections=4) as load:
        bombed = scene.invoke(loose, do="threads")
        assert bombed["error"] == "can't start new thread"
        assert 100 < bombed["made"] < 10_000
        assert scene.invoke(loose, text="x")["echo"] == "x"
        bombed = scene.invoke(loose, do="fork", threads=100)
        assert "Resource temporarily unavailable" in bombed["error"]
        assert 10 < bombed["made"] < 10_000
        started = time.monotonic()
        with pytest.raises(ClientError) as caught:
            scene.invoke(loose, do="leak")
        assert caught.value.response["Error"]["Code"] == "ModelError"
        load.more(100)
    assert load.failed == {}
    assert load.dropped == 0
    assert load.slowest(started) < 10
    until(lambda: _answers(scene, loose), 60, "the replica is back")


def test_a_model_that_leaks_a_little_with_each_request_is_started_anew(scene: Scene, neighbour: str) -> None:
    """Of a size that was asked for: it is given no more, loses the request that was one too many, and its log says for want of what."""
    scene.model("leaks", Environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"})
    size = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
    variant = {"VariantName": "AllTraffic", "ModelName": "leaks", "ServerlessConfig": size}
    scene.sagemaker.create_endpoint_config(EndpointConfigName="leaks", ProductionVariants=[variant])
    scene.sagemaker.create_endpoint(EndpointName="leaks", EndpointConfigName="leaks")
    scene.in_service("leaks")
    served: list[dict[str, Any]] = []

    def go_on() -> None:
        while len(served) < 64:
            served.append(scene.invoke("leaks", do="leak a little", bytes=64 << 20))

    with scene.load(neighbour, connections=4) as load:
        with pytest.raises(ClientError) as caught:
            go_on()
        load.more(100)
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert 4 < len(served) < 17, "of 64 MiB each, in 1,024 MiB"
    assert (load.failed, load.dropped) == ({}, 0)
    until(lambda: _answers(scene, "leaks"), 60, "it is there again")
    events = scene.logs.filter_log_events(logGroupName="/aws/sagemaker/Endpoints/leaks")["events"]
    assert [event["message"] for event in events if "out of memory" in event["message"]] != []
    scene.delete("leaks")


def test_what_a_dead_worker_started_dies_with_it(scene: Scene, neighbour: str, loose: str) -> None:
    """A child that the model forked holds the worker's connection: nobody waits for it."""
    began = time.monotonic()
    with pytest.raises(ClientError) as caught:
        scene.invoke(loose, do="orphan")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert time.monotonic() - began < 20
    until(
        lambda: len(scene.sandboxed("clary.toolkit.zygote", "/own/replica-")) == 2 * (1 + 2),
        10,
        "two workers each, no more",
    )
    assert scene.invoke(loose, text="x")["echo"] == "x"


def test_bombs_of_a_job_fail_it_with_the_reason(scene: Scene, neighbour: str) -> None:
    fork = "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(600)\n"
    memory = "taken = []\nwhile True: taken.append(bytearray(32 << 20))\n"
    shm = "file = open('/dev/shm/bomb', 'wb')\nblock = bytes(32 << 20)\nwhile True: file.write(block); file.flush()\n"
    disk = (
        "file = open('/opt/ml/model/bomb', 'wb')\nblock = bytes(8 << 20)\nwhile True: file.write(block); file.flush()\n"
    )
    small = {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 1}
    words = {
        "fork": "Resource temporarily unavailable",
        "threads": "can't start new thread",
        "memory": "memory|OutOfMemory|MemoryError",
        "shm": "memory|No space|File too large",
        "disk": "disk|space|large|VolumeSizeInGB",
    }
    threads = (
        "import threading, time\nthreading.stack_size(64 << 10)\n"
        "while True: threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    with scene.load(neighbour, connections=4) as load:
        for name, code in (("fork", fork), ("threads", threads), ("memory", memory), ("shm", shm), ("disk", disk)):
            scene.train(f"bomb-{name}", code, ResourceConfig=small)
        jobs = {name: scene.ended(f"bomb-{name}") for name in words}
    wrong = {
        name: (job["TrainingJobStatus"], job.get("FailureReason"))
        for name, job in jobs.items()
        if job["TrainingJobStatus"] != "Failed"
        or not any(word in job.get("FailureReason", "") for word in words[name].split("|"))
    }
    assert wrong == {}
    assert load.failed == {}
    until(lambda: scene.sandboxed("main.py", "/own/") == [], 20, "no process of them is left")


def test_a_model_that_hangs_is_ended_at_its_deadline(scene: Scene, neighbour: str) -> None:
    scene.deploy(
        "hangs",
        Environment={"SAGEMAKER_MODEL_SERVER_TIMEOUT": "2", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
    )
    for do in ("spin", "sleep"):
        began = time.monotonic()
        with pytest.raises(ClientError) as caught:
            scene.invoke("hangs", do=do, seconds=600)
        assert 1.5 < time.monotonic() - began < 15
        assert caught.value.response["Error"]["Code"] == "ModelError"
        assert scene.invoke("hangs", text="next")["echo"] == "next"
    scene.delete("hangs")


def test_an_expression_that_never_ends_for_others_is_linear_here(scene: Scene, neighbour: str) -> None:
    code = "print('a' * 200_000 + '!')\nfor n in range(5): print('loss=%d;' % n)\n"
    metrics = [{"Name": "evil", "Regex": "(a+)+$"}, {"Name": "loss", "Regex": "loss=([0-9]+);"}]
    metrics += [{"Name": f"m{n}", "Regex": f"(x*)*(y{n}*)*z$"} for n in range(38)]
    began = time.monotonic()
    scene.train("redos", code, AlgorithmSpecification={"MetricDefinitions": metrics})
    job = scene.ended("redos", 60)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert {m["MetricName"]: m["Value"] for m in job["FinalMetricDataList"]}["loss"] == 4
    assert time.monotonic() - began < 30
    for broken in ("(", "(?<=a)b", "a{1,100000}"):
        spec = {"MetricDefinitions": [{"Name": "x", "Regex": broken}]}
        name = f"broken-{abs(hash(broken))}"
        try:
            scene.train(name, "print(1)", AlgorithmSpecification=spec)
        except ClientError as error:
            assert "regular expression" in error.response["Error"]["Message"]  # noqa: PT017
        else:
            assert scene.ended(name)["TrainingJobStatus"] == "Completed"


def test_what_a_job_prints_forges_nothing(scene: Scene, neighbour: str) -> None:
    code = (
        "import sys, time\nout = sys.stdout.buffer\n"
        "out.write(b'\\x1b]0;owned\\x07\\x1b[2J\\x1b[31mred\\n')\n"
        "out.write(b'before\\rafter\\n')\n"
        'out.write(b\'{"timestamp": 0, "message": "forged"}\\n\')\n'
        "out.write(b'bad \\xff\\xfe utf-8\\n')\n"
        "out.write(b'nul \\0 byte\\n')\n"
        "out.write(b'2020-01-01T00:00:00 [clary] Completed\\n')\n"
        "for _ in range(64): out.write(b'x' * (1 << 20))\n"
        "out.write(b'\\nlast\\n')\n"
    )
    scene.train("prints", code)
    assert scene.ended("prints")["TrainingJobStatus"] == "Completed"
    lines = scene.lines("prints")
    assert "last" in lines
    assert '{"timestamp": 0, "message": "forged"}' in lines  # a line like another: what it says is only text
    assert max(len(line.encode()) for line in lines) <= 262_144 + 100
    long = [line for line in lines if line.startswith("xxxx")]
    assert sum(map(len, long)) < (2 << 20), "a line of 64 MB is cut"
    assert any("cut" in line or "truncated" in line for line in lines)
    shown = scene.server.run([str(ROOT / ".venv" / "bin" / "clary"), "logs", "prints", "--dir", scene.root], timeout=60)
    assert shown.returncode == 0, shown.stderr
    for hidden in ("\x1b", "\x07", "\r", "\0"):
        assert hidden not in shown.stdout
    access = (scene.server.settings.root / "logs" / "clary" / "access.log").read_bytes()
    assert b"\x1b" not in access


def test_forged_fields_make_no_second_line(scene: Scene, neighbour: str) -> None:
    """CR and LF in what a client sends: no second header, no second line in the access log."""
    attributes = base64.b64encode(b"a\r\nX-Evil: 1").decode()
    answer = scene.runtime.invoke_endpoint(
        EndpointName=neighbour, Body=b'{"text": "x"}', ContentType="application/json", CustomAttributes=attributes
    )
    assert "x-evil" not in answer["ResponseMetadata"]["HTTPHeaders"]
    script = (
        "def model_fn(d): return 1\n"
        "def transform_fn(model, body, content_type, accept, context):\n"
        "    context.set_response_header(0, 'X-Amzn-SageMaker-Custom-Attributes', 'a\\r\\nX-Evil: 1')\n"
        "    return 'x'\n"
    )
    scene.deploy("headers", script=script)
    try:
        headers = scene.runtime.invoke_endpoint(EndpointName="headers", Body=b"x")["ResponseMetadata"]["HTTPHeaders"]
    except ClientError as error:
        headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    assert "x-evil" not in headers
    scene.delete("headers")


def test_many_jobs_at_once_wait_their_turn(scene: Scene, neighbour: str) -> None:
    names = [f"crowd-{n}" for n in range(12)]
    threads = [threading.Thread(target=scene.train, args=(name, "print('done')")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [scene.ended(name)["TrainingJobStatus"] for name in names] == ["Completed"] * 12
    assert Path(scene.root).exists()
