"""river's synthetic streams, in an environment of its own: `python river_streams.py OUT ROWS` writes OUT.json with a year of each.

A stream is {"name", "x", "y", "changes" (days, known), "pinned"}; it begins `BEFORE` rows before the year.
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import Any

from river.datasets import synth

DAYS, BEFORE = 365, 1000


def main() -> int:
    path, rows = sys.argv[1], int(sys.argv[2])
    with open(path, "w") as file:
        json.dump([sudden(rows), gradual(rows), recurring(rows), poisoned(rows)], file)
    return 0


def sudden(rows: int) -> dict[str, Any]:
    """Another of Agrawal's functions from day 120 and from day 240 on."""
    parts = [agrawal(0, BEFORE + 120 * rows, 1), agrawal(2, 120 * rows, 2), agrawal(4, 125 * rows, 3)]
    return told("sudden", [each for part in parts for each in part], [120, 240])


def gradual(rows: int) -> dict[str, Any]:
    """From one function to another around day 180, over about 40 days."""
    stream = synth.ConceptDriftStream(
        stream=synth.Agrawal(classification_function=1, seed=4),
        drift_stream=synth.Agrawal(classification_function=3, seed=5),
        position=BEFORE + 180 * rows,
        width=40 * rows,
        seed=6,
    )
    return told("gradual", islice(stream, BEFORE + DAYS * rows), [180])


def recurring(rows: int) -> dict[str, Any]:
    """Two of STAGGER's concepts, each for 90 days."""
    found = list(islice(synth.STAGGER(classification_function=0, seed=7), BEFORE))
    for part in range(5):
        days = min(90, DAYS - 90 * part)
        found += islice(synth.STAGGER(classification_function=part % 2, seed=8 + part), days * rows)
    return told("recurring", found, [90, 180, 270, 360])


def poisoned(rows: int) -> dict[str, Any]:
    """Another function from day 90 on; who asks poisons a day's labels later. `pinned`: rows that people have checked, of which both
    functions say the same, so that they stay right over the change."""
    parts = [*agrawal(0, BEFORE + 90 * rows, 20), *agrawal(2, (DAYS - 90) * rows, 22)]
    both = zip(agrawal(0, 1500, 21), agrawal(2, 1500, 21), strict=True)
    agreed = []
    for (x, before), (same, after) in both:
        assert x == same, "the features follow from the seed alone"
        if before == after:
            agreed.append((x, before))
    pinned = told("", agreed[:500], [])
    return {
        **told("poisoned", parts, [90]),
        "pinned": [[y, *x] for x, y in zip(pinned["x"], pinned["y"], strict=True)],
    }


def agrawal(function: int, rows: int, seed: int) -> list[Any]:
    return list(islice(synth.Agrawal(classification_function=function, seed=seed), rows))


def told(name: str, stream: Any, changes: list[int]) -> dict[str, Any]:
    x, y = [], []
    for features, label in stream:
        x.append([round(float(value), 3) for value in features.values()])
        y.append(int(label))
    return {"name": name, "x": x, "y": y, "changes": changes, "pinned": []}


if __name__ == "__main__":
    sys.exit(main())
