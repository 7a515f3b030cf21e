"""ExplainerConfig of an endpoint config: what of it can be done. The replicas carry it out (`toolkit/clarify/online.py`). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.domain.endpoints.fleets import Fleet
from clary.domain.errors import Invalid

_KINDS = ("text/csv", "application/jsonlines")


def check_config(request: Mapping[str, Any]) -> None:
    """Invalid for an ExplainerConfig that does not go with the rest of the endpoint config, or that nothing can be explained by."""
    asked = (request.get("ExplainerConfig") or {}).get("ClarifyExplainerConfig")
    if not asked:
        raise Invalid("ExplainerConfig needs ClarifyExplainerConfig.")
    for member in ("AsyncInferenceConfig", "ShadowProductionVariants"):
        if request.get(member):
            raise Invalid(f"ExplainerConfig does not go with {member}: leave one of them out.")
    if not all(variant.get("ModelName") for variant in request["ProductionVariants"]):
        raise Invalid("ExplainerConfig needs variants with a ModelName: inference components are not explained.")
    where = "ExplainerConfig.ClarifyExplainerConfig"
    baseline = asked["ShapConfig"].get("ShapBaselineConfig") or {}
    if not baseline.get("ShapBaseline"):
        raise Invalid(f"{where}.ShapConfig.ShapBaselineConfig needs ShapBaseline: the baseline's records, inline.")
    if baseline.get("MimeType", _KINDS[0]) not in _KINDS:
        raise Invalid(
            f"{where}.ShapConfig.ShapBaselineConfig.MimeType must be text/csv or application/jsonlines, is {baseline['MimeType']!r}."
        )
    inference = asked.get("InferenceConfig") or {}
    if "text" in (inference.get("FeatureTypes") or ()):
        raise Invalid(
            f"{where}.InferenceConfig.FeatureTypes: text features are not supported; Clary explains tabular data only."
        )
    if "$features" not in inference.get("ContentTemplate", "$features"):
        raise Invalid(f"{where}.InferenceConfig.ContentTemplate must hold $features.")


def check_fleet(fleet: Fleet) -> None:
    """Invalid for models of several containers: a container of a pipeline sees no whole prediction."""
    for group in fleet.groups if fleet.explainer else ():
        if len(group) > 1:
            raise Invalid(
                f"Model '{group[0].container.model}' has several containers, which does not go with ExplainerConfig."
            )
