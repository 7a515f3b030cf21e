"""One line of `clary doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One capability. `state`: ok, note (works, with less) or fault. `found` is what was measured; `fix` what to do."""

    name: str
    state: str
    found: str
    fix: str = ""
