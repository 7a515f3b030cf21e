"""The gate in its runtime: what it lets through, and each reason for which the incumbent stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clary.toolkit.failure import UserError
from clary.toolkit.retraining.gating import RetrainingGate

PROGRAM = """
import numpy as np, pandas as pd
from clary.toolkit.evaluation import data as rows, settings
from clary.toolkit.evaluation.resampling import PredictedRows
from clary.toolkit.retraining.gating import RetrainingGate, judged
draw = np.random.default_rng(5)
def case(fresh, pinned, facet="", bias=0.1, tilt=0.0):
    # fresh, pinned: (share of right predictions of the new model, of the old one)
    part = np.array(["fresh"] * 400 + ["pinned"] * 400)
    truth = draw.integers(0, 2, 800)
    group = draw.integers(0, 2, 800)
    def model(side):
        share = np.where(part == "fresh", fresh[side], pinned[side])
        labels = np.where(draw.random(800) < share, truth, 1 - truth)
        if side == 0 and tilt:
            labels = np.where((group == 1) & (draw.random(800) < tilt), 0, labels)
        return PredictedRows("binary", labels=labels)
    frame = pd.DataFrame({"label": truth, "f0": group, "clary_part": part})
    asked = settings.parse({"target": "label", "metric": "accuracy", "model": {"artifact": "a", "image": "i"}, "incumbent": {"model_name": "old"}, "bootstrap": 200})
    found = judged(rows.prepared(frame, asked), asked, model(0), model(1), RetrainingGate("a", "i", "old", facet=facet, bias=bias))
    return [found["passed"], found["why"]]
answer = [
    case((0.9, 0.7), (0.9, 0.9)),
    case((0.8, 0.8), (0.9, 0.9)),
    case((0.95, 0.6), (0.6, 0.95)),
    case((0.95, 0.6), (0.9, 0.9), facet="f0=1", tilt=0.6),
    case((0.95, 0.6), (0.9, 0.9), facet="f0=1"),
]
"""  # noqa: E501


def test_a_better_model_passes_and_each_reason_keeps_the_incumbent(run: Callable[..., Any]) -> None:
    better, same, forgot, biased, fair = run("evaluation", PROGRAM)
    assert better[0] is True
    assert better[1].startswith("the new model may serve")
    assert same[0] is False
    assert "on fresh labels accuracy is not shown to be better" in same[1]
    assert forgot[0] is False
    assert "on the pinned holdout accuracy is worse" in forgot[1]
    assert biased[0] is False
    assert "DPPL of f0=1" in biased[1]
    assert fair[0] is True


def test_what_is_missing_or_no_option_is_refused() -> None:
    with pytest.raises(UserError, match="--artifact is missing"):
        RetrainingGate.read({})
    with pytest.raises(UserError, match="--colour is none of --artifact"):
        RetrainingGate.read({"colour": "red"})
    with pytest.raises(UserError, match="--bias is a number"):
        RetrainingGate.read({"bias": "much"})
