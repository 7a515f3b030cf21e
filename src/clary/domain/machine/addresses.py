"""Where something listens, as a value: a scheme and a place. Pure.

Written down as `SCHEME:PLACE`: `unix:/run/clary/front-0.sock`. `clary.toolkit.frames` dials it.
"""

from __future__ import annotations

from dataclasses import dataclass

from clary.domain.errors import Invalid

SCHEMES = ("unix",)


@dataclass(frozen=True, slots=True)
class Address:
    """`place` of `unix` is an absolute path, as the one who dials sees it."""

    scheme: str
    place: str

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise Invalid(
                f"the address {str(self)!r} has a scheme that is not supported; supported: {', '.join(SCHEMES)}"
            )
        if not self.place.startswith("/"):
            raise Invalid(f"the address {str(self)!r} needs an absolute path behind its scheme")

    def __str__(self) -> str:
        return f"{self.scheme}:{self.place}"
