"""`clary shell`: the first cell of nearly every official notebook, unmodified, with every way out of the machine closed."""

from __future__ import annotations

import json
import pathlib
import sys

import pytest
from tests.sdk.conftest import ROOT, Server

CELL = """
import sys
try:
    from sagemaker import Session, get_execution_role
except ImportError:
    from sagemaker.core.helper.session_helper import Session, get_execution_role
session = Session()
role = get_execution_role()
bucket = session.default_bucket()
with open("data.csv", "w") as file:
    file.write("1,2\\n")
uri = session.upload_data("data.csv", key_prefix="first")
import json
print("cell", json.dumps([role, bucket, uri]))
"""

# Python runs this before the notebook's code: whatever does not stay on this machine fails, and is written down.
GUARD = """
import os, sys

def guard(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) and not args[1][0].startswith("127.") and args[1][0] != "::1":
        refuse(args[1][0])
    if event == "socket.getaddrinfo" and args[0] not in (None, "localhost", "127.0.0.1", "::1"):
        refuse(args[0])

def refuse(host):
    with open(os.environ["GUARD_LOG"], "a") as file:
        file.write(str(host) + "\\n")
    raise OSError("the outside is cut off: " + str(host))

sys.addaudithook(guard)
"""


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize("sdk", ["v2", "v3"])
def test_the_first_cell_of_a_notebook_stays_on_this_machine(server: Server, sdk: str, tmp_path: pathlib.Path) -> None:
    python = ROOT / f".venv-{sdk}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"scripts/test makes {python.parent.parent}")
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    (tmp_path / "cell.py").write_text(CELL)
    attempts = tmp_path / "attempts"
    script = f'cd "{tmp_path}" && exec "{python}" -W ignore cell.py'
    done = server.run(
        [sys.executable, "-m", "clary.app.cli", "shell", "--dir", server.settings.dir, "--", "sh", "-c", script],
        PYTHONPATH=str(tmp_path),
        GUARD_LOG=str(attempts),
        HOME=str(tmp_path),
        SAGEMAKER_SUPPRESS_V2_WARNING="1",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("cell "))
    role, bucket, uri = json.loads(line.removeprefix("cell "))
    assert role == "arn:aws:iam::000000000000:role/ClaryDefaultRole"
    assert bucket == "sagemaker-us-east-1-000000000000"
    assert uri == f"s3://{bucket}/first/data.csv"
    assert not attempts.exists(), attempts.read_text()
    body = server.client("s3").get_object(Bucket=bucket, Key="first/data.csv")["Body"].read()
    assert body == b"1,2\n"


@pytest.mark.live
def test_the_shell_is_the_command_it_runs(server: Server, tmp_path: pathlib.Path) -> None:
    clary = [sys.executable, "-m", "clary.app.cli", "shell", "--dir", server.settings.dir, "--"]
    assert server.run([*clary, "sh", "-c", "exit 7"]).returncode == 7
    assert server.run([*clary, "env", "--", "sh", "-c", "exit 8"]).returncode == 8  # its own `--` is no JOB's
    done = server.run(
        [*clary, "sh", "-c", 'pwd; echo "$AWS_ENDPOINT_URL"; id -u; ls -d /opt/ml/metadata'], AWS_PROFILE="x"
    )
    assert done.stdout.splitlines()[1] == server.settings.endpoint
    assert pathlib.Path.cwd() == pathlib.Path(done.stdout.splitlines()[0])
    assert not pathlib.Path("/opt/ml/metadata").exists()
    listed = server.run([*clary[:-1], "--json", "--", "true"])
    assert json.loads(listed.stdout)["environment"]["AWS_ENDPOINT_URL"] == server.settings.endpoint
