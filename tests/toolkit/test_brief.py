"""The brief's parser: what other parts read of it, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import brief
from clary.toolkit.documents import DocumentError

GOOD: dict[str, Any] = {
    "name": "churn-2026",
    "objective": "call customers who are about to leave",
    "target": "left",
    "metric": {"name": "roc_auc", "threshold": 0.8},
    "origin": "billing database, 2024 to 2026",
    "lawful_basis": "contract",
}


def test_says_what_evaluation_reads() -> None:
    found = brief.of({**GOOD, "baseline": {"value": 0.7}, "slices": ["region"], "costs": {"false_negative": 20}})
    assert (found.metric.name, found.metric.direction, found.metric.threshold) == ("roc_auc", brief.MAXIMIZE, 0.8)
    assert found.baseline == brief.Baseline(0.7)
    assert found.slices == ("region",)
    assert found.costs == {"false_negative": 20}


def test_knows_which_values_are_better() -> None:
    up, down = brief.Metric("roc_auc", brief.MAXIMIZE, 0.8), brief.Metric("mae", brief.MINIMIZE, 2.0)
    assert up.better(0.9, 0.8)
    assert not up.better(0.8, 0.8)
    assert up.meets(0.8)
    assert not up.meets(0.79)
    assert down.better(1, 2)
    assert down.meets(2.0)
    assert not down.meets(2.1)
    assert brief.Metric("mae", brief.MINIMIZE).meets(1e9)


def test_a_metric_of_one_kind_tells_the_problem() -> None:
    assert brief.of({**GOOD, "metric": {"name": "rmse"}}).problem == brief.REGRESSION
    assert brief.of({**GOOD, "metric": {"name": "brier"}}).problem == brief.BINARY
    assert brief.of(GOOD).problem == ""


def test_features_leave_out_what_is_none() -> None:
    found = brief.of(
        {**GOOD, "forbidden": ["sex"], "identifiers": ["id"], "known_after": ["closed"], "split": {"column": "part"}}
    )
    assert found.excluded == ("left", "sex", "id", "closed", "part")


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"metric": {"name": "auc"}}, "metric.name", "must be one of accuracy"),
        ({"metric": {"name": "mae", "direction": "maximize"}}, "metric.direction", "mae is to minimize"),
        ({"problem": "regression"}, "metric.name", "judges binary and multiclass, and the problem is regression"),
        ({"name": "two words"}, "name", "letters, digits"),
        ({"slices": ["left"]}, "slices", "names the target 'left'"),
        (
            {"metric": {"name": "rmse"}, "costs": {"false_negative": 1}},
            "costs.false_negative",
            "no error of regression",
        ),
        ({"split": {"time": "at", "group": "id"}}, "split", "more than one"),
        ({"lawful_basis": True}, "lawful_basis", "must be one of consent"),
    ],
)
def test_refuses_contradictions(change: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        brief.of({**GOOD, **change})
    assert [found for found, _ in caught.value.problems] == [place]
    assert words in str(caught.value)


def test_reads_json_and_files(tmp_path: Path) -> None:
    path = tmp_path / "brief.json"
    path.write_text(json.dumps(GOOD))
    assert brief.load(str(path)) == brief.parse(json.dumps(GOOD)) == brief.of(GOOD)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DocumentError, match="is not UTF-8"):
        brief.load(str(path))
