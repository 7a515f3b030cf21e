"""What a model card's content may be: SageMaker's schema of model cards, version 0.1.0, as a table of ours. Pure.

The facts are those of the guide's page "Model card JSON schema" and of the SDK's `sagemaker.model_card.schema_constraints`: members, what
is required, longest texts, most items. A member that the schema does not have is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid


class Shape:
    """One kind of value."""


@dataclass(frozen=True, slots=True)
class Text(Shape):
    """`most` and `least` are characters."""

    most: int | None = None
    least: int = 0


@dataclass(frozen=True, slots=True)
class Number(Shape):
    least: float | None = None


class Truth(Shape):
    """true or false."""


@dataclass(frozen=True, slots=True)
class Choice(Shape):
    """One of these texts."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items(Shape):
    """A list."""

    of: Shape
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Members(Shape):
    """A structure with these members and no others."""

    of: Mapping[str, Shape]
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Free(Shape):
    """A structure whose members have any name; `of` None: and any value."""

    of: Shape | None = None


@dataclass(frozen=True, slots=True)
class ByType(Shape):
    """A structure whose member `type` says which of these it is."""

    kinds: Mapping[str, Members]


_DEEPEST = 20  # levels of what the schema leaves free
_ANY, _SHORT, _LONG, _NAME, _LABEL = Text(), Text(1024), Text(2048), Text(63, 1), Text(255, 1)
_IMAGES = Members({"container_image": Items(_SHORT, 15)})
_TRAINED = Items(Members({"name": _LABEL, "value": Number(), "notes": _SHORT}, ("name", "value")), 50)
_PARAMETERS = Items(Members({"name": _LABEL, "value": Text(255)}, ("name", "value")), 100)
_POINTS = Items(Items(Number()))


def _metric(kind: str, value: Shape, x: Shape, y: Shape) -> Members:
    members = {"name": _LABEL, "notes": _SHORT, "type": Choice((kind,)), "value": value}
    return Members({**members, "x_axis_name": x, "y_axis_name": y}, ("name", "type", "value"))


_METRIC = ByType(
    {
        "number": _metric("number", Number(), _ANY, _ANY),
        "string": _metric("string", Text(63), _ANY, _ANY),
        "boolean": _metric("boolean", Truth(), _ANY, _ANY),
        "linear_graph": _metric("linear_graph", _POINTS, _NAME, _NAME),
        "bar_chart": _metric("bar_chart", Items(Number()), Items(_NAME), _NAME),
        "matrix": _metric("matrix", _POINTS, Items(_NAME), Items(_NAME)),
    }
)
_PACKAGE = Members(
    {
        "model_package_arn": _SHORT,
        "model_package_description": _SHORT,
        "model_package_status": Choice(("Pending", "InProgress", "Completed", "Failed", "Deleting")),
        "approval_description": _SHORT,
        "model_approval_status": Choice(("Approved", "Rejected", "PendingManualApproval")),
        "model_package_group_name": _NAME,
        "model_package_name": _NAME,
        "model_package_version": Number(1),
        "domain": _ANY,
        "task": _ANY,
        "created_by": Members({"user_profile_name": _NAME}),
        "source_algorithms": Items(
            Members({"algorithm_name": Text(170), "model_data_url": _SHORT}, ("algorithm_name",)), 15
        ),
        "inference_specification": Members(
            {
                "containers": Items(
                    Members({"image": Text(255), "model_data_url": _SHORT, "nearest_model_name": _ANY}, ("image",)), 15
                )
            },
            ("containers",),
        ),
        "model_metrics": Free(),
    }
)
_OVERVIEW = Members(
    {
        **dict.fromkeys(("model_description", "model_owner", "model_creator"), _SHORT),
        **dict.fromkeys(("problem_type", "algorithm_type", "model_id", "model_name"), _SHORT),
        "model_version": Number(1),
        "model_artifact": Items(_SHORT, 15),
        "inference_environment": _IMAGES,
    }
)
_JOB = Members(
    {
        "training_arn": _SHORT,
        "training_datasets": Items(_SHORT, 15),
        "training_environment": _IMAGES,
        "training_metrics": _TRAINED,
        "user_provided_training_metrics": _TRAINED,
        "hyper_parameters": _PARAMETERS,
        "user_provided_hyper_parameters": _PARAMETERS,
    }
)
_FUNCTION = Members({"function": Choice(("Maximize", "Minimize")), "facet": _NAME, "condition": Text(63)})
CARD = Members(
    {
        "model_overview": _OVERVIEW,
        "model_package_details": _PACKAGE,
        "intended_uses": Members(
            {
                **dict.fromkeys(("purpose_of_model", "intended_uses", "factors_affecting_model_efficiency"), _LONG),
                "risk_rating": Choice(("High", "Medium", "Low", "Unknown")),
                "explanations_for_risk_rating": _LONG,
            }
        ),
        "business_details": Members(
            dict.fromkeys(("business_problem", "business_stakeholders", "line_of_business"), _LONG)
        ),
        "training_details": Members(
            {
                "objective_function": Members({"function": _FUNCTION, "notes": _SHORT}),
                "training_observations": _SHORT,
                "training_job_details": _JOB,
            }
        ),
        "evaluation_details": Items(
            Members(
                {
                    "name": _NAME,
                    "evaluation_observation": Text(2096),
                    "evaluation_job_arn": Text(256),
                    "datasets": Items(Text(1024, 1), 10),
                    "metadata": Free(_SHORT),
                    "metric_groups": Items(
                        Members({"name": _NAME, "metric_data": Items(_METRIC)}, ("name", "metric_data"))
                    ),
                },
                ("name",),
            )
        ),
        "additional_information": Members(
            {"ethical_considerations": _LONG, "caveats_and_recommendations": _LONG, "custom_details": Free(_SHORT)}
        ),
    }
)


def parsed(text: str, member: str = "Content") -> dict[str, Any]:
    """The content of a card. Invalid names the first few places where it is not what the schema says."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Invalid(f"{member} is not valid: it must be a JSON object, as text.") from None
    found = []
    for problem in problems(CARD, value, "$"):
        found.append(problem)
        if len(found) == 5:
            break
    if found:
        raise Invalid(f"{member} does not match the schema of model cards: {'; '.join(found)}.")
    return dict(value)


def _no_number(text: str) -> None:
    raise ValueError(text)


def problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """Every place where the value is not of the shape: `$.evaluation_details[0].name is required`."""
    if isinstance(shape, ByType):
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(value, dict) and (not isinstance(kind, str) or kind not in shape.kinds):
            yield f"{path}.type must be one of {', '.join(shape.kinds)}"
            return
        shape = shape.kinds.get(str(kind), Members({}))
    if isinstance(shape, Text | Choice):
        yield from _text(shape, value, path)
    elif isinstance(shape, Number):
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield f"{path} must be a number"
        elif shape.least is not None and value < shape.least:
            yield f"{path} must be at least {shape.least:g}"
    elif isinstance(shape, Truth):
        if not isinstance(value, bool):
            yield f"{path} must be true or false"
    elif isinstance(shape, Items):
        yield from _items(shape, value, path)
    elif not isinstance(value, dict):
        yield f"{path} must be an object"
    elif isinstance(shape, Members):
        yield from _members(shape, value, path)
    elif isinstance(shape, Free):
        yield from _free(shape, value, path)


def _free(shape: Free, value: Mapping[str, Any], path: str) -> Iterator[str]:
    if shape.of is None:
        if _deep(value):
            yield f"{path} is nested more than {_DEEPEST} deep"
        return
    for name, member in value.items():
        yield from problems(shape.of, member, f"{path}.{_cut(name)}")


def _deep(value: Any) -> bool:
    """Whether a value is nested more than `_DEEPEST` deep."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return any(isinstance(each, dict | list) for each in level)


def _text(shape: Text | Choice, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} must be text"
    elif isinstance(shape, Choice):
        if value not in shape.values:
            yield f"{path} must be one of {', '.join(shape.values)}"
    elif len(value) < shape.least:
        yield f"{path} must not be empty"
    elif shape.most is not None and len(value) > shape.most:
        yield f"{path} has {len(value)} characters, {shape.most} at most"


def _items(shape: Items, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} must be a list"
        return
    if shape.most is not None and len(value) > shape.most:
        yield f"{path} has {len(value)} items, {shape.most} at most"
    for at, item in enumerate(value):
        yield from problems(shape.of, item, f"{path}[{at}]")


def _members(shape: Members, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in shape.required:
        if name not in value:
            yield f"{path}.{name} is required"
    for name, member in value.items():
        known = shape.of.get(name)
        if known is None:
            yield f"{path}.{_cut(name)} is not a member of the schema"
        else:
            yield from problems(known, member, f"{path}.{name}")


def _cut(name: str) -> str:
    return name if len(name) <= 64 else f"{name[:61]}..."
