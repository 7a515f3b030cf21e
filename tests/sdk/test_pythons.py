"""Clary itself under the other Pythons it promises: the whole demo, with Clary, its sandboxes and its runtimes on that interpreter."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess

import pytest
from tests.sdk.conftest import ROOT

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.mark.timeout(600)  # the runtime is built for this Python the first time
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_demo_runs_under(version: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: pathlib.Path) -> None:
    folder = ROOT / f".venv-py{version.replace('.', '')}"
    clary = folder / "bin" / "clary"
    if not clary.exists():
        pytest.skip(f"there is no {folder.name}: scripts/test makes it where a Python {version} runs")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CLARY_"))}
    environments = tmp_path_factory.getbasetemp().parent / "clary-environments"
    environment["CLARY_ENVIRONMENTS"] = str(environments)

    done = subprocess.run(
        [clary, "demo", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["accuracy"] > 0.9
    assert any("validation-logloss" in line for line in result["log"])
    assert list(environments.glob(f"*/lib/python{version}/site-packages/xgboost")), (
        "no runtime was built for this Python"
    )
