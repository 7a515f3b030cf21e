"""Evidently's data drift preset at its defaults, in an environment of its own: the protocol is that of `river_drift.py`.

Each window is a report of its own against the whole reference. A dataset drifts when half of its columns do, Evidently's default.
"""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")

from evidently import Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def main() -> int:
    reference = int(sys.argv[1])
    for line in sys.stdin:
        rows = np.load(line.strip(), allow_pickle=True)
        frame = pd.DataFrame(rows, columns=[f"c{at}" for at in range(rows.shape[1])]).infer_objects()
        middle = (len(rows) + reference) // 2
        told = any(_drifts(frame[:reference], half) for half in (frame[reference:middle], frame[middle:]))
        print(json.dumps({"Evidently": told}), flush=True)
    return 0


def _drifts(reference: pd.DataFrame, window: pd.DataFrame) -> bool:
    found = Report([DataDriftPreset()]).run(window, reference).dict()["metrics"]
    share = next(each["value"]["share"] for each in found if "DriftedColumnsCount" in str(each))
    return bool(share >= 0.5)


if __name__ == "__main__":
    sys.exit(main())
