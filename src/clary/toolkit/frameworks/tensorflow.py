"""TensorFlow's toolkit: a SavedModel (or a Keras file) behind TensorFlow Serving's REST format, as SageMaker's TensorFlow images answer.

JSON `{"instances": rows}` or `{"inputs": columns}`, with `signature_name`, is answered `{"predictions": ...}` or `{"outputs": ...}`; a
plain list, CSV and JSON lines are instances. A script may have `input_handler(data, context)` and `output_handler(response, context)`,
as the images' own (TensorFlow Serving "RESTful API"; aws/sagemaker-tensorflow-serving-container), or SageMaker's usual functions.
Requests are not stacked: which dimension is the batch is the model's secret. Importing this module imports TensorFlow.
"""

from __future__ import annotations

import base64
import io
import json
import os
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from clary.toolkit import content
from clary.toolkit.frameworks.defaults import Defaults
from clary.toolkit.inference import LoadError

SIGNATURE = "serving_default"
_KERAS = (".keras", ".h5")


class TensorsAsked(NamedTuple):
    """A request in TensorFlow Serving's words. `rows`: instances, else the inputs by column."""

    values: Any
    rows: bool = True
    signature: str = SIGNATURE


class Answer(NamedTuple):
    """The outputs by name, and how they were asked for."""

    outputs: Mapping[str, Any]
    rows: bool


class ServingContext(NamedTuple):
    """What a handler of the TensorFlow images is told of a request."""

    request_content_type: str
    accept_header: str
    content_length: int
    custom_attributes: str
    model_name: str
    model_version: str
    method: str = "predict"
    rest_uri: str = ""
    grpc_port: str = ""


class ServingResponse:
    """What TensorFlow Serving would have answered, as `output_handler` reads it."""

    status_code = 200
    headers: Mapping[str, str] = {"Content-Type": content.JSON}

    def __init__(self, body: bytes) -> None:
        self.content = body
        self.text = body.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class TensorFlowDefaults(Defaults):
    name = "tensorflow"

    def model(self, model_dir: str) -> Any:
        saved = _saved_models(model_dir)
        if saved:
            return tf.saved_model.load(saved[-1])
        found = sorted(name for name in os.listdir(model_dir) if name.endswith(_KERAS))
        if len(found) == 1:
            return tf.keras.models.load_model(os.path.join(model_dir, found[0]), compile=False)
        raise LoadError(
            "TensorFlow needs a SavedModel in the archive (a folder with saved_model.pb, such as 1/), or exactly one file that ends "
            "in .keras or .h5; there are {} of those. Or provide a model_fn.".format(len(found))
        )

    def read(self, body: Any, content_type: str) -> Any:
        data = body.encode() if isinstance(body, str) else body
        kind = content.base(content_type)
        if kind in (content.JSON, ""):
            return _asked(data)
        if kind == content.JSON_LINES:
            return TensorsAsked([_json(line) for line in data.splitlines() if line.strip()])
        if kind == content.CSV:
            rows = content.decode(data, content_type)
            return TensorsAsked(rows.reshape(1, -1).tolist() if rows.ndim == 1 else rows.tolist())
        return TensorsAsked(content.decode(data, content_type))

    def predict(self, data: Any, model: Any) -> Any:
        asked = data if isinstance(data, TensorsAsked) else TensorsAsked(data)
        if not hasattr(model, "signatures"):
            return Answer(_named(model(_tensor(_columns(asked), None), training=False)), asked.rows)
        signature = model.signatures.get(asked.signature)
        if signature is None:
            known = ", ".join(sorted(model.signatures)) or "none"
            raise content.BadContent(
                'Serving signature name: "{}" not found in signature def; there are: {}'.format(asked.signature, known)
            )
        inputs = signature.structured_input_signature[1]
        try:
            return Answer(dict(signature(**_feeds(asked, inputs))), asked.rows)
        except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
            raise content.BadContent(str(error)) from error

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        if not isinstance(prediction, Answer):
            return content.encode(_plain(prediction) if tf.is_tensor(prediction) else prediction, accept)
        outputs = {name: np.asarray(value) for name, value in prediction.outputs.items()}
        if content.choose(accept, (content.JSON, content.NPY, content.CSV), content.JSON) in (content.NPY, content.CSV):
            if len(outputs) != 1:
                raise content.UnsupportedFormat(accept, "Accept {} needs a model with one output.".format(accept))
            return content.encode(next(iter(outputs.values())), accept)
        return _written(outputs, prediction.rows), content.JSON

    def functions(self, module: Any) -> Dict[str, Callable[..., Any]]:
        """The images' own handlers, as the functions of SageMaker's contract."""
        if callable(getattr(module, "handler", None)):
            raise LoadError(
                "inference.py has a handler(data, context), which asks TensorFlow Serving itself; there is none here. Write input_handler "
                "and output_handler instead."
            )
        before, after = getattr(module, "input_handler", None), getattr(module, "output_handler", None)
        if not callable(before) or not callable(after):
            return {}

        def input_fn(body: Any, content_type: str, context: Any) -> Any:
            data = body.encode() if isinstance(body, str) else body
            given = before(io.BytesIO(data), _context(context, content_type, len(data)))
            return _asked(given.encode() if isinstance(given, str) else given)

        def output_fn(prediction: Answer, accept: str, context: Any) -> Any:
            outputs = {name: np.asarray(value) for name, value in prediction.outputs.items()}
            response = ServingResponse(_written(outputs, prediction.rows))
            return after(response, _context(context, "", 0, accept))

        return {"input_fn": input_fn, "output_fn": output_fn}

    def set_threads(self, model: Any, count: int) -> None:
        """TensorFlow's pools are made with the first operation, in the zygote; threadpoolctl sees none of them."""


def _context(context: Any, content_type: str, length: int, accept: str = "") -> ServingContext:
    header = context.get_request_header
    return ServingContext(
        content_type,
        accept or header(0, "Accept") or "",
        length,
        header(0, "X-Amzn-SageMaker-Custom-Attributes") or "",
        os.environ.get("SAGEMAKER_TFS_DEFAULT_MODEL_NAME", "model"),
        "1",
    )


def _saved_models(model_dir: str) -> List[str]:
    """The folders with a SavedModel, the highest version last: at the top, or below names of any kind (`1`, `export/Servo/1`)."""
    found = [folder for folder, _, names in os.walk(model_dir) if "saved_model.pb" in names]
    return sorted(found, key=lambda folder: (_version(os.path.basename(folder)), folder))


def _version(name: str) -> int:
    return int(name) if name.isdigit() else -1


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise content.BadContent("JSON Parse error: {}".format(error)) from error


def _asked(data: bytes) -> TensorsAsked:
    value = _json(data)
    if not isinstance(value, dict) or not {"instances", "inputs"} & set(value):
        return TensorsAsked(value if isinstance(value, list) else [value])
    if "instances" in value and "inputs" in value:
        raise content.BadContent('Request must have either "instances" or "inputs", not both.')
    signature = value.get("signature_name") or SIGNATURE
    if "inputs" in value:
        return TensorsAsked(value["inputs"], False, signature)
    if not isinstance(value["instances"], list) or not value["instances"]:
        raise content.BadContent('"instances" must be a list with at least one element.')
    return TensorsAsked(value["instances"], True, signature)


def _columns(asked: TensorsAsked) -> Any:
    """Inputs by name, or the value of the only one: instances that name their inputs are put together."""
    values = asked.values
    if (
        not asked.rows
        or not isinstance(values, list)
        or not all(isinstance(row, dict) and set(row) != {"b64"} for row in values)
    ):
        return values
    if any(set(row) != set(values[0]) for row in values):
        raise content.BadContent("The instances do not all name the same inputs.")
    return {name: [row[name] for row in values] for name in values[0]}


def _feeds(asked: TensorsAsked, inputs: Mapping[str, Any]) -> Dict[str, Any]:
    columns = _columns(asked)
    if not isinstance(columns, dict):
        if len(inputs) != 1:
            raise content.BadContent("The model has the inputs {}; name them.".format(", ".join(sorted(inputs))))
        columns = {next(iter(inputs)): columns}
    unknown, missing = sorted(set(columns) - set(inputs)), sorted(set(inputs) - set(columns))
    if unknown or missing:
        raise content.BadContent(
            "The model has the inputs {}; the request names {}.".format(
                ", ".join(sorted(inputs)), ", ".join(sorted(columns))
            )
        )
    return {name: _tensor(value, inputs[name]) for name, value in columns.items()}


def _tensor(value: Any, spec: Optional[Any]) -> Any:
    """The value as the tensor that an input is specified as; as numbers where there is no specification."""
    try:
        if spec is None:
            return tf.convert_to_tensor(np.asarray(value, dtype=np.float32))
        tensor = (
            tf.constant(_bytes(value)) if spec.dtype == tf.string else tf.convert_to_tensor(value, dtype=spec.dtype)
        )
    except (ValueError, TypeError) as error:
        raise content.BadContent(str(error)) from error
    if not spec.shape.is_compatible_with(tensor.shape):
        raise content.BadContent(
            "The input {} has the shape {}; the model takes {}.".format(spec.name, tensor.shape.as_list(), spec.shape)
        )
    return tensor


def _bytes(value: Any) -> Any:
    """Texts, and binary values written as `{"b64": ...}`."""
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return [_bytes(each) for each in value] if isinstance(value, list) else value


def _named(outputs: Any) -> Dict[str, Any]:
    """A Keras model's outputs by name."""
    if isinstance(outputs, dict):
        return dict(outputs)
    if isinstance(outputs, (list, tuple)):
        return {"output_{}".format(number): each for number, each in enumerate(outputs)}
    return {"output_0": outputs}


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "OS":
        return array
    return np.vectorize(
        lambda each: each.decode("utf-8", "replace") if isinstance(each, bytes) else each, otypes=[object]
    )(array)


def _written(outputs: Mapping[str, Any], rows: bool) -> bytes:
    """`predictions` by row, or `outputs` by name; of a model with one output its value alone."""
    plain = {name: _plain(value).tolist() for name, value in outputs.items()}
    if len(plain) == 1:
        only = next(iter(plain.values()))
        return json.dumps({"predictions" if rows else "outputs": only}).encode()
    if not rows:
        return json.dumps({"outputs": plain}).encode()
    sizes = {len(value) if isinstance(value, list) else -1 for value in plain.values()}
    if len(sizes) != 1 or -1 in sizes:
        raise content.BadContent(
            'The outputs have different numbers of rows; ask with "inputs" instead of "instances".'
        )
    return json.dumps({"predictions": [dict(zip(plain, row)) for row in zip(*plain.values())]}).encode()


DEFAULTS = TensorFlowDefaults()
