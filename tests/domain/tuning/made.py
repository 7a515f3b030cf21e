"""Tuning jobs as values, for tests: requests, records, and what became of their training jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.domain.jobs import training
from clary.domain.resources import Record, Scope
from clary.domain.tuning import record as tuning
from clary.domain.tuning import turn
from clary.domain.tuning.record import Proposal, SeenTuning, Suggest, Train

SCOPE = Scope("000000000000", "us-east-1")
ARN = "arn:aws:sagemaker:us-east-1:000000000000:hyper-parameter-tuning-job/t"
RANGES: dict[str, Any] = {"ContinuousParameterRanges": [{"Name": "x", "MinValue": "0", "MaxValue": "1"}]}
NOW = 1000.0


def request(**config: Any) -> dict[str, Any]:
    """A Random search of 4 jobs, 1 at a time; `config` replaces members, `definition` and `request` hold further changes."""
    definition, further = config.pop("definition", {}), config.pop("request", {})
    limits = {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 1, **config.pop("limits", {})}
    made: dict[str, Any] = {
        "HyperParameterTuningJobName": "t",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {key: value for key, value in limits.items() if value is not None},
            "ParameterRanges": RANGES,
            **config,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {"a": "1"},
            "AlgorithmSpecification": {
                "TrainingImage": "i",
                "TrainingInputMode": "File",
                "MetricDefinitions": [{"Name": "loss", "Regex": "loss=(.*)"}],
            },
            "RoleArn": "arn",
            "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            **definition,
        },
        **further,
    }
    return {key: value for key, value in made.items() if value is not None}


def record(asked: dict[str, Any] | None = None, **changes: Any) -> Record:
    document = {**tuning.document(asked or request(), [], "arn:user", "id-1", 7), **changes}
    return Record(tuning.KIND, SCOPE, "t", ARN, "InProgress", NOW, NOW, document)


def child(name: str, status: str = "Completed", value: float | None = 1.0, values: list[float] | None = None) -> Record:
    """A training job as it is stored: `values` are the objective's by epoch, `value` the last."""
    last = values[-1] if values else value
    document: dict[str, Any] = {"metrics": [], "parent": ARN, "started": NOW + 1}
    if last is not None:
        document["metrics"] = [{"MetricName": "loss", "Value": last, "Timestamp": NOW}]
    if values is not None:
        document["objective"] = values
    if status in ("Completed", "Failed", "Stopped"):
        document["ended"] = NOW + 4
    if status == "Failed":
        document["failure"] = "AlgorithmError: it broke"
    return Record(training.KIND, SCOPE, name, f"arn:{name}", status, NOW, NOW, document)


class Tuned:
    """A tuning job turned by hand. `children` are its training jobs, by name; what the sampler suggests is `params`."""

    def __init__(self, asked: dict[str, Any] | None = None, **changes: Any) -> None:
        self.record = record(asked, **changes)
        self.children: dict[str, Record] = {}
        self.commands: list[Any] = []
        self.now = NOW
        self._proposal: Any = None

    @property
    def trials(self) -> list[dict[str, Any]]:
        return list(self.record.document["trials"])

    @property
    def document(self) -> dict[str, Any]:
        return dict(self.record.document)

    def turn(self, proposal: Any = None, create: bool = True, save: bool = True) -> list[Any]:
        """One turn: its commands. `create` False: the creation of jobs fails to be seen; `save` False: the process dies before."""
        names = [trial["name"] for trial in tuning.open_trials(self.record.document)]
        seen = SeenTuning({name: self.children.get(name) for name in names}, proposal)
        decision = turn.decide(self.record, seen, self.now)
        trains = [command for command in decision.commands if isinstance(command, Train)]
        if create:
            for command in trains:
                self.children.setdefault(command.name, child(command.name, "InProgress", None))
        if save:
            wanted = tuning.absorb(decision.record, [(command, None) for command in trains])
            self.record = replace(wanted, version=self.record.version + 1)
        self.commands += decision.commands
        return list(decision.commands)

    def settle(self, most: int = 60) -> None:
        """Turns, with a sampler that answers at once, until nothing changes."""
        for _ in range(most):
            if self.record.status not in tuning.ACTIVE:
                return
            before = self.record
            commands = self.turn(self._proposal)
            asked = [command for command in commands if isinstance(command, Suggest)]
            self._proposal = None
            if asked:
                space = asked[-1].study["space"]
                number = len([event for event in asked[-1].study["events"] if event[0] == "ask"])
                self._proposal = Proposal(
                    asked[-1].key, {entry["name"]: self.suggested(entry, number) for entry in space}
                )
                continue
            if replace(self.record, version=0) == replace(before, version=0):
                return
        raise AssertionError("the job does not settle")

    @staticmethod
    def suggested(entry: dict[str, Any], number: int) -> Any:
        if entry["kind"] == "categorical":
            return entry["choices"][number % len(entry["choices"])]
        return entry["low"] + (entry["high"] - entry["low"]) * (number + 1) / 100

    def end(
        self, number: int, status: str = "Completed", value: float | None = 1.0, values: list[float] | None = None
    ) -> None:
        name = self.trials[number]["name"]
        self.children[name] = child(name, status, value, values)
        self.settle()
