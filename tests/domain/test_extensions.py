from __future__ import annotations

from pathlib import Path

import pytest

from clary.api.registry import model
from clary.domain.endpoints import capture, redaction, regression
from clary.domain.endpoints.turn import LAST_CHANGE, SIZES
from clary.domain.extensions import EXTENSIONS, TAGS, VALUES, Extension, render
from clary.domain.jobs import growth
from clary.domain.monitoring import retraining
from clary.domain.objectives import record
from clary.domain.registry import aliases, approvals, following

DOCS = Path(__file__).parents[2] / "docs" / "extensions.md"


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda e: e.value)
def test_the_field_is_one_of_botocores_enums_and_the_value_is_not_amazons(extension: Extension) -> None:
    values = model(extension.service).shape_for(extension.shape).enum
    assert values
    assert extension.value not in values


def test_only_what_works_passes_validation() -> None:
    assert {v for values in VALUES.values() for v in values} == {e.value for e in EXTENSIONS if e.available}


def test_tags_are_named_as_what_reads_and_writes_them_does() -> None:
    known = {regression.TAG: True, record.TAG: True, LAST_CHANGE: False, SIZES: False, approvals.TAG: False} | {
        following.FOLLOWERS: False,
        growth.TAG: True,
        capture.DRIFT: True,
        capture.LABELS: True,
        redaction.TAG: True,
        aliases.TAG: True,
        aliases.FOLLOW: True,
        retraining.TAG: True,
        retraining.ASK: True,
    }
    assert {tag.key: tag.user for tag in TAGS} == known


def test_the_page_is_current() -> None:
    assert DOCS.read_text() == render()
