"""The one door to the compiler. Owns how a function of plain numbers and arrays becomes machine code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from clary.domain.scaling import boost

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when it is called first and kept on disk; the same text, the same results."""
    _keep()
    return cast(F, numba.njit(cache=True)(function))


def _keep() -> None:
    """Where compiled code is kept. The compiler looks at the date of a function's own file only, and a function holds those of other
    files that it calls: a folder for each state of all files that are compiled. Without a right to write here the compiler's own place."""
    here = Path(__file__).parent
    settings: Any = numba.config
    if settings.CACHE_DIR or not os.access(here, os.W_OK):
        return
    texts = [path.read_bytes() for path in (Path(boost.__file__), *sorted(here.glob("*.py")))]
    settings.CACHE_DIR = str(here / "__pycache__" / hashlib.sha256(b"\0".join(texts)).hexdigest()[:16])
