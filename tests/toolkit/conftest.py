"""The toolkit runs with a runtime's interpreter, not with Clary's: fixtures that build runtimes and run programs in them.

Built environments are kept between runs beside pytest's own temporary folders; building one takes some seconds."""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from clary.app.children import PR_SET_PDEATHSIG
from clary.backends.images import runtimes as known_runtimes
from clary.backends.runtimes import create
from clary.toolkit import frames

TOOLKIT = Path(frames.__file__).parent
WAIT = 30.0
_GIGABYTES = {
    "pytorch": ("torch", "numpy"),
    "huggingface": ("torch", "numpy", "transformers"),
}  # not built by themselves


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What is `/opt/clary/lib` in a sandbox: nothing but `clary/toolkit`."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "clary").mkdir()
    (folder / "clary" / "toolkit").symlink_to(TOOLKIT)
    return str(folder)


@pytest.fixture
def ml(tmp_path: Path) -> Path:
    """`/opt/ml` of a training job with one channel and no script yet."""
    base = tmp_path / "ml"
    for folder in ("input/config", "input/data/train", "model", "output/data", "code"):
        (base / folder).mkdir(parents=True)
    (base / "input/config/resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))
    (base / "input/config/inputdataconfig.json").write_text(json.dumps({"train": {"TrainingInputMode": "File"}}))
    return base


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`interpreter("xgboost")`: the Python of a runtime, built through the Runtimes port; `serving`: of what serves its algorithm."""
    folder = tmp_path_factory.getbasetemp().parent / "clary-test-environments"

    def build(name: str, *, serving: bool = False) -> str:
        wanted = _GIGABYTES.get(name, ())
        if wanted and "CLARY_TEST_TORCH" not in os.environ:
            if not all(importlib.util.find_spec(each) for each in wanted):
                pytest.skip(
                    f"{', '.join(wanted)} are not installed here, and CLARY_TEST_TORCH=1 is not set to build them"
                )
            return sys.executable
        runtime = next(r for r in known_runtimes() if r.name == name)
        # No backend: what Clary ships is installed without one (a sandbox is for users' own requirements).
        made = create(str(folder), None, environment=dict(os.environ))  # type: ignore[arg-type]
        return made.place(asyncio.run(made.ensure(dataclasses.replace(runtime, serving=serving)))).python

    return build


@pytest.fixture
def run(library: str, interpreter: Callable[..., str]) -> Callable[..., Any]:
    """`run("xgboost", "...")`: run a program in a runtime; answers what it assigned to `answer`, by way of JSON."""

    def program(runtime: str, code: str, warnings: str = "error", *, serving: bool = False, **environment: str) -> Any:
        whole = code + "\nimport json as _json\nprint('\\n@@' + _json.dumps(answer))"
        done = subprocess.run(
            [interpreter(runtime, serving=serving), "-W", warnings, "-c", whole],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": library, "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rpartition("@@")[2])

    return program


class FakeFront:
    """A front that welcomes everybody and lets a test speak to each process by hand."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.zygote: frames.Channel | None = None
        self.zygote_pid = 0
        self.workers: dict[int, frames.Channel] = {}
        self.hellos: dict[int, dict[str, Any]] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.welcome: dict[str, Any] = {"version": 1, "workers": 0, "threads": 0}
        self._changed = threading.Condition()
        self._channels: list[frames.Channel] = []
        self.listen()

    def listen(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(frames.Channel(sock),), daemon=True).start()

    def _greet(self, channel: frames.Channel) -> None:
        try:
            kind, _, payload = channel.read()
            hello = frames.message(payload)
            assert kind == frames.HELLO
            assert hello["token"] == "secret"
            channel.send(frames.control(frames.WELCOME, self.welcome))
            with self._changed:
                self._channels.append(channel)
                if hello["role"] == "worker":
                    self.hellos[hello["pid"]] = hello
                    self.workers[hello["pid"]] = channel
                    self._changed.notify_all()
                    return
                self.zygote, self.zygote_pid = channel, hello["pid"]
                self._changed.notify_all()
            while True:
                kind, _, payload = channel.read()
                self._note(frames.NAMES[kind], frames.message(payload))
        except (frames.Closed, OSError):
            self._note("CLOSED", {})

    def _note(self, name: str, message: dict[str, Any]) -> None:
        with self._changed:
            self.events.append((name, message))
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], Any], seconds: float = WAIT) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, seconds), self.events

    def event(self, name: str, seconds: float = WAIT) -> dict[str, Any]:
        """The latest event of that name; waits for the first."""
        self.wait_for(lambda: any(e[0] == name for e in self.events), seconds)
        return next(message for kind, message in reversed(self.events) if kind == name)

    def ready(self, workers: int = 1) -> dict[str, Any]:
        ready = self.event("READY")
        self.wait_for(lambda: len(self.workers) >= workers)
        return ready

    def predict(
        self, channel: frames.Channel, bodies: list[bytes], content_type: str = "text/csv", accept: str = ""
    ) -> list[tuple[int, bytes, str]]:
        """Send one batch, wait for its answers: `(status, body, content type)`."""
        meta = frames.request_meta(content_type, accept)
        channel.send(b"".join(frames.predict((n, meta, body) for n, body in enumerate(bodies))))
        channel.sock.settimeout(WAIT)
        kind, count, payload = channel.read()
        assert kind == frames.RESULT
        found = sorted(frames.answers(payload, count))
        return [(status, body, frames.decode_result_meta(meta)[0]) for _, status, meta, body in found]

    def any_worker(self) -> frames.Channel:
        return next(iter(self.workers.values()))

    def die(self) -> None:
        """As a killed front: every connection ends at once; nobody listens."""
        self._listener.close()
        os.unlink(self.path)
        for channel in self._channels:
            try:
                channel.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            channel.close()
        self._channels.clear()
        with self._changed:
            self.workers.clear()
            self.zygote = None


@pytest.fixture
def front() -> Callable[[str], FakeFront]:
    """`front(path)`: a front on that socket."""
    return FakeFront


class Replica:
    """A zygote under test and the front that it dials."""

    def __init__(self, front: FakeFront, process: subprocess.Popen[str], output: Path) -> None:
        self.front = front
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        return self._output.read_text()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT)


@pytest.fixture
def replica(
    tmp_path_factory: pytest.TempPathFactory, library: str, interpreter: Callable[..., str]
) -> Iterator[Callable[..., Replica]]:
    """`replica("xgboost", model_dir=...)`: start a zygote; it is killed after the test."""
    started: list[Replica] = []

    def start(runtime: str, environment: dict[str, str] | None = None, **spec: Any) -> Replica:
        folder = tmp_path_factory.mktemp("replica")
        front = FakeFront(str(folder / "f.sock"))
        front.welcome |= spec.pop("welcome", {})
        whole = {
            "replica": "r-1",
            "token_file": str(folder / "token"),
            "fronts": [f"unix:{front.path}"],
            "framework": runtime,
            "algorithm": "",
            "model_dir": str(folder),
            "code_dir": "",
            "program": "",
            "workers": 1,
            "threads": 1,
            "batch": 64,
            "timeout": 60.0,
            **spec,
        }
        (folder / "spec.json").write_text(json.dumps(whole))
        (folder / "token").write_text("secret")
        python = interpreter(runtime, serving=bool(whole["algorithm"] and not whole["program"]))
        output = folder / "output"
        with output.open("w") as out:
            process = subprocess.Popen(
                [python, "-m", "clary.toolkit.zygote"],
                env={
                    "PATH": "/usr/bin:/bin",
                    "PYTHONPATH": library,
                    "CLARY_REPLICA": str(folder / "spec.json"),
                    **(environment or {}),
                },
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=_end_with_us,
            )
        started.append(Replica(front, process, output))
        return started[-1]

    yield start
    for each in started:
        children = psutil.Process(each.process.pid).children(recursive=True) if each.process.poll() is None else []
        each.process.kill()
        each.process.wait()
        for child in children:  # without a sandbox nothing else ends them: a user's own server has a session of its own
            with suppress(psutil.NoSuchProcess):
                child.kill()


def _end_with_us() -> None:
    """A run of tests that is cut off leaves no replica: it is told to end, and ends what it has started."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """`script("def model_fn...")`: an inference.py; answers the spec's part about it."""

    def write(code: str) -> dict[str, Any]:
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "inference.py").write_text(code)
        return {"code_dir": str(tmp_path / "code"), "program": "inference.py", "model_dir": str(tmp_path)}

    return write


@pytest.fixture(scope="session")
def xgboost_model(
    tmp_path_factory: pytest.TempPathFactory, interpreter: Callable[[str], str], library: str
) -> Callable[..., str]:
    """`xgboost_model(objective=...)`: a folder with a small trained `xgboost-model` of 4 features."""
    made: dict[str, str] = {}

    def train(objective: str = "binary:logistic", **parameters: Any) -> str:
        key = json.dumps([objective, parameters], sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp("model")
            code = (
                "import json, sys, numpy as np, xgboost as xgb\n"
                "rng = np.random.default_rng(0); x = rng.normal(size=(300, 4)).astype('f4')\n"
                "p = json.loads(sys.argv[1]); n = p.get('num_class', 2)\n"
                "y = (np.digitize(x[:, 0] + x[:, 1], np.linspace(-1, 1, n - 1))).astype('f4')\n"
                "y += p['objective'] == 'reg:gamma'\n"  # which wants labels beyond 0
                "b = xgb.train({**p, 'nthread': 1}, xgb.DMatrix(x, y), 10)\n"
                "b.save_model(sys.argv[2] + '/m.ubj')\n"
                "import os; os.rename(sys.argv[2] + '/m.ubj', sys.argv[2] + '/xgboost-model')\n"
            )
            given = json.dumps({"objective": objective, **parameters})
            subprocess.run([interpreter("xgboost"), "-c", code, given, str(folder)], check=True, timeout=60)
            made[key] = str(folder)
        return made[key]

    return train
