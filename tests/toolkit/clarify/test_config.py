"""analysis_config.json: what is wrong with one is said with its place."""

from __future__ import annotations

from typing import Any

import pytest

from clary.toolkit.clarify import bias, config

GOOD: dict[str, Any] = {
    "dataset_type": "text/csv",
    "label": "y",
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": [0]}],
    "methods": {"pre_training_bias": {"methods": "all"}, "report": {"name": "report", "title": "Analysis Report"}},
}
MODEL = {"model_name": "m"}


def test_a_good_one() -> None:
    found = config.analysis(GOOD)
    assert found.pre == tuple(bias.PRE_TRAINING)
    assert (found.post, found.shap, found.pdp, found.predictor) == (None, None, None, None)
    assert found.facets == (config.Facet("sex", (0,)),)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dataset_type": "application/x-image"}, "dataset_type: .*neither images nor texts"),
        ({"dataset_type": "text/xml"}, "dataset_type: 'text/xml' is none of text/csv"),
        ({"methods": {"report": {}}}, "methods: must name at least one"),
        ({"methods": {"lime": {}}}, "methods: 'lime' is none of"),
        ({"methods": {"asymmetric_shapley_value": {}}}, "no time series"),
        ({"methods": {"pre_training_bias": {"methods": ["DPL", "XX"]}}}, "methods.pre_training_bias.methods: .*CDDL"),
        ({"facet": None}, "facet: bias metrics need at least one facet"),
        ({"facet": [{"name": "sex"}]}, r"facet\[0\]: must be an object with name_or_index"),
        ({"label": None}, "label: bias metrics need"),
        ({"label": True}, "label: must be a name or an index, is True"),
        ({"label_values_or_threshold": []}, "label_values_or_threshold: bias metrics need"),
        ({"methods": {"post_training_bias": {"methods": "all"}}}, "predictor: post_training_bias needs a predictor"),
        ({"methods": {"shap": {}}}, "predictor: shap and pdp ask a model"),
        ({"methods": {"shap": {"text_config": {"granularity": "token"}}}}, "text_config: is not supported: .*no texts"),
        ({"methods": {"shap": {"image_config": {"num_segments": 1}}}}, "image_config: is not supported: .*no images"),
        ({"methods": {"shap": {"agg_method": "max"}}}, "agg_method: 'max' is none of mean_abs"),
        ({"methods": {"shap": {"baseline": []}}}, "baseline: has no rows"),
        ({"methods": {"shap": {"seed": -1}}}, "methods.shap.seed: must be a whole number"),
        ({"methods": {"pdp": {"grid_resolution": 1}}, "predictor": MODEL}, "grid_resolution: must be 2 to 1000"),
        ({"methods": {"pdp": {"grid_resolution": 5}}, "predictor": MODEL}, "methods.pdp.features: must be given"),
        ({"predictor": {}, "methods": {"shap": {}}}, "predictor: shap and pdp"),
        ({"predictor": {"model_name": "a", "endpoint_name": "b"}}, "predictor: must have either"),
        ({"predictor": {**MODEL, "content_type": "image/png"}}, "content_type: 'image/png' is not supported"),
        ({"predictor": {**MODEL, "content_type": "application/jsonlines"}}, "content_template: must hold .features"),
        ({"segment_config": [{}]}, "segment_config: is not supported"),
        ({"headers": "a,b"}, "headers: must be a list, is 'a,b'"),
    ],
)  # fmt: skip
def test_what_is_wrong(change: dict[str, Any], told: str) -> None:
    with pytest.raises(config.CustomerError, match=told):
        config.analysis({**GOOD, **change})


def test_what_is_no_json() -> None:
    for text in ("", "{", "[]"):
        with pytest.raises(config.CustomerError, match="Unable to load analysis config"):
            config.document(text)
