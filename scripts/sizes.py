"""The house stays liveable: modules under 400 lines, functions under 60, or a line in scripts/sizes.allow with a reason."""

from __future__ import annotations

import ast
import pathlib
import sys

MODULE, FUNCTION = 400, 60
ROOT = pathlib.Path(__file__).resolve().parent.parent


def allowed() -> dict[str, str]:
    """`path` or `path:function` -> reason."""
    rows = {}
    for line in (ROOT / "scripts" / "sizes.allow").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition("  ")
            rows[name.strip()] = reason.strip()
    return rows


def main() -> int:
    permitted, used, found = allowed(), set(), []
    for path in sorted((ROOT / "src").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        text = path.read_text()
        lines = text.count("\n")
        sizes = [(name, lines, MODULE)] if lines > MODULE else []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION:
                    sizes.append((f"{name}:{node.name}", length, FUNCTION))
        for what, size, limit in sizes:
            if permitted.get(what):
                used.add(what)
            else:
                found.append(f"{what}: {size} lines, more than {limit}")
    found += [f"{what}: no longer needs its line in scripts/sizes.allow" for what in permitted if what not in used]
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
