"""ONNX Runtime: any `model.onnx`; csv, json, npy or npz in, json, csv or npy back.

Owns how a request's values become the model's named inputs, and which requests may share one run: those of a model whose inputs and
outputs leave their first dimension open. A session is made with one thread, which is none beside the caller's, so that a zygote that
holds it can fork; a worker that may use more makes its own. Importing this module imports onnxruntime."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

os.environ.setdefault(
    "ORT_DISABLE_TELEMETRY", "1"
)  # tells nobody of the model, and costs no thread (which would forbid a fork)

import numpy as np
import onnxruntime

from clary.toolkit import content, tables
from clary.toolkit.frameworks.defaults import Defaults, cut, the_file
from clary.toolkit.inference import LoadError

_KINDS: Dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(string)": np.object_,
    "tensor(bool)": np.bool_,
    **{
        "tensor({})".format(name): getattr(np, name)
        for name in "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
    },
}
_OFFERED = (content.JSON, content.CSV, content.NPY)


class Given(NamedTuple):
    """A request's body as it was read, before the model's inputs are looked at: one `array`, or what was said by `name`. `csv`: the text
    that the array was read from, for a model that takes text."""

    array: Any = None
    named: Optional[Mapping[str, Any]] = None
    csv: bytes = b""


class Model:
    """A session as onnxruntime's InferenceSession (everything of it can be reached), and the file that it came from."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.threads = 1
        self.session = _session(path, 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def set_threads(self, count: int) -> None:
        if count != self.threads:
            self.session = _session(self.path, count)
            self.threads = count


def _session(path: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # an idle model costs no CPU
    known = [
        name
        for name in onnxruntime.get_available_providers()
        if name in ("CUDAExecutionProvider", "CPUExecutionProvider")
    ]
    return onnxruntime.InferenceSession(path, options, providers=known)


class OnnxDefaults(Defaults):
    name = "onnx"
    batchable = True

    def model(self, model_dir: str) -> Any:
        path = the_file(model_dir, "model.onnx", (".onnx",), "ONNX Runtime")
        try:
            return Model(path)
        except Exception as error:  # onnxruntime's errors have no common class
            if type(error).__module__.startswith("onnxruntime"):
                raise LoadError(
                    "ONNX Runtime {} cannot load {}: {}".format(onnxruntime.__version__, path, error)
                ) from error
            raise

    def read(self, body: Any, content_type: str) -> Any:
        data = body.encode() if isinstance(body, str) else body
        kind = content.base(content_type)
        if kind == content.JSON:
            return _from_json(data, content_type)
        if kind == content.NPZ:
            return Given(named=_from_npz(data, content_type))
        if kind == content.CSV:
            return Given(array=_from_csv(data), csv=data)
        return Given(array=content.decode(data, content_type))

    def predict(self, data: Any, model: Any) -> Any:
        """The outputs by name."""
        values = model.run(None, feeds(data, model.get_inputs()))
        return {output.name: value for output, value in zip(model.get_outputs(), values)}

    def rows(self, body: bytes, content_type: str) -> Optional[Any]:
        return self.read(body, content_type)

    def predict_together(self, parts: Sequence[Any], model: Any) -> Optional[List[Any]]:
        if not _open(model.get_inputs()) or not _open(model.get_outputs()):
            return None
        each = [feeds(part, model.get_inputs()) for part in parts]
        sizes = [_rows(feed) for feed in each]
        if not all(sizes):
            return None
        together: Dict[str, Any] = {}
        for name, first in each[0].items():
            arrays: List[Any] = [feed.get(name) for feed in each]
            if any(a is None or a.shape[1:] != first.shape[1:] or a.dtype != first.dtype for a in arrays):
                return None
            together[name] = np.concatenate(arrays)
        outputs = self.predict(Given(named=together), model)
        if any(not hasattr(v, "__len__") or len(v) != sum(sizes) for v in outputs.values()):
            return None
        pieces = {name: cut(value, sizes) for name, value in outputs.items()}
        return [{name: values[n] for name, values in pieces.items()} for n in range(len(parts))]

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        """A model with one output answers its value, as other frameworks do; one with several answers them by name (JSON only)."""
        if isinstance(prediction, dict) and len(prediction) == 1:
            prediction = next(iter(prediction.values()))
        array = isinstance(prediction, np.ndarray)
        chosen = content.choose(accept, _OFFERED if array else (content.JSON,), content.JSON)
        if chosen is None:
            text = (
                ""
                if array
                else "Accept {} needs a model with one array as output; this one's outputs can be answered as {}."
            )
            raise content.UnsupportedFormat(accept, text.format(accept, content.JSON))
        if chosen == content.CSV and prediction.ndim > 2:
            raise content.UnsupportedFormat(
                accept, "An output of {} dimensions cannot be answered as {}.".format(prediction.ndim, content.CSV)
            )
        return content.encode(prediction, chosen)

    def set_threads(self, model: Any, count: int) -> None:
        if isinstance(model, Model):
            model.set_threads(count)


def feeds(data: Any, inputs: Sequence[Any]) -> Dict[str, Any]:
    """The model's inputs by name, as arrays of its types. BadContent tells what the model takes."""
    given = data if isinstance(data, Given) else Given(named=data) if isinstance(data, dict) else Given(array=data)
    named = given.named
    if named is None:
        words = given.csv and any(each.type == "tensor(string)" for each in inputs)
        named = _spread(_fields(given.csv) if words else given.array, inputs)
    known = {each.name: each for each in inputs}
    unknown, missing = sorted(set(named) - set(known)), sorted(set(known) - set(named))
    if unknown or missing:
        said = ["no input is called {}".format(", ".join(unknown))] if unknown else []
        said += ["{} is missing".format(", ".join(missing))] if missing else []
        raise content.BadContent("{}; the model takes {}".format(" and ".join(said), _described(inputs)))
    return {name: _array(value, known[name]) for name, value in named.items()}


def _spread(array: Any, inputs: Sequence[Any]) -> Dict[str, Any]:
    """One array for a model's one input; its columns for a model that has an input for each."""
    if len(inputs) == 1:
        return {inputs[0].name: array}
    table = np.asarray(array)
    table = table.reshape(1, -1) if table.ndim == 1 else table
    columns = all(len(each.shape) == 2 and each.shape[1] == 1 for each in inputs)
    if not columns or table.ndim != 2 or table.shape[1] != len(inputs):
        raise content.BadContent("the request holds one array; the model takes {}".format(_described(inputs)))
    return {each.name: table[:, n : n + 1] for n, each in enumerate(inputs)}


def _array(value: Any, wanted: Any) -> Any:
    kind = _KINDS.get(wanted.type)
    if kind is None:
        raise content.BadContent("input {} is a {}, which no request can hold".format(wanted.name, wanted.type))
    if isinstance(value, np.ndarray) and value.dtype == np.object_ and issubclass(kind, np.floating):
        value = np.where(value == "", np.nan, value)  # an empty field of a CSV
    try:
        array = np.asarray(value, dtype=kind)
    except (ValueError, TypeError, OverflowError) as error:
        raise content.BadContent("input {} must be a {}: {}".format(wanted.name, wanted.type, error)) from error
    shape = list(wanted.shape)
    if array.ndim == len(shape) - 1 and not (isinstance(shape[0], int) and shape[0] != 1):
        array = array.reshape((1, *array.shape))  # a lone row
    fits = array.ndim == len(shape) and all(not isinstance(w, int) or w == n for w, n in zip(shape, array.shape))
    if not fits:
        raise content.BadContent(
            "input {} has the shape {}; the model takes {}".format(wanted.name, list(array.shape), _described([wanted]))
        )
    return array


def _described(inputs: Sequence[Any]) -> str:
    return ", ".join(
        "{} ({} of {})".format(each.name, each.type, [n if isinstance(n, int) else str(n or "any") for n in each.shape])
        for each in inputs
    )


def _open(values: Sequence[Any]) -> bool:
    """Whether the first dimension of all is for the request to choose: the batch."""
    return all(each.shape and not isinstance(each.shape[0], int) for each in values)


def _rows(feed: Mapping[str, Any]) -> int:
    """Rows that all inputs of one request have; 0 when they differ."""
    sizes = {len(array) for array in feed.values()}
    return sizes.pop() if len(sizes) == 1 else 0


def _from_json(data: bytes, content_type: str) -> Given:
    """A list for the only input; `{"inputs": ...}` or `{"instances": [...]}` around one; or the inputs by name."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise content.BadContent("Unable to read the request as {}: {}".format(content_type, error)) from error
    if isinstance(value, dict) and len(value) == 1:
        key, inner = next(iter(value.items()))
        if key == "inputs":
            value = inner
        elif key == "instances":
            value = _by_columns(inner)
    return Given(named=value) if isinstance(value, dict) else Given(array=value)


def _by_columns(instances: Any) -> Any:
    """Rows that name the inputs, as columns."""
    if not isinstance(instances, list) or not instances or not all(isinstance(row, dict) for row in instances):
        return instances
    if any(set(row) != set(instances[0]) for row in instances):
        raise content.BadContent("the instances do not all name the same inputs")
    return {name: [row[name] for row in instances] for name in instances[0]}


def _from_npz(data: bytes, content_type: str) -> Dict[str, Any]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile's errors and numpy's have no common class
        raise content.BadContent("Unable to read the request as {}: {}".format(content_type, error)) from error


def _from_csv(data: bytes) -> Any:
    """Numbers; where there is text among them, the fields as they are: the types of the model's inputs say what becomes of each."""
    try:
        return tables.csv(data, np.float64)
    except tables.ParseError:
        return _fields(data)


def _fields(data: bytes) -> Any:
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8")), skipinitialspace=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise content.BadContent("Unable to read the request as {}: {}".format(content.CSV, error)) from error
    if not rows:
        raise content.BadContent("Unable to read the request as {}: it has no rows".format(content.CSV))
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1:
        raise content.BadContent("Unable to read the request as {}: rows of {} fields".format(content.CSV, widths))
    return np.array([[field.strip() for field in row] for row in rows], dtype=np.object_)


DEFAULTS = OnnxDefaults()
