"""The programs of `clients/`, each in the environment of its SDK, unmodified clients from beginning to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sdk.conftest import ROOT, Server

CLIENTS = Path(__file__).parent / "clients"
PROGRAMS = sorted(path.stem for path in CLIENTS.glob("v[23]_*.py") if "notebook" not in path.stem)
Runs = Mapping[str, Future[subprocess.CompletedProcess[str]]]
CONFIGURATION = "SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"


AT_ONCE = 2  # they sleep more than they work


def run(server: Server, program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    configuration = folder / "sagemaker.yaml"
    configuration.write_text(CONFIGURATION)
    return server.run(
        [str(python_of(program)), "-W", "ignore", str(CLIENTS / f"{program}.py")],
        timeout=280,
        TMPDIR=str(folder),
        SAGEMAKER_USER_CONFIG_OVERRIDE=str(configuration),
        SAGEMAKER_SUPPRESS_V2_WARNING="1",
        PYTHONDONTWRITEBYTECODE="1",
        CLARY=str(Path(sys.executable).with_name("clary")),
        CLARY_DIR=str(server.settings.root),
    )


def python_of(program: str) -> Path:
    return ROOT / f".venv-{program[:2]}" / "bin" / "python"


@pytest.fixture(scope="module")
def running(server: Server, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All programs that this run asks for, started beside each other."""
    base = tmp_path_factory.mktemp("clients")
    asked = {item.callspec.params["program"] for item in request.session.items if item.name.startswith("test_client[")}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        wanted = [program for program in PROGRAMS if program in asked and python_of(program).exists()]
        yield {program: pool.submit(run, server, program, base / program) for program in wanted}


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("program", PROGRAMS)
def test_client(running: Runs, program: str) -> None:
    if program not in running:
        pytest.skip(f"scripts/test makes {python_of(program).parent.parent}")
    done = running[program].result(timeout=590)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
