"""What a CreateHyperParameterTuningJob request asks for: definitions with their ranges and objectives, limits, and what is not allowed.

Limits are AWS's ("Automatic model tuning resource limits"). Values only; buckets, images and roles are the handler's to check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.jobs import training
from clary.domain.tuning import ranges
from clary.domain.tuning.ranges import Range

METRIC = "_tuning_objective_metric"
MOST_JOBS = 750
MOST_RANDOM_JOBS = 10_000
AUTOTUNED_JOBS = 20  # where Autotune is asked for and no number is given
MOST_PARALLEL = 10
MOST_RUNTIME = 30 * 86_400
MOST_HYPERPARAMETERS = 100
MOST_EPOCHS = 20_000
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")  # static ones that MaxResource defaults to

Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """One TrainingJobDefinition. `request` is it as sent; `name` is '' where there is only one."""

    name: str
    request: Request
    ranges: tuple[Range, ...]
    metric: str
    maximize: bool

    @property
    def static(self) -> Mapping[str, str]:
        return self.request.get("StaticHyperParameters") or {}

    @property
    def image(self) -> str:
        return str(self.request["AlgorithmSpecification"].get("TrainingImage") or "")

    def shown(self) -> dict[str, Any]:
        """As Describe shows it: the service adds the objective to the static hyperparameters, and the SDK's attach takes it out. That
        reads ResourceConfig, also of those that were sent with HyperParameterTuningResourceConfig."""
        return {
            **self.request,
            "StaticHyperParameters": {**self.static, METRIC: self.quoted},
            "ResourceConfig": _resource_config(self.request),
        }

    @property
    def quoted(self) -> str:
        """The metric's name as a hyperparameter: JSON in the script mode of the SDK, whose other values are JSON too."""
        program = str(self.static.get("sagemaker_program") or "")
        return json.dumps(self.metric) if program.startswith('"') else self.metric


def definitions(request: Request) -> tuple[Definition, ...]:
    """Of a request that `check` has passed, or Invalid."""
    config = request["HyperParameterTuningJobConfig"]
    single, several = request.get("TrainingJobDefinition"), request.get("TrainingJobDefinitions")
    if bool(single) == bool(several):
        raise Invalid("Give either TrainingJobDefinition or TrainingJobDefinitions.")
    auto = autotuned(request)
    found = []
    for entry in several or [single]:
        name = str(entry.get("DefinitionName") or "")
        objective = entry.get("TuningObjective") or config.get("HyperParameterTuningJobObjective")
        given = entry.get("HyperParameterRanges") or config.get("ParameterRanges")
        if several and not (name and entry.get("TuningObjective") and (entry.get("HyperParameterRanges") or auto)):
            raise Invalid(
                "Each of TrainingJobDefinitions needs a DefinitionName, a TuningObjective and HyperParameterRanges."
            )
        if not objective:
            raise Invalid(
                "A metric is required for this hyperparameter tuning job objective. Give HyperParameterTuningJobObjective."
            )
        found.append(
            Definition(
                name, entry, ranges.of(given, auto), str(objective["MetricName"]), objective["Type"] == "Maximize"
            )
        )
    return tuple(found)


def autotuned(request: Request) -> bool:
    return (request.get("Autotune") or {}).get("Mode") == "Enabled"


def strategy(request: Request) -> str:
    return str(request["HyperParameterTuningJobConfig"]["Strategy"])


def limits(request: Request) -> Mapping[str, Any]:
    found: Mapping[str, Any] = request["HyperParameterTuningJobConfig"]["ResourceLimits"]
    return found


def maximum(request: Request, of: Sequence[Definition]) -> int:
    """How many training jobs there are at most."""
    if strategy(request) == "Grid":
        return sum(ranges.combinations(each.ranges) for each in of)
    given = limits(request).get("MaxNumberOfTrainingJobs")
    return int(given) if given else AUTOTUNED_JOBS if autotuned(request) else MOST_JOBS


def early_stopping(request: Request) -> bool:
    return bool(request["HyperParameterTuningJobConfig"].get("TrainingJobEarlyStoppingType") == "Auto")


def resources(request: Request, definition: Definition) -> tuple[int, int] | None:
    """Hyperband's (MinResource, MaxResource) in epochs; None for other strategies. Invalid without a maximum."""
    if strategy(request) != "Hyperband":
        return None
    config = request["HyperParameterTuningJobConfig"].get("StrategyConfig") or {}
    given = config.get("HyperbandStrategyConfig") or {}
    most = given.get("MaxResource")
    if not most:
        texts = [training.decoded(definition.static[name]) for name in EPOCHS if name in definition.static]
        most = next((int(value) for value in texts if str(value).isdigit()), 0)
    if not most:
        raise Invalid(
            "The Hyperband strategy needs a MaxResource in StrategyConfig.HyperbandStrategyConfig, or one of the static "
            f"hyperparameters {', '.join(EPOCHS)}."
        )
    least = int(given.get("MinResource") or 1)
    if not least <= int(most) <= MOST_EPOCHS:
        raise Invalid(
            f"Hyperband's MinResource {least} and MaxResource {most} must be in order and at most {MOST_EPOCHS}."
        )
    return least, int(most)


# -- what is not allowed --------------------------------------------------------------------------------------------------------


def check(request: Request) -> tuple[Definition, ...]:
    """The definitions, or Invalid with what is wrong and what to do."""
    of = definitions(request)
    _check_limits(request)
    _check_strategy(request, of)
    names = [each.name for each in of]
    if len(set(names)) < len(names):
        raise Invalid("The DefinitionNames of TrainingJobDefinitions must differ.")
    if len({each.maximize for each in of}) > 1:
        raise Invalid("The TuningObjectives of all TrainingJobDefinitions must have the same Type.")
    for each in of:
        _check_definition(each)
        child(each, "name", {})
    return of


def _check_limits(request: Request) -> None:
    most = MOST_RANDOM_JOBS if strategy(request) == "Random" else MOST_JOBS
    jobs, parallel = limits(request).get("MaxNumberOfTrainingJobs"), limits(request)["MaxParallelTrainingJobs"]
    if jobs and jobs > most:
        raise Invalid(
            f"MaxNumberOfTrainingJobs is {jobs}; the strategy {strategy(request)} allows at most {most} training jobs."
        )
    if parallel > MOST_PARALLEL:
        raise Invalid(
            f"MaxParallelTrainingJobs is {parallel}; at most {MOST_PARALLEL} training jobs run at the same time."
        )
    if jobs and parallel > jobs:
        raise Invalid(f"MaxParallelTrainingJobs {parallel} is greater than MaxNumberOfTrainingJobs {jobs}.")
    if (limits(request).get("MaxRuntimeInSeconds") or 0) > MOST_RUNTIME:
        raise Invalid(f"MaxRuntimeInSeconds must be at most {MOST_RUNTIME} (30 days).")


def _check_strategy(request: Request, of: Sequence[Definition]) -> None:
    kind, config = strategy(request), request["HyperParameterTuningJobConfig"]
    if (config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") and kind != "Hyperband":
        raise Invalid(f"HyperbandStrategyConfig is for the strategy Hyperband, not for {kind}.")
    if kind == "Hyperband":
        if early_stopping(request):
            raise Invalid(
                "TrainingJobEarlyStoppingType must be Off for the Hyperband strategy, which stops training jobs by itself."
            )
        for each in of:
            resources(request, each)
    if kind != "Grid":
        return
    for each in of:
        other = next((one.name for one in each.ranges if one.kind != "categorical"), None)
        if other is not None:
            raise Invalid(f"The Grid strategy takes categorical hyperparameters only, and '{other}' is a number.")
    given, product = limits(request).get("MaxNumberOfTrainingJobs"), maximum(request, of)
    if given and given != product:
        raise Invalid(
            f"The Grid strategy trains every combination, and there are {product}: leave MaxNumberOfTrainingJobs out, or give "
            f"{product}."
        )
    if product > MOST_JOBS:
        raise Invalid(f"The grid has {product} combinations; at most {MOST_JOBS} training jobs are allowed.")


def _check_definition(definition: Definition) -> None:
    if not definition.ranges:
        raise Invalid("At least one hyperparameter range is needed.")
    both = next((each.name for each in definition.ranges if each.name in definition.static), None)
    if both is not None:
        raise Invalid(
            f"The hyperparameter '{both}' is in StaticHyperParameters and in the ranges: leave it out of one."
        )
    if METRIC in definition.static or any(each.name == METRIC for each in definition.ranges):
        raise Invalid(f"The hyperparameter '{METRIC}' is set by the service: leave it out.")
    number = len(definition.static) + len(definition.ranges) + 1
    if number > MOST_HYPERPARAMETERS:
        raise Invalid(
            f"Static and tuned hyperparameters, with the objective's name, are {number}; at most {MOST_HYPERPARAMETERS} are allowed."
        )


# -- the training jobs ----------------------------------------------------------------------------------------------------------

_COPIED = (
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "VpcConfig",
    "OutputDataConfig",
    "StoppingCondition",
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "RetryStrategy",
    "Environment",
)
_RESOURCES = ("InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId")


def child(definition: Definition, name: str, tuned: Mapping[str, str]) -> dict[str, Any]:
    """The CreateTrainingJob request of one trial. Checkpoints lie below the job's name: one trial must not go on with another's."""
    request = definition.request
    made = {key: request[key] for key in _COPIED if key in request}
    made["TrainingJobName"] = name
    made["HyperParameters"] = {**definition.static, **tuned, METRIC: definition.quoted}
    made["ResourceConfig"] = _resource_config(request)
    checkpoint = request.get("CheckpointConfig")
    if checkpoint:
        made["CheckpointConfig"] = {**checkpoint, "S3Uri": f"{checkpoint['S3Uri'].rstrip('/')}/{name}"}
    return made


def _resource_config(request: Request) -> dict[str, Any]:
    own, tuning = request.get("ResourceConfig"), request.get("HyperParameterTuningResourceConfig")
    if bool(own) == bool(tuning):
        raise Invalid("A training job definition needs either ResourceConfig or HyperParameterTuningResourceConfig.")
    if own:
        return dict(own)
    assert tuning is not None
    choices = tuning.get("InstanceConfigs") or []
    if choices and tuning.get("InstanceType"):
        raise Invalid("HyperParameterTuningResourceConfig takes either InstanceType or InstanceConfigs.")
    made = {key: tuning[key] for key in _RESOURCES if key in tuning}
    if choices:  # AllocationStrategy Prioritized: the first that there is; every type is here
        made |= {key: choices[0][key] for key in _RESOURCES if key in choices[0]}
    made.setdefault("InstanceCount", 1)
    made.setdefault("VolumeSizeInGB", 1)
    return made
