"""Tests mirror src/clary: a test file is named after its module, or is a further file of one (`test_turn_faults` of `turn`)."""

from __future__ import annotations

import importlib.util
from pathlib import PurePosixPath

import pytest
from tests.live import ROOT

SPEC = importlib.util.spec_from_file_location("shape", ROOT / "scripts" / "shape.py")
assert SPEC is not None
assert SPEC.loader is not None
shape = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(shape)

NO_MODULE = {
    "api/test_list_orders.py": "every List of every handler",
    "api/test_lists.py": "every List of what is no record",
    "api/test_members.py": "every member of every request",
    "api/test_partitions.py": "every ARN that is told",
    "api/test_walk.py": "every operation",
    "app/test_lanes.py": "scripts/test",
    "test_class_names.py": "every class",
    "test_shape.py": "every test",
    "toolkit/test_toolkit.py": "every file of the toolkit",
}


def test_every_test_file_is_named_after_its_module() -> None:
    modules, tests = shape.modules_of(ROOT), shape.tests_of(ROOT)
    assert len(modules) > 900
    assert len(tests) > 500
    assert {test.as_posix() for test in tests if shape.module_of(test, modules) is None} == set(NO_MODULE)


def test_nearly_all_stand_at_its_path() -> None:
    places = [shape.module_of(test, shape.modules_of(ROOT)) for test in shape.tests_of(ROOT)]
    assert sum(place is not None and place[1] for place in places) > 0.9 * len(places)


@pytest.mark.parametrize(
    ("test", "module"),
    [
        ("a/test_b.py", ("a/b", True)),
        ("a/test_b_c.py", ("a/b_c", True)),  # the longer name is meant
        ("a/test_b_d.py", ("a/b", False)),
        ("a/test_main.py", None),
        ("test_a.py", ("a", True)),
        ("test_b.py", None),
    ],
)
def test_the_module_of_a_test(test: str, module: tuple[str, bool] | None) -> None:
    assert shape.module_of(PurePosixPath(test), frozenset({"a", "a/b", "a/b_c"})) == module


def test_branches_and_lines_are_those_of_code() -> None:
    text = '"""Says."""\n\n# a comment\nif a:\n    b = 1\nelse:\n    try:\n        c()\n    except E:\n        pass\nx = 1 if y else 2\n'
    assert shape.branches(shape.ast.parse(text)) == 3
    assert shape.code_lines(text) == 9
