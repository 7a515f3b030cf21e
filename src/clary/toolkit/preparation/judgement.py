"""What a brief demands of its data, judged from facts that were counted. Pure: standard library and plain values.

Each finding has a level: `error` (do not train before this is settled), `warning` (look at it), `fine`. The facts are those of
`briefing.facts`; what a metric is without a model, and how far it may be off by chance, follows from counts alone.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from clary.toolkit.brief import BINARY, MAXIMIZE, MULTICLASS, REGRESSION, Brief

ERROR, WARNING, FINE = "error", "warning", "fine"
LEAKS, SUSPECT = (
    0.98,
    0.9,
)  # how well one column alone tells the target: 1 tells it, 0.5 (0 for what is no AUC) tells nothing
UNIQUE = 0.98  # different values by rows, from which on a column names rows
TEST_SHARE = 0.2  # of the rows, where the brief's split does not say
FEW, FEW_POSITIVE = 30, 5  # rows of a slice in the test part below which it cannot be judged
_SURE, _POWER = 1.6448536269514722, 0.8416212335729143  # one-sided 5 %; 80 %


class Finding(NamedTuple):
    level: str
    about: str
    text: str


def problem(brief: Brief, target: Mapping[str, Any]) -> str:
    """The kind of problem: the brief's, or what the target shows."""
    if brief.problem:
        return brief.problem
    return BINARY if len(target["classes"]) == 2 else MULTICLASS


def judge(brief: Brief, facts: Mapping[str, Any]) -> List[Finding]:
    """All findings, errors first."""
    absent = [name for name in _named(brief) if name not in facts["columns"] and name != brief.target]
    found = [
        Finding(ERROR, "columns", "the data has no column {!r}, which the brief names".format(name)) for name in absent
    ]
    broken = _target(brief, facts)
    found += broken
    if not any(each.level == ERROR for each in broken):
        found += [*_duplicates(facts), *_leaks(brief, facts), *_slices(brief, facts), *_baseline(brief, facts)]
        found += _shown(brief, facts)
    order = (ERROR, WARNING, FINE)
    return sorted(found, key=lambda each: order.index(each.level))


def _named(brief: Brief) -> List[str]:
    """Columns that must be there. A forbidden one need not; the target is told of apart."""
    return list(dict.fromkeys([*brief.identifiers, *brief.known_after, *brief.slices, *brief.split.values()]))


def _target(brief: Brief, facts: Mapping[str, Any]) -> List[Finding]:
    target, rows = facts.get("target"), facts["rows"]
    if not rows:
        return [Finding(ERROR, "rows", "the data has no rows")]
    if target is None:
        return [Finding(ERROR, "target", "the data has no column {!r}".format(brief.target))]
    known = rows - target["missing"]
    if not known:
        return [Finding(ERROR, "target", "{!r} is missing in all {:,} rows".format(brief.target, rows))]
    found = []
    if target["missing"]:
        found.append(
            Finding(
                WARNING,
                "target",
                "{!r} is missing in {:,} of {:,} rows, which tell nothing".format(
                    brief.target, target["missing"], rows
                ),
            )
        )
    if brief.problem == REGRESSION:
        if target["mean"] is None:
            return [
                Finding(
                    ERROR, "target", "{!r} is no number, and {} judges numbers".format(brief.target, brief.metric.name)
                )
            ]
        if not target["deviation"]:
            return [
                Finding(
                    ERROR,
                    "target",
                    "{!r} is {:g} in every row: there is nothing to learn".format(brief.target, target["mean"]),
                )
            ]
        return [
            *found,
            Finding(
                FINE,
                "target",
                "{:,} rows, mean {:.6g}, standard deviation {:.6g}".format(known, target["mean"], target["deviation"]),
            ),
        ]
    return [*found, *_classes(brief, target, known)]


def _classes(brief: Brief, target: Mapping[str, Any], known: int) -> List[Finding]:
    classes = target["classes"]
    if len(classes) == 1:
        return [
            Finding(
                ERROR,
                "target",
                "{!r} has one class only, {!r}: there is nothing to learn".format(brief.target, next(iter(classes))),
            )
        ]
    if target["different"] > len(classes) or len(classes) > 1000:
        return [
            Finding(
                ERROR,
                "target",
                "{!r} has {:,} different values: it is no class, but text or a number".format(
                    brief.target, target["different"]
                ),
            )
        ]
    if brief.problem == BINARY and len(classes) != 2:
        return [
            Finding(
                ERROR, "target", "{!r} has {:,} classes, and the brief says binary".format(brief.target, len(classes))
            )
        ]
    if brief.positive is not None and as_text(brief.positive) not in classes:
        return [
            Finding(
                ERROR,
                "positive",
                "{!r} is none of the target's values: {}".format(brief.positive, ", ".join(list(classes)[:10])),
            )
        ]
    rare = min(classes, key=lambda text: classes[text])
    shown = ", ".join("{} {:.1%}".format(text, count / known) for text, count in list(classes.items())[:6])
    level = WARNING if classes[rare] < 50 else FINE
    return [
        Finding(
            level,
            "target",
            "{:,} classes in {:,} rows: {}{}".format(
                len(classes), known, shown, "; {!r} has {} rows".format(rare, classes[rare]) if level == WARNING else ""
            ),
        )
    ]


def as_text(value: Any) -> str:
    """A value of the brief as the data has it."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _duplicates(facts: Mapping[str, Any]) -> List[Finding]:
    twice = facts["duplicates"]
    if twice["across"]:
        return [
            Finding(
                ERROR,
                "duplicates",
                "{:,} different rows are in more than one part of the split: what is tested was trained on".format(
                    twice["across"]
                ),
            )
        ]
    if twice["rows"]:
        words = "{:,} rows repeat another in every feature and the target; a random split would put some of them on both sides"
        level = WARNING if twice["across"] is None else FINE
        return [
            Finding(
                level,
                "duplicates",
                words.format(twice["rows"])
                if level == WARNING
                else "{:,} rows repeat others, all within one part".format(twice["rows"]),
            )
        ]
    return [Finding(FINE, "duplicates", "no row repeats another")]


def _leaks(brief: Brief, facts: Mapping[str, Any]) -> List[Finding]:
    found, excluded = [], set(brief.excluded)
    for name, each in facts["features"].items():
        if name in excluded:
            continue
        if each["unique"] > UNIQUE and not each["continuous"]:
            found.append(
                Finding(
                    WARNING,
                    name,
                    "{:.0%} of its values are different: it names rows. Put it into identifiers".format(each["unique"]),
                )
            )
        if each["tells_missing"] >= LEAKS:
            found.append(
                Finding(
                    ERROR,
                    name,
                    "whether it is missing tells the target ({:.3f}): it is known only afterwards. Put it into known_after".format(
                        each["tells_missing"]
                    ),
                )
            )
        elif each["tells"] >= LEAKS:
            found.append(
                Finding(
                    ERROR,
                    name,
                    "alone it tells the target ({} {:.3f}): it leaks. Put it into known_after, or tell why it is no leak".format(
                        facts["association"], each["tells"]
                    ),
                )
            )
        elif each["tells"] >= SUSPECT:
            found.append(
                Finding(
                    WARNING,
                    name,
                    "alone it nearly tells the target ({} {:.3f}): is it known when one predicts?".format(
                        facts["association"], each["tells"]
                    ),
                )
            )
    for name in brief.forbidden:
        if name in facts["columns"]:
            found.append(Finding(FINE, name, "is forbidden and in the data: leave it out by `drop` in the recipe"))
    if not any(each.level != FINE for each in found):
        found.append(Finding(FINE, "leaks", "no column alone tells the target"))
    return found


def _slices(brief: Brief, facts: Mapping[str, Any]) -> List[Finding]:
    found = []
    for name in brief.slices:
        values = facts["slices"].get(name)
        if values is None:
            continue
        share = facts["test_share"]
        small = [
            text
            for text, (rows, positives) in values.items()
            if rows * share < FEW or (positives is not None and positives * share < FEW_POSITIVE)
        ]
        if small:
            found.append(
                Finding(
                    WARNING,
                    name,
                    "{} of {} values have too few rows to be judged in a test part of {:.0%}: {}".format(
                        len(small), len(values), share, ", ".join(small[:8])
                    ),
                )
            )
        else:
            found.append(Finding(FINE, name, "each of its {} values has enough rows to be judged".format(len(values))))
    return found


def trivial(brief: Brief, target: Mapping[str, Any]) -> Optional[float]:
    """The metric of the best model that sees no feature: the most frequent class, the classes' shares, the mean (the median for mae)."""
    name = brief.metric.name
    if brief.problem == REGRESSION:
        spread = target["deviation"]
        made: Mapping[str, float] = {"mse": spread**2, "rmse": spread, "mae": target["spread"], "r2": 0.0}
        return made[name]
    counts = list(target["classes"].values())
    shares = [count / sum(counts) for count in counts]
    most, classes = max(shares), len(shares)
    if problem(brief, target) == BINARY:
        p = positive_share(brief, target)
        two = {"precision": p, "recall": 1.0, "f1": 2 * p / (1 + p), "pr_auc": p, "brier": p * (1 - p)}
        if name in two:
            return two[name]
    many = {"accuracy": most, "balanced_accuracy": 1 / classes, "precision": most / classes, "recall": 1 / classes}
    many.update(
        {"f1": 2 * most / (1 + most) / classes, "roc_auc": 0.5, "log_loss": -sum(p * math.log(p) for p in shares)}
    )
    return many.get(name)


def positive_share(brief: Brief, target: Mapping[str, Any]) -> float:
    """Of the class that counts as 1: the brief's, else the last by number or text."""
    classes = target["classes"]
    positive = as_text(brief.positive) if brief.positive is not None else list(classes)[-1]
    return float(classes[positive] / sum(classes.values()))


def _baseline(brief: Brief, facts: Mapping[str, Any]) -> List[Finding]:
    metric, value = brief.metric, trivial(brief, facts["target"])
    if value is None:
        return []
    found = []
    # A recall of 1 is had by calling everything positive: it is no bar for anybody.
    bar = metric.name != "recall"
    if bar and metric.threshold is not None and not metric.better(metric.threshold, value):
        found.append(
            Finding(
                ERROR,
                "threshold",
                "{} {:g} is no better than {:.4g}, which takes no model".format(metric.name, metric.threshold, value),
            )
        )
    if brief.baseline is not None and bar and metric.better(value, brief.baseline.value):
        found.append(
            Finding(
                WARNING,
                "baseline",
                "{:g} is worse than {:.4g}, which takes no model".format(brief.baseline.value, value),
            )
        )
    if (
        metric.threshold is not None
        and brief.baseline is not None
        and not metric.better(metric.threshold, brief.baseline.value)
    ):
        found.append(
            Finding(
                WARNING,
                "threshold",
                "{:g} asks for nothing better than the baseline's {:g}".format(metric.threshold, brief.baseline.value),
            )
        )
    return found or [Finding(FINE, "baseline", "without a model {} is {:.4g}".format(metric.name, value))]


def deviation(brief: Brief, target: Mapping[str, Any], value: float) -> Optional[float]:
    """The standard deviation of the metric at `value`, times the root of the test rows; None where counts do not tell it.

    Proportions by the binomial law, ROC AUC by Hanley and McNeil (1982), RMSE, MSE and R2 for normal errors."""
    name = brief.metric.name
    if brief.problem == REGRESSION:
        spread = target["deviation"] or 1.0
        found = {"rmse": value / math.sqrt(2), "mse": value * math.sqrt(2), "mae": value * math.sqrt(math.pi / 2 - 1)}
        found["r2"] = 2 * math.sqrt(max(value, 0.0)) * (1 - value) if spread else 0.0
        return found.get(name)
    binary = problem(brief, target) == BINARY
    p = positive_share(brief, target) if binary else 0.0
    inside = min(max(value, 0.0), 1.0)
    if name in ("accuracy", "balanced_accuracy") or (not binary and name in ("precision", "recall", "f1")):
        return math.sqrt(inside * (1 - inside))
    if name in ("precision", "recall", "f1", "pr_auc"):
        return math.sqrt(inside * (1 - inside) / p)
    if name == "roc_auc" and binary:
        one, two = inside / (2 - inside), 2 * inside * inside / (1 + inside)
        return math.sqrt(max((one - inside**2) / (1 - p) + (two - inside**2) / p, 0.0))
    if name == "brier":
        return math.sqrt(p * (1 - p)) * abs(1 - 2 * p)
    return None


def rows_needed(brief: Brief, target: Mapping[str, Any]) -> Optional[Tuple[float, int]]:
    """`(what is to be shown, rows of the test part that show it)`: that a model at the threshold is better than the baseline (else than no
    model), at 5 % with a power of 80 %. None without a threshold, or where counts do not tell."""
    metric = brief.metric
    other = brief.baseline.value if brief.baseline is not None else trivial(brief, target)
    if metric.threshold is None or other is None or not metric.better(metric.threshold, other):
        return None
    spread = deviation(brief, target, metric.threshold)
    if spread is None:
        return None
    gap = abs(metric.threshold - other)
    return gap, max(math.ceil(((_SURE + _POWER) * spread / gap) ** 2), 1)


def _shown(brief: Brief, facts: Mapping[str, Any]) -> List[Finding]:
    needed = rows_needed(brief, facts["target"])
    if needed is None:
        return []
    gap, rows = needed
    have = int((facts["rows"] - facts["target"]["missing"]) * facts["test_share"])
    verb = "more" if brief.metric.direction == MAXIMIZE else "less"
    words = "to show {:.4g} {} {} than the baseline takes about {:,} rows in the test part; it has {:,}".format(
        gap, verb, brief.metric.name, rows, have
    )
    return [Finding(FINE if have >= rows else ERROR if have * 4 < rows else WARNING, "rows", words)]


def verdict(findings: List[Finding]) -> str:
    """`error`, `warning` or `fine`: the worst of all."""
    levels = {each.level for each in findings}
    return ERROR if ERROR in levels else WARNING if WARNING in levels else FINE


def card(brief: Brief, plain: Mapping[str, Any], findings: List[Finding], facts: Mapping[str, Any]) -> Dict[str, Any]:
    """The content of a model card, by SageMaker's schema 0.1.0. Each field of the brief stands in custom_details as JSON."""
    import json

    kind = brief.problem or (
        problem(brief, facts["target"]) if facts.get("target") and facts["target"]["classes"] else ""
    )
    custom = {"brief." + name: json.dumps(value, ensure_ascii=False) for name, value in plain.items()}
    details = {name: text for name, text in custom.items() if len(text) <= 1024}
    lines = ["{}: {}: {}".format(each.level, each.about, each.text) for each in findings]
    numbers = [{"name": "rows", "type": "number", "value": facts["rows"]}]
    if facts.get("target") and verdict(findings) != ERROR and trivial(brief, facts["target"]) is not None:
        numbers.append(
            {
                "name": "{} without a model".format(brief.metric.name),
                "type": "number",
                "value": trivial(brief, facts["target"]),
            }
        )
    purpose = brief.objective + ("\n" + brief.hypothesis if brief.hypothesis else "")
    affected = "Affected: {}. ".format(", ".join(brief.affected)) if brief.affected else ""
    origin = "{}Data: {}. Lawful basis: {}.".format(affected, brief.origin, brief.lawful_basis)
    return {
        "model_overview": {"model_description": brief.objective[:1024], **({"problem_type": kind} if kind else {})},
        "intended_uses": {"purpose_of_model": purpose[:2048], "risk_rating": "Unknown"},
        "evaluation_details": [
            {
                "name": "brief check",
                "evaluation_observation": "\n".join(lines)[:2096],
                "metric_groups": [{"name": "data", "metric_data": numbers}],
            }
        ],
        "additional_information": {"ethical_considerations": origin[:2048], "custom_details": details},
    }
