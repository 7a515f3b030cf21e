"""ONNX Runtime's defaults, in its runtime: what requests may hold, what comes back, which share a run, threads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.toolkit import onnx_models
from tests.toolkit.test_frameworks import PRELUDE

Run = Callable[..., Any]


def _loaded(folder: Path, model: bytes) -> str:
    (folder / "model.onnx").write_bytes(model)
    return PRELUDE + f"h = load(framework='onnx', model_dir={str(folder)!r})\n"


def test_one_input_in_every_form(run: Run, tmp_path: Path) -> None:
    code = (
        _loaded(tmp_path, onnx_models.linear())
        + """
def saved(write, *a, **k):
    b = io.BytesIO(); write(b, *a, **k); return b.getvalue()
row = np.array([[1, 2, 3, 4]], "f4")
forms = [("1,2,3,4", CSV), ("1,2,3,4\\n0,0,0,1\\n", CSV), ("[[1,2,3,4]]", JSON), ("[1,2,3,4]", JSON), ('{"inputs": [[1,2,3,4]]}', JSON),
         ('{"inputs": {"x": [[1,2,3,4]]}}', JSON), ('{"instances": [[1,2,3,4]]}', JSON), ('{"instances": [{"x": [1,2,3,4]}]}', JSON),
         ('{"x": [[1,2,3,4]]}', JSON), (saved(np.save, row), "application/x-npy"), (saved(np.savez, x=row), "application/x-npz")]
npy = h.predict([Request(0, b"1,2,3,4", CSV, "application/x-npy", {})])[0].body
answer = [[ask(h, f)[0] for f in forms], ask(h, ("1,2,3,4\\n0,0,0,1", CSV, CSV))[0], np.load(io.BytesIO(npy)).tolist()]
"""
    )
    answers, as_csv, npy = run("onnx", code)
    assert {(a[0], a[2]) for a in answers} == {(200, "application/json")}
    assert [json.loads(a[1]) for a in answers] == [[[4321]], [[4321], [1000]], *[[[4321]]] * 9]
    assert as_csv == [200, "4321.0\n1000.0\n", "text/csv"]
    assert npy == [[4321]]


def test_what_is_wrong_with_a_request_is_said(run: Run, tmp_path: Path) -> None:
    code = (
        _loaded(tmp_path, onnx_models.linear())
        + """
answer = [ask(h, r)[0] for r in (("1,2,3", CSV), ('{"inputs": {"y": [[1]]}}', JSON), ("[1, 2", JSON), ('["a"]', JSON), ("x", "image/png"),
          (b"junk", "application/x-npz"), ("[[1,2,3,4]]", JSON, "image/png"), ("[[[1,2,3,4]]]", JSON))]
"""
    )
    width, name, broken, text, kind, npz, accept, deep = run("onnx", code)
    assert width[0] == name[0] == broken[0] == text[0] == npz[0] == deep[0] == 400
    takes = "the model takes x (tensor(float) of ['batch', 4])"
    assert width[1] == f"input x has the shape [1, 3]; {takes}"
    assert name[1] == f"no input is called y and x is missing; {takes}"
    assert "input x must be a tensor(float)" in text[1]
    assert kind[0] == 415
    assert accept[0] == 406


def test_words_in_a_csv_stay_words(run: Run, tmp_path: Path) -> None:
    """As numbers they would be missing ones, and predicted as such."""
    code = (
        _loaded(tmp_path, onnx_models.mixed())
        + """
asked = [('1.5,red\\n2, "dark, blue" \\n', CSV), (",", CSV), ("number,word\\n1,red", CSV), ("1,red\\n2", CSV)]
answer = [ask(h, a)[0] for a in asked]
"""
    )
    words, empty, header, ragged = run("onnx", code)
    assert json.loads(words[1]) == {"same": [[1.5], [2.0]], "said": [["red"], ["dark, blue"]]}
    assert empty[0] == 200
    assert json.loads(empty[1])["said"] == [[""]]
    assert header[0] == ragged[0] == 400
    assert "input number must be a tensor(float): could not convert string to float: 'number'" in header[1]
    assert "rows of [1, 2] fields" in ragged[1]


def test_several_inputs_and_outputs(run: Run, tmp_path: Path) -> None:
    code = (
        _loaded(tmp_path, onnx_models.columns())
        + """
asked = [("3,4\\n5,6", CSV),
         ('{"inputs": {"a": [[3],[5]], "b": [[4],[6]]}}', JSON), ('{"instances": [{"a":[3],"b":[4]},{"a":[5],"b":[6]}]}', JSON)]
answer = [[json.loads(ask(h, a)[0][1]) for a in asked], ask(h, ("3,4", CSV, CSV))[0], ask(h, ("3,4,5", CSV))[0]]
"""
    )
    same, as_csv, wide = run("onnx", code)
    assert same == [{"sum": [[7], [11]], "product": [[12], [30]]}] * 3
    assert as_csv[0] == 406
    assert "needs a model with one array as output" in as_csv[1]
    assert wide[0] == 400
    assert "the model takes a (tensor(float) of ['batch', 1]), b (" in wide[1]


def test_requests_that_fit_share_one_run(run: Run, tmp_path: Path) -> None:
    code = (
        _loaded(tmp_path, onnx_models.columns())
        + """
class Counted:
    calls = 0
    def __init__(self, model): self.model = model
    def run(self, *a): Counted.calls += 1; return self.model.run(*a)
    def __getattr__(self, name): return getattr(self.model, name)
h._model = Counted(h._model)
def count(*requests):
    Counted.calls = 0; answers = ask(h, *requests); together = Counted.calls
    return [together, answers == [ask(h, r)[0] for r in requests], [a[0] for a in answers]]
fit = [("1,2", CSV), ("3,4\\n5,6", CSV), ('{"a": [[7]], "b": [[8]]}', JSON)]
answer = [count(*fit), count(*fit, ("9", CSV))]
"""
    )
    assert run("onnx", code) == [[1, True, [200] * 3], [3, True, [200, 200, 200, 400]]]


def test_a_model_of_fixed_size_gets_requests_one_by_one(run: Run, tmp_path: Path) -> None:
    code = (
        _loaded(tmp_path, onnx_models.linear(rows=1))
        + 'answer = [a[:2] for a in ask(h, ("1,2,3,4", CSV), ("[1,0,0,0]", JSON), ("1,2,3,4\\n1,2,3,4", CSV))]\n'
    )
    first, second, two = run("onnx", code)
    assert (first, second) == ([200, "[[4321.0]]"], [200, "[[1.0]]"])
    assert two[0] == 400


def test_threads_are_the_workers_and_none_before(run: Run, tmp_path: Path) -> None:
    code = (
        _loaded(tmp_path, onnx_models.linear())
        + """
def threads(): return len(os.listdir("/proc/self/task"))
before = threads(); h.set_threads(3); three = threads(); answer = [before, three - before, ask(h, ("1,2,3,4", CSV))[0][1]]
"""
    )
    assert run("onnx", code, OPENBLAS_NUM_THREADS="1") == [1, 2, "[[4321.0]]"]


def test_a_file_that_is_no_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    code = (
        PRELUDE
        + f"""
answer = []
for folder in ({str(tmp_path)!r}, {str(tmp_path / "empty")!r}):
    try: load(framework="onnx", model_dir=folder)
    except inference.LoadError as error: answer.append(str(error))
"""
    )
    broken, missing = run("onnx", code)
    assert "cannot load" in broken
    assert "model.onnx" in broken
    assert missing.startswith("ONNX Runtime needs model.onnx in the model's archive")


def test_the_users_functions_get_a_session(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx_models.linear())
    code = (
        PRELUDE
        + f"""
s = script('''
import onnxruntime
def model_fn(model_dir): return onnxruntime.InferenceSession({str(tmp_path / "model.onnx")!r}, providers=["CPUExecutionProvider"])
def input_fn(data, content_type): return [[float(x) for x in data.split(" ")]]
''')
h = load(**{{**s, "framework": "onnx"}})
answer = ask(h, ("1 2 3 4", CSV))
"""
    )
    assert run("onnx", code) == [[200, "[[4321.0]]", "application/json"]]
