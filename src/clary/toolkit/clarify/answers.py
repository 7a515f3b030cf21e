"""Requests to a model and what its answers mean: bodies out of rows, scores and labels out of answers. Pure."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from clary.toolkit.clarify.columns import column, plain
from clary.toolkit.clarify.config import CustomerError, Name, Predictor
from clary.toolkit.clarify.dataset import search

MOST_BYTES, MOST_ROWS = 1 << 20, 1000
_NAMED = re.compile(r'"?\$\{([^}]+)\}"?')


class ModelAnswer(NamedTuple):
    """Of one row: what the model says of the label, and its scores; None where it says nothing of it."""

    label: Any
    scores: Optional[List[float]]


def bodies(
    asked: Predictor,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    most: int = MOST_ROWS,
    size_limit: int = MOST_BYTES,
) -> List[List[Any]]:
    """`[body, number of rows]` of each request, in order; none has more rows, or (but for a single row) bytes, than that."""
    single = asked.content_type == "application/json" and "$records" not in asked.content_template
    found: List[List[Any]] = []
    kept: List[str] = []
    size = 0
    for row in rows:
        text = _line(asked, names, row)
        if kept and (single or size + len(text) > size_limit or len(kept) >= most):
            found.append([_body(asked, kept), len(kept)])
            kept, size = [], 0
        kept.append(text)
        size += len(text)
    if kept:
        found.append([_body(asked, kept), len(kept)])
    return found


def _line(asked: Predictor, names: Sequence[str], row: Sequence[Any]) -> str:
    """A row as one record."""
    if asked.content_type == "text/csv":
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow(["" if each is None else plain(each) for each in row])
        return out.getvalue()
    values = [_json(each) for each in row]
    template = asked.record_template if asked.content_type == "application/json" else asked.content_template
    named = dict(zip(names, values))
    text = template.replace("$features_kvp", json.dumps(named)).replace("$features", json.dumps(values))
    text = text.replace("$feature", json.dumps(values[0]))
    return _NAMED.sub(lambda found: json.dumps(_cell(named, found[1])), text)


def _cell(named: Dict[str, Any], name: str) -> Any:
    if name not in named:
        raise CustomerError("Invalid analysis config: predictor.record_template: there is no feature {!r}".format(name))
    return named[name]


def _json(cell: Any) -> Any:
    """A cell as JSON has it: what a CSV holds as a text may be a number."""
    if not isinstance(cell, str):
        return cell
    found = column("", [cell])
    if found.kind == "text":
        return cell
    value = float(found.values[0])
    return None if math.isnan(value) else int(value) if found.kind == "int" else value


def _body(asked: Predictor, lines: List[str]) -> str:
    if asked.content_type == "application/json":
        if "$records" in asked.content_template:
            return asked.content_template.replace("$records", "[" + ", ".join(lines) + "]")
        return asked.content_template.replace("$record", lines[0])
    return "\n".join(lines)


def answers(asked: Predictor, text: str, content_type: str, count: int) -> List[ModelAnswer]:
    """The answers to `count` rows. CustomerError, with the beginning of the text, for what is not that."""
    kind = content_type.partition(";")[0].strip().lower() or asked.accept
    try:
        if kind == "text/csv":
            return [_of_row(asked, each) for each in _rows(text, count)]
        if kind in ("application/jsonlines", "application/json"):
            return _documents(asked, text, kind, count)
    except (ValueError, TypeError, KeyError, IndexError, csv.Error) as error:
        raise CustomerError("The model's answer cannot be used ({}): {}".format(error, text[:200])) from None
    raise CustomerError(
        "The model answers with {}, which is none of text/csv, application/jsonlines and application/json".format(kind)
    )


def _rows(text: str, count: int) -> List[List[str]]:
    rows = [row for row in csv.reader(text.strip().splitlines()) if row]
    if len(rows) == 1 and count > 1 and len(rows[0]) == count:
        rows = [[each] for each in rows[0]]
    if len(rows) != count:
        raise ValueError("{} rows were asked, {} answered".format(count, len(rows)))
    return rows


def _documents(asked: Predictor, text: str, kind: str, count: int) -> List[ModelAnswer]:
    documents = [json.loads(line) for line in text.split("\n") if line.strip()]
    if len(documents) == count and not (count == 1 and kind == "application/json" and isinstance(documents[0], list)):
        return [_of_document(asked, each) for each in documents]
    if len(documents) != 1:
        raise ValueError("{} rows were asked, {} answered".format(count, len(documents)))
    whole = documents[0]
    columns = {}
    for what, name in (("label", asked.label), ("probability", asked.probability)):
        values = search(name, whole, "predictor." + what) if isinstance(name, str) else None
        if values is not None:
            if not isinstance(values, list) or len(values) != count:
                raise ValueError("predictor.{} does not find {} values".format(what, count))
            columns[what] = values
    if columns:
        empty = [None] * count
        return [_answer(asked, *pair) for pair in zip(columns.get("label", empty), columns.get("probability", empty))]
    if isinstance(whole, dict) and isinstance(whole.get("predictions"), list):
        whole = whole["predictions"]
    if not isinstance(whole, list) or len(whole) != count:
        raise ValueError("{} rows were asked, and the answer is no list of so many".format(count))
    return [_of_document(asked, each) for each in whole]


def captured(asked: Predictor, raw: Sequence[Any]) -> List[ModelAnswer]:
    """The answers that were captured, a row of a CSV or a document each. CustomerError for those that say nothing of the label."""
    try:
        return [_of_document(asked, each) for each in raw]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise CustomerError(
            "Captured answers cannot be used ({}): see inference_attribute and probability_attribute".format(error)
        ) from None


def _of_document(asked: Predictor, document: Any) -> ModelAnswer:
    if isinstance(document, dict):
        found = [
            search(name, document, "predictor." + what) if isinstance(name, str) else None
            for what, name in (("label", asked.label), ("probability", asked.probability))
        ]
        if found == [None, None] and len(document) == 1:
            return _of_row(asked, next(iter(document.values())))
        if found == [None, None]:
            raise ValueError("predictor.label and predictor.probability find nothing in it")
        return _answer(asked, *found)
    return _of_row(asked, document)


def _of_row(asked: Predictor, row: Any) -> ModelAnswer:
    """A row of values, or one value: label and probability are at their indexes; without any, all values are scores."""
    row = row if isinstance(row, list) else [row]
    label, probability = (_at(row, name) for name in (asked.label, asked.probability))
    if label is None and probability is None:
        return _answer(asked, row[0] if len(row) == 1 else None, row)
    return _answer(asked, label, probability)


def _at(row: List[Any], name: Optional[Name]) -> Any:
    if name is None:
        return None
    if isinstance(name, int):
        return row[name]
    if name.lstrip("-").isdigit():
        return row[int(name)]
    raise ValueError("{!r} is no index, and the answer has no names".format(name))


def _answer(asked: Predictor, label: Any, scores: Any) -> ModelAnswer:
    if isinstance(label, str) and label.strip().startswith("["):
        label = json.loads(label)
    numbers = _numbers(label if scores is None and not isinstance(label, list) else scores)
    if isinstance(label, list):
        label = label[numbers.index(max(numbers))] if numbers and len(numbers) == len(label) else label[0]
    if label is None and numbers and asked.label_headers and len(asked.label_headers) == len(numbers) > 1:
        label = asked.label_headers[numbers.index(max(numbers))]
    elif label is None and numbers and len(numbers) > 1:
        label = numbers.index(max(numbers))
    return ModelAnswer(label, numbers)


def _numbers(value: Any) -> Optional[List[float]]:
    """The scores; None for what is no number."""
    if isinstance(value, str) and value.strip().startswith("["):
        value = json.loads(value)
    found = column("", value if isinstance(value, list) else [value])
    if found.kind == "text" or value is None:
        return None
    return [float(each) for each in found.values]


def labels(
    asked: Optional[Predictor], threshold: Optional[float], observed: Any, found: Sequence[ModelAnswer]
) -> List[Any]:
    """The predicted labels. One score becomes a label by the threshold where the observed labels are 0 and 1, where a threshold is
    given, or where there is one label header; else it is the label. `observed`: the observed label's distinct values."""
    headers = asked.label_headers if asked is not None else ()
    binary = set(observed) <= {0, 1} or threshold is not None
    bound = 0.5 if threshold is None else threshold
    results = []
    for each in found:
        one = each.scores[0] if each.scores is not None and len(each.scores) == 1 else None
        explicit = asked is not None and asked.label is not None and asked.probability is not None
        if one is None or explicit:
            results.append(each.label)
        elif len(headers) == 1:
            results.append(headers[0] if one > bound else None)
        else:
            results.append(int(one > bound) if binary else each.label if each.label is not None else one)
    return results
