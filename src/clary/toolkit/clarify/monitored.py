"""What a bias or attribution monitor says by its environment variables, beside the analysis configuration of its job definition. Pure.

The configuration that SDK v2 writes for a monitor (`BiasAnalysisConfig`, `ExplainabilityAnalysisConfig`) has neither a dataset type nor,
for bias, methods; where label and probability stand in captured answers is said by the variables alone.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Tuple

from clary.toolkit.clarify.config import CustomerError, Name, Predictor
from clary.toolkit.monitor.captured import moment

_BIAS = {"pre_training_bias": {"methods": "all"}, "post_training_bias": {"methods": "all"}}
_LABEL = "Label"


def completed(given: Dict[str, Any], variables: Mapping[str, str]) -> Dict[str, Any]:
    """The configuration with what the variables add; unchanged where no monitor speaks (there is no dataset_source) and no check of a
    pipeline, which names its model by `clary_model_name`: SDK v2 takes the name out of the configuration of such a step."""
    asked, model = given.get("predictor"), variables.get("clary_model_name")
    if model and isinstance(asked, dict) and not asked.get("model_name") and not asked.get("endpoint_name"):
        given = {**given, "predictor": {**asked, "model_name": model}}
    if not variables.get("dataset_source"):
        return given
    found = {**given, "dataset_type": given.get("dataset_type") or _dataset_type(variables.get("dataset_format", ""))}
    if variables.get("analysis_type") == "MODEL_BIAS":
        found["methods"] = given.get("methods") or _BIAS
        if found["dataset_type"] == "application/sagemakercapturejson":
            found["label"] = given.get("label") or _LABEL
    if isinstance(given.get("predictor"), dict):  # SDK v2 writes "None" where there is no attribute
        found["predictor"] = {name: value for name, value in given["predictor"].items() if value != "None"}
    if variables.get("features_attribute"):
        found.setdefault("features", variables["features_attribute"])
    threshold = variables.get("probability_threshold_attribute")
    if threshold and "probability_threshold" not in given:
        try:
            found["probability_threshold"] = float(threshold)
        except ValueError:
            raise CustomerError("probability_threshold_attribute is no number: {!r}".format(threshold)) from None
    return found


def _dataset_type(text: str) -> str:
    try:
        told = json.loads(text) if text else {}
    except ValueError:
        raise CustomerError("dataset_format is not JSON: {!r}".format(text)) from None
    if "csv" in told:
        return "text/csv"
    if "json" in told:
        return (
            "application/jsonlines" if told["json"].get("line", told["json"].get("lines", True)) else "application/json"
        )
    return "application/x-parquet" if "parquet" in told else "application/sagemakercapturejson"


def predictor(variables: Mapping[str, str]) -> Predictor:
    """Where label and probability stand in captured answers."""
    label, probability = (_name(variables.get(each)) for each in ("inference_attribute", "probability_attribute"))
    return Predictor("", "", "", "", 1, "", "text/csv", "text/csv", label, probability, (), "", "", "")


def _name(told: Optional[str]) -> Optional[Name]:
    """An index or an expression. SDK v2 writes "None" where there is none."""
    if not told or told == "None":
        return None
    return int(told) if told.isdigit() else told


Window = Tuple[Optional[float], Optional[float]]


def window(variables: Mapping[str, str]) -> Window:
    """From when to when requests count, in seconds since 1970; None: without a bound."""
    start, end = (moment(variables.get(each, "")) for each in ("start_time", "end_time"))
    return start, end


def inside(line: Mapping[str, Any], bounds: Window) -> bool:
    """Whether a captured request was answered in the window; one that does not say when is."""
    at = moment(str((line.get("eventMetadata") or {}).get("inferenceTime") or ""))
    start, end = bounds
    return at is None or ((start is None or at >= start) and (end is None or at < end))


def labelled(
    rows: List[List[Any]], answers: List[Any], labels: List[Any]
) -> Tuple[List[List[Any]], List[Any], List[Any]]:
    """The rows that have ground truth. CustomerError, which begins with NO_DATA, where none has."""
    kept = [at for at, each in enumerate(labels) if each is not None]
    if not kept:
        raise CustomerError("NO_DATA: no record has a label (rows: captured {}, joined 0, used 0).".format(len(rows)))
    return [rows[at] for at in kept], [answers[at] for at in kept], [labels[at] for at in kept]
