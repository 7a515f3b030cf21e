"""XGBoost's public C API, called for rows that lie in memory already.

Owns the call and the memory it returns: without the Python package's checks, which cost half of a small batch, and without numpy where
each row has one score. One proxy matrix carries the rows of every call: to make one costs as much as predicting 30 rows. Refuses to
know content types. Not for several threads at once.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any, Callable, List, NamedTuple, Optional, Tuple

import numpy as np

from clary.toolkit.frameworks.xgboost_lean import xgboost

Scores = Callable[[int, int, int], Optional[List[float]]]
_NEEDED = ("XGBoosterPredictFromDense", "XGProxyDMatrixCreate")


class Direct(NamedTuple):
    """How to call one booster. Both raise XGBoostError.

    `predict(rows)` takes a float32 matrix. `scores(address, rows, width)` takes the address of such a matrix, and answers None when
    there is more than one score for a row."""

    predict: Callable[[Any], Any]
    scores: Scores

    @classmethod
    def of(cls, booster: xgboost.Booster, rounds: Tuple[int, int]) -> Optional[Direct]:
        """None where this version of the package cannot be called so."""
        library = getattr(xgboost.core, "_LIB", None)
        if library is None or not all(hasattr(library, name) for name in _NEEDED) or not hasattr(booster, "handle"):
            return None
        proxy = ctypes.c_void_p()
        if library.XGProxyDMatrixCreate(ctypes.byref(proxy)):
            return None
        library.XGBGetLastError.restype = ctypes.c_char_p
        return cls(*_calls(library, booster, proxy, _config(rounds)))


def _config(rounds: Tuple[int, int]) -> bytes:
    asked = {
        "type": 0,
        "training": False,
        "iteration_begin": rounds[0],
        "iteration_end": rounds[1],
        "strict_shape": False,
    }
    return json.dumps({**asked, "missing": float("nan"), "cache_id": 0}).encode()


def _calls(
    library: Any, booster: xgboost.Booster, proxy: ctypes.c_void_p, config: bytes
) -> Tuple[Callable[[Any], Any], Scores]:
    shape, sizes = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
    values = ctypes.POINTER(ctypes.c_float)()
    by_shape, by_sizes, by_values = ctypes.byref(shape), ctypes.byref(sizes), ctypes.byref(values)
    call, handle, as_array = library.XGBoosterPredictFromDense, booster.handle, np.ctypeslib.as_array

    def scores(address: int, rows: int, width: int) -> Optional[List[float]]:
        interface = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f4", "version": 3}' % (address, rows, width)
        if call(handle, interface, config, proxy, by_shape, by_sizes, by_values):
            raise xgboost.core.XGBoostError(library.XGBGetLastError().decode("utf-8", "replace"))
        return values[:rows] if sizes.value == 1 else None

    def predict(rows: Any) -> Any:
        scores(rows.__array_interface__["data"][0], *rows.shape)
        return as_array(values, tuple(shape[: sizes.value])).copy()

    return predict, scores
