"""`clary doctor` on the machine that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def doctor(folder: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLARY_", "AWS_"))}
    argv = [sys.executable, "-m", "clary.app.cli", "doctor", "--dir", str(folder), *more]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env={**kept, **variables})


def test_each_capability_is_measured(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json", CLARY_PORT="0")
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert {"system", "state folder", "durable writes", "nginx", "port", "sandbox", "cpu limits", "runtimes"} <= set(
        checks
    )
    assert {check["state"] for check in checks.values()} <= {"ok", "note", "fault"}
    assert "ms" in checks["durable writes"]["found"]
    faults = [check for check in checks.values() if check["state"] == "fault"]
    assert done.returncode == (5 if faults else 0), done.stderr
    assert all(check["fix"] or check["found"] for check in faults)


def test_what_is_wrong_is_told_with_its_fix(tmp_path: Path) -> None:
    done = doctor(tmp_path, CLARY_PORT="0", CLARY_NGINX="/no/such/nginx", CLARY_LOW_WATER=str(1 << 60))
    assert done.returncode == 5
    assert "fault  nginx: /no/such/nginx is not a program" in done.stdout
    assert "new writes are refused" in done.stdout
    assert done.stderr.startswith("clary: 2 of ")
