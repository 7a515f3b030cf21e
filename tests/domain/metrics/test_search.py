"""What texts of SEARCH find."""

from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.metrics.datapoints import Series
from clary.domain.metrics.search import MOST, parse

ROWS = {
    "i": Series.of("AWS/SageMaker", "Invocations", {"EndpointName": "shop", "VariantName": "all"}),
    "e4": Series.of("AWS/SageMaker", "Invocation4XXErrors", {"EndpointName": "shop", "VariantName": "all"}),
    "e5": Series.of("AWS/SageMaker", "Invocation5XXErrors", {"EndpointName": "till", "VariantName": "all"}),
    "d": Series.of("Disk, all", "Used", {"Mount Point": "/a b"}),
    "x": Series.of("X", "OR", {}),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{AWS/SageMaker,EndpointName,VariantName} errors", "e4 e5"),
        ("{AWS/SageMaker, VariantName, EndpointName} Errors", "e4 e5"),
        ("{AWS/SageMaker,EndpointName} errors", ""),
        ("{AWS/SageMaker,EndpointName,VariantName} errors shop", "e4"),
        ("{AWS/SageMaker,EndpointName,VariantName} errors AND shop", "e4"),
        ("{AWS/SageMaker,EndpointName,VariantName} 4XX OR 5XX", "e4 e5"),
        ('{AWS/SageMaker,EndpointName,VariantName} MetricName="Invocations" OR EndpointName=till', "i e5"),
        ('{AWS/SageMaker,EndpointName,VariantName} MetricName=("Invocations" OR 5XX)', "i e5"),
        ("{AWS/SageMaker,EndpointName,VariantName} Invocation NOT errors", "i"),
        ("{AWS/SageMaker,EndpointName,VariantName} NOT (errors shop)", "i e5"),
        ("{AWS/SageMaker,EndpointName,VariantName} NOT errors AND shop OR till", "i e5"),
        ('{AWS/SageMaker,EndpointName,VariantName} "Invocation"', ""),
        ('{"Disk, all","Mount Point"}', "d"),
        ('{"Disk, all","Mount Point"} "Mount Point"="/a b"', "d"),
        ('Namespace="AWS/SageMaker" till', "e5"),
        ("EndpointName = shop", "i e4"),
        ('MetricName="OR"', "x"),
        ("{X} OR_NOT", ""),
    ],
)
def test_what_is_found(text: str, expected: str) -> None:
    found = parse(text).found(list(ROWS.values()))
    assert [name for name, series in ROWS.items() if series in found] == expected.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a search term"),
        ("  ", "needs a search term"),
        ("{} a", "is not a namespace and names"),
        ("{,a} b", "is not a namespace and names"),
        ("{N,Host a", "cannot be read"),
        ("{N} (a", "ends where a term must follow"),
        ("{N} a)", r"cannot be read at '\)'"),
        ("{N} a OR", "ends where a term must follow"),
        ("{N} AND a", "cannot be read at 'AND'"),
        ("{N} Host=", "ends where a term must follow"),
        ("{N} Host=(Port=1)", "cannot be read at 'Port'"),
        ('{N} "a', "cannot be read"),
        ("{N} " + "(" * 60, "nested more than 50 deep"),
    ],
)
def test_texts_that_cannot_be_read(text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        parse(text)


def test_a_search_has_an_end() -> None:
    many = [Series.of("N", f"m{number}", {}) for number in range(MOST + 1)]
    assert len(parse("{N}").found(many)) == MOST
