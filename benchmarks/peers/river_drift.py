"""river's detectors at their defaults, in an environment of their own: streams by `.npy` file, one line of JSON for each.

A line on stdin is the path of an array (rows, columns); the answer is {detector: whether it told of drift in the rows after the first
`reference`}.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from river import drift


def main() -> int:
    reference = int(sys.argv[1])
    for line in sys.stdin:
        rows = np.load(line.strip())
        told = {}
        for name, make in (("ADWIN", drift.ADWIN), ("KSWIN", drift.KSWIN), ("Page-Hinkley", drift.PageHinkley)):
            told[name] = any(_detects(make, column, reference) for column in rows.T)
        print(json.dumps(told), flush=True)
    return 0


def _detects(make: type, column: np.ndarray, reference: int) -> bool:
    detector = make(seed=1) if make is drift.KSWIN else make()
    for at, value in enumerate(column.tolist()):
        detector.update(value)
        if at >= reference and detector.drift_detected:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
