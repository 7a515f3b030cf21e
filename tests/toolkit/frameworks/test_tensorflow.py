"""TensorFlow models in their runtime: SavedModels and Keras files behind TensorFlow Serving's REST format (`frameworks/tensorflow.py`)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CODE = r"""
import json, os, sys, tempfile
import tensorflow as tf
from clary.toolkit import loading
from clary.toolkit.frames import Request

def ask(handler, body, kind="application/json", accept="*/*", **headers):
    request = Request(1, body.encode(), kind, accept, headers)
    (answer,) = handler.predict([request])
    return answer.status, bytes(answer.body).decode("utf-8", "replace"), answer.content_type

class Doubles(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def double(self, x):
        return {"y": 2.0 * x}
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word"), tf.TensorSpec([None], tf.int32, name="n")])
    def both(self, word, n):
        return {"said": tf.strings.upper(word), "more": n + 1}

def saved(version, factor=None):
    folder = tempfile.mkdtemp()
    for number in version:
        module = Doubles()
        tf.saved_model.save(module, os.path.join(folder, number), signatures={"serving_default": module.double, "both": module.both})
    return folder

def script(text, folder):
    code = tempfile.mkdtemp()
    open(os.path.join(code, "inference.py"), "w").write(text)
    return dict(framework="tensorflow", model_dir=folder, program="inference.py", code_dir=code)

plain = loading.load(dict(framework="tensorflow", model_dir=saved(["1", "10", "9"])))
answer = {
    "instances": ask(plain, '{"instances": [[1, 2], [3, 4]]}'),
    "inputs": ask(plain, '{"inputs": [[1, 2]]}'),
    "list": ask(plain, "[[1, 2]]"),
    "csv": ask(plain, "1,2\n3,4", "text/csv"),
    "csv out": ask(plain, "1,2", "text/csv", "text/csv"),
    "lines": ask(plain, "[1, 2]\n[3, 4]\n", "application/jsonlines"),
    "signature": ask(plain, '{"signature_name": "both", "instances": [{"word": {"b64": "YQ=="}, "n": 1}, {"word": "b", "n": 2}]}'),
    "signature by column": ask(plain, '{"signature_name": "both", "inputs": {"word": ["a"], "n": [7]}}'),
    "no signature": ask(plain, '{"signature_name": "nope", "instances": [[1, 2]]}'),
    "shape": ask(plain, '{"instances": [[1, 2, 3]]}'),
    "both": ask(plain, '{"instances": [[1, 2]], "inputs": [[1, 2]]}'),
    "broken": ask(plain, "{"),
    "kind": ask(plain, "x", "image/png"),
}
model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
folder = tempfile.mkdtemp()
model.save(os.path.join(folder, "model.keras"))
answer["keras"] = ask(loading.load(dict(framework="tensorflow", model_dir=folder)), "[[1, 2]]")
handlers = '''
import json
def input_handler(data, context):
    assert context.request_content_type == "text/plain"
    return json.dumps({"instances": [[float(part) for part in data.read().decode().split("|")]]})
def output_handler(response, context):
    return json.dumps([response.status_code, response.json()["predictions"], context.accept_header]), "text/x"
'''
answer["handlers"] = ask(loading.load(script(handlers, saved(["1"]))), "1|2", "text/plain", "text/x")
usual = "def predict_fn(data, model):\n    return model.double(data.values)['y'].numpy() + 1\n"
answer["usual"] = ask(loading.load(script(usual, saved(["1"]))), "[[1, 2]]")
asks = script("def handler(data, context): pass", saved(["1"]))
for name, spec in (("handler", asks), ("empty", dict(framework="tensorflow", model_dir=tempfile.mkdtemp()))):
    try:
        loading.load(spec)
    except Exception as error:
        answer[name] = [type(error).__name__, str(error)]
print("\n@@" + json.dumps(answer))
"""


@pytest.fixture(scope="module")
def answers(interpreter: Callable[..., str], library: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All of it in one process: TensorFlow takes seconds to import."""
    program = tmp_path_factory.mktemp("tensorflow") / "program.py"
    program.write_text(CODE)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": library, "HOME": str(program.parent)}
    python = interpreter("tensorflow")
    done = subprocess.run(
        [python, str(program)], env=environment, capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.rpartition("@@")[2])
    return found


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("instances", {"predictions": [[2.0, 4.0], [6.0, 8.0]]}),
        ("inputs", {"outputs": [[2.0, 4.0]]}),
        ("list", {"predictions": [[2.0, 4.0]]}),
        ("csv", {"predictions": [[2.0, 4.0], [6.0, 8.0]]}),
        ("lines", {"predictions": [[2.0, 4.0], [6.0, 8.0]]}),
        ("signature", {"predictions": [{"more": 2, "said": "A"}, {"more": 3, "said": "B"}]}),
        ("signature by column", {"outputs": {"more": [8], "said": ["A"]}}),
        ("keras", {"predictions": [[3.0]]}),
        ("usual", [[3.0, 5.0]]),
    ],
)
def test_what_is_asked_is_answered(answers: dict[str, Any], what: str, answer: Any) -> None:
    status, body, kind = answers[what]
    assert (status, kind) == (200, "application/json"), body
    assert json.loads(body) == answer


def test_other_formats_and_the_images_own_handlers(answers: dict[str, Any]) -> None:
    assert answers["csv out"][:2] == [200, "2.0,4.0\n"]
    status, body, kind = answers["handlers"]
    assert (status, kind, json.loads(body)) == (200, "text/x", [200, [[2.0, 4.0]], "text/x"])


@pytest.mark.parametrize(
    ("what", "status", "words"),
    [
        ("no signature", 400, "not found in signature def; there are: both, serving_default"),
        ("shape", 400, "has the shape [1, 3]; the model takes (None, 2)"),
        ("both", 400, "not both"),
        ("broken", 400, "JSON Parse error"),
        ("kind", 415, "image/png"),
    ],
)
def test_what_is_wrong_is_told(answers: dict[str, Any], what: str, status: int, words: str) -> None:
    assert answers[what][0] == status, answers[what]
    assert words in answers[what][1]


def test_models_that_cannot_be_loaded_say_why(answers: dict[str, Any]) -> None:
    assert answers["handler"][0] == answers["empty"][0] == "LoadError"
    assert "input_handler" in answers["handler"][1]
    assert "SavedModel" in answers["empty"][1]
