"""Operations that Clary will not have, each with the reason and an alternative; operations that are only missing are not listed here.

A List that requires nothing is answered empty: clients that only look for such things (a console's page, a clean-up script) go on.
`dispatch.py` answers both, `catalogue.py` prints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from clary.api import registry
from clary.api.refusals import lambda_functions, metrics, sagemaker

REFUSED: Mapping[tuple[str, str], str] = MappingProxyType({**lambda_functions.ROWS, **metrics.ROWS, **sagemaker.ROWS})


def empty(service: str, name: str) -> dict[str, Any] | None:
    """The answer of a List of what is never there; None for every other operation."""
    if service != "sagemaker" or not name.startswith("List") or (service, name) not in REFUSED:
        return None
    model = registry.operation_model(service, name)
    if model.input_shape is not None and model.input_shape.required_members:
        return None
    return {member: [] for member, shape in model.output_shape.members.items() if shape.type_name == "list"}
