"""A whole notebook on a machine without a network: Clary and the notebook in one network namespace that has nothing but a loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sdk.conftest import ROOT, Server

CLIENTS = Path(__file__).parent / "clients"
WITHOUT = ["unshare", "--net", "sh", "-c"]
SCRIPT = """
set -e
ip link set lo up
cd {folder}
{clary} up --detach --port 0 >&2
trap '{clary} down >&2' EXIT
{clary} shell -- {python} -W ignore {notebook}
"""


def cut_off_works() -> bool:
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*WITHOUT, "ip link set lo up"], capture_output=True, check=False).returncode == 0


@pytest.mark.live
@pytest.mark.slow
def test_the_classic_notebook_without_any_network(server: Server, tmp_path: Path) -> None:
    python = ROOT / ".venv-v2" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"scripts/test makes {python.parent.parent}")
    if not cut_off_works():
        pytest.skip("this user may not make network namespaces (unshare --net, ip)")
    # Environments are built with a network: by the server that has one, into the folder that both share.
    built = server.run([*clary(), "runtime", "build", "xgboost", "--dir", server.settings.dir])
    assert built.returncode == 0, built.stderr
    words = {"clary": " ".join(clary()), "folder": tmp_path, "python": python, "notebook": CLIENTS / "v2_notebook.py"}
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SAGEMAKER_", "CLARY_"))},
        "CLARY_DIR": str(tmp_path / "state"),
        "CLARY_ENVIRONMENTS": server.settings.environments,
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [*WITHOUT, SCRIPT.format(**words)], env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("accuracy "))
    assert float(line.split()[1]) > 0.93
    assert "train-logloss" in done.stdout or "train-error" in done.stdout, "the job's log is shown"


def clary() -> list[str]:
    return [sys.executable, "-m", "clary.app.cli"]
