"""Training channels into DMatrix: finds a channel's files, reads them by its content type, names what is wrong with them.

Owns content types of training data (CSV with the label first, libsvm, parquet, recordio-protobuf) and Pipe mode's FIFOs.
Knows nothing of boosting.
"""

from __future__ import annotations

import io
import os
import stat
from typing import Any, Iterator, List, Mapping, NamedTuple, Optional

import numpy as np
import scipy.sparse

from clary.toolkit import tables
from clary.toolkit.environment import TrainingEnvironment
from clary.toolkit.failure import UserError, shorten
from clary.toolkit.tables import Matrix, ParseError

CSV, LIBSVM, PARQUET, RECORDIO = "csv", "libsvm", "parquet", "recordio-protobuf"
_TYPES = {
    "csv": CSV,
    "text/csv": CSV,
    "libsvm": LIBSVM,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "application/x-libsvm": LIBSVM,
    "parquet": PARQUET,
    "application/x-parquet": PARQUET,
    "recordio-protobuf": RECORDIO,
    "application/x-recordio-protobuf": RECORDIO,
}
_PARQUET_START = _PARQUET_END = b"PAR1"
_PIECE = 64 << 20  # bytes of CSV that are parsed at a time


class Data(NamedTuple):
    """Rows of a channel: a float32 array, or a CSR matrix of what is not missing (libsvm may have millions of columns). Weights and
    groups (query ids) where the data has them."""

    features: Any
    labels: Matrix
    weights: Optional[Matrix] = None
    groups: Optional[Matrix] = None


def content_type(channel: Mapping[str, Any]) -> str:
    """The kind of data of a channel of inputdataconfig.json; libsvm when it says nothing."""
    given = str(channel.get("ContentType") or "libsvm")
    base, _, parameters = given.partition(";")
    kind = _TYPES.get(base.strip().lower())
    if kind is None:
        raise UserError(
            "{} is not an accepted ContentType: csv, libsvm, parquet, recordio-protobuf, text/csv, text/libsvm, "
            "text/x-libsvm, application/x-parquet, application/x-recordio-protobuf.".format(given)
        )
    if kind == CSV and "label_size" in parameters and parameters.replace(" ", "") != "label_size=1":
        raise UserError("{} is not supported: XGBoost takes the label from the first column.".format(given))
    return kind


def load(env: TrainingEnvironment, name: str, csv_weights: bool) -> Optional[Data]:
    """All rows of a channel; None when there is no such channel or it has no data (a shard may get no object)."""
    if name not in env.channels:
        return None
    kind = content_type(env.channels[name])
    parts: List[Data] = []
    for path in files(env.channel_path(name)):
        parts.extend(read(path, kind, csv_weights))
    return joined(parts, name) if parts else None


def files(folder: str) -> Iterator[str]:
    """The channel's files in order (hidden ones and `_` ones like `_SUCCESS` are none), or its first FIFO in Pipe mode."""
    fifo = folder + "_0"
    if not os.path.isdir(folder) and os.path.exists(fifo) and stat.S_ISFIFO(os.stat(fifo).st_mode):
        yield fifo
        return
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith((".", "_")):
                yield os.path.join(where, name)


def read(path: str, kind: str, csv_weights: bool) -> List[Data]:
    """The rows of one file; UserError names it when it is not of its kind."""
    try:
        return list(_read(path, kind, csv_weights))
    except ParseError as error:
        raise UserError(_complaint(kind, os.path.basename(path), path, str(error))) from None


def _read(path: str, kind: str, csv_weights: bool) -> Iterator[Data]:
    if kind == PARQUET:
        for source in _tables(path):
            yield _parquet(source)
    elif kind == CSV:
        for piece in _pieces(path):
            yield _split(tables.csv(piece), csv_weights)
    else:
        with open(path, "rb") as file:
            data = file.read()
        if not data.strip():
            return
        if kind == LIBSVM:
            rows = tables.libsvm(data)
            shape = (len(rows.labels), rows.width)
            features = scipy.sparse.csr_matrix((rows.values, rows.indices, rows.indptr), shape=shape)
            yield Data(features, rows.labels, rows.weights, rows.groups)
        else:
            features, labels = tables.records(data)
            if labels is None:
                raise ParseError("the records have no label")
            yield Data(features, labels)


def _pieces(path: str) -> Iterator[bytes]:
    """A CSV file in pieces of whole lines, without a header line's worth of guessing: a header is an error, as on AWS."""
    rest = b""
    with open(path, "rb") as file:
        while True:
            data = file.read(_PIECE)
            if not data:
                break
            data = rest + data
            cut = data.rfind(b"\n") + 1
            rest = data[cut:]
            if data[:cut].strip():
                yield data[:cut]
    if rest.strip():
        yield rest


def _split(rows: Matrix, csv_weights: bool) -> Data:
    first = 2 if csv_weights else 1
    if rows.shape[1] <= first:
        raise ParseError("the rows have {} columns: no features beside the label".format(rows.shape[1]))
    return Data(np.ascontiguousarray(rows[:, first:]), rows[:, 0].copy(), rows[:, 1].copy() if csv_weights else None)


def _tables(path: str) -> List[Any]:
    """The parquet files behind a path: itself, or those that a FIFO hands out one behind the other."""
    if not stat.S_ISFIFO(os.stat(path).st_mode):
        return [path]
    with open(path, "rb") as file:
        data = file.read()
    starts, mark = [0], data.find(_PARQUET_END + _PARQUET_START)
    while mark >= 0:
        starts.append(mark + len(_PARQUET_END))
        mark = data.find(_PARQUET_END + _PARQUET_START, starts[-1])
    return [io.BytesIO(data[start:end]) for start, end in zip(starts, [*starts[1:], len(data)])] if data else []


def _parquet(source: Any) -> Data:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise UserError("this runtime has no pyarrow, so it cannot read application/x-parquet.") from None
    try:
        table = parquet.ParquetFile(source).read()  # not the folders' names: key=value would become a column
        columns = [np.asarray(column.to_numpy(), dtype=np.float32) for column in table.columns]
    except (ValueError, TypeError, OSError) as error:
        raise ParseError(str(error)) from None
    if len(columns) < 2 or not len(columns[0]):
        raise ParseError("the table has no features beside the label")
    return Data(np.column_stack(columns[1:]), columns[0])


def joined(parts: List[Data], name: str) -> Data:
    """The rows of several files as one."""
    width = max(part.features.shape[1] for part in parts)
    features = [widened(part.features, width) for part in parts]  # libsvm files end at their own last feature
    for field in ("weights", "groups"):
        if len({getattr(part, field) is None for part in parts}) > 1:
            raise UserError("Some files of channel {} have {} and some have none.".format(name, field))
    if len(parts) == 1:
        return parts[0]._replace(features=features[0])
    return Data(
        stacked(features),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weights for part in parts]) if parts[0].weights is not None else None,
        np.concatenate([part.groups for part in parts]) if parts[0].groups is not None else None,
    )


def widened(features: Any, width: int) -> Any:
    """The same rows with missing values up to `width` columns."""
    rows, columns = features.shape
    if columns == width:
        return features
    if scipy.sparse.issparse(features):
        return scipy.sparse.csr_matrix((features.data, features.indices, features.indptr), shape=(rows, width))
    return np.hstack([features, np.full((rows, width - columns), np.nan, np.float32)])


def stacked(parts: List[Any]) -> Any:
    """Rows of equal width one below the other."""
    return scipy.sparse.vstack(parts, format="csr") if scipy.sparse.issparse(parts[0]) else np.vstack(parts)


def _complaint(kind: str, name: str, path: str, error: str) -> str:
    """The container's words for data that is not of its content type."""
    first = b""
    if os.path.isfile(path):
        with open(path, "rb") as file:
            first = file.readline(200)
    if first.startswith(b"\x1f\x8b"):
        return "File '{}' is compressed by gzip: CompressionType Gzip with input mode Pipe unpacks it.".format(name)
    line = first.decode("utf-8", "replace").strip()
    if kind == LIBSVM and (b" " not in first or b":" not in first):
        return (
            "Blankspace and colon not found in firstline '{}...' of file '{}'. ContentType by default is in libsvm. "
            "Please ensure the file is in libsvm format.".format(line[:50], name)
        )
    return "Failed to load {} data of file '{}' with exception: {}".format(kind, name, shorten(error, 300))
