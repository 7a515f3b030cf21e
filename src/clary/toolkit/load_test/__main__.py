"""`python -m clary.toolkit.load_test`: reads the archive of payloads (input "payload") and what to do from the variable LOAD_TEST.

That is a JSON object: `endpoint`, `variant` (whose utilization is told; '' for none), `phases` ([users, users that come in a minute,
seconds]), `limits` (`most` invocations a minute, `latency` as [percentile, milliseconds], `flat`), `types`, `accept`. The ExitMessage is
the result, a JSON object, or why there is none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime, timezone
from typing import Any, Dict, Mapping, Optional

from clary.toolkit.failure import UserError, exit_message, log
from clary.toolkit.load_test import asking, payloads, windows
from clary.toolkit.load_test.windows import LoadWindow, Phase

ML = "/opt/ml"
_FIGURES = 15.0  # seconds until the figures of a window are there
_UTILIZATION = {"cpu": "CPUUtilization", "memory": "MemoryUtilization"}


def main(base: str = ML) -> int:
    try:
        told = tested(json.loads(os.environ["LOAD_TEST"]), os.path.join(base, "processing", "input", "payload"))
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        exit_message(str(error), base)
        return 1
    exit_message(json.dumps(told), base)
    return 0


def tested(spec: Mapping[str, Any], folder: str) -> Dict[str, Any]:
    """The whole test. UserError where nothing was measured."""
    found = payloads.read(folder, spec["types"])
    log("{} sample payloads for endpoint {}".format(len(found), spec["endpoint"]))
    make = _maker(spec)
    first = make()
    for each in found[:10]:  # the first answers of a fresh replica are no measure
        error = first(each)
        if error:
            raise UserError("The endpoint does not answer the sample payload {}: {}".format(each.name, error))
    limits = dict(spec["limits"])
    seen, why = asking.run([Phase(*each) for each in spec["phases"]], limits, asking.Users(found, make))
    told = windows.told(seen, limits, why)
    if told is None:
        raise UserError(windows.refusal(seen, limits))
    best = windows.best(seen, limits)
    assert best is not None
    return {**told, **utilization(spec["endpoint"], spec["variant"], best)} if spec["variant"] else told


def _maker(spec: Mapping[str, Any]) -> Any:
    return lambda: asking.EndpointAsker(spec["endpoint"], spec["accept"])


def utilization(endpoint: str, variant: str, window: LoadWindow) -> Dict[str, float]:
    """CPU and memory of the replicas in that window, in percent; what is not told in time is left out."""
    import boto3

    client = boto3.client("cloudwatch")
    deadline = time.monotonic() + _FIGURES
    found: Dict[str, float] = {}
    while len(found) < len(_UTILIZATION) and time.monotonic() < deadline:
        for name, metric in _UTILIZATION.items():
            value = _average(client, endpoint, variant, metric, window)
            if value is not None:
                found[name] = round(value, 3)
        time.sleep(0.5)
    return found


def _average(client: Any, endpoint: str, variant: str, metric: str, window: LoadWindow) -> Optional[float]:
    """The most of what was told in the window or just after it: each datapoint is about the five seconds before."""
    points = client.get_metric_statistics(
        Namespace="/aws/sagemaker/Endpoints",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        StartTime=datetime.fromtimestamp(window.began + 1, timezone.utc),
        EndTime=datetime.fromtimestamp(window.ended + 6, timezone.utc),
        Period=1,
        Statistics=["Maximum"],
    )["Datapoints"]
    return max(float(each["Maximum"]) for each in points) if points else None


if __name__ == "__main__":
    sys.exit(main())
