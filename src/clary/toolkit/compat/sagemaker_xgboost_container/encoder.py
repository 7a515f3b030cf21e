"""Bodies into a DMatrix."""

from __future__ import annotations

from typing import Any, Union

import xgboost

from clary.toolkit import content, tables
from clary.toolkit.frameworks.xgboost_script import DEFAULTS

Body = Union[str, bytes]


def _bytes(body: Body) -> bytes:
    return body.encode() if isinstance(body, str) else body


def csv_to_dmatrix(input: Body, dtype: Any = None) -> Any:
    """CSV rows without label."""
    return xgboost.DMatrix(tables.csv(_bytes(input)))


def libsvm_to_dmatrix(string_like: Body) -> Any:
    """libsvm rows; the first token is the label when it has no colon."""
    rows = tables.libsvm(_bytes(string_like), labelled=False)
    return xgboost.DMatrix(rows.dense(rows.width), rows.labels)


def recordio_protobuf_to_dmatrix(string_like: Body) -> Any:
    """recordio-protobuf records."""
    features, labels = tables.records(_bytes(string_like))
    return xgboost.DMatrix(features, labels)


def decode(obj: Body, content_type: str) -> Any:
    """By content type; raises UnsupportedFormat for others."""
    return DEFAULTS.read(obj, content.base(content_type))
