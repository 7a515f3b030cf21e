"""The HTML page of an evaluation: what came out, by whom and over what, with pictures. One file, nothing loaded from elsewhere.

Pictures are scikit-learn's own displays, drawn by matplotlib as SVG: ROC, precision and recall, calibration, confusion; of a regression
predictions and residuals.
"""

from __future__ import annotations

import io
import os
import tempfile
from html import escape
from typing import Any, Callable, List, Mapping, Sequence, Tuple

import numpy as np

from clary.toolkit.evaluation.data import BINARY, REGRESSION, Data
from clary.toolkit.evaluation.measures import BINS, GROUPS
from clary.toolkit.evaluation.resampling import PredictedRows

MOST_CLASSES = 20  # in a picture of the confusion matrix
POINTS = 2000  # of a scatter plot, drawn at random from all
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#59636e"
COLOURS = {"better": "#00805e", "worse": "#b3261e", "not shown": GREY}
STYLE = """
body{font:15px/1.45 system-ui,'DejaVu Sans',sans-serif;color:#24292f;background:#fff;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p.lead{font-size:1.05rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.25rem .8rem .25rem 0;text-align:left;border-bottom:1px solid #d8dee4}td.n,th.n{text-align:right}
.pictures{display:grid;margin-top:1.5rem;
grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}figure{margin:0}figure svg{width:100%;height:auto}
.wide{overflow-x:auto}.note{color:#59636e;font-size:.9rem}
"""


def page(document: Mapping[str, Any], data: Data, model: PredictedRows) -> str:
    """The page's HTML."""
    told = document["dataset"]
    brief = document.get("brief", {})
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        "<title>Evaluation of {}</title><style>{}</style>".format(escape(told["model"]), STYLE),
        "<h1>Evaluation of {}</h1>".format(escape(told["model"])),
        "<p class=note>{}</p>".format(escape(_over(told))),
        "<p class=lead><b>{}</b>: {}</p>".format(escape(brief["name"]), escape(brief["objective"])) if brief else "",
        _gate(document),
        "<h2>Compared</h2>" + _compared(document),
        "<h2>Metrics</h2>" + _metrics(document, data),
        "<div class=pictures>{}</div>".format("".join(_pictures(data, model))),
    ]
    if "cross_validation" in document:
        parts.append("<h2>Folds</h2>" + _folds(document["cross_validation"]))
    if "slices" in document:
        parts.append("<h2>Slices</h2>" + _slices(document))
    return "\n".join(part for part in parts if part) + "\n"


def _over(told: Mapping[str, Any]) -> str:
    words = "{:,} rows, target {}, {}".format(told["item_count"], told["target"], told["problem"])
    if told.get("positive"):
        words += ", positive class {}".format(told["positive"])
    if told["without_target"]:
        words += "; {:,} rows without a target were left out".format(told["without_target"])
    drawn = told["bootstrap"]
    if not drawn["replicates"]:
        return words + "."
    together = " of groups of {}".format(told["group"]) if "group" in told else ""
    return "{}. Intervals: {:.0%}, from {:,} bootstrap replicates{}, seed {}.".format(
        words, drawn["confidence"], drawn["replicates"], together, drawn["seed"]
    )


def _gate(document: Mapping[str, Any]) -> str:
    found = document["gate"]
    if found["passed"]:
        return "<p class=lead style='color:{}'>The gate is passed.</p>".format(COLOURS["better"])
    reasons = "".join("<li>{}</li>".format(escape(each)) for each in found["reasons"])
    return "<p class=lead style='color:{}'>The gate is not passed:</p><ul>{}</ul>".format(COLOURS["worse"], reasons)


def _number(value: Any) -> str:
    return "{:,.4g}".format(value) if isinstance(value, float) and abs(value) < 1e4 else "{:,.0f}".format(value)


def _between(told: Mapping[str, Any]) -> str:
    return "{} to {}".format(_number(told["lower"]), _number(told["upper"])) if "lower" in told else "-"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """`numbers`: how many columns from the left are text; cells are HTML."""
    kinds = ["" if place < numbers else " class=n" for place in range(len(heads))]
    head = "".join("<th{}>{}</th>".format(kind, name) for kind, name in zip(kinds, heads))
    body = "".join(
        "<tr>{}</tr>".format("".join("<td{}>{}</td>".format(k, cell) for k, cell in zip(kinds, row))) for row in rows
    )
    return "<div class=wide><table><tr>{}</tr>{}</table></div>".format(head, body)


def _verdict(name: str) -> str:
    return "<b style='color:{}'>{}</b>".format(COLOURS[name], name)


def _compared(document: Mapping[str, Any]) -> str:
    rows = []
    own = document["metric"]["value"]
    for which, told in document["comparisons"].items():
        p_value = "{:.2g}".format(told["p_value"]) if "p_value" in told else "-"
        difference = told["difference"]
        cells = [which, escape(told["name"]), _verdict(told["verdict"]), _number(own), _number(told["value"])]
        rows.append([*cells, "{:+.4g}".format(difference["value"]), _between(difference), p_value])
    heads = ("with", "", "verdict", document["metric"]["name"], "theirs", "difference", "interval", "p")
    return _table(heads, rows, 3)


def _metrics(document: Mapping[str, Any], data: Data) -> str:
    group = document[GROUPS[data.problem]]
    rows = []
    for name, told in group.items():
        if "value" in told and name != "auc" and not name.endswith("_best_constant_classifier"):
            shown = "<b>{}</b>".format(name) if name == document["metric"]["name"] else name
            rows.append([shown, _number(told["value"]), _between(told)])
    notes = "".join("<p class=note>Not told: {}</p>".format(escape(each)) for each in document["undefined"])
    return _table(("metric", "value", "interval"), rows, 1) + notes


def _folds(told: Mapping[str, Any]) -> str:
    rows = [
        [
            escape(each["training_job"]),
            "{:,}".format(each["train"]),
            "{:,}".format(each["test"]),
            _number(each["value"]) if "value" in each else "-",
        ]
        for each in told["folds"]
    ]
    shown = "Folds: {}.".format(told["kind"])
    if "mean" in told:
        words = " Mean of the folds {}, standard deviation {}."
        shown += words.format(_number(told["mean"]), _number(told["standard_deviation"]))
    return _table(("training job", "trained on", "tested on", told["metric"]), rows, 1) + "<p class=note>{}</p>".format(
        shown
    )


def _slices(document: Mapping[str, Any]) -> str:
    metric = document["metric"]["name"]
    decided = {
        (each["column"], each["value"]): each["verdict"]
        for each in document["comparisons"].get("incumbent", {}).get("slices", ())
    }
    rows = []
    for column, parts in document["slices"].items():
        for value, told in parts.items():
            found = told["metrics"].get(metric)
            verdict = decided.get((column, value))
            cells = [escape(column), escape(value), _verdict(verdict) if verdict else "-", "{:,}".format(told["rows"])]
            rows.append([*cells, _number(found["value"]) if found else "-", _between(found) if found else "-"])
    return _table(("column", "value", "against incumbent", "rows", metric, "interval"), rows, 3)


# -- pictures -----------------------------------------------------------------------------------------------------------------


def _pictures(data: Data, model: PredictedRows) -> List[str]:
    os.environ.setdefault(
        "MPLCONFIGDIR", tempfile.mkdtemp()
    )  # it writes a cache of fonts, and a sandbox's home may be read-only
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "clary",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    from matplotlib import pyplot

    made = []
    for title, draw in _drawings(data, model):
        figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
        draw(axes)
        axes.set_title(title)
        axes.set_xlabel(axes.get_xlabel().partition(" (Pos")[0])  # of 0 and 1; the page names the positive class
        axes.set_ylabel(axes.get_ylabel().partition(" (Pos")[0])
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
        pyplot.close(figure)
        made.append("<figure>{}</figure>".format(file.getvalue()[file.getvalue().index("<svg") :]))
    return made


Drawing = Tuple[str, Callable[[Any], Any]]


def _drawings(data: Data, model: PredictedRows) -> List[Drawing]:
    return _of_numbers(data.truth, model.numbers) if data.problem == REGRESSION else _of_classes(data, model)


def _of_numbers(truth: Any, numbers: Any) -> List[Drawing]:
    from sklearn import metrics as sk

    chosen = np.random.default_rng(0).permutation(len(truth))[:POINTS]
    look = {"scatter_kwargs": {"s": 12, "alpha": 0.5, "color": BLUE}, "line_kwargs": {"color": ORANGE}}

    def points(kind: str) -> Callable[[Any], Any]:
        display = sk.PredictionErrorDisplay(y_true=truth[chosen], y_pred=numbers[chosen])
        return lambda axes: display.plot(ax=axes, kind=kind, **look)

    return [
        ("Predictions", points("actual_vs_predicted")),
        ("Residuals", points("residual_vs_predicted")),
        ("Distribution of residuals", lambda axes: _histogram(axes, truth - numbers)),
    ]


def _of_classes(data: Data, model: PredictedRows) -> List[Drawing]:
    from sklearn import calibration
    from sklearn import metrics as sk

    truth, scores = data.truth, model.scores
    made: List[Drawing] = []
    look = {"name": "model", "curve_kwargs": {"color": BLUE, "linewidth": 1.8}, "plot_chance_level": True}
    bins = {"n_bins": BINS, "strategy": "quantile", "name": "model", "color": BLUE}
    if data.problem == BINARY and scores is not None:
        roc, recall = sk.RocCurveDisplay.from_predictions, sk.PrecisionRecallDisplay.from_predictions
        made.append(("ROC curve", lambda axes: roc(truth, scores, ax=axes, **look)))
        made.append(
            ("Precision and recall", lambda axes: recall(truth, scores, ax=axes, drop_intermediate=True, **look))
        )
        if model.probabilities:
            calibrated = calibration.CalibrationDisplay.from_predictions
            made.append(("Calibration", lambda axes: calibrated(truth, scores, ax=axes, **bins)))
    if len(data.classes) <= MOST_CLASSES:
        counts = sk.confusion_matrix(truth, model.labels, labels=np.arange(len(data.classes)))
        display = sk.ConfusionMatrixDisplay(counts, display_labels=list(data.classes))
        turned = "horizontal" if len(data.classes) < 6 else "vertical"
        shown = {"cmap": "Blues", "colorbar": False, "values_format": ",d", "xticks_rotation": turned}
        made.append(("Confusion matrix", lambda axes: display.plot(ax=axes, **shown)))
    return made


def _histogram(axes: Any, residuals: Any) -> None:
    axes.hist(residuals, bins="auto" if len(residuals) < 10_000 else 100, color=BLUE, alpha=0.8)
    axes.axvline(0.0, color=ORANGE)
    axes.set_xlabel("actual - predicted")
    axes.set_ylabel("rows")
