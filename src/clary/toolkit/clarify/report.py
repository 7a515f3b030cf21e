"""The report about an analysis, as blocks that every format shows: headings, texts, tables, bars and curves. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple, Union

from clary.toolkit.clarify.columns import plain

_MOST = 20  # features that a picture has


class Heading(NamedTuple):
    level: int
    text: str


class TextBlock(NamedTuple):
    text: str


class Table(NamedTuple):
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Bars(NamedTuple):
    """A bar for each (name, value), from 0."""

    title: str
    bars: Sequence[Tuple[str, float]]


class Curves(NamedTuple):
    """A line for each (name, values) over the same points. `points` are numbers, or names, which stand at equal distances."""

    title: str
    points: Sequence[Union[float, str]]
    lines: Sequence[Tuple[str, Sequence[float]]]


Block = Union[Heading, TextBlock, Table, Bars, Curves]
_SECTIONS = (
    ("pre_training_bias_metrics", "Pre-training Bias Metrics", "Bias in the data that a model is trained on, before it is trained."),
    ("post_training_bias_metrics", "Post-training Bias Metrics", "Bias of the model's predictions."),
)  # fmt: skip


def blocks(title: str, analysis: Dict[str, Any], rows: int, columns: int) -> List[Block]:
    """The whole report."""
    return [
        Heading(1, title),
        TextBlock("The dataset has {} rows and {} columns.".format(rows, columns)),
        *_bias(analysis),
        *_performance(analysis),
        *_shap((analysis.get("explanations") or {}).get("kernel_shap") or {}),
        *_pdp((analysis.get("explanations") or {}).get("pdp") or []),
    ]


def number(value: Any) -> str:
    """A metric's value as people read it."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else "{:.6g}".format(value)


def _bias(analysis: Dict[str, Any]) -> Iterator[Block]:
    for key, title, words in _SECTIONS:
        section = analysis.get(key)
        if section is None:
            continue
        yield Heading(2, title)
        shown = (section["label"], section["label_value_or_threshold"])
        yield TextBlock("{} Label {}, positive: {}.".format(words, *shown))
        for facet, values in section["facets"].items():
            for each in values:
                yield Heading(3, "Facet {}: {}".format(facet, each["value_or_threshold"]))
                metrics = each["metrics"]
                yield Table(
                    ("Name", "Description", "Value", "Error"),
                    [(m["name"], m["description"], number(m["value"]), m.get("error", "")) for m in metrics],
                )
                yield Bars(
                    "Metrics", [(m["name"], m["value"]) for m in metrics if isinstance(m["value"], (int, float))]
                )


def _performance(analysis: Dict[str, Any]) -> Iterator[Block]:
    found = analysis.get("model_performance")
    if found is None:
        return
    yield Heading(2, "Model Performance")
    yield Table(
        ("Name", "Description", "Value"),
        [(each["name"], each["description"], number(each["value"])) for each in found["model_performance_metrics"]],
    )
    tp, fp, fn, tn = (number(each) for each in found["binary_confusion_matrix"])
    yield Table(
        ("Share of rows", "Predicted positive", "Predicted negative"), [("Positive", tp, fn), ("Negative", fp, tn)]
    )


def _shap(found: Dict[str, Any]) -> Iterator[Block]:
    if not found:
        return
    yield Heading(2, "SHAP Values")
    yield TextBlock("How much each feature moves the model's prediction away from the expected value, over all rows.")
    for label, each in found.items():
        ordered = sorted(each["global_shap_values"].items(), key=lambda pair: -abs(pair[1]))
        yield Heading(3, "{}: expected value {}".format(label, number(each["expected_value"])))
        yield Bars("Global SHAP values", ordered[:_MOST])
        yield Table(("Feature", "Global SHAP value"), [(name, number(value)) for name, value in ordered])


def _pdp(found: List[Dict[str, Any]]) -> Iterator[Block]:
    if not found:
        return
    yield Heading(2, "Partial Dependence")
    yield TextBlock("The model's mean prediction with one feature set to each of its values in all rows.")
    for each in found:
        points = each["feature_values"]
        if each["data_type"] != "numerical":
            points = [plain(value) for value in points]
        lines = [("label{}".format(at), values) for at, values in enumerate(each["model_predictions"])]
        yield Heading(3, each["feature_name"])
        yield Curves(each["feature_name"], points, lines)
