"""Values in labels."""

from __future__ import annotations

from datetime import timedelta

import pytest

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series
from clary.domain.metrics.labels import Labels, Source, filled, is_dynamic, zone_of

POINTS = ((0.0, 2.0), (60.0, 8.0), (120.0, 5.00049))
SOURCE = Source("Load", 60, "Sum", Series.of("N", "Load", {"Host": "a"}))
LABELS = Labels(3720.0, zone_of("+0130"), "000000000000", "eu-west-1")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("plain", "plain"),
        ("[${MAX}] ${LABEL}", "[8] Load"),
        ("${MIN}..${MAX} ${AVG} ${SUM} ${FIRST} ${LAST} ${DATAPOINT_COUNT}", "2..8 5 15 2 5 3"),
        ("${MAX_TIME}", "1970-01-01 01:31:00 UTC+0130"),
        ("${LAST_TIME_RELATIVE} ${MAX_TIME_RELATIVE}", "1h 1h 1m"),
        ("${MIN_MAX_RANGE} ${FIRST_LAST_RANGE} ${MIN_MAX_TIME_RANGE} ${FIRST_LAST_TIME_RANGE}", "6 3 1m 2m"),
        ("${PROP('MetricName')} ${PROP('Namespace')} ${PROP('Stat')} ${PROP('Period')}", "Load N Sum 60"),
        ('${PROP("Dim.Host")} ${PROP(\'AccountId\')} ${PROP("Region")}', "a 000000000000 eu-west-1"),
        (
            "${PROP('Dim.Port')} ${NOSUCH} ${LAST_MAX_RANGE} ${SUM_TIME} $MAX",
            "${PROP('Dim.Port')} ${NOSUCH} ${LAST_MAX_RANGE} ${SUM_TIME} $MAX",
        ),
    ],
)
def test_values(label: str, expected: str) -> None:
    assert filled(label, SOURCE, POINTS, LABELS) == expected


def test_without_datapoints_there_are_no_values() -> None:
    label = "${LABEL} ${AVG} ${MAX} ${MAX_TIME} ${MIN_MAX_RANGE} ${DATAPOINT_COUNT}"
    assert filled(label, Source("e", 60), (), Labels()) == "e -- -- -- -- 0"
    assert filled("${PROP('MetricName')}", Source("e", 60), (), Labels()) == "${PROP('MetricName')}"


def test_utc_is_the_default_zone() -> None:
    assert filled("${FIRST_TIME}", SOURCE, POINTS, Labels()) == "1970-01-01 00:00:00 UTC"


def test_which_labels_have_values() -> None:
    assert is_dynamic("a ${MAX}")
    assert not is_dynamic("a $MAX {b} ${max}")


def test_zones() -> None:
    assert zone_of("-0530").utcoffset(None) == -timedelta(hours=5, minutes=30)
    for text in ("", "0130", "+1", "+2400", "+0160", "Europe/Berlin"):
        with pytest.raises(Invalid, match=r"LabelOptions\.Timezone"):
            zone_of(text)
