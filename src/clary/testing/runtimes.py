"""A fake of the `Runtimes` port in memory: environments that exist by name only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from clary.domain.errors import Invalid
from clary.domain.images import repository
from clary.ports import Environment, Runtime

XGBOOST = Runtime("xgboost", "xgboost", "xgboost", ("sagemaker-xgboost", "xgboost"), "", "3.2.0")
XGBOOST_SCRIPT = Runtime("xgboost-script", "xgboost", "", (), "", "3.2.0")
SKLEARN = Runtime("sklearn", "sklearn", "", ("sagemaker-scikit-learn",), "", "1.9.1")
PYTORCH = Runtime("pytorch", "pytorch", "", ("pytorch-training", "pytorch-inference"), "", "2.15.0")
PYTHON = Runtime("python", "python", "", ("sagemaker-base-python",), "", "26.0")


class MemoryRuntimes:
    """`ports.Runtimes`. `builds` lists what was asked to be built, as (runtime's name, extra); `broken` maps an extra text to the words
    with which its build fails."""

    def __init__(self, known: Sequence[Runtime] = (XGBOOST, XGBOOST_SCRIPT, SKLEARN, PYTORCH, PYTHON)) -> None:
        self._known = tuple(known)
        self._built: set[tuple[str, str, bool]] = set()
        self.builds: list[tuple[str, str]] = []
        self.broken: dict[str, str] = {}
        self.newer = False  # a newer Python serves built-in algorithms
        self.offline = ""  # the words with which every build fails of what is not there

    def resolve(self, image: str) -> Runtime | None:
        name = repository(image)
        return next((runtime for runtime in self._known if name in runtime.repositories), None)

    def digest(self, image: str) -> str:
        runtime = self.resolve(image)
        return f"sha256:{hashlib.sha256(repr(runtime).encode()).hexdigest()}" if runtime is not None else ""

    def all(self) -> Sequence[Runtime]:
        return self._known

    def built(self, runtime: Runtime, extra: str = "") -> Environment | None:
        return self._environment(runtime, extra) if self._key(runtime, extra) in self._built else None

    async def ensure(self, runtime: Runtime, extra: str = "", log: Callable[[str], None] | None = None) -> Environment:
        self.builds.append((runtime.name, extra))
        if log is not None:
            log(f"building {runtime.name}")
        if extra in self.broken:
            raise Invalid(self.broken[extra])
        if self.offline and self.built(runtime, extra) is None:
            raise Invalid(self.offline)
        self._built.add(self._key(runtime, extra))
        return self._environment(runtime, extra)

    def _key(self, runtime: Runtime, extra: str) -> tuple[str, str, bool]:
        return runtime.name, extra, self.newer and bool(runtime.algorithm) and runtime.serving and not extra

    def _environment(self, runtime: Runtime, extra: str) -> Environment:
        newer = "-newer" if self._key(runtime, extra)[2] else ""
        path = f"/environments/{runtime.name}{newer}" + (f"-{len(extra)}" if extra else "")
        return Environment(path, f"{path}/bin/python")
