"""When a tuning job is over: completion criteria, its time, and the signs that no job will ever tell a value. Pure.

AWS: the first criterion that is met counts; an improvement is one of at least 1 % of the best value so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from clary.domain.resources import Record
from clary.domain.tuning import record as tuning
from clary.domain.tuning import request as asked
from clary.domain.tuning.request import Definition

ATTEMPTS = 5  # failed training jobs, none having succeeded, after which no further one is tried
SILENT = 2  # jobs that ended well without a value of the objective, none having told one, after which none is tried
IMPROVEMENT = 0.01
_CONVERGED = 10  # trials without an improvement, at least; 5 for each hyperparameter, where that is more

Document = Mapping[str, Any]


def _criteria(document: Document) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (
        document["request"]["HyperParameterTuningJobConfig"].get("TuningJobCompletionCriteria") or {}
    )
    return found


def _ended(document: Document) -> Iterator[Mapping[str, Any]]:
    """Trials in the order in which they ended."""
    return (document["trials"][at] for kind, at in document["events"] if kind == "tell")


def not_improving(document: Document, maximize: bool) -> int:
    """NumberOfTrainingJobsObjectiveNotImproving: jobs that ended since the best value last improved by 1 %."""
    mark: float | None = None
    since = 0
    for trial in _ended(document):
        value = float(trial["value"]) if trial["objective"] == "Succeeded" else None
        gain = None if value is None or mark is None else (value - mark if maximize else mark - value)
        if value is not None and (mark is None or (gain is not None and gain > 0 and gain >= IMPROVEMENT * abs(mark))):
            mark, since = value, 0
        else:
            since += 1
    return since if mark is not None else 0


def met(document: Document, of: Sequence[Definition]) -> bool:
    """Whether the target is reached, or too many jobs in a row brought no improvement."""
    wanted, maximize = _criteria(document), of[0].maximize
    best = tuning.best(document, maximize)
    if best is None:
        return False
    target = wanted.get("TargetObjectiveMetricValue")
    if target is not None and (best["value"] >= target if maximize else best["value"] <= target):
        return True
    most = (wanted.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving")
    return most is not None and not_improving(document, maximize) >= int(most)


def converged(document: Document, of: Sequence[Definition]) -> bool:
    """ConvergenceDetected, where it is asked for. AWS does not tell its rule; ours: no improvement over the last 10 jobs, or over five
    times as many as hyperparameters are tuned."""
    if (_criteria(document).get("ConvergenceDetected") or {}).get("CompleteOnConvergence") != "Enabled":
        return False
    window = max(_CONVERGED, 5 * max(len(each.ranges) for each in of))
    return not_improving(document, of[0].maximize) >= window


def left(record: Record, now: float) -> float | None:
    """Seconds until MaxRuntimeInSeconds is over; None: there is no such limit."""
    most = asked.limits(record.document["request"]).get("MaxRuntimeInSeconds")
    return max(0.1, record.created + float(most) - now) if most is not None else None


def time_up(record: Record, now: float) -> bool:
    most = asked.limits(record.document["request"]).get("MaxRuntimeInSeconds")
    return most is not None and now >= record.created + float(most)


def hopeless(document: Document, silent: Sequence[Mapping[str, Any]]) -> str | None:
    """Why further jobs would be wasted; None: they may succeed."""
    if tuning.succeeded(document):
        return None
    failed = [trial for trial in document["trials"] if trial["status"] == "Failed"]
    if len(failed) >= ATTEMPTS:
        return _no_success(ATTEMPTS)
    if len(silent) >= SILENT and not tuning.open_trials(document):
        return nothing(document)
    return None


def nothing(document: Document) -> str:
    """Why a job fails whose trials have all ended, none with a value."""
    if document.get("warning"):
        words = str(document["warning"]).removeprefix("Warning: ")
        return f"No training job told a value of the objective metric. T{words[1:]}"
    return _no_success(max(1, len(document["trials"])))


def _no_success(attempts: int) -> str:
    return f"No training job succeeded after {attempts} attempts. Please take a look at the training job failures to get more details."
