"""The toolkit where it belongs: inside the sandbox, with the local backend, for the calls that a sandbox may forbid."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from clary.backends import local
from clary.backends.local import LocalBackend
from clary.domain.machine.workload import Mount, MountMode, RunState, Workload

WAIT = 30.0


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    made = local.create(str(tmp_path / "backend"))
    yield made
    for handle in await made.handles():
        await made.stop(handle, 0)
        await _end(made, handle)
        await made.forget(handle)
    made.close()


async def _end(backend: LocalBackend, handle: str) -> Any:
    changed = asyncio.Event()
    leave = backend.watch(lambda _: changed.set())
    try:
        async with asyncio.timeout(WAIT):
            while True:
                seen = await backend.observe(handle)
                if seen is None or seen.state.is_terminal:
                    return seen
                changed.clear()
                try:
                    await asyncio.wait_for(changed.wait(), 0.5)
                except TimeoutError:
                    pass
    finally:
        leave()


def _environment(python: str) -> list[Mount]:
    """The runtime and the interpreter that it was made from."""
    base = str(Path(os.path.realpath(python)).parent.parent)
    roots = [str(Path(python).parent.parent), *([base] if not base.startswith("/usr") else [])]
    return [Mount(root, root) for root in roots]


async def test_a_replica_serves_from_its_sandbox(
    tmp_path: Path,
    backend: LocalBackend,
    interpreter: Callable[[str], str],
    xgboost_model: Callable[..., str],
    front: Callable[[str], Any],
) -> None:
    python = await asyncio.to_thread(interpreter, "xgboost")
    model = await asyncio.to_thread(xgboost_model)
    with tempfile.TemporaryDirectory() as short:
        sockets, spec = Path(short) / "workers", tmp_path / "spec"
        sockets.mkdir()
        spec.mkdir()
        made = front(str(sockets / "front-0.sock"))
        for path, mode in (
            (Path(short), 0o755),
            (sockets, 0o755),
            (sockets / "front-0.sock", 0o666),
            (Path(model), 0o755),
        ):
            path.chmod(mode)
        content = {
            "replica": "r-1",
            "token_file": "/opt/clary/spec/token",
            "fronts": ["unix:/run/clary/front-0.sock"],
            "framework": "xgboost",
            "algorithm": "xgboost",
            "model_dir": "/opt/ml/model",
            "workers": 2,
            "threads": 1,
            "batch": 64,
        }
        (spec / "replica.json").write_text(json.dumps(content))
        (spec / "token").write_text("secret")
        workload = Workload(
            key="replica-1",
            root=str(tmp_path / "run"),
            command=(python, "-m", "clary.toolkit.zygote"),
            environment={
                "PYTHONPATH": "/opt/clary/lib",
                "PATH": "/usr/bin:/bin",
                "CLARY_REPLICA": "/opt/clary/spec/replica.json",
            },
            mounts=(
                *_environment(python),
                Mount(model, "/opt/ml/model"),
                Mount(str(sockets), "/run/clary"),
                Mount(str(spec), "/opt/clary/spec"),
            ),
            log_path=str(tmp_path / "log"),
            network=False,
        )
        handle = await backend.start(backend.plan(workload))
        ready = await asyncio.to_thread(made.ready, 2)
        assert ready["mode"] == "fork", (tmp_path / "log").read_text()
        answer = await asyncio.to_thread(made.predict, made.any_worker(), [b"1,2,3,4"])
        assert answer[0][0] == 200
        await backend.stop(handle, 20)
        seen = await _end(backend, handle)
        assert (seen.state, seen.exit_code) == (RunState.EXITED, 0), (tmp_path / "log").read_text()


async def test_a_job_trains_in_its_sandbox(
    tmp_path: Path, backend: LocalBackend, interpreter: Callable[[str], str]
) -> None:
    python = await asyncio.to_thread(interpreter, "xgboost")
    ml = tmp_path / "ml"
    for folder in ("input/config", "input/data/train", "model", "output"):
        (ml / folder).mkdir(parents=True)
    (ml / "input/config/hyperparameters.json").write_text(json.dumps({"num_round": "3"}))
    (ml / "input/config/inputdataconfig.json").write_text(json.dumps({"train": {"ContentType": "text/csv"}}))
    (ml / "input/data/train/t.csv").write_text("".join(f"{n % 3},{n},{n * n % 7}\n" for n in range(60)))
    workload = Workload(
        key="job-1",
        root=str(tmp_path / "run"),
        command=(python, "-m", "clary.toolkit.train"),
        environment={"PYTHONPATH": "/opt/clary/lib", "PATH": "/usr/bin:/bin", "CLARY_ALGORITHM": "xgboost"},
        mounts=(*_environment(python), Mount(str(ml), "/opt/ml", MountMode.READ_WRITE)),
        log_path=str(tmp_path / "log"),
        network=False,
    )
    handle = await backend.start(backend.plan(workload))
    seen = await _end(backend, handle)
    log = (tmp_path / "log").read_text()
    assert seen.exit_code == 0, log
    assert "[2]#011train-rmse:" in log
    assert (ml / "model/xgboost-model").exists()
