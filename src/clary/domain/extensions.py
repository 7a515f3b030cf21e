"""Values in AWS's fields that Clary defines. Request validation accepts them, `docs/extensions.md` lists them.
A value that is not in these tables is refused as AWS refuses it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from clary.domain.errors import Invalid

LONGEST_OBJECTIVE = 3_600_000.0  # milliseconds


@dataclass(frozen=True, slots=True)
class Extension:
    """`shape` is botocore's name of the field's type, `available` whether something acts on the value yet."""

    service: str
    shape: str
    value: str
    meaning: str
    available: bool


EXTENSIONS: tuple[Extension, ...] = (
    Extension(
        "application-autoscaling",
        "ScalableDimension",
        "clary:variant:DesiredMillicpuPerInstance",
        "vertical size of a variant's replicas, in thousandths of a vCPU. It changes in place, and the endpoint stays InService. "
        "MinCapacity is at least 10. If the machine has too little CPU, the scaling activity fails and says so",
        True,
    ),
    Extension(
        "application-autoscaling",
        "MetricType",
        "ClaryLatencyObjective",
        "target tracking on a latency objective of a variant: TargetValue is the p99 in milliseconds. Clary's own policy decides each "
        "second, without alarms, over workers, sizes and replicas within the ranges of both dimensions; ScaleInCooldown is how long "
        "capacity is kept after it was last needed (20 minutes), ScaleOutCooldown has no effect",
        True,
    ),
)


@dataclass(frozen=True, slots=True)
class OwnTag:
    """A tag that has an effect or is set by Clary. `user`: users set it; else only Clary can set it."""

    kind: str
    key: str
    meaning: str
    user: bool


TAGS: tuple[OwnTag, ...] = (
    OwnTag(
        "endpoint-config",
        "clary:rollback-on-regression",
        "an update to this config rolls back when the new fleet fails, or is slow, more often than the old one while both serve; the "
        "value is the false alarm rate, above 0 and at most 0.5, such as `0.01`. Without the tag the setting `rollback_on_regression` "
        "applies",
        True,
    ),
    OwnTag(
        "endpoint-config",
        "clary:latency-objective-ms",
        "variants of an endpoint of this config scale by themselves, as with a policy on `ClaryLatencyObjective`: the value is the p99 in "
        "milliseconds. ManagedInstanceScaling's counts are the range (else from 1 to the machine's number of CPUs); a scalable target's "
        "range takes precedence. Without the tag the setting `latency_objective_ms` applies",
        True,
    ),
    OwnTag(
        "training-job",
        "clary:grow-on-out-of-memory",
        "`true`: a job that the kernel killed for its memory starts again on the next larger instance type of the family, from its last "
        "checkpoint, once per size; SecondaryStatusTransitions tell it. Built-in algorithms do without the tag, unless it says `false`. "
        "Set it to `true` for a script that checkpoints, or may be repeated; processing jobs take it too",
        True,
    ),
    OwnTag(
        "endpoint-config",
        "clary:capture-redact",
        "columns that are taken out of captured requests and answers before anything is stored, such as `input.0 input.email output.1`: "
        "empty in CSV, null in JSON. A body that is neither, or cannot be read, is taken out whole",
        True,
    ),
    OwnTag(
        "endpoint-config",
        "clary:drift",
        "the rule by which captured requests of an endpoint of this config are watched for drift: any of `reference=5000` and `window=500` "
        "(rows), `effect=0.02` (share), `alarms=0.001` (false alarms for each window) and `minimum=50` (rows of a column), with blanks "
        "between them",
        True,
    ),
    OwnTag(
        "endpoint-config",
        "clary:labels",
        "how labels that come for captured requests of an endpoint of this config are joined and judged: any of "
        "`folder=s3://BUCKET/PREFIX` (else `ground-truth/ENDPOINT` beside the captured data), "
        "`prediction=output.0` (the column that is compared), "
        "`problem=classification` or `regression`, `threshold=0.5`, `reference=500` and `window=100` (rows), `effect=0.05` (share) and "
        "`alarms=0.001` (false alarms for each window), with blanks between them",
        True,
    ),
    OwnTag(
        "model-package",
        "clary:alias",
        "an alias of the version, such as `champion`, or several with blanks between them; it is taken from the version that had it. "
        "`GROUP@ALIAS`, also at the end of an ARN, stands for the version wherever a ModelPackageName does",
        True,
    ),
    OwnTag(
        "endpoint",
        "clary:follow",
        "`GROUP@ALIAS`: whenever the alias names another approved version, the endpoint is updated to it, by its own DeploymentConfig or a "
        "canary, and turns back when the new version serves worse",
        True,
    ),
    OwnTag(
        "endpoint",
        "clary:retrain",
        "what retrains the endpoint: `pipeline=NAME`, and any of `on=worse,drift,violation`, `alarms=NAME,...`, `every=7d`, `rows=1000` "
        "(new labelled rows), `fresh=200` (the fewest of them), `cooldown=1h`, `budget=30` (in 30 days), `topic=NAME` and `gate=BRIEF`, "
        "with blanks between them",
        True,
    ),
    OwnTag(
        "endpoint",
        "clary:retrain-now",
        "asks for a retraining by the pipeline of `clary:retrain`, once for each value",
        True,
    ),
    OwnTag(
        "model-package-group",
        "aws:clary:followers",
        "endpoints that follow an alias of the group, each with the version that it was moved to last, or what it waits for",
        False,
    ),
    OwnTag(
        "model-package",
        "aws:clary:approval",
        "the last decision on the version: what, who, when, and the ApprovalDescription",
        False,
    ),
    OwnTag(
        "endpoint",
        "aws:clary:sizes",
        "variants whose replicas have other CPU or memory than their instance type's own, such as `AllTraffic=at 1500 millicpu`: by "
        "`clary:variant:DesiredMillicpuPerInstance`, or because the model needed more memory",
        False,
    ),
    OwnTag(
        "endpoint",
        "aws:clary:last-change",
        "the last step of the endpoint's history: when, what, why. It does not count towards the limit of tags, like every `aws:` tag",
        False,
    ),
)


def figure(text: str, most: float, must: str) -> float:
    """The number above 0 in a tag of `TAGS` or its setting; 0 for "" (not set). Raises Invalid, with `must` and the text, for text
    that is not such a number or is more than `most`."""
    if not text.strip():
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise Invalid(f"{must}, not '{text}'.")
    return value


def milliseconds(text: str, where: str) -> float:
    """The latency objective in a tag or its setting; 0 for "" (none). Raises Invalid for other text."""
    longest = f"{LONGEST_OBJECTIVE:.10g}"
    return figure(text, LONGEST_OBJECTIVE, f"{where} must be a p99 in milliseconds, above 0 and at most {longest}")


class Form(Collection[str]):
    """All texts of a form: values of Clary's own that cannot be listed."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and self._pattern.fullmatch(value) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


FORMS: Mapping[str, Form] = {
    "VersionedArnOrName": Form(
        r"(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:model-package/)?[a-zA-Z0-9][a-zA-Z0-9-]{0,62}@[a-zA-Z][a-zA-Z0-9-]{0,62}"
    )
}
"""The form `GROUP@ALIAS` of a model package's name, which AWS's pattern does not have."""

VALUES: Mapping[str, Collection[str]] = {
    **{
        shape: tuple(e.value for e in EXTENSIONS if e.shape == shape and e.available)
        for shape in dict.fromkeys(e.shape for e in EXTENSIONS)
    },
    **FORMS,
}
"""The values that validation accepts: shape name -> values. A value that is not available yet is refused like any other."""


def render() -> str:
    """`docs/extensions.md`."""
    lines = [
        "# Values that Clary adds to AWS's fields",
        "",
        "Generated from `clary/domain/extensions.py`; do not edit. Unmodified clients can send these values: they are plain strings.",
        "",
        "| service | field's type | value | meaning | status |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {e.service} | `{e.shape}` | `{e.value}` | {e.meaning} | {'works' if e.available else 'refused: not available yet'} |"
        for e in EXTENSIONS
    ]
    lines += ["", "# Tags that Clary reads or sets", "", "| resource | key | set by | meaning |", "|---|---|---|---|"]
    lines += [f"| {t.kind} | `{t.key}` | {'you' if t.user else 'Clary'} | {t.meaning} |" for t in TAGS]
    return "\n".join(lines) + "\n"
