"""A fake of the `Runtimes` port in memory, where environments exist by name only, and the conformance class of the port."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from clary.domain.errors import Invalid, Unavailable
from clary.domain.images import repository
from clary.domain.machine.workload import Environment, EnvironmentPlace
from clary.domain.stored import dumped, loaded
from clary.ports import Runtime, Runtimes

XGBOOST = Runtime("xgboost", "xgboost", "xgboost", ("sagemaker-xgboost", "xgboost"), "", "3.2.0")
XGBOOST_SCRIPT = Runtime("xgboost-script", "xgboost", "", (), "", "3.2.0")
SKLEARN = Runtime("sklearn", "sklearn", "", ("sagemaker-scikit-learn",), "", "1.9.1")
PYTORCH = Runtime("pytorch", "pytorch", "", ("pytorch-training", "pytorch-inference"), "", "2.15.0")
MONITOR = Runtime(
    "monitor",
    "monitor",
    "",
    ("sagemaker-model-monitor-analyzer", "sagemaker-model-monitor-groundtruth-merger"),
    "",
    "5.2.0",
    process="clary.toolkit.monitor",
)
PYTHON = Runtime("python", "python", "", ("sagemaker-base-python",), "", "26.0")


class MemoryRuntimes:
    """`ports.Runtimes`. `builds` lists what was asked to be built, as (runtime's name, extra); `broken` maps an extra text to the words
    with which its build fails."""

    def __init__(self, known: Sequence[Runtime] = (XGBOOST, XGBOOST_SCRIPT, SKLEARN, PYTORCH, MONITOR, PYTHON)) -> None:
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
        newer = self._key(runtime, extra)[2]
        hash_ = f"{runtime.name}{'-newer' if newer else ''}" + (
            f"-{hashlib.sha256(extra.encode()).hexdigest()[:8]}" if extra else ""
        )
        return Environment(runtime.name, hash_, extra, serving=newer)

    def place(self, environment: Environment) -> EnvironmentPlace:
        return EnvironmentPlace(f"/environments/{environment.hash}")

    async def have(self, environment: Environment, log: Callable[[str], None] | None = None) -> None:
        runtime = next((each for each in self._known if each.name == environment.runtime), None)
        if runtime is None:
            raise Unavailable(f"there is no runtime {environment.runtime}")
        await self.ensure(replace(runtime, serving=environment.serving), environment.requirements, log)


class OwnInterpreter(MemoryRuntimes):
    """Every runtime is the interpreter that runs the tests: the toolkit needs no more than that."""

    def place(self, environment: Environment) -> EnvironmentPlace:
        base = os.path.realpath(sys.base_prefix)
        return EnvironmentPlace(sys.prefix, () if base.startswith("/usr") else tuple({base, sys.base_prefix}))


@dataclass(frozen=True, slots=True)
class Buildable:
    """Runtimes, and what they can build: a runtime that is not built yet, two requirement texts, and one that cannot be installed."""

    runtimes: Runtimes
    runtime: Runtime
    extras: tuple[str, str]
    broken: str


class RuntimesConformance:
    """Inherit and define an async fixture `buildable`."""

    def test_an_image_is_known_by_its_repository_alone(self, buildable: Buildable) -> None:
        runtimes = buildable.runtimes
        named = [(runtime, name) for runtime in runtimes.all() for name in runtime.repositories]
        assert named
        for runtime, name in named:
            digests = set()
            for registry in ("683313688378.dkr.ecr.us-east-1.amazonaws.com", "1.dkr.ecr.eu-central-1.amazonaws.com"):
                assert runtimes.resolve(f"{registry}/{name}:latest") == runtime
                digests.add(runtimes.digest(f"{registry}/{name}:latest"))
            [digest] = digests
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)

    def test_an_image_that_stands_for_nothing_has_no_digest(self, buildable: Buildable) -> None:
        image = "1.dkr.ecr.us-east-1.amazonaws.com/never-heard-of:1"
        assert buildable.runtimes.resolve(image) is None
        assert buildable.runtimes.digest(image) == ""

    async def test_what_was_built_is_there(self, buildable: Buildable) -> None:
        runtimes, runtime = buildable.runtimes, buildable.runtime
        lines: list[str] = []
        assert runtimes.built(runtime) is None
        environment = await runtimes.ensure(runtime, log=lines.append)
        assert lines
        assert environment.python.startswith(f"{environment.path}/")
        assert runtimes.built(runtime) == environment == await runtimes.ensure(runtime)

    async def test_an_environment_by_value_is_the_one_that_was_built(self, buildable: Buildable) -> None:
        runtimes, runtime, [one, _] = buildable.runtimes, buildable.runtime, buildable.extras
        plain, more = await runtimes.ensure(runtime), await runtimes.ensure(runtime, one)
        for environment in (plain, more):
            kept = loaded(Environment, dumped(environment))  # as a node has it from a request
            await runtimes.have(kept)
            assert runtimes.place(kept) == runtimes.place(environment)
            assert runtimes.place(kept).path not in json.dumps(dumped(kept))
        assert runtimes.place(plain).path != runtimes.place(more).path

    async def test_what_this_machine_does_not_make_is_refused(self, buildable: Buildable) -> None:
        with pytest.raises(Unavailable):
            await buildable.runtimes.have(Environment("never-heard-of", "0" * 40))

    async def test_of_many_that_ask_at_once_all_get_the_same(self, buildable: Buildable) -> None:
        found = await asyncio.gather(*(buildable.runtimes.ensure(buildable.runtime) for _ in range(5)))
        assert len(set(found)) == 1

    async def test_each_requirement_text_has_an_environment_of_its_own(self, buildable: Buildable) -> None:
        runtimes, runtime = buildable.runtimes, buildable.runtime
        plain = await runtimes.ensure(runtime)
        one, other = buildable.extras
        assert runtimes.built(runtime, one) is None
        more = await runtimes.ensure(runtime, one)
        assert runtimes.built(runtime, other) is None
        assert len({plain.hash, more.hash, (await runtimes.ensure(runtime, other)).hash}) == 3
        assert (runtimes.built(runtime), runtimes.built(runtime, one)) == (plain, more)

    async def test_what_cannot_be_installed_is_told_and_not_there(self, buildable: Buildable) -> None:
        runtimes, runtime = buildable.runtimes, buildable.runtime
        for _ in range(2):
            with pytest.raises(Invalid) as refusal:
                await runtimes.ensure(runtime, buildable.broken)
            assert refusal.value.message
            assert runtimes.built(runtime, buildable.broken) is None
