"""Every way out of the sandbox that we know is tried from inside (escapes.py), as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from clary.domain.machine.workload import Mount, MountMode

from .conftest import FACTS, PYTHON, Sandboxes, needs_sandbox

pytestmark = needs_sandbox
SCRIPT = Path(__file__).with_name("escapes.py")


@pytest.mark.parametrize("network", [True, False], ids=["with network", "isolated"])
async def test_every_way_out_is_shut(sandboxes: Sandboxes, tmp_path: Path, network: bool) -> None:
    secret = tmp_path / "keys" / "secret"
    closed = tmp_path / "closed"
    for folder in (secret.parent, closed):
        folder.mkdir()
    secret.write_text("SECRET")
    (closed / "file").write_text("SECRET")
    (closed / "file").chmod(0o600)
    with socket.socket() as host, socket.socket(socket.AF_UNIX) as abstract, socket.socket(socket.AF_UNIX) as other:
        host.bind(("127.0.0.1", 0))
        host.listen()
        name = f"clary-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.listen()
        other.bind(path := f"/tmp/clary-{os.getpid()}.sock")
        other.listen()
        given = {
            "secret": str(secret),
            "pid": os.getpid() if os.getpid() > 100 else 10_000,
            "root": FACTS.root,
            "network": network,
            "port": host.getsockname()[1],
            "abstract": name,
            "socket": path,
        }
        try:
            seen, log = await sandboxes.run(
                "escape",
                PYTHON,
                "-I",
                "/probe/escapes.py",
                json.dumps(given),
                mounts=(Mount(str(SCRIPT), "/probe/escapes.py"), Mount(str(closed), "/closed")),
                network=network,
            )
        finally:
            os.unlink(path)
    assert seen.exit_code == 0, log
    tried = json.loads(log.splitlines()[-1])
    assert len(tried) > 50
    assert {what: how for what, how in tried.items() if how != "refused"} == {}


async def test_what_a_job_needs_is_there(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """The same sandbox is no cage for honest work."""
    script = """
import os, socket, subprocess, tempfile, threading, multiprocessing, ctypes, json
assert sorted(os.listdir("/opt/clary/lib/clary")) == ["prepare.py", "toolkit"]
assert socket.gethostname() == "algo-2", socket.gethostname()
assert socket.gethostbyname("algo-1") == "10.0.0.1"
listener = socket.create_server(("127.0.0.1", 0))
socket.create_connection(listener.getsockname()).close()
with tempfile.NamedTemporaryFile() as file: file.write(b"x")
with open(os.path.expanduser("~/file"), "w") as file: file.write("home")
worker = threading.Thread(target=lambda: None); worker.start(); worker.join()
with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
memory = multiprocessing.Array("i", 10); memory[3] = 4
assert subprocess.run(["bash", "-c", "exit 3"]).returncode == 3
for folder in ("/tmp", "/dev/shm", "/var/tmp", "/opt/ml"):
    with open(folder + "/file", "w") as file: file.write("x")
import pwd; assert pwd.getpwuid(os.getuid()).pw_dir == "/tmp/home"
print("fine")
"""
    output = tmp_path / "ml"
    output.mkdir()
    for network in (True, False):
        seen, log = await sandboxes.run(
            f"honest-{network}",
            PYTHON,
            "-c",
            script,
            mounts=(Mount(str(output), "/opt/ml", MountMode.READ_WRITE),),
            network=network,
            hostname="algo-2",
            hosts={"algo-1": "10.0.0.1"},
        )
        assert (seen.exit_code, log) == (0, "fine")


async def test_sandboxes_do_not_see_each_other(sandboxes: Sandboxes) -> None:
    script = "echo mine > /tmp/mine; echo mine > /dev/shm/mine; id -u; echo up; sleep 60"
    first = await sandboxes.start("first", "/bin/sh", "-c", script)
    await sandboxes.shows("first", "up")
    seen, log = await sandboxes.run(
        "second", "/bin/sh", "-c", "id -u; ls /tmp /dev/shm; ps ax 2>/dev/null; ls /proc | grep -c '^[0-9]'"
    )
    assert seen.exit_code == 0
    assert "mine" not in log
    assert "sleep" not in log
    if FACTS.root:
        assert log.splitlines()[0] != sandboxes.log("first").splitlines()[0]
    await sandboxes.backend.stop(first, 0)
