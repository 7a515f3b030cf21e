"""Handlers of XGBoost's algorithm mode and of the frameworks' defaults, run inside their runtimes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]
Model = Callable[..., str]

PRELUDE = """
import json, os, io, sys
import numpy as np
from clary.toolkit import inference, recordio
from clary.toolkit.frames import Request
def load(**spec):
    handler = inference.load({"framework": "xgboost", "code_dir": "", "program": "", "algorithm": "", **spec})
    handler.probe(); handler.set_threads(1)
    return handler
def ask(handler, *requests):
    made = [Request(n, body.encode() if isinstance(body, str) else body, kind, "".join(accept), {})
            for n, (body, kind, *accept) in enumerate(requests)]
    return [[a.status, a.body.decode("latin-1"), a.content_type] for a in handler.predict(made)]
def script(code):
    import tempfile
    folder = tempfile.mkdtemp()
    with open(folder + "/inference.py", "w") as f: f.write(code)
    return {"code_dir": folder, "program": "inference.py", "model_dir": folder}
CSV, JSON = "text/csv", "application/json"
ROWS = np.random.default_rng(1).normal(size=(64, 4)).astype("f4")
TEXT = [",".join(map(repr, map(float, row))) for row in ROWS]
"""


def _algorithm(model: str) -> str:
    return PRELUDE + f"h = load(algorithm='xgboost', model_dir={model!r})\n"


class TestXGBoostAlgorithm:
    """With both libraries that may serve it: of the Python that trains, and of a newer one where the machine has one."""

    @pytest.fixture(params=[False, True], ids=["own Python", "newer Python"])
    def run(self, run: Run, interpreter: Callable[..., str], request: pytest.FixtureRequest) -> Run:
        if request.param and interpreter("xgboost", serving=True) == interpreter("xgboost"):
            pytest.skip("no newer Python is on PATH: the algorithm is served by the one that trains it")
        return functools.partial(run, serving=request.param)

    def test_a_batch_equals_its_requests_one_by_one(self, run: Run, xgboost_model: Model) -> None:
        code = (
            _algorithm(xgboost_model())
            + """
mixed = [(t, CSV) for t in TEXT[:20]] + [(TEXT[0] + "\\n" + TEXT[1], CSV, JSON), ("x", CSV), ("1,2", CSV), ("", CSV),
         (TEXT[2], "image/png"), (TEXT[3], CSV, "image/png"), ("0:1 1:2", "text/libsvm"),
         (json.dumps({"instances": [{"features": [1, 2, 3, 4]}]}), JSON)]
alone = [ask(h, r)[0] for r in mixed]
answer = [ask(h, *mixed) == alone, ask(h, *mixed[:20]) == alone[:20], ask(h, *mixed[:20])[0], alone[20:]]
import xgboost as xgb
b = h._models[0].booster
answer.append([float(a[1]) for a in alone[:20]] == b.predict(xgb.DMatrix(ROWS[:20])).tolist())
"""
        )
        together, quick, first, others, right = run("xgboost", code)
        assert together
        assert quick
        assert right
        assert first[0::2] == [200, "text/csv; charset=utf-8"]
        assert [a[0] for a in others] == [200, 415, 400, 204, 415, 406, 200, 200]
        assert len(json.loads(others[0][1])["predictions"]) == 2
        assert others[2][1] == (
            "Unable to evaluate payload provided: Feature size of csv inference data 2 is not consistent with feature size of "
            "trained model 4."
        )

    def test_forms_of_answers(self, run: Run, xgboost_model: Model) -> None:
        code = (
            _algorithm(xgboost_model())
            + """
body = TEXT[0] + "\\n" + TEXT[1]
answer = [ask(h, (body, CSV, a))[0] for a in ("", JSON, "application/jsonlines", "*/*")]
rio = h.predict([Request(1, body.encode(), CSV, "application/x-recordio-protobuf", {})])[0].body
answer.append([recordio.parse(p).label["score"].values[0] for p in recordio.split(rio)])
"""
        )
        csv, as_json, lines, anything, records = run("xgboost", code)
        first, second = csv[1].split(",")
        assert as_json[1] == f'{{"predictions": [{{"score": {first}}}, {{"score": {second}}}]}}'
        assert lines[1] == f'{{"score": {first}}}\n{{"score": {second}}}\n'
        assert anything == csv
        assert records == [float(first), float(second)]

    def test_libsvm_and_recordio_bodies(self, run: Run, xgboost_model: Model) -> None:
        code = (
            _algorithm(xgboost_model())
            + """
dense = ask(h, (TEXT[0], CSV))[0][1]
svm = " ".join(f"{i}:{float(v)!r}" for i, v in enumerate(ROWS[0]))
rio = recordio.write([recordio.build({"values": ROWS[0].tolist()}, {})])
answer = [dense, [ask(h, r)[0] for r in ((svm, "text/libsvm"), ("1 " + svm, "text/x-libsvm"), (rio, "application/x-recordio-protobuf"),
          ("9:1", "text/libsvm"), ("junk", "text/libsvm"), (b"junk", "application/x-recordio-protobuf"))]]
"""
        )
        dense, answers = run("xgboost", code)
        assert [a[1] for a in answers[:3]] == [dense] * 3
        assert (
            "Feature size of libsvm inference data 10 is larger than feature size of trained model 4." in answers[3][1]
        )
        assert [a[0] for a in answers[3:]] == [400, 415, 415]

    @pytest.mark.parametrize(
        ("objective", "parameters", "selection", "expected"),
        [
            ("binary:logistic", {}, "predicted_label,probability,probabilities,labels,raw_score", [5]),
            ("multi:softprob", {"num_class": 3}, "predicted_label,probability,probabilities,raw_scores", [4]),
            ("multi:softmax", {"num_class": 3}, "predicted_label,probability", [2]),
            ("reg:squarederror", {}, "predicted_score,predicted_label", [2]),
        ],
    )
    def test_selectable_content(
        self,
        run: Run,
        xgboost_model: Model,
        objective: str,
        parameters: dict[str, Any],
        selection: str,
        expected: list[int],
    ) -> None:
        code = (
            _algorithm(xgboost_model(objective, **parameters))
            + "answer = [ask(h, (TEXT[0], CSV, a))[0] for a in (JSON, CSV)]\n"
        )
        as_json, as_csv = run("xgboost", code, SAGEMAKER_INFERENCE_OUTPUT=selection)
        (found,) = json.loads(as_json[1])["predictions"]
        assert list(found) == selection.split(",")
        assert [len(found)] == expected
        assert as_csv[0] == 200
        if objective == "binary:logistic":
            assert found["labels"] == [0, 1]
            assert sum(found["probabilities"]) == pytest.approx(1)
            assert found["probability"] == max(found["probabilities"])
            assert as_csv[1].startswith(f'{found["predicted_label"]},{found["probability"]},"[')
        if objective == "multi:softprob":
            assert len(found["probabilities"]) == 3
            assert found["predicted_label"] == found["probabilities"].index(max(found["probabilities"]))
        if objective == "multi:softmax":
            assert found["probability"] != found["probability"]
        if objective == "reg:squarederror":
            assert found["predicted_label"] != found["predicted_label"]

    def test_softprob_lists_and_batch_jobs(self, run: Run, xgboost_model: Model) -> None:
        code = (
            _algorithm(xgboost_model("multi:softprob", num_class=3))
            + "answer = ask(h, (TEXT[0], CSV), (TEXT[1], CSV))\n"
        )
        for text in (a[1] for a in run("xgboost", code)):
            assert len(json.loads(text)) == 3
        code = _algorithm(xgboost_model()) + "answer = ask(h, (TEXT[0] + '\\n' + TEXT[1], CSV))[0][1]\n"
        assert len(run("xgboost", code, SAGEMAKER_BATCH="true").split("\n")) == 3

    def test_ensembles(self, run: Run, xgboost_model: Model) -> None:
        code = (
            PRELUDE
            + f"""
import shutil, tempfile
one, two, both = {xgboost_model("multi:softprob", num_class=3)!r}, {xgboost_model("multi:softprob", num_class=3, eta=0.9)!r}, ""
both = tempfile.mkdtemp()
shutil.copy(one + "/xgboost-model", both + "/xgboost-model-0"); shutil.copy(two + "/xgboost-model", both + "/xgboost-model-1")
def scores(folder):
    return np.array(json.loads(ask(load(algorithm="xgboost", model_dir=folder), (TEXT[0], CSV))[0][1]))
mean = bool(np.allclose(scores(both), (scores(one) + scores(two)) / 2))
os.environ["SAGEMAKER_INFERENCE_ENSEMBLE"] = "false"
answer = [mean, bool(np.array_equal(scores(both), scores(one)))]
"""
        )
        assert run("xgboost", code) == [True, True]

    def test_the_best_iteration_counts(self, run: Run) -> None:
        code = (
            PRELUDE
            + """
import tempfile, xgboost as xgb
y = (ROWS[:, 0] > 0).astype("f4")
d = xgb.DMatrix(ROWS, y)
b = xgb.train({"objective": "binary:logistic", "eta": 0.9}, d, 20)
b.set_attr(best_iteration="2")
folder = tempfile.mkdtemp(); b.save_model(folder + "/m.json"); os.rename(folder + "/m.json", folder + "/xgboost-model")
h = load(algorithm="xgboost", model_dir=folder)
answer = [float(ask(h, (TEXT[0], CSV))[0][1]) == float(b.predict(d, iteration_range=(0, 3))[0])]
lin = xgb.train({"booster": "gblinear"}, d, 5); lin.save_model(folder + "/m.json"); os.rename(folder + "/m.json", folder + "/xgboost-model")
h = load(algorithm="xgboost", model_dir=folder)
answer.append(abs(float(ask(h, (TEXT[0], CSV))[0][1]) - float(lin.predict(d)[0])) < 1e-6)
import pickle; open(folder + "/xgboost-model", "wb").write(pickle.dumps(b))
h = load(algorithm="xgboost", model_dir=folder)
answer.append(float(ask(h, (TEXT[0], CSV))[0][1]) == float(b.predict(d, iteration_range=(0, 3))[0]))
"""
        )
        assert run("xgboost", code) == [True, True, True]

    def test_default_accept_of_the_environment(self, run: Run, xgboost_model: Model) -> None:
        code = _algorithm(xgboost_model()) + "answer = ask(h, (TEXT[0], CSV))[0][2]\n"
        assert run("xgboost", code, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="application/json") == "application/json"

    def test_models_that_are_none(self, run: Run) -> None:
        code = (
            PRELUDE
            + """
import tempfile
def said(content):
    folder = tempfile.mkdtemp()
    if content is not None:
        with open(folder + "/xgboost-model", "wb") as f: f.write(content)
    try: load(algorithm="xgboost", model_dir=folder)
    except inference.LoadError as error: return str(error)
answer = [said(None), said(b""), said(b"junk"), said(b"\\x80\\x04junk"), said(b'{"learner": 3}')]
"""
        )
        for text in run("xgboost", code):
            assert text.startswith("Failed to load model")
            assert "Stack trace" not in text

    def test_a_batch_of_64_takes_less_than_16_us_a_row(self, run: Run, xgboost_model: Model) -> None:
        """The design's goal of 60,000 predictions a second on a core; generous: the machine is shared (measured: 5 us)."""
        code = (
            _algorithm(xgboost_model())
            + """
import time
requests = [Request(n, t.encode(), CSV, "", {}) for n, t in enumerate(TEXT)]
best = 1e9
for _ in range(200):
    t = time.perf_counter(); h.predict(requests); best = min(best, time.perf_counter() - t)
answer = best / 64 * 1e6
"""
        )
        assert run("xgboost", code) < 16


SKLEARN = """
from sklearn.linear_model import LogisticRegression
import numpy as np
class Counting:
    def __init__(self, m): self.m, self.calls = m, 0
    def predict(self, x):
        self.calls += 1
        if np.isnan(x).any(): raise ValueError("NaN")
        return self.m.predict(x)
def model_fn(d):
    x = np.random.default_rng(0).normal(size=(100, 4)); return Counting(LogisticRegression().fit(x, x[:, 0] > 0))
"""


class TestSklearnDefaults:
    def test_one_call_for_a_batch(self, run: Run) -> None:
        code = (
            PRELUDE
            + f"h = load(framework='sklearn', **script({SKLEARN!r}))\n"
            + """
npy = io.BytesIO(); np.save(npy, ROWS[:3])
requests = [(TEXT[0], CSV), (TEXT[1] + "\\n" + TEXT[2], CSV, CSV), (json.dumps(ROWS[3].tolist()), JSON),
            (json.dumps(ROWS[:2].tolist()), JSON, "application/x-npy")]
together = ask(h, *requests); calls = h._model.calls
alone = [ask(h, r)[0] for r in requests]
answer = [h.batchable, calls, together == alone, alone[:3], ask(h, (npy.getvalue(), "application/x-npy"))[0]]
"""
        )
        batchable, calls, same, alone, npy = run("sklearn", code)
        assert batchable
        assert calls == 1
        assert same
        assert alone[0][1:] in (["[true]", "application/json"], ["[false]", "application/json"])
        assert alone[1][2] == "text/csv"
        assert npy[0] == 200

    def test_without_a_content_type_it_is_json(self, run: Run) -> None:
        own = "def model_fn(d): return 1\ndef transform_fn(m, b, t, a): return repr((type(b).__name__, t))\n"
        code = (
            PRELUDE
            + f"h = load(framework='sklearn', **script({SKLEARN!r}))\n"
            + "requests = [(json.dumps(ROWS[n].tolist()), '') for n in (0, 1)]\n"
            + "answer = [ask(h, *requests) == ask(h, *((r[0], JSON) for r in requests)), h._model.calls, ask(h, requests[0])[0][0]]\n"
            + f"h = load(framework='sklearn', **script({own!r}))\nanswer.append(ask(h, ('1', ''))[0][1])\n"
        )
        assert run("sklearn", code) == [True, 2, 200, "('str', 'application/json')"]

    def test_a_bad_request_spoils_only_itself(self, run: Run) -> None:
        code = (
            PRELUDE
            + f"h = load(framework='sklearn', **script({SKLEARN!r}))\n"
            + """
answer = [a[0] for a in ask(h, (TEXT[0], CSV), ("1,,3,4", CSV), ("{", JSON), ("1,2", CSV), (TEXT[0], "image/png"),
                              (b"\\x80", "application/x-npy"))]
"""
        )
        assert run("sklearn", code) == [200, 500, 400, 500, 415, 400]

    def test_pickles_in_bodies_are_never_read(self, run: Run) -> None:
        code = (
            PRELUDE
            + f"h = load(framework='sklearn', **script({SKLEARN!r}))\n"
            + """
evil = io.BytesIO(); np.save(evil, np.array([{"a": 1}], dtype=object), allow_pickle=True)
import pickle
answer = [ask(h, (evil.getvalue(), "application/x-npy"))[0], ask(h, (pickle.dumps([1]), "application/x-npy"))[0][0],
          ask(h, (pickle.dumps([1]), "application/python-pickle"))[0][0]]
"""
        )
        npy, pickled, typed = run("sklearn", code)
        assert npy[0] == 400
        assert "allow_pickle" in npy[1]
        assert (pickled, typed) == (400, 415)

    def test_handlers_of_ones_own_are_not_batched(self, run: Run) -> None:
        own = SKLEARN + "def predict_fn(data, model): return model.predict(data.reshape(1, -1))\n"
        code = (
            PRELUDE
            + f"h = load(framework='sklearn', **script({own!r}))\n"
            + "answer = [h.batchable, ask(h, (TEXT[0], CSV))[0][0]]\n"
        )
        assert run("sklearn", code) == [False, 200]

    def test_sparse_npz(self, run: Run) -> None:
        code = (
            PRELUDE
            + f"h = load(framework='sklearn', **script({SKLEARN.replace('np.isnan(x).any()', 'False')!r}))\n"
            + """
import scipy.sparse
b = io.BytesIO(); scipy.sparse.save_npz(b, scipy.sparse.csr_matrix(ROWS[:5])); answer = ask(h, (b.getvalue(), "application/x-npz"))[0]
"""
        )
        assert len(json.loads(run("sklearn", code)[1])) == 5


class TestXGBoostDefaults:
    def test_script_mode(self, run: Run, xgboost_model: Model) -> None:
        own = (
            "import xgboost as xgb\ndef model_fn(d):\n    b = xgb.Booster()\n"
            f"    b.load_model(bytearray(open({xgboost_model() + '/xgboost-model'!r}, 'rb').read()))\n    return b\n"
        )
        code = (
            PRELUDE
            + f"h = load(**script({own!r}))\n"
            + """
rio = recordio.write([recordio.build({"values": ROWS[0].tolist()}, {})])
requests = [(TEXT[0], CSV), (TEXT[1] + "\\n" + TEXT[2], CSV, JSON), ("0 0:1 3:2", "text/libsvm"), (rio, "application/x-recordio-protobuf")]
alone = [ask(h, r)[0] for r in requests]
answer = [h.batchable, ask(h, *requests) == alone, alone, ask(h, ("a", CSV))[0][0], ask(h, (TEXT[0], CSV, "image/png"))[0][0]]
"""
        )
        batchable, same, alone, bad, unwritable = run("xgboost", code)
        assert batchable
        assert same
        assert [a[0] for a in alone] == [200] * 4
        assert alone[0][2] == "text/csv"
        assert len(json.loads(alone[1][1])) == 2
        assert alone[3][1] == alone[0][1]
        assert (bad, unwritable) == (400, 406)

    def test_the_published_abalone_script(self, run: Run, xgboost_model: Model) -> None:
        """`inference.py` of AWS's example, by its imports and functions."""
        own = (
            "import os, pickle as pkl\nimport numpy as np\nimport sagemaker_xgboost_container.encoder as xgb_encoders\n"
            "import xgboost as xgb\n"
            "def model_fn(model_dir):\n    b = xgb.Booster()\n    b.load_model(model_dir + '/m.ubj')\n    return b\n"
            "def input_fn(request_body, request_content_type):\n    if request_content_type == 'text/libsvm':\n"
            "        return xgb_encoders.libsvm_to_dmatrix(request_body)\n    raise ValueError('no ' + request_content_type)\n"
            "def predict_fn(input_data, model):\n    prediction = model.predict(input_data)\n"
            "    contribs = model.predict(input_data, pred_contribs=True, validate_features=False)\n"
            "    return np.hstack((prediction[:, np.newaxis], contribs))\n"
            "def output_fn(predictions, content_type):\n    if content_type == 'text/csv':\n"
            "        return ','.join(str(x) for x in predictions[0])\n    raise ValueError('no ' + content_type)\n"
        )
        code = (
            PRELUDE
            + f"""
import shutil
s = script({own!r}); shutil.copy({xgboost_model()!r} + "/xgboost-model", s["model_dir"] + "/m.ubj")
h = load(**s)
answer = ask(h, ("0 0:1 1:2 2:0.5 3:2", "text/libsvm", CSV), (TEXT[0], CSV, CSV))
"""
        )
        good, bad = run("xgboost", code)
        assert good[0] == 200
        assert len(good[1].split(",")) == 6
        assert bad[0] == 500

    def test_data_utils(self, run: Run) -> None:
        code = (
            PRELUDE
            + """
from clary.toolkit import compat; sys.path.append(compat.FOLDER)
import tempfile
from sagemaker_xgboost_container.data_utils import get_content_type, get_dmatrix
from sagemaker_xgboost_container.distributed import rabit_run
folder = tempfile.mkdtemp()
for name in "ab":
    with open(folder + "/" + name, "w") as f: f.write("1 0:1 1:2\\n0 2:3\\n")
d = get_dmatrix(folder, "libsvm")
with open(folder + "/c", "w") as f: f.write("1,2,3\\n")
e = get_dmatrix(folder + "/c", "text/csv")
answer = [d.num_row(), d.num_col(), e.num_row(), e.num_col(), get_content_type("text/x-libsvm"), get_dmatrix(tempfile.mkdtemp(), "csv")]
"""
        )
        assert run("xgboost", code) == [4, 3, 1, 2, "libsvm", None]

    def test_checkpointing_goes_on_where_another_run_ended(self, run: Run) -> None:
        code = (
            PRELUDE
            + """
from clary.toolkit import compat; sys.path.append(compat.FOLDER)
import os, tempfile, xgboost
from sagemaker_xgboost_container import checkpointing
folder = tempfile.mkdtemp() + "/checkpoints"
data = xgboost.DMatrix(ROWS, ROWS[:, 0])
def train(rounds):
    seen = []
    class Count(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log): seen.append(epoch); return False
    args = dict(params={"max_depth": 2}, dtrain=data, num_boost_round=rounds, callbacks=[Count()], verbose_eval=False)
    return checkpointing.train(args, checkpoint_dir=folder).num_boosted_rounds(), len(seen)
load = checkpointing.load_checkpoint
answer = [load(folder), train(3), train(5), train(5), load(folder)[1], len(os.listdir(folder))]
"""
        )
        assert run("xgboost", code) == [[None, 0], [3, 3], [5, 2], [5, 0], 5, 5]


@pytest.mark.torch
class TestPyTorchDefaults:
    def test_torchscript_by_default(self, run: Run) -> None:
        code = (
            PRELUDE
            + """
import tempfile, torch, warnings
warnings.simplefilter("ignore")  # torch.jit is deprecated, and what AWS's default model_fn uses
folder = tempfile.mkdtemp()
torch.jit.script(torch.nn.Linear(4, 2)).save(folder + "/net.pth")
h = load(framework="pytorch", model_dir=folder)
answer = [h.batchable, ask(h, (json.dumps(ROWS[:3].tolist()), JSON))[0]]
"""
        )
        batchable, (status, body, _) = run("pytorch", code)
        assert not batchable
        assert status == 200
        assert len(json.loads(body)) == 3
