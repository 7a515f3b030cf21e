"""The sides of `scripts/bench prepare`, each a process of the preparation's environment: SIDE ROWS FOLDER. Prints seconds and peak KiB.

All do the same to 24 numbers and 6 categories: 80 : 20 at random, bounds at the quantiles 0.01 and 0.99, the mean for what is missing,
standard scaling, one-hot encoding, everything fitted on the training part; in is CSV, out is Parquet.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

NUMBERS = [f"n{number}" for number in range(24)]
CATEGORIES = [f"c{number}" for number in range(6)]
LEVELS = 8
RECIPE = {
    "target": "y",
    "split": {"parts": {"train": 0.8, "test": 0.2}},
    "columns": {
        **{name: {"bound": {"quantiles": [0.01, 0.99]}, "fill": "mean", "normalise": "standard"} for name in NUMBERS},
        **{name: {"kind": "category", "encode": "one_hot"} for name in CATEGORIES},
    },
}


def make(rows: int, folder: Path) -> None:
    """data/a.csv, by DuckDB: numbers with a twentieth missing, categories of eight values."""
    import duckdb

    (folder / "data").mkdir(parents=True)
    listed = [
        f"CASE WHEN random() < 0.05 THEN NULL ELSE round(random() * 100 + {n}, 5) END AS {name}"
        for n, name in enumerate(NUMBERS)
    ]
    listed += [f"'v' || CAST(floor(random() * {LEVELS}) AS INTEGER) AS {name}" for name in CATEGORIES]
    query = f"SELECT {', '.join(listed)}, round(random(), 4) AS y FROM range({rows})"
    duckdb.execute(f"COPY ({query}) TO '{folder}/data/a.csv' (HEADER)")


def clary(rows: int, folder: Path) -> None:
    from clary.toolkit.preparation import job

    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    job.prepare(str(folder / "data"), str(folder / "recipe.json"), str(folder / "clary"), 2)


def sklearn(rows: int, folder: Path) -> None:
    import numpy as np
    import pandas as pd
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.read_csv(folder / "data" / "a.csv")
    train, test = train_test_split(frame, test_size=0.2, random_state=0)
    low, high = train[NUMBERS].quantile(0.01), train[NUMBERS].quantile(0.99)
    imputer, scaler, encoder = SimpleImputer(), StandardScaler(), OneHotEncoder(sparse_output=False)
    for name, part in (("train", train), ("test", test)):
        x = part[NUMBERS].clip(low, high, axis=1)
        fit = name == "train"
        x = imputer.fit_transform(x) if fit else imputer.transform(x)
        x = scaler.fit_transform(x) if fit else scaler.transform(x)
        hot = encoder.fit_transform(part[CATEGORIES]) if fit else encoder.transform(part[CATEGORIES])
        names = ["y", *NUMBERS, *encoder.get_feature_names_out(CATEGORIES)]
        made: Any = pd.DataFrame(np.column_stack([part["y"], x, hot]), columns=names)
        made.to_parquet(folder / f"sklearn-{name}.parquet")


def hand(rows: int, folder: Path) -> None:
    """As somebody writes it who knows DuckDB: types known, sketches for the quantiles, two passes over the file."""
    import duckdb

    sql = duckdb.connect(config={"threads": 2, "memory_limit": "700MB"})
    part = f"hash({', '.join(NUMBERS[:4])}) % 10 < 8"
    source = f"read_csv('{folder}/data/a.csv')"
    asked = ", ".join(f"approx_quantile({name}, [0.01, 0.99]), avg({name}), stddev_pop({name})" for name in NUMBERS)
    found = sql.execute(f"SELECT {asked} FROM {source} WHERE {part}").fetchone()
    assert found is not None
    listed = ["y"]
    for place, name in enumerate(NUMBERS):
        (low, high), mean, spread = found[3 * place : 3 * place + 3]
        listed.append(f"(least(greatest(coalesce({name}, {mean}), {low}), {high}) - {mean}) / {spread} AS {name}")
    for name in CATEGORIES:
        listed += [f"CAST({name} = 'v{level}' AS DOUBLE) AS {name}_v{level}" for level in range(LEVELS)]
    for kept, where in (("train", part), ("test", f"NOT ({part})")):
        sql.execute(f"COPY (SELECT {', '.join(listed)} FROM {source} WHERE {where}) TO '{folder}/hand-{kept}.parquet'")


def main() -> None:
    side, rows, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    began = time.monotonic()
    {"make": make, "clary": clary, "sklearn": sklearn, "hand": hand}[side](rows, folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    print(json.dumps({"seconds": time.monotonic() - began, "cpu": cpu, "peak": used.ru_maxrss}))


if __name__ == "__main__":
    main()
