"""Filters and the join of batch transform, record by record. Pure.

Source: the developer guide's "Associate prediction results with input records". In this order: the input filter, the prediction, the join
with the *unfiltered* input, the output filter. A record of CSV is a row of raw fields: they are taken and joined as text, numbers are
never written again. Does not know objects and requests.
"""

from __future__ import annotations

import json
import re
from typing import Any, List, Sequence, Union

from clary.toolkit.transform.paths import JsonPath

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
INPUT, OUTPUT = "SageMakerInput", "SageMakerOutput"
# A raw field, and what ends it.
_FIELD = re.compile(r'("(?:[^"]|"")*"|(?!")[^,\n]*?)(,|\r?\n|\r?\Z)')


class BadJoin(ValueError):
    """Answers that cannot be joined with their inputs, or a record that a filter cannot read: what was expected, and what came."""


def media_type(content_type: str) -> str:
    """`text/csv; charset=utf-8` is `text/csv`: types are compared, not texts."""
    return content_type.partition(";")[0].strip().lower()


def rows_of(text: str) -> List[List[str]]:
    """The rows of CSV text as raw fields (RFC 4180: a quoted field keeps its quotes, and may hold commas and newlines)."""
    if '"' not in text:  # nearly always: ten times as fast
        lines = text.split("\n")
        if not lines[-1]:
            del lines[-1]
        return [line.removesuffix("\r").split(",") for line in lines]
    rows: List[List[str]] = []
    row: List[str] = []
    at = 0
    while at < len(text):
        found = _FIELD.match(text, at)
        if found is None:
            raise BadJoin(f"A quoted field of the CSV does not end: {_short(text[at:])}")
        row.append(found[1])
        if found[2] != ",":
            rows.append(row)
            row = []
        at = found.end()
    if row:  # it ends with a comma: an empty field
        rows.append([*row, ""])
    return rows


def filtered_row(row: Sequence[str], path: JsonPath) -> List[str]:
    """The fields that the path takes; a row is an array."""
    return [str(field) for field in path.select(list(row))] if not path.whole else list(row)


def filtered_json(value: Any, path: JsonPath) -> Any:
    """What the path takes: the value itself where it names one, else an array of all that it found."""
    if path.whole:
        return value
    found = path.select(value)
    if path.single:
        if not found:
            raise BadJoin(f"The filter {path.text} selects nothing of {_short(value)}")
        return found[0]
    return found


def joined_rows(inputs: Sequence[Sequence[str]], answers: Sequence[Sequence[str]]) -> List[List[str]]:
    """Each input's fields, then its answer's. As many answers as inputs must have come."""
    if len(inputs) != len(answers):
        raise BadJoin(
            f"The model answered {len(answers)} rows to {len(inputs)}: to join them it must answer one row to each row of a request."
        )
    return [[*given, *answer] for given, answer in zip(inputs, answers)]


def joined_json(given: Any, answer: Any) -> Any:
    """An object gets the member SageMakerOutput; for anything else an object of SageMakerInput and SageMakerOutput is made."""
    if isinstance(given, dict):
        return {**given, OUTPUT: answer}
    return {INPUT: given, OUTPUT: answer}


def parsed_json(text: Union[str, bytes], what: str) -> Any:
    """`what` names the text in the message ("the model's answer to record 3")."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise BadJoin(f"{what[:1].upper()}{what[1:]} is not JSON ({fault}): {_short(text)}") from None


def written_row(row: Sequence[str]) -> str:
    return ",".join(row)


def written_json(value: Any) -> str:
    """One line of compact JSON, text as it is."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _short(value: Any) -> str:
    text = (
        value.decode(errors="replace")
        if isinstance(value, bytes)
        else value
        if isinstance(value, str)
        else written_json(value)
    )
    return text if len(text) <= 100 else text[:99] + "…"
