"""The table of content types, held against the frameworks in their runtimes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from clary.backends.images import runtimes
from clary.toolkit import loading
from clary.toolkit.frameworks import contents

Run = Callable[..., Any]
HEAVY = ("pytorch", "huggingface")
FRAMEWORKS = {each.name: each.framework for each in runtimes() if each.framework in loading._FRAMEWORKS}
ROWS = [
    pytest.param(row, marks=[pytest.mark.torch] if row.runtime in HEAVY else [], id=row.runtime)
    for row in contents.ROWS
    if row.runtime != "xgboost"  # the algorithm has tests of its own
]


def test_every_runtime_has_its_row() -> None:
    assert {row.runtime for row in contents.ROWS} == set(FRAMEWORKS)


@pytest.mark.parametrize("row", ROWS)
def test_what_is_read_and_written(run: Run, row: contents.Row) -> None:
    """All that is listed is read and written; something unlisted is refused; the first written is the default."""
    code = f"""
import importlib, io, numpy
from clary.toolkit import content, loading, recordio
def saved(write, *values):
    file = io.BytesIO(); write(file, *values); return file.getvalue()
def body(kind):
    if kind == content.NPY: return saved(numpy.save, numpy.array([[1.0, 2.0]]))
    if kind == content.NPZ and {row.runtime!r} == "onnx": return saved(numpy.savez, numpy.array([[1.0, 2.0]]))
    if kind == content.NPZ:
        import scipy.sparse
        return saved(scipy.sparse.save_npz, scipy.sparse.csr_matrix([[1.0, 2.0]]))
    if kind == content.RECORDIO: return recordio.write([recordio.build({{"values": [1.0, 2.0]}}, {{}})])
    if kind in content.LIBSVM_TYPES: return b"0:1 1:2"
    if kind == content.CSV: return b"inputs\\ngood" if {row.runtime!r} == "huggingface" else b"1,2"
    return b'{{"inputs": "good"}}' if {row.runtime!r} == "huggingface" else b"[[1, 2]]"
defaults = importlib.import_module(loading._FRAMEWORKS[{FRAMEWORKS[row.runtime]!r}]).DEFAULTS
def reads(kind):
    try: defaults.read(body(kind), kind)
    except content.UnsupportedFormat: return False
    return True
def writes(kind):
    try: return defaults.write(numpy.array([[1.0, 2.0]]), kind)[1] == kind
    except content.UnsupportedFormat: return False
answer = [[reads(k) for k in {row.reads!r}], [writes(k) for k in {row.writes!r}], defaults.default_accept(), defaults.batchable,
          writes("image/png"), reads("image/png")]
"""
    reads, writes, default, together, written, read = run(row.runtime, code, warnings="ignore")
    assert all(reads), reads
    if row.runtime != "mlflow":  # its answers are made by MLflow, whatever is asked
        assert all(writes), writes
        assert not written
        assert not read
    assert default == row.writes[0]
    assert together is row.together
