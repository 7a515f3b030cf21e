"""A pipeline's definition: parsed and checked in full when it is given, so that an execution meets no surprise. Pure.

Source: reference/lifecycle.md 8.1 to 8.3. Steps inside Conditions are listed flat; `branch` says where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from clary.domain.errors import Invalid
from clary.domain.pipelines import caching, checks, conditions, expressions, lineage, parameters, paths, retries, steps
from clary.domain.pipelines.expressions import PropertyFile
from clary.domain.pipelines.parameters import PipelineParameter
from clary.domain.pipelines.retries import RetryPolicy

LARGEST = 1 << 20  # bytes
MOST_STEPS = 1000
MOST_PARAMETERS = 200
DEEPEST_BRANCH = 50
VERSION = "2020-12-01"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MEMBERS = {
    "Name",
    "Type",
    "Arguments",
    "DependsOn",
    "DisplayName",
    "Description",
    "RetryPolicies",
    "CacheConfig",
    "PropertyFiles",
}


@dataclass(frozen=True, slots=True)
class PipelineStep:
    """One step. `needs`: names of the steps that must have succeeded; `branch`: the Condition step that it stands in, and the outcome that
    it belongs to; `cache`: whether it is cached; `lifetime`: for how many seconds, None for ever;
    `outputs`: name -> type of its OutputParameters."""

    name: str
    type: str
    arguments: Mapping[str, Any]
    needs: frozenset[str] = frozenset()
    branch: tuple[str, bool] | None = None
    display: str = ""
    description: str = ""
    retries: tuple[RetryPolicy, ...] = ()
    cached: bool = False
    lifetime: float | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PipelineDefinition:
    """`steps` by name, each after all that it needs. `wanted`: step -> paths of its properties that others ask for."""

    parameters: Mapping[str, PipelineParameter]
    steps: Mapping[str, PipelineStep]
    experiment: Mapping[str, Any] = field(default_factory=dict)
    property_files: Mapping[tuple[str, str], PropertyFile] = field(default_factory=dict)
    wanted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def parse(text: str | bytes, missing: Mapping[str, str]) -> PipelineDefinition:
    """Invalid, with a sentence, for whatever an execution could not carry out. `missing`: types of steps that this release cannot run,
    and why."""
    size = len(text if isinstance(text, bytes) else text.encode())
    if size > LARGEST:
        raise Invalid(f"The pipeline definition has {size} bytes; {LARGEST} (1 MB) are allowed.")
    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Invalid(f"The pipeline definition is not valid JSON: {error}.") from None
    if not isinstance(whole, dict):
        raise Invalid("The pipeline definition must be a JSON object.")
    if whole.get("Version") != VERSION:
        raise Invalid(f"The pipeline definition has the Version {whole.get('Version')!r}; it must be '{VERSION}'.")
    declared = parameters.parse(whole.get("Parameters") or [])
    if len(declared) > MOST_PARAMETERS:
        raise Invalid(f"The pipeline has {len(declared)} parameters; {MOST_PARAMETERS} are allowed.")
    experiment = whole.get("PipelineExperimentConfig") or {}
    if not isinstance(experiment, dict):
        raise Invalid("PipelineExperimentConfig must be an object.")
    found, files = _Reading(missing).read(whole.get("Steps"))
    names = {name: set(step.needs) for name, step in found.items()}
    wanted: dict[str, dict[str, None]] = {}
    for name, step in found.items():
        for each in _references(step.name, step):
            _check_name(each, name, declared, found, files)
            if each.step:
                names[name].add(each.step)
                path = files[each.step, each.path].uri if each.root == "PropertyFiles" else each.path
                wanted.setdefault(each.step, {})[path] = None
    for each in _experiment(experiment):
        _check_name(each, "PipelineExperimentConfig", declared, {}, {})
    ordered = _ordered(found, names)
    resolved = {name: _needing(found[name], frozenset(names[name])) for name in ordered}
    return PipelineDefinition(declared, resolved, experiment, files, {name: tuple(of) for name, of in wanted.items()})


def _experiment(experiment: Mapping[str, Any]) -> list[expressions.Reference]:
    found = list(expressions.references(experiment))
    if any(each.root not in ("Parameters", "Execution") for each in found):
        raise Invalid("PipelineExperimentConfig may name Parameters and Execution only.")
    return found


def _needing(step: PipelineStep, needs: frozenset[str]) -> PipelineStep:
    return replace(step, needs=needs)


def _references(name: str, step: PipelineStep) -> Iterator[expressions.Reference]:
    try:
        yield from expressions.references(step.arguments)
    except Invalid as error:
        raise Invalid(f"Step '{name}': {error.message}") from None


def _check_name(
    named: expressions.Reference,
    where: str,
    declared: Mapping[str, PipelineParameter],
    found: Mapping[str, PipelineStep],
    files: Mapping[tuple[str, str], PropertyFile],
) -> None:
    """Invalid for a reference to what is not there."""
    if named.root == "Parameters" and named.path not in declared:
        raise Invalid(f"Step '{where}' names the parameter '{named.path}', which the pipeline does not have.")
    if named.step and named.step not in found:
        raise Invalid(f"Step '{where}' names the step '{named.step}', which the pipeline does not have.")
    if named.step == where:
        raise Invalid(f"Step '{where}' names itself.")
    if named.root == "PropertyFiles" and (named.step, named.path) not in files:
        raise Invalid(
            f"Step '{where}' names the property file '{named.path}', which step '{named.step}' does not have."
        )
    if named.root == "Steps" and found[named.step].type in steps.OUTPUTS:
        _check_output(named, where, found[named.step])
    if named.root == "Steps" and found[named.step].type == steps.FAIL:
        raise Invalid(f"Step '{where}' asks for a property of '{named.step}': a Fail step has none.")


def _check_output(named: expressions.Reference, where: str, of: PipelineStep) -> None:
    parts = paths.parse(named.path)
    if len(parts) != 2 or parts[0] != "OutputParameters" or parts[1] not in of.outputs:
        known = ", ".join(of.outputs) or "none"
        raise Invalid(
            f"Step '{where}' asks for '{named.path}' of '{of.name}', which has OutputParameters['NAME'] only. Its outputs: {known}."
        )


def _ordered(found: Mapping[str, PipelineStep], needs: Mapping[str, set[str]]) -> list[str]:
    """Names so that each comes after all that it needs and the Condition that it stands in. Invalid, naming one, for a cycle."""
    before = {name: {*needs[name], *([step.branch[0]] if step.branch else [])} for name, step in found.items()}
    after: dict[str, list[str]] = {}
    for name, others in before.items():
        for other in others:
            after.setdefault(other, []).append(name)
    counts = {name: len(others) for name, others in before.items()}
    ready = [name for name in found if counts[name] == 0]
    ordered: list[str] = []
    while ready:
        name = ready.pop(0)
        ordered.append(name)
        for other in after.get(name, ()):
            counts[other] -= 1
            if counts[other] == 0:
                ready.append(other)
    if len(ordered) < len(found):
        raise Invalid(f"The steps of the pipeline form a cycle: {' -> '.join(_cycle(before, set(ordered)))}.")
    return ordered


def _cycle(before: Mapping[str, set[str]], done: set[str]) -> list[str]:
    name = min(name for name in before if name not in done)
    path: list[str] = []
    while name not in path:
        path.append(name)
        name = min(other for other in before[name] if other not in done)
    return [*path[path.index(name) :], name][::-1]


class _Reading:
    """Reads the steps of a definition, those in branches too."""

    def __init__(self, missing: Mapping[str, str]) -> None:
        self._missing = missing
        self._steps: dict[str, PipelineStep] = {}
        self._files: dict[tuple[str, str], PropertyFile] = {}
        self._depends: dict[str, list[str]] = {}

    def read(self, given: Any) -> tuple[dict[str, PipelineStep], dict[tuple[str, str], PropertyFile]]:
        if not isinstance(given, list) or not given:
            raise Invalid("The pipeline definition must have Steps, a list of at least one step.")
        self._list(given, None, 0)
        for name, others in self._depends.items():
            for other in others:
                if other not in self._steps:
                    raise Invalid(f"Step '{name}' depends on '{other}', which the pipeline does not have.")
                if other == name:
                    raise Invalid(f"Step '{name}' depends on itself.")
        return self._steps, self._files

    def _list(self, given: list[Any], branch: tuple[str, bool] | None, depth: int) -> None:
        if depth > DEEPEST_BRANCH:
            raise Invalid(f"Condition steps are nested more than {DEEPEST_BRANCH} levels deep.")
        for each in given:
            self._one(each, branch, depth)

    def _one(self, each: Any, branch: tuple[str, bool] | None, depth: int) -> None:
        name = each.get("Name") if isinstance(each, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Invalid(f"A step has the Name {name!r}; it must be 1 to 64 letters, digits, '-' and '_'.")
        if name in self._steps:
            raise Invalid(f"Step names must be unique in a pipeline; '{name}' is used more than once.")
        if len(self._steps) >= MOST_STEPS:
            raise Invalid(f"The pipeline has more than {MOST_STEPS} steps.")
        self._check_type(name, each)
        arguments = each.get("Arguments")
        if not isinstance(arguments, dict):
            raise Invalid(f"Step '{name}' needs Arguments, an object.")
        depends = self._names(each, name)
        inner = {key: arguments[key] for key in ("IfSteps", "ElseSteps") if arguments.get(key)}
        if each["Type"] == steps.CONDITION:
            arguments = {"Conditions": self._conditions(name, arguments)}
        elif each["Type"] == steps.FAIL and "ErrorMessage" not in arguments:
            raise Invalid(f"Step '{name}' of type Fail needs an ErrorMessage.")
        elif each["Type"] == steps.LINEAGE:
            lineage.check(name, arguments)
        elif each["Type"] in checks.MEMBERS:
            arguments = checks.parsed(name, each["Type"], each)
        outputs: dict[str, str] = {}
        if each["Type"] in steps.OUTPUTS:
            outputs = self._outputs(name, each)
            further = {member: each.get(member) for member in steps.OUTPUTS[each["Type"]]}
            absent = [member for member, value in further.items() if not value]
            if absent:
                raise Invalid(f"Step '{name}' of type {each['Type']} needs {absent[0]}.")
            arguments = {"Arguments": arguments, **further}
        cached, lifetime = self._cache(name, each)
        self._files |= self._property_files(name, each)
        self._depends[name] = depends
        self._steps[name] = PipelineStep(
            name,
            each["Type"],
            arguments,
            frozenset(depends),
            branch,
            str(each.get("DisplayName") or ""),
            str(each.get("Description") or ""),
            retries.parse(each.get("RetryPolicies") or [], f"step '{name}'"),
            cached,
            lifetime,
            outputs,
        )
        if each["Type"] == steps.CONDITION:
            for key, chosen in (("IfSteps", True), ("ElseSteps", False)):
                listed = inner.get(key, [])
                if not isinstance(listed, list):
                    raise Invalid(f"{key} of step '{name}' must be a list.")
                self._list(listed, (name, chosen), depth + 1)

    def _check_type(self, name: str, each: Mapping[str, Any]) -> None:
        kind = each.get("Type")
        why = self._missing.get(str(kind)) or steps.REFUSED.get(str(kind))
        if kind not in steps.TYPES or why:
            what = f"Step '{name}' is of type {kind!r}, which Clary does not support"
            raise Invalid(f"{what}: {why}." if why else f"{what}. Types of steps: {', '.join(steps.TYPES)}.")
        more = {"OutputParameters", *steps.OUTPUTS[str(kind)]} if kind in steps.OUTPUTS else set()
        more |= set(checks.MEMBERS.get(str(kind), ()))
        unknown = sorted(set(each) - _MEMBERS - more)
        if unknown:
            raise Invalid(f"Step '{name}' has the member '{unknown[0]}', which steps of type {kind} do not have.")

    @staticmethod
    def _outputs(name: str, each: Mapping[str, Any]) -> dict[str, str]:
        """Names and types of OutputParameters."""
        declared = each.get("OutputParameters") or []
        found: dict[str, str] = {}
        for one in declared if isinstance(declared, list) else [None]:
            given = one if isinstance(one, dict) else {}
            output, kind = given.get("OutputName"), given.get("OutputType")
            if not isinstance(output, str) or not output or kind not in steps.OUTPUT_TYPES:
                types = ", ".join(steps.OUTPUT_TYPES)
                raise Invalid(f"An output parameter of step '{name}' needs an OutputName and an OutputType of {types}.")
            if output in found:
                raise Invalid(f"Step '{name}' has the output parameter '{output}' more than once.")
            found[output] = kind
        return found

    @staticmethod
    def _names(each: Mapping[str, Any], name: str) -> list[str]:
        found = each.get("DependsOn") or []
        if not isinstance(found, list) or not all(isinstance(other, str) for other in found):
            raise Invalid(f"DependsOn of step '{name}' must be a list of names of steps.")
        return found

    @staticmethod
    def _conditions(name: str, arguments: Mapping[str, Any]) -> Any:
        try:
            conditions.check(arguments.get("Conditions"))
        except Invalid as error:
            raise Invalid(f"Step '{name}': {error.message}") from None
        return arguments["Conditions"]

    @staticmethod
    def _cache(name: str, each: Mapping[str, Any]) -> tuple[bool, float | None]:
        config = each.get("CacheConfig")
        if config is None:
            return False, None
        if not isinstance(config, dict) or not isinstance(config.get("Enabled"), bool):
            raise Invalid(f"CacheConfig of step '{name}' needs Enabled, true or false.")
        lifetime = caching.seconds(config["ExpireAfter"]) if config.get("ExpireAfter") is not None else None
        row = steps.CHILDREN.get(each["Type"])
        if config["Enabled"] and (row is None or not row.key):
            cached = ", ".join(row.name for row in steps.CHILDREN.values() if row.key)
            raise Invalid(f"Step '{name}' cannot be cached: types of steps that can are {cached}.")
        return config["Enabled"], lifetime

    @staticmethod
    def _property_files(name: str, each: Mapping[str, Any]) -> dict[tuple[str, str], PropertyFile]:
        found: dict[tuple[str, str], PropertyFile] = {}
        for file in each.get("PropertyFiles") or []:
            given = file if isinstance(file, dict) else {}
            parts = [str(given.get(key) or "") for key in ("PropertyFileName", "OutputName", "FilePath")]
            if not all(parts):
                raise Invalid(f"A property file of step '{name}' needs PropertyFileName, OutputName and FilePath.")
            if each["Type"] != "Processing":
                raise Invalid(f"Step '{name}' has property files; only Processing steps have them.")
            found[name, parts[0]] = PropertyFile(parts[1], parts[2])
        return found
