"""The bias sections of analysis.json: facets, label values and metrics over a dataset."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from clary.toolkit.clarify import bias
from clary.toolkit.clarify.columns import Column, Unfit, chosen, continuous, distinct, plain
from clary.toolkit.clarify.config import Analysis, CustomerError
from clary.toolkit.clarify.dataset import Dataset

_NONE = "No Label values are present in the predicted Label Column, Positive Predicted Index Series contains all False values"


class FacetLabels(NamedTuple):
    """The rows with a positive label, observed and predicted, and the label's positive values as reports show them."""

    observed: Any
    predicted: Optional[Any]
    shown: str


def sections(asked: Analysis, data: Dataset, predicted: Optional[Column]) -> Dict[str, Any]:
    """`pre_training_bias_metrics` and `post_training_bias_metrics`, as far as they are asked for. CustomerError for columns that do not
    fit the configuration."""
    assert data.label is not None
    label = data.column(data.label)
    try:
        labels = positive(label, asked.positive, predicted)
        groups = _groups(asked, data)
        found: Dict[str, Any] = {}
        if asked.pre is not None:
            facets = _facets(asked, data, labels, groups, bias.PRE_TRAINING, asked.pre)
            found["pre_training_bias_metrics"] = {
                "label": label.name,
                "facets": facets,
                "label_value_or_threshold": labels.shown,
            }
        if asked.post is not None:
            facets = _facets(asked, data, labels, groups, bias.POST_TRAINING, asked.post)
            found["post_training_bias_metrics"] = {
                "label": label.name,
                "facets": facets,
                "label_value_or_threshold": labels.shown,
            }
            found["model_performance"] = _performance(label, labels)
    except Unfit as error:
        raise CustomerError(str(error)) from None
    return found


def positive(label: Column, wanted: Sequence[Any], predicted: Optional[Column]) -> FacetLabels:
    """Which rows have a positive label. CustomerError where none has."""
    quantity = continuous(label, wanted)
    top = None
    if quantity and predicted is not None and predicted.kind != "text":
        seen = predicted.values[~np.isnan(predicted.values)]
        top = float(seen.max()) if len(seen) else None
    observed, shown = chosen(label, wanted, quantity, top)
    if not observed.any():
        seen_values = ", ".join(plain(each) for each in distinct(label)[:10])
        raise CustomerError(
            "Invalid analysis config: label_values_or_threshold: no row of label {!r} is positive: none {} {}; it holds {}".format(
                label.name, "is over" if quantity else "is", ", ".join(plain(each) for each in wanted), seen_values
            )
        )
    if predicted is None:
        return FacetLabels(observed, None, shown)
    return FacetLabels(observed, chosen(predicted, wanted, quantity and predicted.kind != "text", top)[0], shown)


def _groups(asked: Analysis, data: Dataset) -> Optional[Any]:
    if asked.group is None:
        return None
    return np.array([plain(each) for each in data.cells[data.at(asked.group, "group_variable")]], dtype=object)


def _facets(
    asked: Analysis,
    data: Dataset,
    labels: FacetLabels,
    groups: Optional[Any],
    table: Dict[str, Tuple[str, bias.Metric]],
    names: Sequence[str],
) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for number, facet in enumerate(asked.facets):
        at = data.at(facet.name, "facet[{}].name_or_index".format(number))
        own = data.column(at)
        features = _matrix(data, at) if "FT" in names and table is bias.POST_TRAINING else None
        found[own.name] = []
        for rows, shown in _values(own, facet.values):
            evidence = bias.Rows(rows, labels.observed, labels.predicted, groups, features)
            found[own.name].append({"value_or_threshold": shown, "metrics": _report(evidence, table, names)})
    return found


def _values(facet: Column, wanted: Sequence[Any]) -> List[Tuple[Any, str]]:
    """The facet's sets of rows: one for the values wanted, or one for each value that the column has."""
    quantity = continuous(facet, wanted)
    if quantity or wanted:
        return [chosen(facet, wanted, quantity)]
    return [chosen(facet, [each], False) for each in distinct(facet)]


def _report(rows: bias.Rows, table: Dict[str, Tuple[str, bias.Metric]], names: Sequence[str]) -> List[Dict[str, Any]]:
    if table is bias.POST_TRAINING and not rows.predicted.any():  # type: ignore[union-attr]
        return [{"name": name, "description": table[name][0], "value": None, "error": _NONE} for name in sorted(names)]
    return bias.report(rows, table, names)


def _matrix(data: Dataset, facet: int) -> Optional[Any]:
    """The features but for the facet as a matrix; None where one is no number."""
    columns = [data.column(at) for at in range(len(data.names)) if at not in (facet, data.label, data.predicted)]
    if not columns or any(each.kind == "text" for each in columns):
        return None
    return np.stack([each.values for each in columns], axis=1)


def _performance(label: Column, labels: FacetLabels) -> Dict[str, Any]:
    metrics, matrix = bias.performance(labels.observed, labels.predicted)
    return {"label": label.name, "model_performance_metrics": metrics, "binary_confusion_matrix": matrix}
