"""Text and records into float32 matrices: CSV, libsvm, recordio-protobuf, JSON instances.

Owns the parsing that training and serving share, at the speed of orjson for small bodies (30 ns a value), else of numpy's C parser
(170 ns), and the refusal of what is malformed: ParseError says what and where, never a guess. Missing values are NaN. Knows no files
and no models. Imports numpy, so only code that runs inside a runtime with numpy may import it.
"""

from __future__ import annotations

import json
import warnings
from array import array
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clary.toolkit import recordio

try:
    import orjson
except ImportError:  # a runtime without it reads the same numbers, slower
    orjson = None  # type: ignore[assignment]

# In text mode older `fromstring` warns and stops at the first thing that is no number; newer ones raise. `_scan` evens that out.
warnings.filterwarnings("ignore", message="string or file could not be read", category=DeprecationWarning)

_QUICK = 1 << 20  # bytes up to which numbers may be Python's own for a moment: they take 32 bytes each
_WIDEST = 1 << 24  # columns that a sparse record may claim to have

Matrix = Any  # numpy.ndarray of float32, two dimensions


class ParseError(ValueError):
    """The data is not what its content type says."""


class Sparse(NamedTuple):
    """Rows in compressed form (CSR) with what stood before each row's features."""

    labels: Matrix
    weights: Optional[Matrix]
    groups: Optional[Matrix]
    indptr: Matrix
    indices: Matrix
    values: Matrix
    width: int

    def dense(self, width: int) -> Matrix:
        """Dense rows of `width` columns, absent values NaN (as XGBoost sees them)."""
        rows = len(self.indptr) - 1
        out = np.full((rows, width), np.nan, dtype=np.float32)
        out[np.repeat(np.arange(rows), np.diff(self.indptr)), self.indices] = self.values
        return out


def csv(data: bytes, dtype: Any = np.float32) -> Matrix:
    """Rows of numbers (float32 unless told). The delimiter is a comma, or `;`, tab, `|`, or blanks when the first line has no comma."""
    data = data.strip(b"\n\r")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b'"' in data:
        data = data.replace(b'"', b"")
    if not data.strip():
        raise ParseError("no data")
    lines = data.split(b"\n")
    delimiter = _delimiter(lines[0])
    if delimiter != b",":
        lines = [b",".join(line.split(delimiter if delimiter != b" " else None)) for line in lines]
        data = b"\n".join(lines)
    width = lines[0].count(b",") + 1
    if any(line.count(b",") + 1 != width for line in lines):
        lines = [line for line in lines if line.strip()]
        for number, line in enumerate(lines, 1):
            if line.count(b",") + 1 != width:
                raise ParseError("row {} has {} columns, the first has {}".format(number, line.count(b",") + 1, width))
        data = b"\n".join(lines)
    flat = _numbers(data, len(lines) * width, dtype)
    return flat.reshape(len(lines), width)


def csv_batch(bodies: Sequence[bytes]) -> Optional[Matrix]:
    """One row per body, all of the same width, in one parse; None when that does not hold (parse them one by one then)."""
    width = bodies[0].count(b",") + 1
    data = _a_row_each(bodies, width)
    flat = None if data is None else _scan(data, width * len(bodies))
    return None if flat is None else flat.reshape(len(bodies), width)


def csv_values(bodies: Sequence[bytes], width: int) -> "Optional[array[float]]":
    """The same numbers of rows so wide without numpy, whose code is cold where thousands of processes wait; None also when one of
    them is none of JSON's."""
    data = _a_row_each(bodies, width)
    if data is None or orjson is None or len(data) > _QUICK:
        return None
    return _json_values(data, width * len(bodies))


def _a_row_each(bodies: Sequence[bytes], width: int) -> Optional[bytes]:
    """All numbers, comma-joined; None unless each body is one row so wide."""
    commas = width - 1
    for body in bodies:
        if body.count(b",") != commas:
            return None
    data = b"\n".join(bodies)
    # line ends inside: strip them (a row per body), or leave it to the slow way
    if data.count(b"\n") != len(bodies) - 1 or b"\r" in data:
        data = b"\n".join([body.strip() for body in bodies])
        if data.count(b"\n") != len(bodies) - 1 or b"\r" in data:
            return None
    return data.replace(b"\n", b",")


def _delimiter(line: bytes) -> bytes:
    for candidate in (b",", b";", b"\t", b"|"):
        if candidate in line:
            return candidate
    return b" " if len(line.split()) > 1 else b","


def _scan(data: bytes, expected: int, sep: str = ",", dtype: Any = np.float32) -> Optional[Matrix]:
    """All of `data` as numbers, or None unless there are just `expected`."""
    if orjson is not None and dtype is np.float32 and sep == "," and len(data) <= _QUICK:
        quick = _json_values(data, expected)
        if quick is not None:
            return np.frombuffer(quick, dtype=np.float32)
    try:
        flat = np.fromstring(data, dtype=dtype, sep=sep)
    except ValueError:
        return None
    return flat if flat.size == expected else None


def _json_values(data: bytes, expected: int) -> "Optional[array[float]]":
    """The same where each number is also one of JSON's (not `nan`, `.5`, `+1`): both round to the nearest double, then to float32."""
    if b"true" in data or b"false" in data:  # they would count as 1 and 0
        return None
    try:
        values = array("f", orjson.loads(b"[" + data + b"]"))
    except (ValueError, TypeError):  # something else: numpy's parser decides
        return None
    return values if len(values) == expected else None


def _numbers(data: bytes, expected: int, dtype: Any) -> Matrix:
    joined = data.replace(b"\n", b",")
    flat = _scan(joined, expected, dtype=dtype)
    if flat is not None:
        return flat
    fields = joined.split(b",")  # empty fields are missing values; anything else that is no number is an error
    out = np.empty(expected, dtype=dtype)
    for place, field in enumerate(fields):
        try:
            out[place] = float(field) if field.strip() else np.nan
        except ValueError:
            text = field.decode("utf-8", "replace").strip()
            raise ParseError("could not convert string to float: {!r}".format(text[:50])) from None
    return out


def libsvm(data: bytes, labelled: bool = True) -> Sparse:
    """`label[:weight] [qid:n] index:value ...` lines. Without `labelled` a first token that has a colon is a feature."""
    labels: List[float] = []
    weights: List[float] = []
    groups: List[int] = []
    rows: List[bytes] = []
    for line in data.replace(b"\r", b"\n").split(b"\n"):
        line = line.split(b"#", 1)[0].strip()
        if not line:
            continue
        head, _, rest = line.partition(b" ")
        if not labelled and b":" in head:
            label, rest = b"0", line
        else:
            label = head
        value, colon, weight = label.partition(b":")
        labels.append(_number(value))
        if colon:
            weights.append(_number(weight))
        rest = rest.lstrip()
        if rest.startswith(b"qid:"):
            group, _, rest = rest.partition(b" ")
            groups.append(int(_number(group[4:])))
        rows.append(rest)
    if not labels:
        raise ParseError("no data")
    for name, found in (("weight", weights), ("qid", groups)):
        if found and len(found) != len(labels):
            raise ParseError("some rows have a {} and some have none".format(name))
    return _sparse(rows, labels, weights, groups)


def _sparse(rows: List[bytes], labels: List[float], weights: List[float], groups: List[int]) -> Sparse:
    counts = np.fromiter((row.count(b":") for row in rows), dtype=np.int64, count=len(rows))
    total = int(counts.sum())
    flat = _scan(b" ".join(rows).replace(b":", b" "), 2 * total, " ", np.float64) if total else np.empty(0)
    if flat is None:
        raise ParseError("a feature is not of the form index:value")
    places, values = flat[0::2], flat[1::2]
    indices = places.astype(np.int64)
    if total and (bool((places != indices).any()) or int(indices.min()) < 0 or int(indices.max()) >= 1 << 31):
        raise ParseError("a feature's index is not a whole number")
    return Sparse(
        np.array(labels, dtype=np.float32),
        np.array(weights, dtype=np.float32) if weights else None,
        np.array(groups, dtype=np.int64) if groups else None,
        np.concatenate([[0], np.cumsum(counts)]),
        indices,
        values.astype(np.float32),
        int(indices.max()) + 1 if total else 0,
    )


def _number(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        raise ParseError(
            "could not convert string to float: {!r}".format(text.decode("utf-8", "replace")[:50])
        ) from None


def records(data: bytes) -> Tuple[Matrix, Optional[Matrix]]:
    """recordio-protobuf: `(features, labels)`; labels are None when no record has one."""
    rows: List[Any] = []
    labels: List[float] = []
    try:
        parsed = [recordio.parse(part) for part in recordio.split(data)]
    except recordio.RecordError as error:
        raise ParseError(str(error)) from None
    if not parsed:
        raise ParseError("no data")
    for record in parsed:
        tensor = record.features.get("values")
        if tensor is None:
            raise ParseError("a record has no feature named 'values'")
        rows.append(tensor)
        label = record.label.get("values")
        if label is not None and len(label.values):
            labels.append(label.values[0])
    if labels and len(labels) != len(rows):
        raise ParseError("some records have a label and some have none")
    return _stack(rows), np.array(labels, dtype=np.float32) if labels else None


def _stack(tensors: List[recordio.Tensor]) -> Matrix:
    widths = {
        int(t.shape[-1]) if len(t.shape) else (max(t.keys) + 1 if len(t.keys) else len(t.values)) for t in tensors
    }
    width = max(widths)
    if width > _WIDEST or any(min(t.keys, default=0) < 0 or max(t.keys, default=0) >= width for t in tensors):
        raise ParseError("a sparse record's keys or shape are out of bounds")
    if not any(len(t.keys) for t in tensors):
        if len({len(t.values) for t in tensors}) != 1:
            raise ParseError("records differ in their number of features")
        return np.array([np.asarray(t.values, dtype=np.float32) for t in tensors], dtype=np.float32)
    out = np.full((len(tensors), width), np.nan, dtype=np.float32)
    for row, tensor in enumerate(tensors):
        if len(tensor.keys) != len(tensor.values):
            raise ParseError("a sparse record has a different number of keys and values")
        out[row, np.asarray(tensor.keys, dtype=np.int64)] = tensor.values
    return out


def instances(data: bytes, lines: bool = False) -> Matrix:
    """JSON `{"instances": [...]}` (or a bare list), or JSON Lines of instances. An instance is `{"features": [...]}`,
    `{"data": {"features": {"values", "keys", "shape"}}}` or a list of numbers."""
    found: Any
    try:
        if lines:
            found = [json.loads(line) for line in data.splitlines() if line.strip()]
        else:
            found = json.loads(data)
            found = found.get("instances") if isinstance(found, dict) else found
    except (ValueError, RecursionError):
        raise ParseError("data is not JSON") from None
    if not isinstance(found, list) or not found:
        raise ParseError('JSON has no "instances"')
    if not isinstance(found[0], (list, dict)):
        found = [found]
    try:
        return _stack([_instance(item) for item in found])
    except ParseError:
        raise
    except (TypeError, KeyError, AttributeError, IndexError, ValueError, OverflowError):
        raise ParseError("an instance is not of a known form") from None


def _instance(item: Any) -> recordio.Tensor:
    if isinstance(item, list):
        return recordio.Tensor([_finite(v) for v in item], (), ())
    features = item["features"] if "features" in item else item["data"]["features"]
    if isinstance(features, list):
        return recordio.Tensor([_finite(v) for v in features], (), ())
    keys, shape = features.get("keys") or (), features.get("shape") or ()
    return recordio.Tensor([_finite(v) for v in features["values"]], [int(k) for k in keys], [int(n) for n in shape])


def _finite(value: Any) -> float:
    return float("nan") if value is None else float(value)
