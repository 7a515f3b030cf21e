"""`get_dmatrix(path, content_type)`: a channel's folder into a DMatrix."""

from __future__ import annotations

import os
from typing import Any, List, Union

import xgboost

from clary.toolkit.algorithms import xgboost_channels as channels


def get_content_type(content_type_cfg_val: str) -> str:
    """The kind of data of a ContentType: csv, libsvm, parquet or recordio-protobuf."""
    return channels.content_type({"ContentType": content_type_cfg_val})


def get_dmatrix(
    data_path: Union[str, List[str]], content_type: str, csv_weights: int = 0, is_pipe: bool = False
) -> Any:
    """All files below a folder (or several, or one file); None when there is none. The label is the first column."""
    parts: List[channels.Data] = []
    for path in data_path if isinstance(data_path, list) else [data_path]:
        names = [path] if os.path.isfile(path) else channels.files(path)
        for name in names:
            parts.extend(channels.read(name, get_content_type(content_type), bool(csv_weights)))
    if not parts:
        return None
    data = channels.joined(parts, str(data_path))
    return xgboost.DMatrix(data.features, data.labels, weight=data.weights, qid=data.groups)
