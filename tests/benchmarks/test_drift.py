"""The benchmark of drift: its draws, and the rules that it computes itself."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.drift import CASES, Case

from benchmarks import drift


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))
def test_every_case_draws_what_it_says(case: Case) -> None:
    [(_, reference, windows)] = drift.draws(case, 1)
    assert reference.shape == (drift.FIRST + drift.REFERENCE, case.columns)
    assert windows.shape == (2 * case.rows, case.columns)
    assert (reference.dtype == object) == (case.kind == "categories")


def test_the_distance_of_numbers_and_of_categories() -> None:
    numbers = drift.ks(np.arange(100.0)[:, None], np.arange(50.0, 150.0)[:, None])
    assert numbers == pytest.approx([0.5], abs=0.02)
    names = np.array([["a"], ["a"], ["b"], ["b"]], dtype=object)
    assert drift.ks(names, np.array([["a"], ["a"], ["a"], ["c"]], dtype=object)) == pytest.approx([0.5])


def test_a_rule_alarms_for_a_shift_and_not_without() -> None:
    draw = np.random.default_rng(1)
    reference, window = draw.normal(size=(5000, 2)), draw.normal(size=(500, 2))
    assert not drift.robust(reference, window)
    assert drift.robust(reference, window + 1)
    assert drift.p_below(0.05, 1e-9)(reference, window + 1)


def test_a_peer_is_asked_only_about_as_many_columns_as_it_can_take() -> None:
    assert drift.asked(Case("wide", 500, 10), {}, "unused") == {}
    wide = [peer.name for peer in drift.peers("python3.12") if peer.numbers >= 200]
    assert wide == ["NannyML"]
