"""Expressions of pipeline definitions, and the one function that evaluates them: Get, Std:Join, Std:JsonGet. Pure.

What an evaluation needs from outside (the text of a JSON file in S3) is given to it; what is missing is told by `Needed`, so that whoever
may read files reads this one and evaluates again. The SDK's local mode (`sagemaker/local/pipeline.py`) is the oracle, but for booleans in
a Std:Join, which are written `true` and `false` here, and what the service alone does (reference/lifecycle.md 8.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from clary.domain.errors import Invalid, NotFound
from clary.domain.pipelines import paths

DEEPEST = 100  # levels of objects, lists and expressions in each other
LARGEST = 1 << 20  # characters that the arguments of one step may come to
EXECUTION = (
    "StartDateTime",
    "CurrentDateTime",
    "PipelineName",
    "PipelineArn",
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "TrainingJobName",
    "ProcessingJobName",
)
EXPERIMENT = ("ExperimentName", "TrialName")
_FORMS = ("Get", "Std:Join", "Std:JsonGet")
_STEP = re.compile(r"Steps\.([A-Za-z0-9_-]+)\.?(.+)", re.DOTALL)
_FILE = "PropertyFiles."


class Needed(Exception):
    """The evaluation needs the text of this file (an S3 URI)."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
        self.uri = uri


@dataclass(frozen=True, slots=True)
class Reference:
    """What a Get names: `root` is Parameters, Execution, PipelineExperimentConfig, Steps or PropertyFiles; `step` is "" but for the last
    two; `path` is a name, a path in the step's properties, or the property file's name."""

    root: str
    path: str
    step: str = ""


@dataclass(frozen=True, slots=True)
class PropertyFile:
    """A JSON file that a step writes: `path` below the output of that name."""

    output: str
    path: str

    @property
    def uri(self) -> str:
        """The path of its output's place in the step's properties."""
        return f"ProcessingOutputConfig.Outputs['{self.output}'].S3Output.S3Uri"


@dataclass(frozen=True, slots=True)
class ExpressionContext:
    """What expressions can name. `steps`: step -> path -> value; `property_files`: (step, name) -> file; `files`: S3 URI -> its text, or
    the error that reading it met."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    execution: Mapping[str, str] = field(default_factory=dict)
    experiment: Mapping[str, str] = field(default_factory=dict)
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    property_files: Mapping[tuple[str, str], PropertyFile] = field(default_factory=dict)
    files: Mapping[str, bytes | Exception] = field(default_factory=dict)


def form(value: Any) -> str:
    """Get, Std:Join or Std:JsonGet; "" for what is no expression."""
    if isinstance(value, dict) and len(value) == 1:
        name = next(iter(value))
        return name if name in _FORMS else ""
    return ""


def reference(text: Any) -> Reference:
    """Invalid for a Get that names nothing that there is."""
    if isinstance(text, str):
        root, _, rest = text.partition(".")
        if root == "Parameters" and rest:
            return Reference(root, rest)
        if (root == "Execution" and rest in EXECUTION) or (root == "PipelineExperimentConfig" and rest in EXPERIMENT):
            return Reference(root, rest)
        match = _STEP.fullmatch(text)
        if match and match[2].startswith(_FILE):
            return Reference("PropertyFiles", match[2].removeprefix(_FILE), match[1])
        if match:
            paths.parse(match[2])
            return Reference("Steps", match[2], match[1])
    raise Invalid(
        f"Cannot resolve Get {str(text)[:200]!r}: it must be Parameters.NAME, Execution.NAME ({', '.join(EXECUTION)}), Steps.NAME.PATH or "
        "PipelineExperimentConfig.NAME (ExperimentName, TrialName)."
    )


def references(value: Any) -> Iterator[Reference]:
    """All that the expressions in a value name. Invalid for expressions that are malformed, or nested too deep."""
    pending = [(value, 0)]
    while pending:
        each, depth = pending.pop()
        if depth > DEEPEST:
            raise Invalid(f"Values are nested more than {DEEPEST} levels deep.")
        kind = form(each)
        if kind == "Get":
            yield reference(each["Get"])
            continue
        if kind == "Std:Join":
            each = list(join_of(each)[1])
        elif kind == "Std:JsonGet":
            each = list(json_get_of(each)[:1])
        if isinstance(each, dict):
            pending.extend((below, depth + 1) for below in reversed(each.values()))
        elif isinstance(each, list):
            pending.extend((below, depth + 1) for below in reversed(each))


def join_of(value: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """On and Values of a Std:Join."""
    of = value["Std:Join"]
    if not isinstance(of, dict) or not isinstance(of.get("Values"), list) or not isinstance(of.get("On", ""), str):
        raise Invalid('A Std:Join must be {"On": TEXT, "Values": [...]}.')
    return of.get("On", ""), of["Values"]


def json_get_of(value: Mapping[str, Any]) -> tuple[Any, str]:
    """Where the file of a Std:JsonGet is (PropertyFile or S3Uri), and the path in it."""
    of = value["Std:JsonGet"]
    if isinstance(of, dict) and isinstance(of.get("Path"), str) and ("PropertyFile" in of) != ("S3Uri" in of):
        paths.parse(of["Path"])
        if "S3Uri" in of:
            return of["S3Uri"], of["Path"]
        if form(of["PropertyFile"]) == "Get" and reference(of["PropertyFile"]["Get"]).root == "PropertyFiles":
            return of["PropertyFile"], of["Path"]
    raise Invalid(
        'A Std:JsonGet must be {"PropertyFile": {"Get": "Steps.STEP.PropertyFiles.NAME"}, "Path": PATH}, or have S3Uri in place of '
        "PropertyFile."
    )


def evaluate(value: Any, context: ExpressionContext) -> Any:
    """The value with every expression in it replaced by its result. Invalid where one has none, or the result is too large; Needed where
    a file must be read first."""
    return _Evaluation(context).of(value)


class _Evaluation:
    """One evaluation; counts the characters that it made."""

    def __init__(self, context: ExpressionContext) -> None:
        self._context = context
        self._left = LARGEST

    def of(self, value: Any) -> Any:
        kind = form(value)
        if kind == "Get":
            return self._spend(self._get(reference(value["Get"])))
        if kind == "Std:Join":
            on, values = join_of(value)
            return self._spend(on.join(text(self.of(each)) for each in values))
        if kind == "Std:JsonGet":
            return self._spend(self._json_get(value))
        if isinstance(value, dict):
            return {key: self.of(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.of(each) for each in value]
        return value

    def _spend(self, result: Any) -> Any:
        self._left -= len(result) if isinstance(result, str) else len(orjson.dumps(result))
        if self._left < 0:
            raise Invalid(f"The expressions of this step come to more than {LARGEST >> 20} MB of text.")
        return result

    def _get(self, named: Reference) -> Any:
        context = self._context
        roots = {
            "Parameters": context.parameters,
            "Execution": context.execution,
            "PipelineExperimentConfig": context.experiment,
            "Steps": context.steps.get(named.step, {}),
        }
        found = roots.get(named.root, {})
        if named.path not in found:
            whole = f"Steps.{named.step}.{named.path}" if named.step else f"{named.root}.{named.path}"
            raise Invalid(f"{whole} is undefined.")
        return found[named.path]

    def _json_get(self, value: Any) -> Any:
        where, path = json_get_of(value)
        uri = (
            self._property_file(reference(where["Get"]))
            if form(where) == "Get" and self._is_file(where)
            else self.of(where)
        )
        if not isinstance(uri, str):
            raise Invalid(f"The S3Uri of a Std:JsonGet must be text; it is {uri!r}.")
        if uri not in self._context.files:
            raise Needed(uri)
        content = self._context.files[uri]
        if isinstance(content, NotFound):
            raise Invalid(f"The JSON file {uri} does not exist.")
        if isinstance(content, Exception):
            raise Invalid(f"The JSON file {uri} could not be read: {content}")
        try:
            return paths.find(orjson.loads(content), path)
        except orjson.JSONDecodeError:
            raise Invalid(f"The content of {uri} is not valid JSON.") from None
        except paths.Undefined:
            raise Invalid(f"The JSON file {uri} has nothing at the path {path!r}.") from None

    @staticmethod
    def _is_file(where: Mapping[str, Any]) -> bool:
        return reference(where["Get"]).root == "PropertyFiles"

    def _property_file(self, named: Reference) -> str:
        file = self._context.property_files[named.step, named.path]
        uri = self._get(Reference("Steps", file.uri, named.step))
        return f"{str(uri).rstrip('/')}/{file.path.lstrip('/')}"


def text(value: Any) -> str:
    """A value as Std:Join writes it. Invalid for what is no text, number or boolean."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise Invalid(f"A Std:Join takes texts, numbers and booleans; one of its values is {str(value)[:80]}.")
