"""ExplainerConfig: what goes with it and what does not."""

from __future__ import annotations

from typing import Any

import pytest

from clary.domain.endpoints import explainers
from clary.domain.errors import Invalid

VARIANTS = [{"VariantName": "AllTraffic", "ModelName": "m"}]


def request(asked: Any = None, **more: Any) -> dict[str, Any]:
    shap = {"ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": "0,0"}}}
    return {"ProductionVariants": VARIANTS, "ExplainerConfig": {"ClarifyExplainerConfig": asked or shap}, **more}


def test_a_good_one() -> None:
    explainers.check_config(request())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ProductionVariants": VARIANTS, "ExplainerConfig": {}}, "needs ClarifyExplainerConfig"),
        (request(AsyncInferenceConfig={"OutputConfig": {}}), "does not go with AsyncInferenceConfig"),
        (request(ShadowProductionVariants=VARIANTS), "does not go with ShadowProductionVariants"),
        (request(ProductionVariants=[{"VariantName": "A"}]), "needs variants with a ModelName"),
        (request({"ShapConfig": {"ShapBaselineConfig": {}}}), "needs ShapBaseline"),
        (
            request({"ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": "0", "MimeType": "image/png"}}}),
            "MimeType must be text/csv",
        ),
        (
            request(
                {
                    "ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": "0"}},
                    "InferenceConfig": {"FeatureTypes": ["text"]},
                }
            ),
            "text features are not supported",
        ),
        (
            request(
                {
                    "ShapConfig": {"ShapBaselineConfig": {"ShapBaseline": "0"}},
                    "InferenceConfig": {"ContentTemplate": "{}"},
                }
            ),
            "ContentTemplate must hold",
        ),
    ],
)
def test_what_is_wrong(given: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid, match=told):
        explainers.check_config(given)
