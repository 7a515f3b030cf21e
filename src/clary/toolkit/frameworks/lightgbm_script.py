"""LightGBM: a text model by default (`Booster.save_model`), csv, json, npy or libsvm in, `predict`, csv, json or npy back.

A model that was pickled (`.pkl`, `.joblib`: LightGBM's scikit-learn classes) is read too; that happens in the sandbox only.
Importing this module imports lightgbm."""

from __future__ import annotations

from typing import Any, Optional

import numpy

from clary.toolkit import content, tables
from clary.toolkit.frameworks.defaults import Defaults, numpy_rows, the_file
from clary.toolkit.inference import LoadError

try:
    import lightgbm
except OSError as error:  # its wheels bring no OpenMP of their own
    raise LoadError(
        "LightGBM cannot be loaded: {}. It needs the system's OpenMP library on this machine (Debian and Ubuntu: apt install "
        "libgomp1; Fedora: dnf install libgomp).".format(error)
    ) from error

_TEXT = (".txt", ".lgb", ".lightgbm", ".model")
_PICKLED = (".pkl", ".joblib")


class LightGBMDefaults(Defaults):
    """Requests of plain numbers are stacked. `threads` is what the worker may use."""

    name = "lightgbm"
    batchable = True
    threads = 1

    def model(self, model_dir: str) -> Any:
        path = the_file(model_dir, "model.txt", (*_TEXT, *_PICKLED), "LightGBM")
        if path.endswith(_PICKLED):
            import joblib

            return joblib.load(path)
        try:
            return lightgbm.Booster(model_file=path)
        except lightgbm.basic.LightGBMError as error:
            raise LoadError(
                "{} is no text model of LightGBM (what Booster.save_model writes): {}".format(path, error)
            ) from error

    def read(self, body: Any, content_type: str) -> Any:
        data = body.encode() if isinstance(body, str) else body
        if content.base(content_type) in content.LIBSVM_TYPES:
            return _libsvm(data, content_type)
        _refuse_header(data, content_type)
        return _rows_of(super().read(data, content_type))

    def predict(self, data: Any, model: Any) -> Any:
        if getattr(data, "ndim", 2) == 1:
            data = data.reshape(1, -1)
        if isinstance(model, lightgbm.Booster):
            return self._booster(data, model)
        return model.predict(data)

    def _booster(self, data: Any, model: Any) -> Any:
        """The best iteration when the model records one: `predict` takes it by itself."""
        width = model.num_feature()
        if data.ndim == 2 and data.shape[1] < width and hasattr(data, "tocsr"):
            data.resize((data.shape[0], width))  # libsvm leaves out trailing zeros
        if data.ndim != 2 or data.shape[1] != width:
            shape = "x".join(str(n) for n in data.shape) or "no rows"
            raise content.BadContent("The model takes {} features; the request has {}.".format(width, shape))
        return model.predict(data, num_threads=self.threads)

    def rows(self, body: bytes, content_type: str) -> Optional[Any]:
        _refuse_header(body, content_type)
        return numpy_rows(body, content_type)

    def set_threads(self, model: Any, count: int) -> None:
        self.threads = count
        if hasattr(model, "n_jobs"):
            model.n_jobs = count


def _refuse_header(data: bytes, content_type: str) -> None:
    """A line of names would become a row of missing values, and be predicted."""
    if (not data[:1].isalpha() and data[:1] != b'"') or content.base(content_type) != content.CSV:
        return
    names = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    if not any(_is_number(field) for field in names.split(",")):
        raise content.BadContent(
            "The first line of the CSV holds no number: {}. Send rows without a header.".format(names[:200])
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rows_of(read: Any) -> Any:
    """The rows inside `{"instances": [...]}` or `{"inputs": [...]}`."""
    whole = read.item() if getattr(read, "ndim", 2) == 0 else None
    if isinstance(whole, dict) and len(whole) == 1 and next(iter(whole)) in ("instances", "inputs"):
        return numpy.asarray(next(iter(whole.values())))
    return read


def _libsvm(data: bytes, content_type: str) -> Any:
    try:
        sparse = tables.libsvm(data, labelled=False)
    except tables.ParseError as error:
        raise content.BadContent("Unable to read the request as {}: {}".format(content_type, error)) from error
    import scipy.sparse

    shape = (len(sparse.indptr) - 1, sparse.width)
    return scipy.sparse.csr_matrix((sparse.values, sparse.indices, sparse.indptr), shape=shape)


DEFAULTS = LightGBMDefaults()
