"""A public class name means one thing; at most two anywhere, and then on two sides of a wall (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import clary

SOURCE = Path(clary.__file__).parent
MOST = 2
AWSS_OWN = "toolkit/compat"  # there AWS's packages decide what classes are called


def test_no_public_class_name_has_more_than_two_meanings() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        if not module.startswith(AWSS_OWN):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(module)
    assert len(found) > 500  # it looked
    assert {name: modules for name, modules in found.items() if len(modules) > MOST} == {}
