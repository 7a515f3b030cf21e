from __future__ import annotations

from pathlib import Path

from clary.api import registry
from clary.api.catalogue import ELSEWHERE, SERVICES, render

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == render(), "write it again: scripts/generated.py"


def test_every_service_with_a_handler_is_on_the_page() -> None:
    render()
    assert {service for service, _ in registry.registered()} <= {*SERVICES, *(row[0] for row in ELSEWHERE)}
