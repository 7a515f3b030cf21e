"""What preparation did, as JSON and as one HTML page with its pictures: each column before and after. Pure.

Pictures of numbers show a sample of the training part (every 2**n-th row, at most 4,096), before and after the same steps that all rows
went through; those of categories show exact counts.
"""

from __future__ import annotations

import html as escaping
import math
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from clary.toolkit.preparation.fitted import Preparation
from clary.toolkit.preparation.fitting import Categories, Numbers, Texts
from clary.toolkit.preparation.passes import Learnt
from clary.toolkit.preparation.recipe import ColumnRecipe
from clary.toolkit.preparation.values import Array

_WIDTH, _HEIGHT, _BARS = 260, 90, 26
_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1000px;padding:0 1rem;color:#1b1f24;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}table{border-collapse:collapse;margin:.6rem 0}"
    "td,th{padding:.2rem .9rem .2rem 0;text-align:left;vertical-align:top}th{font-weight:600;color:#57606a}"
    ".n{text-align:right;font-variant-numeric:tabular-nums}.c{border-top:1px solid #d0d7de;padding:.8rem 0}"
    ".p{display:flex;gap:2rem;flex-wrap:wrap}figure{margin:.4rem 0}figcaption{color:#57606a;font-size:.85rem}p{margin:.3rem 0}"
)


def summary(learnt: Learnt, written: Mapping[str, int], form: str, size: int, read: int) -> Dict[str, Any]:
    """report.json. Shares are between 0 and 1; `rank_error` bounds by how large a share of the rows a quantile may be off."""
    total = sum(written.values()) or 1
    told: Dict[str, Any] = {
        "version": 1,
        "rows": learnt.rows,
        "left_out": learnt.left_out,
        "source": {"format": form, "bytes": size, "passes": read},
        "split": {"by": learnt.recipe.split.by, "column": learnt.recipe.split.column, "seed": learnt.recipe.split.seed},
        "parts": {part: {"rows": count, "share": round(count / total, 6)} for part, count in written.items()},
        "features": [name for each in learnt.state["columns"] for name in each["names"]],
        "columns": [_column(column, learner, state) for column, learner, state in _each(learnt)],
    }
    if learnt.labels is not None:
        told["target"] = _target(learnt)
    return told


def _each(learnt: Learnt) -> List[Tuple[ColumnRecipe, Any, Mapping[str, Any]]]:
    return list(zip(learnt.recipe.columns, learnt.fit.learners, learnt.state["columns"]))


def _target(learnt: Learnt) -> Dict[str, Any]:
    labels, parts = learnt.labels, list(learnt.recipe.split.parts)
    assert labels is not None
    told: Dict[str, Any] = {"column": labels.target.column, "missing": labels.missing}
    if labels.counts:
        told["classes"] = {
            text: dict(zip(parts, (int(each) for each in labels.counts[text]))) for text in labels.classes
        }
    else:
        told["mean"] = {part: _plain(each.mean) for part, each in zip(parts, labels.moments) if each.count}
    return told


def _column(column: ColumnRecipe, learner: Any, state: Mapping[str, Any]) -> Dict[str, Any]:
    told: Dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "steps": steps(column, state),
        "missing": learner.missing,
        "features": list(state["names"]),
    }
    if isinstance(learner, Numbers):
        raw = learner.raw
        told["before"] = {
            "count": raw.count,
            "mean": _plain(raw.mean),
            "deviation": _plain(math.sqrt(raw.variance)) if raw.count else None,
            "min": _plain(raw.low),
            "max": _plain(raw.high),
        }
        if learner.sketch is not None:
            told["rank_error"] = learner.sketch.rank_error
    elif isinstance(learner, Categories):
        told["before"] = {
            "different": len(learner.counts),
            "most": dict(sorted(learner.counts.items(), key=lambda each: -each[1])[:10]),
        }
        if learner.lost:
            told["count_error"] = learner.lost
    elif isinstance(learner, Texts):
        told["before"] = {"count": learner.rows - learner.missing}
    return told


def _plain(value: float) -> Any:
    return float(value) if math.isfinite(value) else None


def steps(column: ColumnRecipe, state: Mapping[str, Any]) -> List[str]:
    """What was done, in words, in order."""
    made = ["{} of {} and {}".format(column.derived, *column.of)] if column.derived else []
    if state.get("low") is not None or state.get("high") is not None:
        made.append(
            "bounded to {} ... {}".format(
                *("" if state.get(end) is None else "{:.6g}".format(state[end]) for end in ("low", "high"))
            )
        )
    if state.get("fill") is not None:
        made.append(
            "missing filled with {}".format(
                "{:.6g}".format(state["fill"]) if isinstance(state["fill"], float) else repr(state["fill"])
            )
        )
    if state.get("bins") is not None:
        made.append("cut into {} bins".format(len(state["bins"]) - 1))
    if state.get("center") is not None:
        made.append("({} - {:.6g}) / {:.6g}".format("x", state["center"], state["scale"]))
    if state.get("times") is not None:
        made.append("x * {:.6g} + {:.6g}".format(state["times"], state["plus"]))
    if column.kind == "category":
        words = {
            "one_hot": "a feature each for {} categories",
            "ordinal": "numbers for {} categories",
            "target": "the mean target of each of {} categories, cross-fitted",
        }
        made.append(words[column.encode].format(len(state["categories"])))
    if column.kind == "text":
        made.append("words hashed into {} features".format(column.features))
    if column.kind == "date":
        made.append("parts: " + ", ".join(column.parts))
    if column.missing_flag:
        made.append("a feature that says what was missing")
    return made or ["kept as it is"]


def html(learnt: Learnt, told: Mapping[str, Any]) -> str:
    """The page: one file, nothing loaded from elsewhere."""
    said = escaping.escape
    parts = "".join(
        "<tr><td>{}</td><td class=n>{:,}</td><td class=n>{:.1%}</td></tr>".format(
            said(name), each["rows"], each["share"]
        )
        for name, each in told["parts"].items()
    )
    body = [
        "<h1>Preparation</h1>",
        "<p>{:,} rows of {}, read {} times; {:,} features. Everything was fitted on the part <b>train</b> alone.</p>".format(
            told["rows"], said(told["source"]["format"]), told["source"]["passes"], len(told["features"])
        ),
    ]
    if told["left_out"]:
        body.append(
            "<p>{:,} rows are in no part: their target, or what the split goes by, is missing.</p>".format(
                told["left_out"]
            )
        )
    body.append(
        "<h2>Parts, split {}</h2><table><tr><th>part</th><th class=n>rows</th><th class=n>share</th></tr>{}</table>".format(
            said(_by(told["split"])), parts
        )
    )
    if "target" in told:
        body.append(_target_table(told["target"], list(told["parts"])))
    body.append("<h2>Columns</h2>")
    preparation = Preparation(learnt.state)
    for (column, learner, _), each in zip(_each(learnt), told["columns"]):
        body.append(_section(column, learner, each, preparation))
    return "<!doctype html><html lang=en><meta charset=utf-8><title>Preparation</title><style>{}</style><body>{}</body></html>\n".format(
        _STYLE, "\n".join(body)
    )


def _by(split: Mapping[str, Any]) -> str:
    return "{}{}".format(
        {"random": "at random", "stratified": "stratified by", "time": "by time,", "group": "by group,"}[split["by"]],
        " " + split["column"] if split["column"] else "",
    )


def _target_table(target: Mapping[str, Any], parts: Sequence[str]) -> str:
    said = escaping.escape
    head = "".join("<th class=n>{}</th>".format(said(part)) for part in parts)
    if "classes" in target:
        rows = [
            (text, ["{:,}".format(counts.get(part, 0)) for part in parts])
            for text, counts in list(target["classes"].items())[:30]
        ]
    else:
        rows = [
            (
                "mean",
                [
                    "{:.6g}".format(target["mean"][part]) if target["mean"].get(part) is not None else ""
                    for part in parts
                ],
            )
        ]
    cells = "".join(
        "<tr><td>{}</td>{}</tr>".format(said(name), "".join("<td class=n>{}</td>".format(each) for each in values))
        for name, values in rows
    )
    return "<h2>Target {}</h2><table><tr><th></th>{}</tr>{}</table>".format(said(target["column"]), head, cells)


def _section(column: ColumnRecipe, learner: Any, told: Mapping[str, Any], preparation: Preparation) -> str:
    said = escaping.escape
    seen = learner.missing + (learner.raw.count if isinstance(learner, Numbers) else learner.rows - learner.missing)
    facts = ["{}, {:,} of {:,} missing".format(column.kind, learner.missing, seen)]
    if told.get("rank_error"):
        facts.append("quantiles off by at most {:.3%} of the rows".format(told["rank_error"]))
    if told.get("count_error"):
        facts.append("counts too low by at most {:,}".format(told["count_error"]))
    pictures = ""
    if isinstance(learner, Numbers):
        before = np.concatenate(learner.sample) if learner.sample else np.empty(0)
        place = [each["name"] for each in preparation.state["columns"]].index(column.name)
        after = preparation.column(place, before)
        pictures = _figure("before", histogram(before)) + _figure("after", histogram(after))
    elif isinstance(learner, Categories):
        most = sorted(learner.counts.items(), key=lambda each: (-each[1], each[0]))[:12]
        pictures = _figure(
            "{:,} different, the most frequent ones".format(len(learner.counts)),
            bars([(text.replace("\x1f", " & "), count) for text, count in most]),
        )
    return "<div class=c><b>{}</b><p>{}</p><p>{}</p><div class=p>{}</div></div>".format(
        said(column.name), said("; ".join(facts)), said(" → ".join(told["steps"])), pictures
    )


def _figure(caption: str, picture: str) -> str:
    return "<figure>{}<figcaption>{}</figcaption></figure>".format(picture, escaping.escape(caption)) if picture else ""


def histogram(values: Array) -> str:
    """An SVG of so many bars, with the ends of its axis below; '' without finite values."""
    x = values[np.isfinite(values)]
    if not len(x):
        return ""
    low, high = float(x.min()), float(x.max())
    if high / 2 - low / 2 > 1e307:  # the width would overflow
        return ""
    counts, _ = np.histogram(x, bins=_BARS, range=(low, high) if high > low else (low - 0.5, low + 0.5))
    wide, top = _WIDTH / _BARS, max(int(counts.max()), 1)
    made = []
    for place, count in enumerate(counts.tolist()):
        tall = max(count / top * (_HEIGHT - 18), 1.0 if count else 0.0)
        made.append(
            '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="#2f6fb7"/>'.format(
                place * wide, _HEIGHT - 16 - tall, wide - 1, tall
            )
        )
    label = '<text x="{}" y="{}" font-size="11" fill="#57606a" text-anchor="{}">{:.5g}</text>'
    ends = label.format(0, _HEIGHT - 3, "start", low) + label.format(_WIDTH, _HEIGHT - 3, "end", high)
    return '<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">{2}{3}</svg>'.format(
        _WIDTH, _HEIGHT, "".join(made), ends
    )


def bars(counts: Sequence[Tuple[str, int]]) -> str:
    """An SVG of a bar for each text."""
    if not counts:
        return ""
    top, made, wide = max(count for _, count in counts) or 1, [], 420
    for place, (text, count) in enumerate(counts):
        shown = text if len(text) <= 24 else text[:23] + "…"
        y = place * 18
        made.append(
            '<text x="150" y="{}" font-size="12" text-anchor="end" fill="#1b1f24">{}</text>'.format(
                y + 13, escaping.escape(shown)
            )
        )
        made.append(
            '<rect x="156" y="{}" width="{:.1f}" height="13" fill="#2f6fb7"/>'.format(y + 3, max(count / top * 190, 1))
        )
        made.append(
            '<text x="{:.1f}" y="{}" font-size="11" fill="#57606a">{:,}</text>'.format(
                160 + count / top * 190, y + 13, count
            )
        )
    return '<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">{2}</svg>'.format(
        wide, len(counts) * 18 + 4, "".join(made)
    )
