"""The comparison of two fleets: it holds its false alarm rate however often one looks, and finds what is worse."""

from __future__ import annotations

import random
from typing import Any

import pytest

from clary.domain.endpoints.regression import Tally, rate_of, verdict, weighed
from clary.domain.errors import Invalid


def rollout(
    chance: random.Random,
    old: float,
    new: float,
    share: float = 0.3,
    looks: int = 30,
    each: int = 50,
    slow: bool = False,
) -> tuple[str, int]:
    """The verdict after so many looks, and the look at which it came. `old` and `new` are the fleets' bad rates."""
    evidence: dict[str, Any] = {}
    tallies = {"old": [1000, 7, 7], "new": [0, 0, 0]}
    for look in range(looks):
        known = weighed(evidence.get("A", {}), Tally(*tallies["old"]), Tally(*tallies["new"]))
        evidence = {"A": known}
        found = verdict(evidence, 1, 0.05)
        if found:
            return found, look
        for _ in range(each):
            fleet, rate = ("new", new) if chance.random() < share else ("old", old)
            tallies[fleet][0] += 1
            tallies[fleet][2 if slow else 1] += chance.random() < rate
    return "", looks


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.02, 0.3])
def test_two_equal_fleets_are_told_apart_no_more_often_than_stated(rate: float) -> None:
    """30 looks at each of 200 rollouts: at 5 %, 10 false alarms are expected at most; 22 would be four standard deviations more."""
    chance = random.Random(1)
    alarms = sum(bool(rollout(chance, rate, rate)[0]) for _ in range(200))
    assert alarms <= 22


def test_a_better_fleet_is_never_blamed_more_often_either() -> None:
    chance = random.Random(2)
    assert sum(bool(rollout(chance, 0.05, 0.02)[0]) for _ in range(200)) <= 22


@pytest.mark.parametrize(("old", "new", "within"), [(0.0, 1.0, 3), (0.001, 0.2, 6), (0.01, 0.08, 30)])
def test_a_worse_fleet_is_found_soon(old: float, new: float, within: int) -> None:
    chance = random.Random(3)
    found = [rollout(chance, old, new) for _ in range(50)]
    assert all(words for words, _ in found)
    assert sorted(look for _, look in found)[25] <= within


def test_the_words_tell_the_figures() -> None:
    words, _ = rollout(random.Random(4), 0.0, 1.0)
    assert words.startswith("On variant A ")
    assert "requests to the new fleet failed, and 0 of" in words
    assert "false alarm rate 0.05" in words
    slow, _ = rollout(random.Random(4), 0.01, 0.5, slow=True)
    assert "took longer than 1.2 times the old fleet's p99" in slow


def test_a_fleet_that_has_all_the_load_is_not_slow_because_the_other_has_none() -> None:
    """0.8 % of its answers are slow, of the idle old fleet's none: a p99 promises no more."""
    chance = random.Random(6)
    assert sum(bool(rollout(chance, 0.0, 0.008, share=0.9, slow=True)[0]) for _ in range(100)) <= 13
    assert sum(bool(rollout(chance, 0.0, 0.1, share=0.9, slow=True)[0]) for _ in range(20)) == 20


def test_slow_times_that_both_fleets_have_are_nobodys_fault() -> None:
    chance = random.Random(7)
    assert sum(bool(rollout(chance, 0.2, 0.2, slow=True)[0]) for _ in range(100)) <= 13


def test_what_was_counted_before_the_first_look_is_no_evidence() -> None:
    known = weighed({}, Tally(10_000, 0, 0), Tally(100, 100, 100))
    assert verdict({"A": known}, 1, 0.5) == ""
    assert known["failed"]["new"] == [0, 0]


def test_a_front_that_began_anew_starts_a_count_and_takes_nothing_back() -> None:
    known = weighed(weighed({}, Tally(100, 0, 0), Tally(100, 0, 0)), Tally(200, 0, 0), Tally(200, 100, 0))
    after = weighed(known, Tally(5, 0, 0), Tally(5, 5, 0))
    assert after["failed"]["new"] == known["failed"]["new"]
    assert weighed(after, Tally(10, 0, 0), Tally(10, 5, 0))["failed"]["old"][1] == known["failed"]["old"][1] + 5


def test_one_fleet_alone_is_no_comparison() -> None:
    known = weighed({}, Tally(), Tally())
    for look in range(1, 50):
        known = weighed(known, Tally(0), Tally(100 * look, 100 * look))
    assert verdict({"A": known}, 1, 0.5) == ""


def test_more_variants_raise_the_bar() -> None:
    chance = random.Random(5)
    one = [rollout(chance, 0.01, 0.08)[1] for _ in range(5)]
    assert max(one) < 30
    known = {"failed": {"old": [0, 1], "new": [1, 1], "log": 4.0, "most": 4.0}, "slow": {"most": 0.0, "most_rare": 0.0}}
    assert verdict({"A": known}, 1, 0.05)
    assert not verdict({"A": known}, 10, 0.05)


@pytest.mark.parametrize("text", ["0", "-1", "0.6", "often", "nan", "1e"])
def test_a_rate_must_be_one(text: str) -> None:
    with pytest.raises(Invalid, match=r"The tag t must be a false alarm rate above 0 and at most 0\.5"):
        rate_of(text, "The tag t")


def test_a_rate_and_none() -> None:
    assert rate_of("0.01", "x") == 0.01
    assert rate_of("", "x") == 0.0
