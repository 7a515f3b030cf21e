from __future__ import annotations

import pytest

from clary.domain.errors import Invalid
from clary.domain.jobs.requirements import NAME, unread, whole


def read(files: dict[str, str], text: str, name: str = "requirements.txt") -> str:
    return whole(text, lambda path: files.get(path, ""), name)


@pytest.mark.parametrize(
    "line", ["-r base.txt", "-rbase.txt", "--requirement base.txt", "--requirement=base.txt # ours"]
)
def test_an_included_file_stands_in_its_line(line: str) -> None:
    assert read({"base.txt": "a==1\nb"}, f"x\n{line}\ny") == "x\na==1\nb\ny"


def test_paths_are_beside_the_file_that_names_them() -> None:
    files = {"reqs/all.txt": "-r part.txt\n-r ../top.txt\n", "reqs/part.txt": "p\n", "top.txt": "t\n"}
    assert read(files, "-r reqs/all.txt\n") == "p\nt\n"
    assert read(files, "-r part.txt\n", "reqs/requirements.txt") == "p\n"


def test_without_them_it_is_as_it_was() -> None:
    text = "# -r base.txt\r\n\r\na[b]>=1; python_version > '3'\r\n-c limits.txt"
    assert read({}, text) == text


@pytest.mark.parametrize("line", ["-r none.txt", "-r /etc/passwd", "-r ../secret.txt", "-r x/../../secret.txt"])
def test_what_is_not_in_the_source_is_refused_by_its_line(line: str) -> None:
    with pytest.raises(Invalid, match=r"requirements\.txt line 2: .* is not in the source"):
        read({"/etc/passwd": "x", "../secret.txt": "x"}, f"a\n{line}\n")


def test_a_circle_ends() -> None:
    with pytest.raises(Invalid, match="more than 100 files"):
        read({"a.txt": "-r b.txt\n-r b.txt", "b.txt": "-r a.txt\n-r a.txt"}, "-r a.txt")


def test_files_are_read_one_after_the_other() -> None:
    files = {NAME: "-r a.txt\n-r gone.txt\n", "a.txt": "-r b/c.txt\n", "b/c.txt": "c\n"}
    known: dict[str, str] = {}
    asked: list[str] = []
    while (path := unread(known)) is not None:
        asked.append(path)
        known[path] = files.get(path, "")
    assert asked == [NAME, "a.txt", "b/c.txt", "gone.txt"]
    with pytest.raises(Invalid, match=r"'gone\.txt' is not in the source"):
        whole(known[NAME], lambda path: known[path])


def test_nothing_outside_the_source_is_asked_for() -> None:
    assert unread({NAME: "-r ../../spec.json\n"}) is None
