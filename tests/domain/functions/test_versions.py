from __future__ import annotations

from typing import Any

import pytest

from clary.domain.errors import Invalid
from clary.domain.functions import record as functions
from clary.domain.functions import versions
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
DOCUMENT = {
    "config": {"Description": "was", "Runtime": "python3.12"},
    "code": {"key": "k"},
    "runtime": "python",
    "revision": "r",
}
FUNCTION = Record("lambda-function", SCOPE, "f", functions.function_arn(SCOPE, "f"), "", 0.0, 0.0, DOCUMENT)


def alias(version: str, weights: dict[str, float]) -> Record:
    document = {"version": version, "weights": weights, "description": "", "revision": "r"}
    return Record(versions.ALIAS, SCOPE, "f:live", FUNCTION.arn + ":live", "", 0.0, 0.0, document)


def test_a_version_is_the_function_as_it_was() -> None:
    document = versions.snapshot(FUNCTION, 3, "said", "new")
    version = Record(versions.VERSION, SCOPE, "f:3", FUNCTION.arn + ":3", "", 0.0, 0.0, document)
    assert (functions.version(version), functions.plain_name(version)) == ("3", "f")
    assert functions.log_group(version) == "/aws/lambda/f"
    assert document["config"] == {"Description": "said", "Runtime": "python3.12"}
    assert (document["source"], document["revision"]) == ("r", "new")
    assert versions.snapshot(FUNCTION, 3, None, "new")["config"] == DOCUMENT["config"]


def test_an_alias_gives_each_version_its_share() -> None:
    shared = alias("1", {"2": 0.25})
    drawn = [versions.chosen(shared, f"id-{number}") for number in range(4000)]
    assert 0.22 < drawn.count("2") / len(drawn) < 0.28
    assert versions.chosen(shared, "id-1") == versions.chosen(shared, "id-1")
    assert {versions.chosen(alias("1", {}), str(n)) for n in range(50)} == {"1"}
    assert {versions.chosen(alias("1", {"2": 1.0}), str(n)) for n in range(50)} == {"2"}
    assert {versions.chosen(alias("1", {"2": 0.0}), str(n)) for n in range(50)} == {"1"}


@pytest.mark.parametrize(
    ("weights", "main", "words"),
    [
        ({"2": 0.5, "3": 0.5}, "1", "greater than 1"),
        ({"1": 0.5}, "1", "already included"),
        ({"2": 0.5}, "$LATEST", r"\$LATEST is not supported"),
        ({"$LATEST": 0.5}, "1", r"\$LATEST is not supported"),
        ({"live": 0.5}, "1", "one version with a share"),
        ({"2": 1.5}, "1", "one version with a share"),
    ],
)
def test_shares_that_are_wrong(weights: dict[str, Any], main: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        versions.weights({"AdditionalVersionWeights": weights}, main)


@pytest.mark.parametrize("name", ["1", "", "a b", "x" * 129, "a:b", "12345"])
def test_names_that_no_alias_has(name: str) -> None:
    with pytest.raises(Invalid):
        versions.check_alias(name)


def test_names_of_aliases() -> None:
    assert [versions.check_alias(name) for name in ("live", "1a", "a-1_b")] == ["live", "1a", "a-1_b"]
