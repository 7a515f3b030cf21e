"""What a framework's toolkit does where the user's script has no function of its own. One subclass per framework.

Owns the generic behaviour (AWS "SageMaker Inference Toolkit": json, csv, npy, npz to numpy; json, csv, npy back); model_fn and
predict_fn must be given. Knows no requests: `script.py` calls these.
"""

from __future__ import annotations

import os
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

from clary.toolkit import content
from clary.toolkit.inference import LoadError


class Defaults:
    """The generic toolkit's defaults. `batchable`: predictions of several requests may be computed as one array."""

    name = "python"
    accept = content.JSON
    content_type = ""  # of a request that names none
    batchable = False

    def model(self, model_dir: str) -> Any:
        """model_fn."""
        raise LoadError(
            "NotImplementedError: Please provide a model_fn implementation. See documentation for model_fn at "
            "https://github.com/aws/sagemaker-python-sdk"
        )

    def read(self, body: Any, content_type: str) -> Any:
        """input_fn; bodies of TEXT types arrive as str."""
        return content.decode(body.encode() if isinstance(body, str) else body, content_type)

    def predict(self, data: Any, model: Any) -> Any:
        """predict_fn."""
        raise NotImplementedError(
            "Please provide a predict_fn implementation. See documentation for predict_fn at "
            "https://github.com/aws/sagemaker-python-sdk"
        )

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        """output_fn: `(body, content type)`."""
        return content.encode(prediction, accept)

    def rows(self, body: bytes, content_type: str) -> Optional[Any]:
        """The body as a two-dimensional array that may be stacked with others; None: predict it alone."""
        return None

    def predict_rows(self, rows: Any, model: Any) -> Any:
        """predict_fn for stacked rows."""
        return self.predict(rows, model)

    def predict_together(self, parts: Sequence[Any], model: Any) -> Optional[List[Any]]:
        """One prediction for each of several `rows`, computed in one call; None when they do not fit together."""
        import numpy

        first = parts[0]
        if any(part.shape[1:] != first.shape[1:] or part.dtype != first.dtype for part in parts):
            return None
        sizes = [len(part) for part in parts]
        prediction = self.predict_rows(numpy.concatenate(parts), model)
        if getattr(prediction, "ndim", 0) < 1 or len(prediction) != sum(sizes):
            return None
        return cut(prediction, sizes)

    def functions(self, module: Any) -> Mapping[str, Callable[..., Any]]:
        """Functions of the contract that a script has under the framework's own names."""
        return {}

    def set_threads(self, model: Any, count: int) -> None:
        """The framework's own parameter, beside what threadpoolctl does."""

    def default_accept(self) -> str:
        return os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or self.accept


def cut(array: Any, sizes: Sequence[int]) -> List[Any]:
    """The array in pieces of so many rows."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    return [array[end - size : end] for end, size in zip(ends, sizes)]


def the_file(model_dir: str, usual: str, endings: Tuple[str, ...], what: str) -> str:
    """The model's file: `usual`, or the only one with one of these endings. LoadError when there is none, or a choice."""
    if os.path.isfile(os.path.join(model_dir, usual)):
        return os.path.join(model_dir, usual)
    found = sorted(name for name in os.listdir(model_dir) if name.endswith(endings))
    if len(found) != 1:
        raise LoadError(
            "{} needs {} in the model's archive, or exactly one file that ends in {}; there {}: {}. Or provide a model_fn in "
            "code/inference.py.".format(
                what, usual, " or ".join(endings), "is" if len(found) == 1 else "are", ", ".join(found) or "none"
            )
        )
    return os.path.join(model_dir, found[0])


def numpy_rows(body: bytes, content_type: str, dtype: Any = None) -> Optional[Any]:
    """json, csv or npy as two-dimensional numbers (a single row stays a row), else None."""
    kind = content.base(content_type)
    if kind not in (content.JSON, content.CSV, content.NPY):
        return None
    data = content.decode(body, content_type)
    if data.dtype.kind not in "fiub":
        return None
    if data.ndim == 1:
        if kind == content.CSV and body.strip(b"\r\n").count(b"\n"):
            data = data.reshape(-1, 1)  # several lines of one column
        else:
            data = data.reshape(1, -1)
    if data.ndim != 2 or not len(data):
        return None
    return data if dtype is None else data.astype(dtype, copy=False)
