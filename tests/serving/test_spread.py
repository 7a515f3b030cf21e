"""Rendezvous hashing with bounded loads: few moves, even shares, no replica over its bound."""

from __future__ import annotations

from collections import Counter

from clary.serving import spread

REPLICAS = ("r1", "r2", "r3", "r4")


def test_every_model_ranks_all_replicas_the_same_way_each_time() -> None:
    assert sorted(spread.ranked("m", REPLICAS)) == sorted(REPLICAS)
    assert spread.ranked("m", REPLICAS) == spread.ranked("m", reversed(REPLICAS))


def test_models_are_shared_evenly() -> None:
    count = Counter(spread.first(f"m{i}", dict.fromkeys(REPLICAS, 0)) for i in range(4000))
    assert all(850 < count[replica] < 1150 for replica in REPLICAS)


def test_a_replica_that_goes_moves_only_its_own_models() -> None:
    before = {f"m{i}": spread.first(f"m{i}", dict.fromkeys(REPLICAS, 0)) for i in range(400)}
    after = {model: spread.first(model, dict.fromkeys(REPLICAS[:3], 0)) for model in before}
    assert all(after[model] == home for model, home in before.items() if home != "r4")


def test_a_replica_with_more_than_its_share_is_passed_over() -> None:
    first, second = spread.ranked("m", ("r1", "r2"))
    assert spread.first("m", {first: 5, second: 5}) == first
    assert spread.first("m", {first: 9, second: 1}) == second


def test_without_replicas_there_is_no_place() -> None:
    assert spread.first("m", {}) is None
    assert spread.further("m", {}) is None


def test_a_hot_model_goes_where_it_is_not_then_where_it_may_be_again() -> None:
    first, second = spread.ranked("m", ("r1", "r2"))
    assert spread.further("m", {first: (1, 2), second: (0, 2)}) == second
    assert spread.further("m", {first: (1, 2), second: (1, 2)}) == first
    assert spread.further("m", {first: (2, 2), second: (1, 2)}) == second
    assert spread.further("m", {first: (2, 2), second: (2, 2)}) is None
