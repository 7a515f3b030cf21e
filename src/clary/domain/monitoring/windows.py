"""When a monitoring schedule is due, and which time its run looks at. Pure.

A run looks at [scheduled - period, scheduled), where the period is the time to the next one. Offsets are ISO 8601 durations from the
scheduled time. A run that was missed is made up once: its window then reaches to the moment it is made up, so that no captured row is
left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from clary.domain import schedules
from clary.domain.errors import Invalid

NOW = "NOW"
DAILY = "cron(0 0 ? * * *)"
_LONGEST = 86_400.0  # seconds of a window where nothing else is said
_DURATION = re.compile(
    r"(?P<sign>[+-])?P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?"
)


def offset(text: str, name: str) -> float | None:
    """Seconds of an ISO 8601 duration, which must not be positive; None of "". Invalid names the member."""
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or text[-1] in "PT":
        raise Invalid(f"{name} '{text}' is no ISO 8601 duration such as -PT1H or -P1D.")
    days, hours, minutes, seconds = (int(match[part] or 0) for part in ("days", "hours", "minutes", "seconds"))
    found = days * 86_400.0 + hours * 3600.0 + minutes * 60.0 + seconds
    if match["sign"] != "-" and found:
        raise Invalid(f"{name} '{text}' must be negative: it is subtracted from the scheduled time.")
    return -found


def expression(config: Mapping[str, Any]) -> str:
    """The schedule's expression; daily where there is none."""
    return str((config.get("ScheduleConfig") or {}).get("ScheduleExpression") or DAILY).strip()


def check(config: Mapping[str, Any]) -> None:
    """Invalid for a ScheduleConfig that cannot be carried out."""
    given, told = config.get("ScheduleConfig") or {}, expression(config)
    offsets = [offset(given.get(name) or "", name) for name in ("DataAnalysisStartTime", "DataAnalysisEndTime")]
    if told == NOW and None in offsets:
        raise Invalid("DataAnalysisStartTime and DataAnalysisEndTime are needed for a ScheduleExpression of NOW.")
    start, end = offsets
    if start is not None and end is not None and end <= start:
        raise Invalid("DataAnalysisEndTime must be later than DataAnalysisStartTime.")
    if told == NOW:
        return
    try:
        schedules.parse(told)
    except Invalid as error:
        raise Invalid(f"Invalid ScheduleExpression '{told[:200]}'. {error.message}") from None
    if schedules.is_once(told):
        raise Invalid("ScheduleExpression must be cron(...), rate(...) or NOW.")


def following(config: Mapping[str, Any], moment: float, began: float) -> float | None:
    """The first time behind a moment. NOW is due once, when the schedule began."""
    told = expression(config)
    if told == NOW:
        return began if moment < began else None
    return schedules.parse(told).after(moment, began)


def window(
    config: Mapping[str, Any], given: Mapping[str, Any], at: float, began: float, now: float
) -> tuple[float, float]:
    """[start, end) of the run that is due at `at` and made at `now`. `given`: the monitor's input, whose offsets come before."""
    asked = config.get("ScheduleConfig") or {}
    start = offset(given.get("StartTimeOffset") or asked.get("DataAnalysisStartTime") or "", "StartTimeOffset")
    end = offset(given.get("EndTimeOffset") or asked.get("DataAnalysisEndTime") or "", "EndTimeOffset")
    after = following(config, at, began)
    period = _LONGEST if after is None else after - at
    missed = now - at >= period and expression(config) != NOW
    last = now if missed else at
    return at + (-period if start is None else start), last + (end or 0.0)
