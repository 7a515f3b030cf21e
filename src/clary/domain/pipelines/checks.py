"""QualityCheck and ClarifyCheck steps: a processing job that calculates a baseline of its data, and compares it with an earlier one. Pure.

Sources: AWS's "Baseline calculation, drift detection and lifecycle with ClarifyCheck and QualityCheck steps", SDK v2's
`workflow/quality_check_step.py` and `clarify_check_step.py`; reference/lifecycle.md 8.5. The job is the one of Arguments; the earlier
baseline is laid beside its data, and then the same run calculates and compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from clary.domain.errors import Invalid
from clary.domain.pipelines import expressions, paths

QUALITY, CLARIFY = "QualityCheck", "ClarifyCheck"
_CONSTRAINTS, _STATISTICS = "SuppliedBaselineConstraints", "SuppliedBaselineStatistics"
_FLAGS = {"SkipCheck": False, "FailOnViolation": True, "RegisterNewBaseline": False}
_SHARED = ("CheckType", "ModelPackageGroupName", *_FLAGS, _CONSTRAINTS)
MEMBERS: Mapping[str, tuple[str, ...]] = {QUALITY: (*_SHARED, _STATISTICS), CLARIFY: (*_SHARED, "ModelName")}
"""Members of a step beside Arguments."""
KEY = ("AppSpecification", "Environment", "ProcessingInputs", *_SHARED, _STATISTICS, "ModelName")
VIOLATIONS = "constraint_violations.json"
MODEL = "clary_model_name"  # the variable by which a Clarify job is told the model of its step
_TOP = "/opt/ml/processing/baseline"


@dataclass(frozen=True, slots=True)
class CheckType:
    """`constraints` and `statistics`: paths in a package's DriftCheckBaselines; `files`: what the job calls its own, "" for none."""

    step: str
    constraints: str
    statistics: str = ""
    files: tuple[str, str] = ("analysis.json", "")


_QUALITY_FILES = ("constraints.json", "statistics.json")
TYPES: Mapping[str, CheckType] = {
    "DATA_QUALITY": CheckType(
        QUALITY, "ModelDataQuality.Constraints.S3Uri", "ModelDataQuality.Statistics.S3Uri", _QUALITY_FILES
    ),
    "MODEL_QUALITY": CheckType(
        QUALITY, "ModelQuality.Constraints.S3Uri", "ModelQuality.Statistics.S3Uri", _QUALITY_FILES
    ),
    "DATA_BIAS": CheckType(CLARIFY, "Bias.PreTrainingConstraints.S3Uri"),
    "MODEL_BIAS": CheckType(CLARIFY, "Bias.PostTrainingConstraints.S3Uri"),
    "MODEL_EXPLAINABILITY": CheckType(CLARIFY, "Explainability.Constraints.S3Uri"),
}


def parsed(name: str, kind: str, each: Mapping[str, Any]) -> dict[str, Any]:
    """What of a check step is kept as its arguments. Invalid for a check that there is not."""
    check = TYPES.get(str(each.get("CheckType")))
    if check is None or check.step != kind:
        known = ", ".join(of for of, row in TYPES.items() if row.step == kind)
        raise Invalid(
            f"Step '{name}' of type {kind} has the CheckType {each.get('CheckType')!r}; it must be of {known}."
        )
    for flag in _FLAGS:
        given = each.get(flag)
        if given is not None and not isinstance(given, bool) and not expressions.form(given):
            raise Invalid(f"{flag} of step '{name}' must be true or false.")
    further = {member: each[member] for member in MEMBERS[kind] if each.get(member) is not None}
    return {"Arguments": each["Arguments"], **further}


@dataclass(frozen=True, slots=True)
class Previous:
    """URIs of an earlier baseline; "" where there is none."""

    constraints: str = ""
    statistics: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A check whose expressions were evaluated. `supplied`: the baseline that the step names."""

    name: str
    type: str
    request: Mapping[str, Any]
    skip: bool
    fail: bool
    register: bool
    group: str = ""
    model: str = ""
    supplied: Previous = Previous()

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> Check:
        """Invalid for a flag that is none."""
        flags = {flag: _flag(name, flag, given.get(flag, default)) for flag, default in _FLAGS.items()}
        return cls(
            name,
            str(given["CheckType"]),
            given["Arguments"],
            flags["SkipCheck"],
            flags["FailOnViolation"],
            flags["RegisterNewBaseline"],
            str(given.get("ModelPackageGroupName") or ""),
            str(given.get("ModelName") or ""),
            Previous(str(given.get(_CONSTRAINTS) or ""), str(given.get(_STATISTICS) or "")),
        )

    @property
    def row(self) -> CheckType:
        return TYPES[self.type]

    @property
    def asks_group(self) -> bool:
        """Whether the group's latest approved version must be looked at: something is not supplied."""
        wanted = (self.supplied.constraints, *([self.supplied.statistics] if self.row.statistics else []))
        return bool(self.group) and not all(wanted)

    def previous(self, baselines: Mapping[str, Any] | None) -> Previous:
        """The earlier baseline: what is supplied, else what the group's latest approved version has (`baselines`). Invalid without one
        where the step needs it."""
        found = Previous(
            self.supplied.constraints or _uri(baselines, self.row.constraints),
            self.supplied.statistics or _uri(baselines, self.row.statistics),
        )
        if not found.constraints and not (self.skip and self.register):
            where = (
                f"the latest approved version of the model package group {self.group} has none in its DriftCheckBaselines"
                if self.group
                else "no ModelPackageGroupName is given"
            )
            raise Invalid(
                f"Step '{self.name}' has no previous baseline to check {self.type} against: none is supplied, and {where}. Give "
                f"{_CONSTRAINTS}, or set SkipCheck and RegisterNewBaseline for the first run."
            )
        return found

    def job(self, previous: Previous) -> dict[str, Any]:
        """The CreateProcessingJob request, with the earlier baseline laid beside the data unless the check is skipped."""
        inputs = list(self.request.get("ProcessingInputs") or ())
        told = dict(self.request.get("Environment") or {})
        if self.model:
            told[MODEL] = self.model
        for what, uri in (("constraints", previous.constraints), ("statistics", previous.statistics)):
            if uri and not self.skip:
                place = f"{_TOP}/{what}"
                inputs.append(_input(f"baseline_{what}", uri, place))
                told[f"baseline_{what}"] = f"{place}/{uri.rpartition('/')[2]}"
        return {**self.request, "ProcessingInputs": inputs, **({"Environment": told} if told else {})}

    def told(self, previous: Previous) -> dict[str, Any]:
        """What is known of the step when its job begins: members of its metadata and properties."""
        own = self._own()
        used = own if self.register else previous
        found: dict[str, Any] = {
            "CheckType": self.type,
            "ModelPackageGroupName": self.group,
            "SkipCheck": self.skip,
            "RegisterNewBaseline": self.register,
            "CalculatedBaselineConstraints": own.constraints,
            "BaselineUsedForDriftCheckConstraints": used.constraints,
        }
        if self.row.statistics:
            found["CalculatedBaselineStatistics"] = own.statistics
            found["BaselineUsedForDriftCheckStatistics"] = used.statistics
        return {name: value for name, value in found.items() if value != ""}

    @property
    def report(self) -> str:
        """The URI of the violations; "" where nothing is compared."""
        return "" if self.skip else f"{self._folder()}/{VIOLATIONS}"

    def _own(self) -> Previous:
        folder = self._folder()
        constraints, statistics = (f"{folder}/{file}" if file else "" for file in self.row.files)
        return Previous(constraints, statistics)

    def _folder(self) -> str:
        try:
            uri = paths.find(self.request, "ProcessingOutputConfig.Outputs[0].S3Output.S3Uri")
        except paths.Undefined:
            raise Invalid(
                f"Step '{self.name}' needs one output in ProcessingOutputConfig.Outputs, for its reports."
            ) from None
        return str(uri).rstrip("/")


def violations(content: bytes) -> list[Any]:
    """The violations of a report. Invalid for what is no report."""
    try:
        found = orjson.loads(content)
        listed = found["violations"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Invalid("The report of violations is not JSON with a list 'violations'.") from None
    if not isinstance(listed, list):
        raise Invalid("The report of violations is not JSON with a list 'violations'.")
    return listed


def reason(kind: str, report: str, listed: list[Any]) -> str:
    """Why a check failed: how many violations, where they are told, and the first of them."""
    first = listed[0] if isinstance(listed[0], dict) else {}
    what = first.get("feature_name") or first.get("metric_name") or first.get("facet") or ""
    words = f"{what}: {first.get('description', '')}".strip(": ")
    return f"CompletedWithViolations: {kind} check found {len(listed)} violations ({report}). The first: {words}"


def _flag(name: str, flag: str, value: Any) -> bool:
    """Parameters of pipelines come as booleans or as texts."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise Invalid(f"{flag} of step '{name}' must be true or false; it is {value!r}.")
    return value


def _uri(baselines: Mapping[str, Any] | None, path: str) -> str:
    try:
        return str(paths.find(baselines or {}, path)) if path else ""
    except paths.Undefined:
        return ""


def _input(name: str, uri: str, path: str) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": path, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "AppManaged": False, "S3Input": source}
