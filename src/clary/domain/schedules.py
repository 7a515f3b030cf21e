"""Schedules of Application Auto Scaling and EventBridge: `at(...)`, `rate(...)` and `cron(...)`, in a time zone. Pure: when one is due.

Cron has six fields (minutes, hours, day of month, month, day of week with 1 for Sunday, year); one of the days is `?`. `L`, `W` and `#`
are as in Quartz. A time that a clock change skips is due when the clock has passed it; one that comes twice is due the first time.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from clary.domain.errors import Invalid

_FORM = re.compile(r"(at|rate|cron)\((.*)\)", re.S)
_RATE = re.compile(r"(\d{1,9}) (minute|minutes|hour|hours|day|days)")
_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_RANGES = {
    "minutes": (0, 59, {}),
    "hours": (0, 23, {}),
    "day of month": (1, 31, {}),
    "month": (1, 12, _MONTHS),
    "day of week": (1, 7, _DAYS),
    "year": (1970, 2199, {}),
}
_HORIZON = 30  # years that are looked through for a date that a cron expression has


@dataclass(frozen=True, slots=True)
class Schedule:
    """`at` is epoch seconds, `every` seconds, `cron` the six fields; one of them is set."""

    zone: ZoneInfo
    at: float | None = None
    every: float = 0.0
    cron: tuple[str, ...] = ()

    def after(self, moment: float, begin: float) -> float | None:
        """The first time after `moment` that is due. A rate counts from `begin`, when the schedule was made or starts."""
        if self.at is not None:
            return self.at if self.at > moment else None
        if self.every:
            passed = max(0.0, moment - begin) // self.every
            return begin + (passed + 1) * self.every
        return self._cron_after(moment)

    def _cron_after(self, moment: float) -> float | None:
        minutes, hours, days, months, weekdays, years = self.cron
        clock = [
            time(hour, minute)
            for hour in sorted(_values("hours", hours))
            for minute in sorted(_values("minutes", minutes))
        ]
        for day in self._days(
            datetime.fromtimestamp(moment, self.zone).date(), _values("month", months), _values("year", years)
        ):
            if not _day_fits(day, days, weekdays):
                continue
            for each in clock:
                at = datetime.combine(day, each, self.zone).timestamp()
                if at > moment:
                    return at
        return None

    def _days(self, first: date, months: frozenset[int], years: frozenset[int]) -> Iterator[date]:
        """Those of these months and years, from `first` on."""
        for year in sorted(year for year in years if first.year <= year <= first.year + _HORIZON):
            for month in sorted(months):
                for number in range(1, calendar.monthrange(year, month)[1] + 1):
                    day = date(year, month, number)
                    if day >= first:
                        yield day


@lru_cache
def _zones() -> frozenset[str]:
    """Read from disk, which takes long."""
    return frozenset(available_timezones())


@lru_cache(maxsize=1024)
def parse(text: str, zone: str = "") -> Schedule:
    """Invalid says what is wrong with the expression or the time zone."""
    if zone and zone not in _zones():
        raise Invalid(
            f"Timezone {zone} is not valid: it is a name of the IANA time zone database, such as Europe/Berlin."
        )
    where = ZoneInfo(zone or "UTC")
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise Invalid(
            f"Schedule {text} is not valid: it is at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(minutes hours day-of-month month "
            "day-of-week year)."
        )
    form, body = match.groups()
    if form == "at":
        try:
            moment = datetime.strptime(body, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=where)
        except ValueError:
            raise Invalid(f"Schedule {text} is not valid: write at(yyyy-mm-ddThh:mm:ss).") from None
        return Schedule(where, at=moment.timestamp())
    if form == "rate":
        rate = _RATE.fullmatch(body)
        if rate is None or int(rate[1]) < 1:
            raise Invalid(f"Schedule {text} is not valid: write rate(value unit) with minutes, hours or days.")
        return Schedule(where, every=int(rate[1]) * _SECONDS[rate[2].rstrip("s")])
    return Schedule(where, cron=_checked(text, body.split()))


def is_once(text: str) -> bool:
    """Whether that valid expression names one moment, not several."""
    return text.strip().startswith("at(")


def _checked(text: str, fields: list[str]) -> tuple[str, ...]:
    if len(fields) != 6:
        raise Invalid(f"Schedule {text} is not valid: cron has six fields, this has {len(fields)}.")
    days, weekdays = fields[2].upper(), fields[4].upper()
    if (days == "?") == (weekdays == "?"):
        raise Invalid(f"Schedule {text} is not valid: exactly one of day-of-month and day-of-week is ?.")
    for name, field in zip(_RANGES, fields, strict=True):
        _check_field(text, name, field.upper())
    return tuple(field.upper() for field in fields)


def _check_field(text: str, name: str, field: str) -> None:
    if name == "day of month" and re.fullmatch(r"\?|L|LW|([1-9]|[12]\d|3[01])W", field):
        return
    if name == "day of week" and re.fullmatch(r"\?|L|[1-7]L|([1-7]|[A-Z]{3})#[1-5]", field):
        if "#" in field:
            _number(name, field.partition("#")[0])
        return
    try:
        found = _values(name, field)
    except (ValueError, KeyError):
        found = frozenset()
    if not found:
        raise Invalid(f"Schedule {text} is not valid: {field} is no {name}.")


@lru_cache(maxsize=1024)
def _values(name: str, field: str) -> frozenset[int]:
    """The numbers that a field stands for. ValueError or KeyError when it is none."""
    low, high, _ = _RANGES[name]
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
        elif "-" in span:
            first, last = (_number(name, each) for each in span.split("-", 1))
        else:
            first = _number(name, span)
            last = high if step else first
        every = int(step) if step else 1
        if every < 1 or not low <= first <= high or not low <= last <= high:
            raise ValueError(part)
        wraps = [*range(first, high + 1), *range(low, last + 1)] if last < first else list(range(first, last + 1))
        found |= set(wraps[::every])
    return frozenset(found)


def _number(name: str, text: str) -> int:
    names = _RANGES[name][2]
    return int(text) if text.isdigit() else names[text]


def _day_fits(day: date, days: str, weekdays: str) -> bool:
    if weekdays == "?":
        if days in ("L", "LW") or days.endswith("W"):
            return day == _special(day, days)
        return day.day in _values("day of month", days)
    number = day.isoweekday() % 7 + 1
    last = calendar.monthrange(day.year, day.month)[1]
    if weekdays == "L":
        return number == 7
    if weekdays.endswith("L"):
        return number == int(weekdays[:-1]) and day.day > last - 7
    if "#" in weekdays:
        name, _, nth = weekdays.partition("#")
        return number == _number("day of week", name) and (day.day - 1) // 7 + 1 == int(nth)
    return number in _values("day of week", weekdays)


def _special(day: date, days: str) -> date:
    """The last day of its month, or the working day that is nearest to a day, in the same month."""
    last = calendar.monthrange(day.year, day.month)[1]
    if days == "L":
        return day.replace(day=last)
    wanted = day.replace(day=last if days == "LW" else min(int(days[:-1]), last))
    return next(near for near in _near(wanted, last) if near.isoweekday() < 6)


def _near(day: date, last: int) -> Iterator[date]:
    for offset in (0, -1, 1, -2, 2):
        if 1 <= day.day + offset <= last:
            yield day.replace(day=day.day + offset)


def moment(at: float) -> str:
    """Epoch seconds as messages write them."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
