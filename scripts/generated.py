"""Documents drawn from the code. `--check` fails when a checked-in one is not what the code draws; without it they are written."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable

from clary.api import catalogue
from clary.api.plain import fields
from clary.app import topology
from clary.domain import extensions, lifecycle
from clary.toolkit import brief
from clary.toolkit.evaluation import settings as evaluation
from clary.toolkit.frameworks import contents
from clary.toolkit.preparation import recipe

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
GENERATED: dict[str, Callable[[], str]] = {
    "operations.md": catalogue.render,
    "fields.md": fields.render,
    "endpoints/content-types.md": contents.render,
    "extensions.md": extensions.render,
    "schemas/brief.json": lambda: json.dumps(brief.SCHEMA, indent=2) + "\n",
    "schemas/recipe.json": lambda: json.dumps(recipe.SCHEMA, indent=2) + "\n",
    "schemas/evaluation.json": lambda: json.dumps(evaluation.SCHEMA, indent=2) + "\n",
    "lifecycle.svg": lifecycle.render_svg,
    "processes.svg": topology.render_svg,
}


def main() -> int:
    stale = []
    for name, render in GENERATED.items():
        path, wanted = DOCS / name, render()
        if path.exists() and path.read_text() == wanted:
            continue
        if "--check" in sys.argv:
            stale.append(name)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted)
            print(f"wrote docs/{name}")
    if stale:
        print(f"docs/{', docs/'.join(stale)}: not what the code draws; run scripts/generated.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
