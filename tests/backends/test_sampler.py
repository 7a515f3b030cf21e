"""The sampler over Optuna: the port's promises, trials that are Optuna's own, a process that may be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from clary.backends import runtimes
from clary.backends.sampler import OptunaSampler
from clary.domain.errors import Unavailable
from clary.ports import Runtimes
from clary.testing.runtimes import MemoryRuntimes
from clary.testing.samplers import MemorySampler, SamplerConformance, objective, search, study

# As a user of Optuna's would write it.
OWN = """
import json, sys, warnings
warnings.simplefilter("ignore")
import optuna
optuna.logging.set_verbosity(40)
kind, seed, trials = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if kind == "random":
    sampler = optuna.samplers.RandomSampler(seed=seed)
else:
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
def objective(trial):
    n = trial.suggest_int("n", 1, 100, log=True)
    x = trial.suggest_float("x", -5, 5)
    c = trial.suggest_categorical("c", ["a", "b", "c"])
    return (x - 1) ** 2 + abs(n - 30) / 50 + "abc".index(c)
done = optuna.create_study(sampler=sampler)
done.optimize(objective, n_trials=trials)
print(json.dumps([trial.params for trial in done.trials]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    folder = tmp_path_factory.getbasetemp().parent / "clary-test-environments"
    # No backend: what Clary ships is installed without one (a sandbox is for users' own requirements).
    return runtimes.create(str(folder), None, environment=dict(os.environ))  # type: ignore[arg-type]


@pytest.fixture
async def optuna(built: Runtimes) -> AsyncIterator[OptunaSampler]:
    made = OptunaSampler(built)
    yield made
    await made.rest()
    assert made.pid is None


class TestMemorySampler(SamplerConformance):
    @pytest.fixture
    def sampler(self) -> MemorySampler:
        return MemorySampler()


@pytest.mark.slow
class TestOptunaSampler(SamplerConformance):
    @pytest.fixture
    def sampler(self, optuna: OptunaSampler) -> OptunaSampler:
        return optuna


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tpe", "random"])
async def test_with_the_same_seed_the_trials_are_optunas_own(optuna: OptunaSampler, built: Runtimes, kind: str) -> None:
    environment = await built.ensure(next(each for each in built.all() if each.name == "tuning"))
    for seed in (0, 3):
        own = await asyncio.create_subprocess_exec(
            built.place(environment).python, "-c", OWN, kind, str(seed), "30", stdout=asyncio.subprocess.PIPE
        )
        told, _ = await asyncio.wait_for(own.communicate(), 120)
        assert await search(optuna, 30, kind, seed) == json.loads(told)


@pytest.mark.slow
async def test_ten_kills_change_no_trial(optuna: OptunaSampler) -> None:
    undisturbed = await search(optuna, 22)
    events: list[Any] = []
    for number, expected in enumerate(undisturbed):
        if number % 2:
            assert optuna.pid is not None
            os.kill(optuna.pid, signal.SIGKILL)
        params = await optuna.suggest(study(list(events)))
        assert params == expected
        events += [["ask", params], ["tell", number, "complete", objective(params), []]]


@pytest.mark.slow
async def test_trials_that_another_version_suggested_stand_as_they_are(optuna: OptunaSampler) -> None:
    given = {"n": 7, "x": 0.125, "c": "b"}
    events = [["ask", given], ["tell", 0, "complete", objective(given), []]]
    following = await optuna.suggest(study(events))
    assert following != given
    assert await optuna.suggest(study(events)) == following


@pytest.mark.slow
async def test_a_study_that_makes_no_sense_is_told_in_optunas_words(optuna: OptunaSampler) -> None:
    with pytest.raises(Unavailable, match="Optuna answered: "):
        await optuna.suggest(study([], space=[{"name": "x", "kind": "float", "low": 2.0, "high": 1.0, "log": False}]))
    assert await optuna.suggest(study([]))


async def test_an_environment_that_cannot_be_built_is_told() -> None:
    with pytest.raises(Unavailable, match="there is no runtime tuning"):
        await OptunaSampler(MemoryRuntimes()).suggest(study([]))
