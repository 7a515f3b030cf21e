"""The six serving frameworks that Clary is held against: what each is installed from, how it is started, and its own protocol.

Settings are those that each project's documentation gives for throughput on one machine. Each program beside this file says which and
why; all serve the same booster, all get the same features, each in the JSON form that it documents.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"


@dataclass(frozen=True, slots=True)
class Framework:
    """How to install, start and ask one. `{python}`, `{bin}`, `{here}`, `{MODEL}`, `{PORT}`, `{WORKERS}` and `{FOLDER}` of the
    command are filled in by `launch`."""

    packages: tuple[str, ...]
    command: tuple[str, ...]
    path: str
    ready: str
    encode: Callable[[bytes], tuple[bytes, str]]


def _json(shape: Callable[[list[float]], object]) -> Callable[[bytes], tuple[bytes, str]]:
    """A CSV row as this framework's JSON."""

    def encode(body: bytes) -> tuple[bytes, str]:
        features = [float(value) for value in body.split(b",")]
        return json.dumps(shape(features), separators=(",", ":")).encode(), "application/json"

    return encode


def _tensor(features: list[float]) -> object:
    """The open inference protocol (V2)."""
    return {"inputs": [{"name": "x", "shape": [1, len(features)], "datatype": "FP32", "data": features}]}


def _framework(name: str, path: str, ready: str, shape: Callable[[list[float]], object]) -> Framework:
    return Framework(
        packages=("--require-hashes", "-r", str(REQUIREMENTS / f"{name}.txt")),
        command=("{python}", f"{{here}}/{name}_app.py", "{MODEL}", "{PORT}", "{WORKERS}", "{FOLDER}"),
        path=path,
        ready=ready,
        encode=_json(shape),
    )


TABLE = {
    "litserve": _framework("litserve", "/predict", "/health", lambda x: {"input": x}),
    "bentoml": _framework("bentoml", "/predict", "/readyz", lambda x: {"rows": [x]}),
    "mlserver": _framework("mlserver", "/v2/models/booster/infer", "/v2/models/booster/ready", _tensor),
    "mlflow": _framework("mlflow", "/invocations", "/ping", lambda x: {"inputs": [x]}),
    "rayserve": _framework("rayserve", "/", "/-/healthz", lambda x: {"input": x}),
    "kserve": _framework("kserve", "/v1/models/booster:predict", "/v1/models/booster", lambda x: {"instances": [x]}),
}
