"""A package is imported without what it never calls, and nobody who asks later can tell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit import borrowed

FILES = {
    "lender/__init__.py": "from .core import answer\nfrom .extra import Extra, twice\nfrom . import extra as kept\n",
    "lender/core.py": "import other.heavy\nfrom other import heavy as module\nfrom other.heavy import half\n"
    "def answer(): return module.NUMBER + half(4)\ndef whole(): return other.heavy.NUMBER\n",
    "lender/extra.py": "class Extra: pass\ndef twice(x): return 2 * x\n",
    "other/__init__.py": "",
    "other/heavy.py": "NUMBER = 40\ndef half(x): return x // 2\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("lender", "other")]:
        del sys.modules[name]


def test_what_stood_in_is_gone_and_the_things_themselves_are_had_by_asking(folder: Path) -> None:
    package: Any = borrowed.lean("lender", without=("other.heavy", "lender.extra"))
    assert not {"other.heavy", "lender.extra"} & set(sys.modules)
    assert "Extra" not in vars(package)
    assert isinstance(package.Extra, type)
    assert package.Extra is sys.modules["lender.extra"].Extra
    from lender import twice  # type: ignore[import-not-found]

    assert twice(2) == 4
    assert "other.heavy" not in sys.modules, "nobody has asked for it"
    assert package.answer() == 42
    assert sys.modules["lender.core"].whole() == 40
    assert package.kept.Extra is package.Extra
    with pytest.raises(AttributeError, match="no attribute 'never'"):
        _ = package.never


def test_what_is_there_already_stays(folder: Path) -> None:
    import other.heavy as heavy  # type: ignore[import-not-found]

    package: Any = borrowed.lean("lender", without=("other.heavy",))
    assert sys.modules["other.heavy"] is heavy
    assert package.answer() == 42
    assert borrowed.lean("lender", without=("other.heavy",)) is package


def test_a_package_that_is_not_there_leaves_nothing_behind() -> None:
    with pytest.raises(ImportError):
        borrowed.lean("never_there", without=("never_there.part",))
    assert "never_there.part" not in sys.modules


@pytest.mark.parametrize("serving", [False, True])
def test_xgboost_predicts_without_scipy_and_is_whole_for_who_asks(run: Callable[..., Any], serving: bool) -> None:
    code = """
import sys
from clary.toolkit.frameworks.xgboost_lean import xgboost
import numpy as np
xgboost.Booster()
few = sorted({"scipy.sparse", "scipy.special", "xgboost.sklearn", "numpy.random"} & set(sys.modules))
import scipy.sparse
rows = xgboost.DMatrix(scipy.sparse.csr_matrix(np.eye(3, dtype="float32"))).num_row()
from xgboost import XGBModel
answer = [few, rows, isinstance(XGBModel, type), xgboost.XGBModel is XGBModel is xgboost.sklearn.XGBModel]
"""
    assert run("xgboost", code, serving=serving) == [[], 3, True, True]
