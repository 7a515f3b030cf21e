"""Tuning jobs played without training jobs: the decisions and the sampler are those of production, the objective is a function.

What `scripts/bench tuning` compares searches with; a job of an hour takes seconds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clary.domain.jobs import training
from clary.domain.resources import Record, Scope
from clary.domain.tuning import record as tuning
from clary.domain.tuning import turn
from clary.domain.tuning.record import Halt, Proposal, SeenTuning, Suggest, Train
from clary.ports import Sampler

SCOPE = Scope("000000000000", "us-east-1")
ARN = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/bench"
Params = dict[str, Any]
Curve = Callable[[Params], list[float]]


def continuous(name: str, low: float, high: float, scale: str = "Linear") -> dict[str, Any]:
    return {"Name": name, "MinValue": repr(low), "MaxValue": repr(high), "ScalingType": scale}


@dataclass(frozen=True, slots=True)
class Problem:
    """An objective by its name in `peers/tuning_objectives.py`, and its ranges."""

    name: str
    ranges: dict[str, Any]


def box(*names: str, low: float, high: float) -> dict[str, Any]:
    return {"ContinuousParameterRanges": [continuous(name, low, high) for name in names]}


def scales(**bounds: tuple[float, float]) -> dict[str, Any]:
    return {"ContinuousParameterRanges": [continuous(name, *b, scale="Logarithmic") for name, b in bounds.items()]}


PROBLEMS = (
    Problem("sphere", box("x", "y", "z", low=-5, high=5)),
    Problem(
        "branin",
        {"ContinuousParameterRanges": [continuous("x", -5, 10), continuous("y", 0, 15)]},
    ),
    Problem("rosenbrock", box("x", "y", low=-2, high=2)),
    Problem("ackley", box("x", "y", "z", low=-5, high=5)),
    Problem(
        "mixed",
        {
            "IntegerParameterRanges": [continuous("depth", 1, 20) | {"MinValue": "1", "MaxValue": "20"}],
            "ContinuousParameterRanges": [continuous("rate", 1e-5, 1.0, "Logarithmic")],
            "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b", "c"]}],
        },
    ),
    Problem("breast_cancer", scales(C=(1e-3, 1e3), gamma=(1e-5, 1.0))),
    Problem("diabetes", scales(C=(1e-2, 1e4), gamma=(1e-5, 1.0), epsilon=(1e-3, 1e2))),
    Problem("wine", scales(C=(1e-4, 1e4), tol=(1e-6, 1e-1))),
)
CURVES = {
    "ContinuousParameterRanges": [
        continuous("alpha", 1e-7, 1e-1, "Logarithmic"),
        continuous("eta", 1e-5, 1.0, "Logarithmic"),
    ],
    "CategoricalParameterRanges": [{"Name": "penalty", "Values": ["l2", "l1"]}],
}


class Objectives:
    """The worker that computes objectives, in an environment of its own."""

    def __init__(self, python: str) -> None:
        script = Path(__file__).parent / "peers" / "tuning_objectives.py"
        self._process = subprocess.Popen(
            [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of objectives ended in {what}")
        return json.loads(line)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def request(strategy: str, ranges: dict[str, Any], trials: int, seed: int, epochs: int = 0) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Strategy": strategy,
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": trials, "MaxParallelTrainingJobs": 1},
        "ParameterRanges": ranges,
        "RandomSeed": seed,
    }
    if epochs:
        config["StrategyConfig"] = {"HyperbandStrategyConfig": {"MinResource": 1, "MaxResource": epochs}}
    definition = {
        "AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "File"},
        "RoleArn": "arn",
        "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }
    return {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": definition}


async def play(asked: dict[str, Any], sampler: Sampler, curve: Curve) -> list[tuple[Params, list[float]]]:
    """The whole job, one training job at a time: each trial's parameters as the sampler gave them, and the epochs that it made."""
    seed = asked["HyperParameterTuningJobConfig"]["RandomSeed"]
    document = tuning.document(asked, [], "by", "bench", seed)
    record = Record(tuning.KIND, SCOPE, "bench", ARN, "InProgress", 0.0, 0.0, document)
    proposal: Proposal | None = None
    children: dict[str, Record] = {}
    curves: dict[str, list[float]] = {}
    while record.status in tuning.ACTIVE:
        names = [trial["name"] for trial in tuning.open_trials(record.document)]
        decision = turn.decide(record, SeenTuning({name: children.get(name) for name in names}, proposal), 1.0)
        record, proposal = decision.record, None
        halted = [command.name for command in decision.commands if isinstance(command, Halt)]
        for command in decision.commands:
            if isinstance(command, Train):
                raw = record.document["trials"][command.number]["raw"]
                curves[command.name] = curve(dict(raw))
                children[command.name] = child(command.name, [], "InProgress")
            elif isinstance(command, Suggest):
                proposal = Proposal(command.key, await sampler.suggest(command.study))
        record = tuning.absorb(record, [(each, None) for each in decision.commands if isinstance(each, Train)])
        for name in list(children):
            children[name] = _moved(children[name], curves[name], name in halted)
        record = replace(record, version=record.version + 1)
    made = {trial["name"]: trial["raw"] for trial in record.document["trials"]}
    return [(dict(raw), list(children[name].document["objective"])) for name, raw in made.items()]


def child(name: str, values: Sequence[float], status: str) -> Record:
    metrics = [{"MetricName": "loss", "Value": values[-1]}] if values else []
    document = {"parent": ARN, "metrics": metrics, "objective": list(values), "started": 0.0, "ended": 1.0}
    return Record(training.KIND, SCOPE, name, name, status, 0.0, 0.0, document)


def _moved(record: Record, curve: Sequence[float], halted: bool) -> Record:
    """One epoch later, or ended."""
    if record.status != "InProgress":
        return record
    values = record.document["objective"]
    if halted:
        return child(record.name, values, "Stopped")
    if len(values) < len(curve):
        return child(record.name, curve[: len(values) + 1], "InProgress")
    return child(record.name, values, "Completed")
