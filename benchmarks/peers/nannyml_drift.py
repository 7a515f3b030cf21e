"""NannyML's univariate drift at its defaults, in an environment of its own: the protocol is that of `river_drift.py`.

The reference is cut into chunks of a window's rows, as many as there are whole ones; the windows are two chunks to be judged. Alarms of
Jensen-Shannon distance, NannyML's default.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")

import nannyml  # noqa: E402


def main() -> int:
    reference = int(sys.argv[1])
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    for line in sys.stdin:
        rows = np.load(line.strip(), allow_pickle=True)
        print(json.dumps({"NannyML": _alarms(rows, reference)}), flush=True)
    return 0


def _alarms(rows: np.ndarray, reference: int) -> bool:
    names = [f"c{at}" for at in range(rows.shape[1])]
    frame = pd.DataFrame(rows, columns=names).infer_objects()
    size = (len(rows) - reference) // 2
    calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=size)
    calculator.fit(frame.iloc[: reference // size * size].reset_index(drop=True))
    found = calculator.calculate(frame.iloc[reference:].reset_index(drop=True)).to_df(multilevel=False)
    judged = found[found["chunk_period"] == "analysis"] if "chunk_period" in found else found.tail(2)
    return bool(judged[[name for name in judged if name.endswith("_alert")]].to_numpy(dtype=bool).any())


if __name__ == "__main__":
    sys.exit(main())
