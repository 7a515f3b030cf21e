"""Counts the shape of a tree: modules, lines, branches a line, and tests that stand at their module's path.

    scripts/shape.py [FOLDER]    FOLDER: a checkout, by default this one

A branch is one of the two ways of an `if` or loop, a `case` or an `except`; a line of code is neither empty nor a comment. A test file is
at its module's path where tests/a/test_b.py tests src/clary/a/b.py (or the package a/b); test_b_more.py is a further file of the same
module. Tests that drive a whole Clary have no module, and are not counted.
"""

from __future__ import annotations

import ast
import io
import pathlib
import sys
import tokenize

WHOLE = frozenset({"cluster", "sdk", "faults", "fuzz", "docs", "benchmarks"})
TWO_WAYS = (ast.If, ast.For, ast.AsyncFor, ast.While)
QUIET = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def branches(tree: ast.AST) -> int:
    nodes = list(ast.walk(tree))
    return 2 * sum(isinstance(node, TWO_WAYS) for node in nodes) + sum(
        isinstance(node, ast.match_case | ast.ExceptHandler) for node in nodes
    )


def code_lines(text: str) -> int:
    """Lines that hold more than a comment; a string of several lines counts with all of them."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in QUIET:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def module_of(test: pathlib.PurePath, modules: frozenset[str]) -> tuple[str, bool] | None:
    """The module (`a/b`) that a test file below tests/ is of, by its name, and whether the name says no more than that."""
    words = test.stem.removeprefix("test_").split("_")
    for length in range(len(words), 0, -1):
        name = (test.parent / "_".join(words[:length])).as_posix()
        if name in modules:
            return name, length == len(words)
    return None


def modules_of(root: pathlib.Path) -> frozenset[str]:
    """Every module and package below src/clary, as `a/b`; a program's `__main__` is `main`."""
    source = root / "src" / "clary"
    paths = [path.relative_to(source) for path in source.rglob("*.py")]
    names = {path.with_suffix("").as_posix().replace("__main__", "main") for path in paths}
    return frozenset(names | {path.parent.as_posix() for path in paths if path.name == "__init__.py"})


def tests_of(root: pathlib.Path) -> list[pathlib.PurePath]:
    below = [path.relative_to(root / "tests") for path in (root / "tests").rglob("test_*.py")]
    return sorted(path for path in below if path.parts[0] not in WHOLE)


def main(folder: str = "") -> int:
    root = pathlib.Path(folder) if folder else pathlib.Path(__file__).resolve().parent.parent
    texts = [path.read_text() for path in sorted((root / "src" / "clary").rglob("*.py"))]
    trees = [ast.parse(text) for text in texts]
    ways = sum(map(branches, trees))
    statements = sum(isinstance(node, ast.stmt) for tree in trees for node in ast.walk(tree))
    modules, tests = modules_of(root), tests_of(root)
    places = {test: module_of(test, modules) for test in tests}
    exact = sum(place is not None and place[1] for place in places.values())
    further = sum(place is not None and not place[1] for place in places.values())
    print(
        f"modules: {len(texts)}, of them side by side in domain/: {len(list((root / 'src/clary/domain').glob('*.py')))}"
    )
    print(f"lines: {sum(text.count(chr(10)) for text in texts)}")
    print(f"branches a line of code: {ways / sum(map(code_lines, texts)):.3f}, a statement: {ways / statements:.3f}")
    print(
        f"tests: {len(tests)}, at their module's path: {exact} ({exact / len(tests):.0%}), further files of a module: {further}"
    )
    print(f"elsewhere: {', '.join(test.as_posix() for test, place in places.items() if place is None)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
