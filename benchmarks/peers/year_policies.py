"""never, daily and oracle over the streams, with the packages of Clary's XGBoost runtime: `python year_policies.py STREAMS OUT ROWS`.

The same training (binary:logistic, 50 rounds) and window as the template pipeline: rows since the change where there are `LEAST`, else the
newest `WINDOW`. A day is predicted by the model of its morning. OUT: {stream: {policy: {"accuracy": by day, "trainings"}}}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import xgboost

BEFORE, WINDOW, LEAST = 1000, 2000, 300


def main() -> int:
    with open(sys.argv[1]) as file:
        streams = json.load(file)
    rows = int(sys.argv[3])
    with open(sys.argv[2], "w") as file:
        json.dump({each["name"]: policies(each, rows) for each in streams}, file)
    return 0


def policies(stream: dict[str, Any], rows: int) -> dict[str, Any]:
    x, y = np.array(stream["x"]), np.array(stream["y"])
    days = (len(y) - BEFORE) // rows
    first = fitted(x[:BEFORE], y[:BEFORE])
    wait = -(-LEAST // rows)
    found = {}
    for policy in ("never", "daily", "oracle"):
        model, accuracy, trainings = first, [], 0
        for day in range(days):
            at = BEFORE + day * rows
            since = next((change for change in stream["changes"] if day == change + wait), None)
            if (policy == "daily" and day) or (policy == "oracle" and since is not None):
                start = BEFORE + since * rows if policy == "oracle" and since is not None else max(0, at - WINDOW)
                model, trainings = fitted(x[start:at], y[start:at]), trainings + 1
            predicted = model.predict(xgboost.DMatrix(x[at : at + rows])) > 0.5
            accuracy.append(float((predicted == y[at : at + rows]).mean()))
        found[policy] = {"accuracy": accuracy, "trainings": trainings}
    return found


def fitted(x: Any, y: Any) -> Any:
    parameters = {"objective": "binary:logistic", "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(x, y), num_boost_round=50)


if __name__ == "__main__":
    sys.exit(main())
