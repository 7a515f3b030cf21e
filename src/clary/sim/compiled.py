"""The one door to the compiler. Owns how a function of plain numbers and arrays becomes machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function, compiled when it is called first and kept on disk; the same text, the same results."""
    return cast(F, numba.njit(cache=True)(function))
