"""S3 through the one port: the acceptance cases, over a restart of everything too, and other people's clients."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.sdk.acts import unique
from tests.sdk.conftest import ACCEPTANCE, ROOT, Server

from clary.app import up

CLIENTS = Path(__file__).parent / "clients"
CASES = ACCEPTANCE / "s3_cases.py"
pytestmark = [pytest.mark.live, pytest.mark.slow]
needs_cases = pytest.mark.skipif(
    not CASES.exists(), reason=f"{CASES} is not there: set CLARY_ACCEPTANCE to the folder of the acceptance scripts"
)


def run_cases(server: Server, *options: str) -> subprocess.CompletedProcess[str]:
    keys = ["--access-key", server.key.access_key_id, "--secret-key", server.key.secret]
    return server.run([sys.executable, str(CASES), "--endpoint", server.settings.endpoint, *keys, *options])


@needs_cases
def test_every_case(server: Server) -> None:
    done = run_cases(server)
    assert [line for line in done.stdout.splitlines() if line.startswith("FAIL")] == []
    assert "95 passed, 0 failed" in done.stdout, done.stderr


@needs_cases
def test_every_case_of_a_restart(start: Callable[..., Server]) -> None:
    first = start()
    assert "0 failed" in run_cases(first, "--before-restart").stdout
    up.down(first.settings)
    second = start(dir=first.settings.dir)
    done = run_cases(second, "--after-restart")
    up.down(second.settings)
    assert "4 passed, 0 failed" in done.stdout, done.stdout


def test_the_aws_cli(server: Server, tmp_path: Path) -> None:
    tools = ROOT / ".venv-cli" / "bin"
    if not (tools / "aws").exists() or shutil.which("curl") is None:
        pytest.skip(f"scripts/test makes {tools.parent}; curl is needed too")
    path = f"{tools}:{server.environment['PATH']}"
    done = server.run(["bash", str(CLIENTS / "aws_s3.sh"), unique("cli"), str(tmp_path)], PATH=path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_duckdb_s3fs_pandas_and_pyarrow(server: Server) -> None:
    python = ROOT / ".venv-s3" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"scripts/test makes {python.parent.parent}")
    done = server.run([str(python), str(CLIENTS / "s3_files.py")], CLIENT_BUCKET=unique("files"))
    assert done.returncode == 0, done.stdout + done.stderr
