"""LightGBM's defaults, in its runtime."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.toolkit.test_frameworks import PRELUDE

Run = Callable[..., Any]

TRAINED = (
    PRELUDE
    + """
import tempfile, lightgbm as lgb
X = np.random.default_rng(0).normal(size=(300, 4)); Y = (X[:, 0] + X[:, 1] > 0).astype(int)
def folder(write, name="model.txt", **p):
    made = tempfile.mkdtemp(); write(made + "/" + name); return made
def booster(y=Y, **p):
    return lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, **p}, lgb.Dataset(X, y), 8)
B = booster()
h = load(framework="lightgbm", model_dir=folder(B.save_model))
"""
)


def test_every_content_type_gives_the_same_prediction(run: Run) -> None:
    code = (
        TRAINED
        + """
row = [1.5, -0.25, 0.0, 2.0]
npy = io.BytesIO(); np.save(npy, np.array([row]))
import scipy.sparse
npz = io.BytesIO(); scipy.sparse.save_npz(npz, scipy.sparse.csr_matrix([row]))
forms = [(npz.getvalue(), "application/x-npz"),
         ("1.5,-0.25,0,2", CSV), ("[[1.5,-0.25,0,2]]", JSON), ("[1.5,-0.25,0,2]", JSON), (npy.getvalue(), "application/x-npy"),
         ("0:1.5 1:-0.25 3:2", "text/libsvm"), ("1 0:1.5 1:-0.25 3:2", "text/x-libsvm")]
answer = [B.predict(np.array([row])).tolist(), [ask(h, f)[0] for f in forms], ask(h, ("1.5,-0.25,0,2", CSV, CSV))[0],
          ask(h, ("0:1.5 1:-0.25", "text/libsvm"))[0], B.predict(np.array([[1.5, -0.25, 0, 0]])).tolist()]
"""
    )
    right, answers, as_csv, short, zeros = run("lightgbm", code)
    assert [json.loads(a[1]) for a in answers] == [right] * 7
    assert as_csv == [200, f"{right[0]}\n", "text/csv"]
    assert json.loads(short[1]) == zeros


def test_a_batch_equals_its_requests_one_by_one(run: Run) -> None:
    code = (
        TRAINED
        + """
mixed = [(t, CSV) for t in TEXT[:10]] + [(TEXT[0] + "\\n" + TEXT[1], CSV)]
calls = []
predict = h._defaults.predict_rows
h._defaults.predict_rows = lambda rows, model: calls.append(len(rows)) or predict(rows, model)
together = ask(h, *mixed)
answer = [together == [ask(h, m)[0] for m in mixed], calls, [a[0] for a in ask(h, (TEXT[0], CSV), ("1,2", CSV), ("x,y,z,w", "image/png"))]]
"""
    )
    same, calls, statuses = run("lightgbm", code)
    assert same
    assert calls == [12]
    assert statuses == [200, 400, 415]


def test_what_is_wrong_is_said(run: Run) -> None:
    code = (
        TRAINED
        + """
def refused(d):
    try: load(framework="lightgbm", model_dir=d)
    except inference.LoadError as error: return str(error)
def junk(path): open(path, "w").write("no model")
answer = [ask(h, ("1,2,3", CSV))[0], refused(folder(junk)), refused(tempfile.mkdtemp())]
"""
    )
    width, broken, missing = run("lightgbm", code)
    assert width[:2] == [400, "The model takes 4 features; the request has 1x3."]
    assert "model.txt is no text model of LightGBM (what Booster.save_model writes)" in broken
    assert missing.startswith(
        "LightGBM needs model.txt in the model's archive, or exactly one file that ends in .txt or"
    )


def test_rows_may_be_wrapped_and_a_header_is_refused(run: Run) -> None:
    code = (
        TRAINED
        + """
row = [[1.5, -0.25, 0.0, 2.0]]
wrapped = [ask(h, (json.dumps({k: row}), JSON))[0] for k in ("instances", "inputs", "rows")]
texts = ["a,b,c,d\\n1,2,3,4", '"a","b","c","d"\\n1,2,3,4', "nan,1,2,3", "a,b,c,d"]
answer = [ask(h, (json.dumps(row), JSON))[0][1], wrapped, [ask(h, (t, CSV))[0] for t in texts],
          [a[0] for a in ask(h, (texts[0], CSV), (TEXT[0], CSV))]]
"""
    )
    right, (instances, inputs, rows), (header, quoted, missing, alone), together = run("lightgbm", code)
    assert instances[:2] == inputs[:2] == [200, right]
    assert rows[:2] == [400, "The model takes 4 features; the request has no rows."]
    assert header[:2] == [400, "The first line of the CSV holds no number: a,b,c,d. Send rows without a header."]
    assert [answer[0] for answer in (quoted, missing, alone)] == [400, 200, 400]
    assert together == [400, 200]


@pytest.mark.parametrize("name", ["model.pkl", "anything.joblib"])
def test_a_pickled_estimator(run: Run, name: str) -> None:
    code = (
        TRAINED
        + f"""
import joblib
est = lgb.LGBMClassifier(n_estimators=5, verbose=-1, min_child_samples=5).fit(X, np.where(Y, 7, 3))
p = load(framework="lightgbm", model_dir=folder(lambda path: joblib.dump(est, path), {name!r}))
p.set_threads(2)
answer = [ask(p, (TEXT[0], CSV))[0][1], str(est.predict(ROWS[:1]).tolist()), p._model.n_jobs]
"""
    )
    got, right, jobs = run("lightgbm", code)
    assert got == right
    assert jobs == 2


def test_a_best_iteration_is_used(run: Run) -> None:
    code = (
        TRAINED
        + """
B.best_iteration = 3
best = load(framework="lightgbm", model_dir=folder(B.save_model))
got = json.loads(ask(best, (TEXT[0], CSV))[0][1])[0]
answer = [got, *(B.predict(ROWS[:1], num_iteration=n).tolist()[0] for n in (3, 8))]
"""
    )
    got, three, eight = run("lightgbm", code)
    assert got == pytest.approx(three, abs=1e-6)
    assert three != eight
