"""A built-in algorithm's model answers the same, bit for bit, under the Python that trained it and under the newer one that serves it.

(Except one of DART: its trees have weights, and the two versions of XGBoost round their sum at different places.)"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
ASK = """
import json, sys
import numpy as np, xgboost
from clary.toolkit import loading
from clary.toolkit.frames import Request
rows = np.random.default_rng(5).normal(size=(200, 4)).astype("f4"); rows[::7, 1] = np.nan
lines = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows]
asked = [Request(1, line.encode(), "text/csv", "", {}) for line in lines]
asked += [Request(1, "\\n".join(lines).encode(), "text/csv", "application/json", {})]
handler = loading.load(dict(code_dir="", program="", framework="xgboost", algorithm="xgboost", model_dir=FOLDER))
together = [bytes(each.body).decode() for each in handler.predict(asked)]
alone = [bytes(handler.predict([each])[0].body).decode() for each in asked]
answer = [xgboost.__version__, together == alone, together]
"""
PICKLED = """
import pickle, sys
import numpy as np, xgboost
rng = np.random.default_rng(0); x = rng.normal(size=(300, 4)).astype("f4"); y = (x[:, 0] + x[:, 1] > 0).astype("f4")
made = {
    "booster": lambda: xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, y), 10),
    "classifier": lambda: xgboost.XGBClassifier(n_estimators=10, n_jobs=1).fit(x, y),
    "regressor": lambda: xgboost.XGBRegressor(n_estimators=10, n_jobs=1).fit(x, y),
}[sys.argv[2]]()
with open(sys.argv[1] + "/xgboost-model", "wb") as file: pickle.dump(made, file)
"""


@pytest.fixture
def both(run: Run, interpreter: Callable[..., str]) -> Callable[[str], list[list[Any]]]:
    """What a folder's model answers under each: [version of XGBoost, whether a batch is its requests one by one, answers]."""
    if interpreter("xgboost", serving=True) == interpreter("xgboost"):
        pytest.skip("no newer Python is on PATH: the algorithm is served by the one that trains it")

    def ask(folder: str) -> list[list[Any]]:
        code = f"FOLDER = {folder!r}\n{ASK}"
        return [run("xgboost", code, serving=serving) for serving in (False, True)]

    return ask


@pytest.mark.parametrize(
    "parameters",
    [
        {"objective": "binary:logistic"},
        {"objective": "binary:logistic", "base_score": 0.2, "max_depth": 9},
        {"objective": "reg:squarederror"},
        {"objective": "count:poisson"},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "reg:squarederror", "booster": "gblinear"},
    ],
    ids=lambda given: " ".join(map(str, given.values())),
)
def test_a_trained_model_answers_the_same(
    both: Callable[[str], list[list[Any]]], xgboost_model: Callable[..., str], parameters: dict[str, Any]
) -> None:
    trained, served = both(xgboost_model(**parameters))
    assert trained[0] != served[0], "both have the same XGBoost: the test compares nothing"
    assert (trained[1], served[1]) == (True, True)
    assert served[2] == trained[2]
    assert len(set(served[2])) > 3


def test_a_model_of_dart_answers_the_same_but_for_the_last_digit(
    both: Callable[[str], list[list[Any]]], xgboost_model: Callable[..., str]
) -> None:
    trained, served = both(xgboost_model("binary:logistic", booster="dart", rate_drop=0.3))
    assert (trained[1], served[1]) == (True, True)
    for mine, other in zip(trained[2][:-1], served[2][:-1], strict=True):
        assert float(other) == pytest.approx(float(mine), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "runtime"), [("booster", "xgboost"), ("classifier", "xgboost-script"), ("regressor", "xgboost-script")]
)
def test_a_pickle_of_the_other_python_answers_the_same(
    both: Callable[[str], list[list[Any]]], interpreter: Callable[..., str], tmp_path: Path, kind: str, runtime: str
) -> None:
    subprocess.run([interpreter(runtime), "-W", "error", "-c", PICKLED, str(tmp_path), kind], check=True, timeout=60)
    trained, served = both(str(tmp_path))
    assert served[1:] == trained[1:]
    assert served[1]
    assert all(0 <= float(answer) <= 1 for answer in served[2][:-1]) or kind == "regressor"
    assert len(json.loads(served[2][-1])["predictions"]) == 200
