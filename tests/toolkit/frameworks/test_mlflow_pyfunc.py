"""MLflow model directories, in their runtime: made by MLflow itself, asked in every form of its protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.toolkit.test_frameworks import PRELUDE

Run = Callable[..., Any]

SAVED = (
    PRELUDE
    + """
import tempfile
from clary.toolkit.frameworks import mlflow_pyfunc
import mlflow, pandas as pd
from mlflow.models import infer_signature
class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if isinstance(model_input, pd.DataFrame) and "bad" in model_input.columns: raise ValueError("the model cannot bear this")
        seen = model_input.dtypes.astype(str).tolist() if isinstance(model_input, pd.DataFrame) else str(type(model_input).__name__)
        return [{"rows": len(model_input), "types": seen, "scale": (params or {}).get("scale")}]
frame = pd.DataFrame({"n": [1], "x": [0.5], "name": ["a"]})
path = tempfile.mkdtemp() + "/m"
signature = infer_signature(frame, [{"rows": 1}], params={"scale": 2})
mlflow.pyfunc.save_model(path, python_model=Echo(), signature=signature)
h = load(framework="mlflow", model_dir=path)
def predictions(*r): return json.loads(ask(h, r)[0][1])["predictions"]
"""
)


def test_every_form_of_the_protocol_typed_by_the_signature(run: Run) -> None:
    code = (
        SAVED
        + """
one = {"n": 7, "x": 1, "name": "b"}
forms = [({"dataframe_records": [one, one]}, JSON), ({"dataframe_split": {"columns": list(one), "data": [[7, 1, "b"], [8, 2, "c"]]}}, JSON),
         ({"inputs": {"n": [7, 8], "x": [1.0, 2.0], "name": ["b", "c"]}}, JSON)]
answer = [[predictions(json.dumps(body), kind) for body, kind in forms], predictions("n,x,name\\n7,1,b\\n8,2,c\\n", CSV),
          predictions(json.dumps({"dataframe_records": [one], "params": {"scale": 5}}), JSON), ask(h, ("n,x,name\\n7,1,b", CSV, CSV))[0][2]]
"""
    )
    as_json, as_csv, scaled, kind = run("mlflow", code, warnings="default")  # MLflow warns of itself
    for (answer,) in (*as_json, as_csv):
        assert (answer["rows"], answer["scale"]) == (2, 2)
        assert answer["types"][:2] == ["int64", "float64"]
    assert scaled[0]["scale"] == 5
    assert kind == "application/json"


def test_a_tensor_model_takes_instances(run: Run) -> None:
    code = (
        SAVED
        + """
from sklearn.linear_model import LinearRegression
import mlflow.sklearn
X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]); path = tempfile.mkdtemp() + "/s"
mlflow.sklearn.save_model(LinearRegression().fit(X, X @ [2.0, 3.0]), path, signature=infer_signature(X, X @ [2.0, 3.0]),
                          pip_requirements=["scikit-learn"], serialization_format="cloudpickle")
h = load(framework="mlflow", model_dir=path)
answer = [[round(v, 6) for v in predictions(json.dumps({key: [[1, 2], [0, 0]]}), JSON)] for key in ("instances", "inputs")]
"""
    )
    assert run("mlflow", code, warnings="default") == [[8, 0], [8, 0]]


def test_what_is_wrong_with_a_request_is_said(run: Run) -> None:
    code = (
        SAVED
        + """
answer = [ask(h, r)[0] for r in (("{", JSON), ('{"rows": [1]}', JSON), ('{"dataframe_records": [{"n": "text"}]}', JSON), ("x", "image/png"),
          ("n,x,name\\nq,1,b", CSV))]
"""
    )
    broken, keys, missing, kind, text = run("mlflow", code, warnings="default")
    assert [a[0] for a in (broken, keys, missing, kind, text)] == [400, 400, 400, 415, 400]
    assert "dataframe_split" in keys[1]
    assert "image/png" in kind[1]


def test_a_folder_around_the_model_and_a_broken_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "outer" / "model").mkdir(parents=True)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "MLmodel").write_text("flavors: {}\n")
    code = (
        PRELUDE
        + f"""
answer = []
for folder in ({str(tmp_path / "outer")!r}, {str(tmp_path / "broken")!r}):
    try: load(framework="mlflow", model_dir=folder)
    except inference.LoadError as error: answer.append(str(error))
"""
    )
    outer, broken = run("mlflow", code, warnings="default")
    assert "There is no MLmodel file at the top of the model's archive, which holds: model." in outer
    assert "cannot load the model" in broken
    assert json.dumps(broken)


def test_the_models_own_error(run: Run) -> None:
    code = (
        SAVED
        + """
path = tempfile.mkdtemp() + "/free"
mlflow.pyfunc.save_model(path, python_model=Echo())
h = load(framework="mlflow", model_dir=path)
answer = ask(h, ('{"dataframe_records": [{"bad": 1}]}', JSON))[0]
"""
    )
    status, text, _ = run("mlflow", code, warnings="default")
    assert status == 400
    assert "ValueError: the model cannot bear this" in text
