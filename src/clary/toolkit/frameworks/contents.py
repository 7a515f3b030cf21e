"""What each framework reads and writes where the user's script has no function of its own, as a table for people.

The tests hold it against the frameworks themselves, in their runtimes. Imports no framework."""

from __future__ import annotations

from typing import NamedTuple, Tuple

from clary.toolkit import content


class Row(NamedTuple):
    """`runtime` as `clary runtime list` has it; `model`: what model_fn does by default; `together`: requests may share one call."""

    runtime: str
    model: str
    reads: Tuple[str, ...]
    writes: Tuple[str, ...]
    together: bool


_USUAL = (content.JSON, content.CSV, content.NPY)
_SVM = (content.LIBSVM, "text/x-libsvm")
_OWN = "none: give a `model_fn`"
ROWS = (
    Row(
        "xgboost",
        "built-in algorithm: `xgboost-model`",
        (content.CSV, *_SVM, content.RECORDIO, content.JSON, content.JSON_LINES),
        (content.CSV, content.JSON, content.JSON_LINES, content.RECORDIO),
        True,
    ),
    Row(
        "xgboost-script",
        _OWN,
        (content.CSV, *_SVM, content.RECORDIO),
        (content.CSV, content.JSON, content.NPY, content.RECORDIO),
        True,
    ),
    Row("sklearn", _OWN, (*_USUAL, content.NPZ), _USUAL, True),
    Row(
        "lightgbm",
        "`model.txt`, or the one `.txt`, `.lgb`, `.lightgbm`, `.model`, `.pkl`, `.joblib`",
        (*_USUAL, content.NPZ, *_SVM),
        _USUAL,
        True,
    ),
    Row("onnx", "`model.onnx`, or the one `.onnx`", (*_USUAL, content.NPZ), _USUAL, True),
    Row(
        "mlflow",
        "the `MLmodel` directory's python_function",
        (content.JSON, content.CSV),
        (content.JSON,),
        False,
    ),
    Row("pytorch", "`model.pt`, or the one `.pt`, `.pth`, by `torch.jit.load`", _USUAL, _USUAL, False),
    Row("huggingface", "a `transformers` pipeline over the files", (content.JSON, content.CSV), (content.JSON,), False),
    Row(
        "tensorflow",
        "a SavedModel, the highest version, or the one `.keras`, `.h5`",
        (*_USUAL, content.JSON_LINES),
        _USUAL,
        False,
    ),
    Row("python", _OWN, _USUAL, _USUAL, False),
)


def render() -> str:
    """The table in Markdown."""
    lines = [
        "# Content types of the frameworks",
        "",
        "Generated from `clary/toolkit/frameworks/contents.py`; do not edit. These are the formats of the default functions; a script's "
        "`input_fn`, `output_fn` or `transform_fn` may read and write anything. The first output type is the one for a request without "
        "`Accept` (`SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT` changes it). *Together*: requests that wait at the same time may be "
        "predicted in one call.",
        "",
        "| runtime | default model | content types in | out | together |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS:
        reads, writes = (", ".join("`{}`".format(name) for name in names) for names in (row.reads, row.writes))
        lines.append(
            "| {} | {} | {} | {} | {} |".format(row.runtime, row.model, reads, writes, "yes" if row.together else "no")
        )
    return "\n".join(lines) + "\n"
