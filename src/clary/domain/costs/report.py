"""`clary cost`: rows of use grouped by resource, kind, account or a tag, and priced by a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from clary.domain.costs.kept import DAY
from clary.domain.costs.use import Use, UseRow
from clary.domain.errors import Invalid
from clary.domain.machine.instances import GIB

PATH = "/costs"  # where it is read
GROUPS = ("name", "kind", "account")
TAG = "tag:"
UNTAGGED = "(no tag)"


@dataclass(frozen=True, slots=True)
class Prices:
    """For an hour of a vCPU, of a GB of memory, of a GPU; for a GB of data; in whatever money."""

    vcpu_hour: float = 0.0
    gb_hour: float = 0.0
    gpu_hour: float = 0.0
    gb_data: float = 0.0

    def of(self, use: Use) -> float:
        hours = use.vcpu_seconds * self.vcpu_hour + use.gb_seconds * self.gb_hour + use.gpu_seconds * self.gpu_hour
        return hours / 3600 + use.bytes / GIB * self.gb_data


def prices(table: Mapping[str, str], place: str = "prices") -> Prices | None:
    """The prices of a settings table; None for none. Invalid names what is no price."""
    known = [each.name for each in fields(Prices)]
    for name, value in table.items():
        if name not in known:
            raise Invalid(f"{place}: there is no price {name!r}; there are: {', '.join(known)}")
        try:
            good = 0 <= float(value) < 1e12
        except ValueError:
            good = False
        if not good:
            raise Invalid(f"{place}: {name} is a number, 0 or more, not {value!r}")
    return Prices(**{name: float(value) for name, value in table.items()}) if table else None


def check_group(by: str) -> str:
    """Invalid for what rows are not grouped by."""
    if by in GROUPS or (by.startswith(TAG) and by != TAG):
        return by
    raise Invalid(f"costs are grouped by {', '.join(GROUPS)} or tag:KEY, not by {by!r}")


def report(rows: Iterable[UseRow], by: str, since: float, priced: Prices | None) -> dict[str, Any]:
    """`groups`, the dearest first (the largest, where nothing has a price), and their `total`. `since`: rows of earlier days are left out,
    and jobs that ended before."""
    found: dict[tuple[str, ...], Use] = {}
    for row in rows:
        if row.at >= since // DAY * DAY:
            key = _key(row, by)
            found[key] = found.get(key, Use()).plus(row.use)
    heads = ("kind", "name") if by == "name" else (by,)
    groups = [{**dict(zip(heads, key, strict=True)), **_told(use, priced)} for key, use in found.items()]
    groups.sort(key=lambda group: (-group.get("cost", group["vcpu_seconds"]), *(str(group[head]) for head in heads)))
    whole = Use()
    for use in found.values():
        whole = whole.plus(use)
    return {"by": by, "since": since, "groups": groups, "total": _told(whole, priced)}


def _key(row: UseRow, by: str) -> tuple[str, ...]:
    if by == "name":
        return row.kind, row.name
    if by.startswith(TAG):
        return (row.tags.get(by.removeprefix(TAG), UNTAGGED),)
    return (row.kind,) if by == "kind" else (row.account,)


def _told(use: Use, priced: Prices | None) -> dict[str, Any]:
    rounded = {name: round(value, 3) for name, value in use.to_json().items()}
    return {**rounded, **({"cost": round(priced.of(use), 6)} if priced else {})}
