"""The conformance class of the `Sampler` port, and the fake in memory."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from clary.domain.errors import Unavailable
from clary.ports import Sampler


class MemorySampler:
    """`ports.Sampler` by draws that follow from the study's seed and how far it is. `asked` are the studies that it was asked for;
    `broken`: the words with which it fails."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.broken = ""
        self.rests = 0

    async def suggest(self, study: Mapping[str, Any]) -> dict[str, float | int | str]:
        self.asked.append(json.loads(json.dumps(study)))
        if self.broken:
            raise Unavailable(self.broken)
        number = sum(event[0] == "ask" for event in study["events"])
        chance = random.Random(f"{study['seed']}:{number}")
        return {entry["name"]: _drawn(entry, chance) for entry in study["space"]}

    async def importances(self, study: Mapping[str, Any]) -> dict[str, float]:
        told = sum(event[0] == "tell" for event in study["events"])
        names = [entry["name"] for entry in study["space"]]
        return {name: 1 / len(names) for name in names} if told >= 4 else {}

    async def rest(self) -> None:
        self.rests += 1


def _drawn(entry: Mapping[str, Any], chance: random.Random) -> float | int | str:
    if entry["kind"] == "categorical":
        chosen: str = chance.choice(entry["choices"])
        return chosen
    if entry["kind"] == "int":
        return chance.randint(entry["low"], entry["high"])
    return chance.uniform(entry["low"], entry["high"])


SPACE: list[dict[str, Any]] = [
    {"name": "n", "kind": "int", "low": 1, "high": 100, "log": True, "choices": []},
    {"name": "x", "kind": "float", "low": -5.0, "high": 5.0, "log": False, "choices": []},
    {"name": "c", "kind": "categorical", "low": 0, "high": 0, "log": False, "choices": ["a", "b", "c"]},
]


def study(events: list[Any], sampler: str = "tpe", seed: int = 7, **changes: Any) -> dict[str, Any]:
    """A study as `domain/tuning/record.study` makes it."""
    fixed = {"sampler": sampler, "seed": seed, "direction": "minimize", "space": SPACE, "prior": []}
    return {**fixed, "events": events, **changes}


def objective(params: Mapping[str, Any]) -> float:
    """Smallest at x = 1, n = 30, c = a."""
    return float((params["x"] - 1) ** 2 + abs(params["n"] - 30) / 50 + "abc".index(params["c"]))


async def search(sampler: Sampler, trials: int, kind: str = "tpe", seed: int = 7) -> list[dict[str, Any]]:
    """So many trials, one at a time: their parameters."""
    events: list[Any] = []
    found: list[dict[str, Any]] = []
    for number in range(trials):
        params = await sampler.suggest(study(list(events), kind, seed))
        found.append(params)
        events += [["ask", params], ["tell", number, "complete", objective(params), []]]
    return found


class SamplerConformance:
    """Inherit, and give the implementation as the fixture `sampler`."""

    async def test_every_value_is_in_its_range(self, sampler: Sampler) -> None:
        for kind in ("tpe", "random"):
            for params in await search(sampler, 14, kind):
                assert list(params) == ["n", "x", "c"]
                assert isinstance(params["n"], int)
                assert 1 <= params["n"] <= 100
                assert -5 <= params["x"] <= 5
                assert params["c"] in "abc"

    async def test_the_same_study_gets_the_same_suggestion(self, sampler: Sampler) -> None:
        one = await search(sampler, 3)
        events = [["ask", one[0]], ["tell", 0, "complete", objective(one[0]), []]]
        assert await sampler.suggest(study(events)) == one[1]
        assert await sampler.suggest(study(events)) == one[1]
        assert await sampler.suggest(study([])) == one[0]

    async def test_another_seed_gives_other_values(self, sampler: Sampler) -> None:
        assert await sampler.suggest(study([], seed=1)) != await sampler.suggest(study([], seed=2))

    async def test_it_goes_on_after_a_rest(self, sampler: Sampler) -> None:
        one = await search(sampler, 2)
        await sampler.rest()
        await sampler.rest()
        assert await search(sampler, 2) == one

    async def test_several_trials_may_be_open(self, sampler: Sampler) -> None:
        first = await sampler.suggest(study([]))
        second = await sampler.suggest(study([["ask", first]]))
        assert second != first
        told = [
            ["ask", first],
            ["ask", second],
            ["tell", 1, "pruned", 3.0, [5.0, 3.0]],
            ["tell", 0, "failed", None, []],
        ]
        assert await sampler.suggest(study(told)) not in (first, second)

    async def test_trials_of_other_jobs_are_taken(self, sampler: Sampler) -> None:
        prior = [{"params": {"n": 30, "x": 1.0, "c": "a"}, "value": 0.0}]
        assert set(await sampler.suggest(study([], prior=prior))) == {"n", "x", "c"}

    async def test_importances_are_shares(self, sampler: Sampler) -> None:
        assert await sampler.importances(study([])) == {}
        events: list[Any] = []
        for number, params in enumerate(await search(sampler, 30)):
            events += [["ask", params], ["tell", number, "complete", objective(params), []]]
        found = await sampler.importances(study(events))
        assert set(found) == {"n", "x", "c"}
        assert abs(sum(found.values()) - 1) < 1e-6
