"""The text of OpenMetrics, read back by Prometheus' own parser."""

from __future__ import annotations

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read

from clary.domain.metrics.openmetrics import Family, labels, render


def test_what_is_written_is_read_back() -> None:
    odd = labels({"a": 'quote " slash \\ line\nend', "unicode": "ü", "empty": ""})
    counter, gauge = Family("c", "counter", 'help with "quotes"\nand lines'), Family("g", "gauge", "g")
    assert counter.add(odd, 3)
    assert not counter.add(odd, 4), "one name and set of labels has one value"
    for number, value in enumerate((1.5, -1e-30, 1e300, math.inf, math.nan)):
        gauge.add(labels({"n": str(number)}), value)
    spread = Family("h_seconds", "histogram", "h", "seconds")
    spread.spread((("x", "1"),), (0.005, 1, 2.5), (1.4, 2.2, 2.2, 3.0), 9.5)
    spread.spread((("x", "2"),), (0.005, 1, 2.5), (0, 0, 0, 0), 0.0)
    found = {family.name: family for family in read(render([counter, gauge, Family("none", "gauge", ""), spread]))}
    assert list(found) == ["c", "g", "h_seconds"]
    assert found["c"].documentation == 'help with "quotes"\nand lines'
    (sample,) = found["c"].samples
    assert (sample.name, sample.value) == ("c_total", 3)
    assert sample.labels == {"a": 'quote " slash \\ line\nend', "unicode": "ü"}
    values = [sample.value for sample in found["g"].samples]
    assert values[:4] == [1.5, -1e-30, 1e300, math.inf]
    assert math.isnan(values[4])
    first = [(s.name, s.labels.get("le"), s.value) for s in found["h_seconds"].samples if s.labels["x"] == "1"]
    assert first == [
        ("h_seconds_bucket", "0.005", 1),
        ("h_seconds_bucket", "1.0", 2),
        ("h_seconds_bucket", "2.5", 2),
        ("h_seconds_bucket", "+Inf", 3),
        ("h_seconds_count", None, 3),
        ("h_seconds_sum", None, 9.5),
    ]


def test_nothing_is_a_whole_exposition_too() -> None:
    assert render([]) == "# EOF\n"
    assert list(read(render([]))) == []


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["Host"], ["Host"]),
        (["my-name", "my.name", "my name"], ["my_name", "my_name_2", "my_name_3"]),
        (["9lives", "Größe", "-"], ["_9lives", "Gr__e", "_"]),
    ],
)
def test_names_of_labels(names: list[str], wanted: list[str]) -> None:
    assert [name for name, _ in labels(dict.fromkeys(names, "v"))] == wanted
