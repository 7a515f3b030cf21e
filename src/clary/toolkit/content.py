"""What goes over the wire of a prediction: content types, Accept, and the default decoders and encoders (json, csv, npy, npz).

Owns the negotiation and the translation between bytes and numpy, as the open SageMaker inference toolkit does it
(`decoder.py`, `encoder.py`). Nothing here ever unpickles: npy and npz are read with `allow_pickle` off. numpy and SciPy are
imported when they are first needed, so that a generic Python model needs neither.
"""

from __future__ import annotations

import io
import json
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

JSON = "application/json"
JSON_LINES = "application/jsonlines"
CSV = "text/csv"
NPY = "application/x-npy"
NPZ = "application/x-npz"
LIBSVM = "text/libsvm"
LIBSVM_TYPES = (LIBSVM, "text/x-libsvm", "libsvm")
RECORDIO = "application/x-recordio-protobuf"
TEXT = (JSON, CSV)  # bodies that user code gets as str, as the toolkit hands them over
ANY = ("", "*/*")

_BASES: Dict[str, str] = {}


class UnsupportedFormat(Exception):
    """A content type or Accept that nothing here reads or writes: answered 415 (406 by the built-in algorithm)."""

    def __init__(self, content_type: str, text: str = "") -> None:
        super().__init__(
            text
            or "Content type {} is not supported by this framework.\n\nPlease implement input_fn to to deserialize the request data "
            "or an output_fn to serialize the response. For more information, see the SageMaker Python SDK README.".format(
                content_type
            )
        )


class BadContent(Exception):
    """A body that is not what its content type says: answered 400."""


def base(content_type: str) -> str:
    """The type without parameters, lower case."""
    found = _BASES.get(content_type)
    if found is None:
        found = content_type.partition(";")[0].strip().lower()
        if len(_BASES) < 1024:
            _BASES[content_type] = found
    return found


def choose(accept: str, offered: Sequence[str], default: str) -> Optional[str]:
    """The first type of an Accept header (by its q, then its order) among `offered`; `default` for none or `*/*`; else None."""
    if accept in ANY:
        return default
    ranked = []
    for place, part in enumerate(accept.split(",")):
        name, _, parameters = part.partition(";")
        weight = 1.0
        for parameter in parameters.split(";"):
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        ranked.append((-weight, place, name.strip().lower()))
    for weight, _, name in sorted(ranked):
        if weight == 0:
            continue
        if name in ANY:
            return default
        if name in offered:
            return name
        if name.endswith("/*"):
            for candidate in (default, *offered):
                if candidate.startswith(name[:-1]):
                    return candidate
    return None


def decode(body: bytes, content_type: str) -> Any:
    """A numpy array (or SciPy sparse matrix) of the body. A single CSV row or column is one-dimensional, as numpy's own
    `genfromtxt` gives it. UnsupportedFormat, BadContent."""
    read = _DECODERS.get(base(content_type))
    if read is None:
        raise UnsupportedFormat(content_type)
    try:
        return read(body)
    except (ValueError, TypeError, KeyError, EOFError, OSError, RecursionError) as error:
        raise BadContent("Unable to read the request as {}: {}".format(content_type, error)) from error


def encode(value: Any, accept: str) -> Tuple[bytes, str]:
    """`(body, content type)` of a prediction, for the first type in `accept` that can be written. UnsupportedFormat."""
    chosen = choose(accept, tuple(_ENCODERS), JSON)
    if chosen is None:
        raise UnsupportedFormat(accept)
    return _ENCODERS[chosen](value), chosen


def _from_json(body: bytes) -> Any:
    import numpy

    return numpy.array(json.loads(body))


def _from_csv(body: bytes) -> Any:
    import numpy

    from clary.toolkit import tables

    try:
        rows = tables.csv(body, numpy.float64)
    except tables.ParseError:  # text in it: numpy's own reading (not a number becomes NaN), as on AWS
        return numpy.genfromtxt(io.StringIO(body.decode("utf-8")), delimiter=",")
    return rows[0] if len(rows) == 1 else rows[:, 0] if rows.shape[1] == 1 else rows


def _from_npy(body: bytes) -> Any:
    import numpy

    return numpy.load(io.BytesIO(body), allow_pickle=False)


def _from_npz(body: bytes) -> Any:
    import scipy.sparse

    return scipy.sparse.load_npz(io.BytesIO(body))


_DECODERS: Dict[str, Callable[[bytes], Any]] = {JSON: _from_json, CSV: _from_csv, NPY: _from_npy, NPZ: _from_npz}


def plain(value: Any) -> Any:
    """What json can write of it: numpy arrays become nested lists, also inside lists and maps."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def _to_json(value: Any) -> bytes:
    return (
        json.dumps(value, default=plain).encode()
        if isinstance(value, (dict, list))
        else json.dumps(plain(value)).encode()
    )


def _to_csv(value: Any) -> bytes:
    rows = plain(value)
    if not isinstance(rows, list):
        rows = [rows]
    lines = [",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _to_npy(value: Any) -> bytes:
    import numpy

    buffer = io.BytesIO()
    numpy.save(buffer, numpy.asarray(value), allow_pickle=False)
    return buffer.getvalue()


_ENCODERS: Dict[str, Callable[[Any], bytes]] = {JSON: _to_json, CSV: _to_csv, NPY: _to_npy}
