"""Scripts' handlers by SageMaker's contract (sagemaker.md 3.2), with the generic runtime's defaults: nothing to import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import content, inference, loading
from clary.toolkit.frames import Request

Load = Callable[..., inference.Handler]


def _request(body: bytes, content_type: str = "text/csv", accept: str = "", **headers: str) -> Request:
    return Request(1, body, content_type, accept, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    before, modules = list(sys.path), set(sys.modules)

    def from_code(code: str, **spec: Any) -> inference.Handler:
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / "inference.py").write_text(code)
        whole = {
            "framework": "python",
            "program": "inference.py",
            "code_dir": str(tmp_path / "code"),
            "model_dir": str(tmp_path),
        }
        return loading.load({**whole, **spec})

    yield from_code
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        del sys.modules[name]


FOUR = """
import json
def model_fn(model_dir): return {"dir": model_dir, "times": 3}
def input_fn(data, content_type): return (type(data).__name__, float(data))
def predict_fn(data, model): return [data[0], data[1] * model["times"]]
def output_fn(prediction, accept): return json.dumps([prediction, accept]), "application/x-mine"
"""


def test_the_four_functions(load: Load) -> None:
    handler = load(FOUR)
    assert not handler.batchable
    (answer,) = handler.predict([_request(b"2")])
    assert answer == (200, b'[["str", 6.0], "application/json"]', "application/x-mine", ())
    (answer,) = handler.predict([_request(b"2", "application/octet-stream", "text/csv")])
    assert answer.body == b'[["bytes", 6.0], "text/csv"]'


def test_transform_fn(load: Load) -> None:
    code = "def model_fn(d): return 2\ndef transform_fn(model, data, content_type, accept):\n    return data * model, 'text/x'\n"
    assert load(code).predict([_request(b"ab")])[0] == (200, b"abab", "text/x", ())


@pytest.mark.parametrize(
    ("result", "body"),
    [
        ("'text'", b"text"),
        ("b'bytes'", b"bytes"),
        ("bytearray(b'x')", b"x"),
        ("[1, 2]", b"[1, 2]"),
        ("{'a': (1,)}", b'{"a": [1]}'),
    ],
)
def test_forms_of_results(load: Load, result: str, body: bytes) -> None:
    code = f"def model_fn(d): return 2\ndef transform_fn(m, d, c, a): return {result}\n"
    assert load(code).predict([_request(b"ab", accept="text/plain")])[0][:3] == (200, body, "text/plain")


def test_a_result_that_cannot_be_sent(load: Load) -> None:
    answer = load("def model_fn(d): return 2\ndef transform_fn(m, d, c, a): return 5\n").predict([_request(b"x")])[0]
    assert answer.status == 500
    assert b"output_fn must return bytes or str, or yield them, not int" in answer.body


def test_an_exception_is_500_with_the_users_frames(load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    code = "def helper(): raise KeyError('age')\ndef model_fn(d): return 2\ndef transform_fn(m, d, c, a): return helper()\n"
    good = "def model_fn(d): return 2\ndef transform_fn(m, d, c, a):\n    if d == 'bad': raise ValueError('odd')\n    return d\n"
    (answer,) = load(code).predict([_request(b"x")])
    text = answer.body.decode()
    assert answer.status == 500
    assert text.startswith("'age'\nTraceback (most recent call last):\n")
    assert "in helper" in text
    assert "clary/toolkit" not in text
    assert "KeyError" in capfd.readouterr().err  # and in the endpoint's log
    sys.modules.pop("inference")
    answers = load(good).predict([_request(b"a"), _request(b"bad"), _request(b"c")])
    assert [a.status for a in answers] == [200, 500, 200]


def test_a_script_that_would_exit_answers_instead(load: Load) -> None:
    handler = load(
        "import sys\ndef model_fn(d): return 1\ndef transform_fn(m, b, c, a): return 'x' if b == '1' else sys.exit('no licence')"
    )
    first, second = handler.predict([_request(b"2"), _request(b"1")])
    assert (first.status, second.body) == (500, b"x")
    assert first.body.startswith(b"no licence\nTraceback")


def test_mixing_is_an_error(load: Load) -> None:
    code = "def model_fn(d): return 2\ndef transform_fn(m, d, c, a): return d\ndef input_fn(d, c): return d\n"
    with pytest.raises(inference.LoadError, match="Cannot use transform_fn implementation in conjunction with"):
        load(code)


def test_model_fn_must_be_given(load: Load) -> None:
    with pytest.raises(inference.LoadError, match="Please provide a model_fn implementation"):
        load("def predict_fn(d, m): return d\n")


def test_a_script_that_is_not_there(load: Load) -> None:
    with pytest.raises(inference.LoadError, match=r"other.py is not in .*, which holds: inference.py"):
        load("", program="other.py")


def test_unknown_frameworks(load: Load) -> None:
    with pytest.raises(inference.LoadError, match="no framework named mxnet"):
        loading.preload({"framework": "mxnet"})
    with pytest.raises(inference.LoadError, match="no built-in algorithm named kmeans"):
        loading.preload({"algorithm": "kmeans"})


CONTEXT = """
def model_fn(model_dir, context): return context.system_properties["model_dir"] == model_dir
def input_fn(data, content_type, context):
    return context.get_request_header(0, "X-Amzn-SageMaker-Custom-Attributes"), context.request_processor[0].get_request_property("Accept")
def predict_fn(data, model, context):
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "trace=9")
    context.set_response_status(code=202)
    return [model, *data]
def output_fn(prediction, accept, context):
    context.set_response_content_type(0, "application/x-context")
    return str(prediction)
"""


def test_context(load: Load) -> None:
    request = _request(b"1", accept="text/csv", x_amzn_sagemaker_custom_attributes="trace=1")
    assert load(CONTEXT).predict([request])[0] == (
        202,
        b"[True, 'trace=1', 'text/csv']",
        "application/x-context",
        (("x-amzn-sagemaker-custom-attributes", "trace=9"),),
    )


def test_optional_hooks(load: Load) -> None:
    code = (
        "calls = []\ndef pre_model_fn(d): calls.append('pre')\ndef model_fn(d):\n    calls.append('model')\n    return 1\n"
        "def model_warmup_fn(d, m): calls.append(['warm', m])\ndef transform_fn(m, d, c, a): return calls\n"
    )
    assert load(code).predict([_request(b"")])[0].body == b'["pre", "model", ["warm", 1]]'


def test_modules_beside_the_script_and_in_folders(load: Load, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/mine.py").write_text("class Model:\n    def __call__(self, d): return d.upper()\n")
    code = "from mine import Model\ndef model_fn(d): return Model()\ndef transform_fn(m, d, c, a): return m(d)\n"
    assert load(code).predict([_request(b"ab")])[0].body == b"AB"
    (tmp_path / "code/src").mkdir()
    (tmp_path / "code/src/serve.py").write_text(
        "import mine\ndef model_fn(d): return 1\ndef transform_fn(m, d, c, a): return 'deep'\n"
    )
    assert load("", program="src/serve.py").predict([_request(b"")])[0].body == b"deep"


def test_unreadable_and_unwritable(load: Load) -> None:
    echo = "def model_fn(d): return 1\ndef predict_fn(d, m): return {'a': 1}\ndef input_fn(d, c): return d\n"
    handler = load(echo)
    assert handler.predict([_request(b"x", accept="image/png")])[0].status == 406
    assert handler.predict([_request(b"\xff")])[0].status == 400
    assert handler.predict([_request(b"x", accept="image/png, application/json")])[0][:3] == (
        200,
        b'{"a": 1}',
        "application/json",
    )
    sys.modules.pop("inference")
    answer = load("def model_fn(d): return 1\ndef predict_fn(d, m): return d\n").predict(
        [_request(b"x", "application/x-mine")]
    )[0]
    assert answer.status == 415
    assert answer.body.startswith(b"Content type application/x-mine is not supported by this framework.")


COMPAT = """
from sagemaker_inference import content_types, decoder, encoder, errors
from sagemaker_containers.beta.framework import worker
def model_fn(d): return 1
def transform_fn(m, data, content_type, accept):
    if data == "teapot": raise errors.BaseInferenceToolkitError(418, "short and stout", "teapot")
    if data == "type": raise errors.UnsupportedFormatError(content_type)
    return worker.Response(encoder.encode([1, 2], content_types.JSON), "application/x-old")
"""


def test_awss_own_packages_can_be_imported(load: Load) -> None:
    handler = load(COMPAT)
    answers = handler.predict([_request(b"x"), _request(b"teapot"), _request(b"type")])
    assert answers[0][:3] == (200, b"[1, 2]", "application/x-old")
    assert answers[1].status == 418
    assert answers[1].body.startswith(b"short and stout\n")
    assert answers[2].status == 415


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "text/csv"),
        ("*/*", "text/csv"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON; charset=utf-8", "application/json"),
        ("image/png, application/json", "application/json"),
        ("application/json;q=0.1, text/csv;q=0.9", "text/csv"),
        ("application/json;q=0", None),
        ("application/*", "application/json"),
        ("image/png, */*", "text/csv"),
        ("image/png", None),
        ("text/csv;q=x", None),
    ],
)
def test_accept(accept: str, chosen: str | None) -> None:
    assert content.choose(accept, ("text/csv", "application/json"), "text/csv") == chosen


def _streamed(load: Load, code: str, accept: str = "") -> inference.Streamed:
    answer = load(code).stream(_request(b"3", accept=accept))
    assert isinstance(answer, inference.Streamed)
    return answer


PREDICTS = """
def model_fn(model_dir): return None
def input_fn(data, content_type): return data
def predict_fn(data, model):
    for number in range(3): yield "%d;" % number
"""
WRITES = """
def model_fn(model_dir): return None
def input_fn(data, content_type): return data
def predict_fn(data, model): return range(3)
def output_fn(prediction, accept): return ("%d;" % number for number in prediction), "text/x-mine"
"""
TRANSFORMS = """
def model_fn(model_dir): return None
def transform_fn(model, data, content_type, accept, context):
    context.set_response_content_type(0, "text/event-stream")
    context.set_response_header(0, "X-Amzn-SageMaker-Custom-Attributes", "a=b")
    for number in range(3): yield b"%d;" % number
"""


@pytest.mark.parametrize(
    ("code", "content_type", "headers"),
    [
        (PREDICTS, "application/json", ()),
        (WRITES, "text/x-mine", ()),
        (TRANSFORMS, "text/event-stream", (("x-amzn-sagemaker-custom-attributes", "a=b"),)),
    ],
)
def test_a_function_that_yields_answers_in_pieces_or_whole(
    load: Load, code: str, content_type: str, headers: tuple[tuple[str, str], ...]
) -> None:
    answer = _streamed(load, code)
    assert (answer.content_type, answer.headers) == (content_type, headers)
    assert list(answer.pieces) == [b"0;", b"1;", b"2;"]
    (whole,) = load(code).predict([_request(b"3")])
    assert whole == (200, b"0;1;2;", content_type, headers)


def test_a_model_that_does_not_yield_answers_a_stream_whole(load: Load) -> None:
    answer = load(FOUR).stream(_request(b"2"))
    assert isinstance(answer, inference.Response)
    assert answer.status == 200


def test_what_fails_before_the_first_piece_is_an_ordinary_error(load: Load) -> None:
    code = PREDICTS.replace("for number", "if data: raise ValueError('no words')\n    for number")
    for answer in (load(code).stream(_request(b"3")), *load(code).predict([_request(b"3")])):
        assert isinstance(answer, inference.Response)
        assert answer.status == 500
        assert answer.body.startswith(b"no words\nTraceback")


def test_what_fails_after_it_is_an_error_too_for_who_wants_it_whole(load: Load) -> None:
    code = PREDICTS + "    raise ValueError('out of words')\n"
    (whole,) = load(code).predict([_request(b"3")])
    assert whole.status == 500
    assert whole.body.startswith(b"out of words")


def test_a_status_that_is_no_success_is_no_stream(load: Load) -> None:
    code = TRANSFORMS.replace("context.set_response_content_type(0,", "context.set_response_status(429); str(")
    answer = load(code).stream(_request(b"3"))
    assert isinstance(answer, inference.Response)
    assert (answer.status, answer.body) == (429, b"0;1;2;")
