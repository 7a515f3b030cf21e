"""What the documentation refers to is there: links and their headings, source files, and a page for every kind of endpoint."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.examples import program_of
from tests.live import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITHOUT_EXAMPLE = {
    "README.md",
    "content-types.md",
    "traffic.md",
}  # of docs/endpoints: real-time.md has traffic's examples

_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SOURCE = re.compile(r"`([\w/.-]+/[\w.-]+\.py)(?:::[\w\[\]]+)?`|`clary/([\w/]+\.py)`")


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    titles = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{link} leads nowhere"
        assert not heading or heading in anchors(aim), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_files_that_are_named_are_there(page: Path) -> None:
    for found in _SOURCE.finditer(page.read_text()):
        name = found[1] or found[2]
        places = (ROOT, ROOT / "src" / "clary", ROOT / "src", ROOT / "tests" / "faults")
        assert name.startswith("code/") or any((place / name).is_file() for place in places), f"{name} is not there"


def test_every_kind_of_endpoint_has_a_page_in_the_list_with_an_example() -> None:
    folder = ROOT / "docs" / "endpoints"
    listed = {link.partition("#")[0] for link in _LINK.findall((folder / "README.md").read_text())}
    for page in folder.glob("*.md"):
        assert page.name == "README.md" or page.name in listed, f"{page.name} is not in docs/endpoints/README.md"
        assert page.name in WITHOUT_EXAMPLE or program_of(page.read_text()), f"{page.name} has no runnable example"
