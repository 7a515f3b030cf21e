"""The metrics in their runtime: weighted ones equal scikit-learn's, reports have SageMaker's shape, what cannot be judged says why."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Judge = Callable[..., "Result"]

ORACLE = """
import numpy as np
from sklearn import metrics as sk
from clary.toolkit.evaluation import measures, resampling
from clary.toolkit.evaluation.resampling import PredictedRows
rng = np.random.default_rng(11)
n = 400
answer = []
def same(problem, truth, predicted, classes, wanted):
    # as plain metrics, and under integer and fractional weights
    plain = measures.metrics(problem, truth, predicted, classes)
    for weights in (np.ones(n), rng.integers(0, 5, n).astype(float), rng.random(n)):
        for name, oracle in wanted.items():
            ours = resampling.weighted(problem, truth, predicted, classes, [name])[name](np.stack([weights, weights]))
            expected = oracle(weights)
            answer.append([problem, name, float(ours[0]), float(ours[1]), float(expected)])
            if (weights == 1).all():
                answer.append([problem, name + " plain", plain[name], plain[name], float(expected)])
"""
BINARY = """
truth = rng.integers(0, 2, n)
scores = np.round(np.clip(truth * 0.3 + rng.random(n) * 0.7, 0, 1), 2)  # with ties, and exactly 0 and 1
scores[:3] = [0.0, 1.0, 0.5]
labels = (scores >= 0.5).astype(int)
b = PredictedRows("binary", labels=labels, scores=scores, probabilities=True)
same("binary", truth, b, 2, {
    "accuracy": lambda w: sk.accuracy_score(truth, labels, sample_weight=w),
    "balanced_accuracy": lambda w: sk.balanced_accuracy_score(truth, labels, sample_weight=w),
    "precision": lambda w: sk.precision_score(truth, labels, sample_weight=w),
    "recall": lambda w: sk.recall_score(truth, labels, sample_weight=w),
    "f1": lambda w: sk.f1_score(truth, labels, sample_weight=w),
    "roc_auc": lambda w: sk.roc_auc_score(truth, scores, sample_weight=w),
    "pr_auc": lambda w: sk.average_precision_score(truth, scores, sample_weight=w),
    "log_loss": lambda w: sk.log_loss(truth, scores, sample_weight=w),
    "brier": lambda w: sk.brier_score_loss(truth, scores, sample_weight=w),
})
"""
MULTICLASS = """
truth = rng.integers(0, 4, n)
scores = rng.dirichlet(np.ones(4), n) + np.eye(4)[truth] * 0.3
scores /= scores.sum(axis=1, keepdims=True)
labels = scores.argmax(axis=1)
m = PredictedRows("multiclass", labels=labels, scores=scores, probabilities=True)
macro = {"average": "macro", "zero_division": 0}
same("multiclass", truth, m, 4, {
    "accuracy": lambda w: sk.accuracy_score(truth, labels, sample_weight=w),
    "balanced_accuracy": lambda w: sk.balanced_accuracy_score(truth, labels, sample_weight=w),
    "precision": lambda w: sk.precision_score(truth, labels, sample_weight=w, **macro),
    "recall": lambda w: sk.recall_score(truth, labels, sample_weight=w, **macro),
    "f1": lambda w: sk.f1_score(truth, labels, sample_weight=w, **macro),
    "roc_auc": lambda w: sk.roc_auc_score(np.eye(4)[truth], scores, sample_weight=w, average="macro"),
    "log_loss": lambda w: sk.log_loss(truth, scores, sample_weight=w),
})
"""
REGRESSION = """
truth = rng.normal(1e6, 3, n)  # far from 0
numbers = truth + rng.normal(size=n)
r = PredictedRows("regression", numbers=numbers)
same("regression", truth, r, 0, {
    "mae": lambda w: sk.mean_absolute_error(truth, numbers, sample_weight=w),
    "mse": lambda w: sk.mean_squared_error(truth, numbers, sample_weight=w),
    "rmse": lambda w: sk.root_mean_squared_error(truth, numbers, sample_weight=w),
    "r2": lambda w: sk.r2_score(truth, numbers, sample_weight=w),
})
"""


@pytest.mark.parametrize("code", [BINARY, MULTICLASS, REGRESSION], ids=["binary", "multiclass", "regression"])
def test_every_metric_is_scikit_learns(run: Run, code: str) -> None:
    found = run("evaluation", ORACLE + code)
    assert len(found) >= 12
    for problem, name, one, other, expected in found:
        assert one == pytest.approx(expected, rel=1e-9, abs=1e-9), (problem, name)
        assert other == pytest.approx(expected, rel=1e-9, abs=1e-9), (problem, name)


class Result:
    """What an evaluation wrote."""

    def __init__(self, code: int, folder: Path, log: str) -> None:
        self.code, self.folder, self.log = code, folder, log

    @property
    def message(self) -> str:
        return (self.folder / "output" / "message").read_text()

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "processing/output/evaluation.json").read_text())
        return found

    @property
    def page(self) -> str:
        return (self.folder / "processing/output/report.html").read_text()


@pytest.fixture
def judge(interpreter: Callable[..., str], library: str, tmp_path: Path) -> Judge:
    """`judge("y,p\\n...", target="y", model={...})`: run the program over a CSV file."""
    python = interpreter("evaluation")

    def evaluate(text: str, brief: str = "", name: str = "data.csv", **config: Any) -> Result:
        for folder in ("data", "config", "brief"):
            (tmp_path / "processing/input" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "processing/input/data" / name).write_text(text)
        (tmp_path / "processing/input/config/evaluation_config.json").write_text(json.dumps(config))
        if brief:
            (tmp_path / "processing/input/brief/brief.yaml").write_text(brief)
        code = f"import sys; from clary.toolkit.evaluation.__main__ import main; sys.exit(main([], {str(tmp_path)!r}))"
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": library, "HOME": str(tmp_path)}
        argv = [python, "-W", "error", "-c", code]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return Result(done.returncode, tmp_path, done.stdout + done.stderr)

    return evaluate


def table(rows: int, *columns: Callable[[int], Any]) -> str:
    return "".join(",".join(str(column(row)) for column in columns) + "\n" for row in range(rows))


def probability(row: int) -> float:
    return (row * 37 % 100) / 100


def truth(row: int) -> str:
    return "yes" if (row * 37 % 100) + (row * 53 % 61) > 80 else "no"


BRIEF = """
name: churn-2026
objective: Call customers who are about to leave
target: left
positive: "yes"
metric: {name: roc_auc, threshold: 0.8}
baseline: {value: 0.6, description: the rules of 2023}
slices: [region]
origin: Billing database
lawful_basis: contract
"""


def test_a_brief_a_model_and_an_incumbent(judge: Judge) -> None:
    text = "left,p,old,region\n" + table(
        400,
        truth,
        probability,
        lambda row: (row * 37 % 100 + row * 71 % 97) / 200,
        lambda row: "north" if row % 2 else "south",
    )
    found = judge(text, BRIEF, model={"column": "p", "name": "new"}, incumbent={"column": "old"}, bootstrap=300)
    assert found.code == 0, found.log
    told = found.document
    group = told["binary_classification_metrics"]
    assert set(group) >= {
        "confusion_matrix",
        "accuracy",
        "precision",
        "recall",
        "auc",
        "f1",
        "f2",
        "log_loss",
        "brier",
        "accuracy_best_constant_classifier",
    }
    assert group["auc"]["lower"] < group["auc"]["value"] < group["auc"]["upper"]
    assert group["auc"]["value"] == group["roc_auc"]["value"]
    assert sum(n for row in group["confusion_matrix"].values() for n in row.values()) == 400
    assert told["calibration_curve"]["mean_probabilities"]
    assert told["dataset"]["positive"] == "yes"
    assert told["comparisons"]["incumbent"]["verdict"] == "better"
    assert told["comparisons"]["baseline"]["name"] == "the rules of 2023"
    assert told["brief"] == {
        "name": "churn-2026",
        "objective": "Call customers who are about to leave",
        "metric": "roc_auc",
        "threshold": 0.8,
        "met": True,
        "shown": True,
    }
    assert {each["value"] for each in told["comparisons"]["incumbent"]["slices"]} == {"north", "south"}
    assert told["slices"]["region"]["north"]["rows"] == 200
    assert told["gate"] == {"passed": True, "reasons": []}
    assert "better than column old" in found.message
    assert found.page.count("<svg") == 4
    for words in ("ROC curve", "Calibration", "Confusion matrix", "the rules of 2023", "The gate is passed"):
        assert words in found.page


def test_numbers(judge: Judge) -> None:
    text = "t,f,old\n" + table(
        300, lambda row: row / 7, lambda row: row / 7 + (row % 3 - 1), lambda row: row / 7 + (row * 13 % 5 - 2) * 2
    )
    found = judge(text, target="t", model={"column": "f"}, incumbent={"column": "old"}, bootstrap=200)
    assert found.code == 0, found.log
    group = found.document["regression_metrics"]
    assert set(group) == {"mae", "mse", "rmse", "r2"}
    assert group["mse"]["value"] == pytest.approx(2 / 3)
    assert found.document["comparisons"]["incumbent"]["verdict"] == "better"
    assert "Residuals" in found.page


def test_classes_without_probabilities(judge: Judge) -> None:
    colours = ("red", "green", "blue")
    text = "t,f\n" + table(300, lambda row: colours[row % 3], lambda row: colours[(row + row % 7 // 5) % 3])
    found = judge(text, target="t", model={"column": "f"}, bootstrap=200)
    assert found.code == 0, found.log
    group = found.document["multiclass_classification_metrics"]
    assert "weighted_f1" in group
    assert "roc_auc" not in group
    assert "without probabilities" in found.document["undefined"][0]
    assert found.document["metric"]["name"] == "accuracy"


def test_a_worse_model_does_not_pass(judge: Judge) -> None:
    text = "left,p,old,region\n" + table(400, truth, lambda row: (row * 71 % 97) / 97, probability, lambda row: "north")
    found = judge(text, BRIEF, model={"column": "p"}, incumbent={"column": "old", "name": "champion"}, bootstrap=200)
    assert found.code == 0
    gate = found.document["gate"]
    assert not gate["passed"]
    assert gate["reasons"][0] == "roc_auc is worse than champion"
    assert "does not meet the brief's 0.8" in gate["reasons"][1]
    assert "where region is north (400 rows)" in gate["reasons"][2]


GOOD = "y,p\n" + table(60, lambda row: row % 2, probability)


BAD: list[tuple[str, dict[str, Any], str]] = [
    (GOOD, {"target": "z"}, "target: the data has no column 'z'"),
    ("y,p\n1,0.5\n1,0.7\n", {}, "one class only, '1', in 2 rows"),
    ("y,p\n,0.5\n,0.7\n", {}, "missing in all 2 rows"),
    ("y,p\n1,x\n0,0.5\n", {}, "predicts 'x' in row 1"),
    ("y,p\n1,\n0,0.5\n", {}, "has no prediction in row 1 (1 in all)"),
    ("y,p\n1,7\n0,-3\n", {}, "are no probabilities: give the `threshold`"),
    ("y,p\na,a\nb,b\nc,c\n", {"problem": "binary"}, "has 3 classes"),
    ("y,p\na,0.1\nb,0.3\n", {"positive": "c"}, "positive class 'c' is none of the target's: a, b"),
    ("y,p\n0.5,1\nten,2\n", {"problem": "regression"}, "row 2 has 'ten'"),
    (GOOD, {"metric": "rmse"}, "does not judge binary"),
    ("y,p\n", {}, "has no rows"),
    (GOOD, {"slices": ["region"]}, "slices: the data has no column 'region'"),
    (GOOD, {"headers": ["a"]}, "has 2 columns, and `headers` names 1"),
]  # fmt: skip
PROGRAM = """
import contextlib, io, json, sys
from clary.toolkit.evaluation.__main__ import main
answer = []
for folder in json.loads(sys.stdin.read()):
    with contextlib.redirect_stderr(io.StringIO()):
        code = main([], folder)
    answer.append([code, open(folder + "/output/message").read()])
print(json.dumps(answer))
"""


def test_what_cannot_be_judged_says_why(interpreter: Callable[..., str], library: str, tmp_path: Path) -> None:
    folders = []
    for number, (text, config, _) in enumerate(BAD):
        folder = tmp_path / str(number)
        for name in ("data", "config"):
            (folder / "processing/input" / name).mkdir(parents=True)
        (folder / "processing/input/data/data.csv").write_text(text)
        whole = {"target": "y", "model": {"column": "p"}, **config}
        (folder / "processing/input/config/evaluation_config.json").write_text(json.dumps(whole))
        folders.append(str(folder))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": library, "HOME": str(tmp_path)}
    argv = [interpreter("evaluation"), "-c", PROGRAM]
    done = subprocess.run(
        argv, input=json.dumps(folders), env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    for (_, config, words), (code, message) in zip(BAD, json.loads(done.stdout), strict=True):
        assert (code, words in message) == (1, True), (config, message)


def test_rows_without_a_target_are_left_out_and_counted(judge: Judge) -> None:
    found = judge(GOOD + ",0.2\n", target="y", model={"column": "p"}, bootstrap=0)
    assert found.code == 0, found.log
    assert found.document["dataset"]["without_target"] == 1
    assert found.document["binary_classification_metrics"]["accuracy"]["standard_deviation"] == "NaN"


def test_json_lines_with_nested_values_are_read(judge: Judge) -> None:
    text = "".join(json.dumps({"y": bool(row % 2), "p": probability(row)}) + "\n" for row in range(60))
    found = judge(text, name="data.jsonl", target="y", model={"column": "p"}, bootstrap=50)
    assert found.code == 0, found.log
    assert found.document["dataset"]["classes"] == {"false": 30, "true": 30}
    assert found.document["dataset"]["positive"] == "true"


ANSWERS = """
import numpy as np
from clary.toolkit.evaluation import predictions
from clary.toolkit.evaluation.settings import PredictionSource
def read(text, rows, **more):
    source = PredictionSource("endpoint_name", "e", "endpoint e", **more)
    return predictions.arranged(predictions.answers(text, source), rows, "endpoint e").tolist()
answer = [
    read("0.1\\n0.2\\n0.3\\n", 3),
    read("0.1,0.2,0.3", 3),
    read("0.1,0.2,0.7", 1),
    read("[0.1, 0.2]", 2),
    read('{"predictions": [{"score": 0.1}, {"score": 0.2}]}', 2),
    read('{"predictions": [{"predicted_label": 1, "score": [0.1, 0.9]}]}', 1, label="predicted_label"),
    read('{"score": 0.1}\\n{"score": 0.2}\\n', 2),
    read('yes,0.8\\nno,0.3\\n', 2, probability=1),
    read('yes,"[0.2, 0.8]"\\n', 1, probability=1),
    read("[[0.1, 0.9], [0.4, 0.6]]", 2),
]
"""


def test_answers_in_the_forms_of_containers(run: Run) -> None:
    assert run("evaluation", ANSWERS) == [
        [["0.1"], ["0.2"], ["0.3"]],
        [["0.1"], ["0.2"], ["0.3"]],
        [["0.1", "0.2", "0.7"]],
        [[0.1], [0.2]],
        [[0.1], [0.2]],
        [[1]],
        [[0.1], [0.2]],
        [["0.8"], ["0.3"]],
        [[0.2, 0.8]],
        [[0.1, 0.9], [0.4, 0.6]],
    ]


FOLDS = """
import numpy as np, pandas as pd
from clary.toolkit.evaluation import crossing, data, settings
from clary.toolkit.failure import UserError
rng = np.random.default_rng(3)
frame = pd.DataFrame({"y": np.arange(100) % 10 == 0, "x": rng.random(100), "who": np.arange(100) % 17, "day": rng.permutation(100)})
answer = {}
for kind in ("random", "stratified", "group", "time"):
    column = {"group": "who", "time": "day"}.get(kind)
    folds = {"number": 5, "kind": kind, **({"column": column} if column else {})}
    asked = settings.parse({"target": "y", "model": {"training": {"image": "i"}, "folds": folds}})
    rows = data.prepared(frame, asked)
    told, made = crossing.split(rows, asked)
    answer[kind] = {
        "disjoint": all(not set(train) & set(test) for train, test in made),
        "tested": len({int(row) for _, test in made for row in test}) == sum(len(test) for _, test in made),
        "rows": sum(len(test) for _, test in made),
        "positives": [int(rows.truth[test].sum()) for _, test in made],
        "groups": any(set(frame.who[train]) & set(frame.who[test]) for train, test in made),
        "later": all(frame.day[train].max() < frame.day[test].min() for train, test in made),
    }
text = crossing.table(rows, np.array([1, 0]), asked, ["x"], header=False).decode().split("\\n")
answer["text"] = [line[:2] for line in text]
try:
    crossing.split(rows.only(np.arange(3)), asked)
except UserError as error:
    answer["few"] = str(error)
"""


def test_folds_share_no_row_no_group_and_no_future(run: Run) -> None:
    found = run("evaluation", FOLDS, warnings="default")
    for kind in ("random", "stratified", "group", "time"):
        assert found[kind]["disjoint"]
        assert found[kind]["tested"]
    assert found["random"]["rows"] == found["group"]["rows"] == 100
    assert found["stratified"]["positives"] == [2] * 5
    assert found["random"]["groups"]
    assert not found["group"]["groups"]
    assert found["time"]["later"]
    assert found["time"]["rows"] == 80
    assert found["text"] == ["0,", "1,", ""]
    assert "3 rows cannot be split into 5 folds" in found["few"]
