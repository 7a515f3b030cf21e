"""What a batch of records is sent as, and what is written of its answer: filters, the join, ids, the newline between answers. Pure.

Owns the order (input filter, prediction, join with the unfiltered input, output filter, ids) and which formats have records that can be
filtered: CSV, JSON and JSON lines. Standard library only, Python 3.9 or newer. Does not know objects and requests.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping

from clary.toolkit.transform.joining import (
    CSV,
    BadJoin,
    filtered_json,
    joined_json,
    joined_rows,
    media_type,
    parsed_json,
    rows_of,
    written_json,
    written_row,
)
from clary.toolkit.transform.paths import Indexes, IndexRange, JsonPath, parse

Row = List[str]
ID, TIME = "SageMakerInferenceId", "SageMakerInferenceTime"
_RAW = (
    "latin-1"  # CSV is cut at commas and newlines: its fields' bytes go through as they are, whatever their encoding is
)


class TransformShape:
    """Of one job. `spec` has `input_filter`, `output_filter`, `join`, `ids`, `content_type`, `accept`, `split`, `assemble`."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._input = parse(str(spec.get("input_filter") or "$"), "InputFilter")
        self._output = parse(str(spec.get("output_filter") or "$"), "OutputFilter")
        self._join = bool(spec.get("join"))
        self._ids = bool(spec.get("ids"))
        self._csv_in = media_type(str(spec.get("content_type") or "")) == CSV
        self._csv_out = media_type(str(spec.get("accept") or spec.get("content_type") or "")) == CSV
        self._lines = spec.get("split") == "Line"
        self._newline = spec.get("assemble") == "Line"
        self._reads = self._join or self._ids or not self._output.whole  # the answer is looked into

    def asked(self, body: bytes) -> bytes:
        """The body that the model gets."""
        if self._input.whole:
            return body
        if self._csv_in:
            take = picker(self._input)
            kept = []
            for number, row in enumerate(_rows(body), 1):
                taken = take(row)
                if not taken:
                    raise BadJoin(
                        f"InputFilter {self._input.text} selects nothing of row {number} of {len(row)} fields"
                    )
                kept.append(",".join(taken))
            return ("\n".join(kept) + "\n").encode(_RAW) if kept else b""
        values = [filtered_json(value, self._input) for value in self._values(body, "the input")]
        text = "\n".join(written_json(value) for value in values)
        return (text + "\n" if self._lines else text).encode()

    def written(self, body: bytes, answer: bytes) -> bytes:
        """What goes into the output of a batch that was `body`, before the input filter, and was answered so."""
        if not self._reads:
            return answer + b"\n" if self._newline and answer and not answer.endswith(b"\n") else answer
        if self._csv_out:
            return self._written_rows(body, answer)
        given = self._values(body, "the input") if self._join else []
        values = self._answers(answer, len(given))
        if self._join:
            values = [joined_json(one, said) for one, said in zip(given, values)]
        values = [filtered_json(value, self._output) for value in values]
        if self._ids:
            values = [joined_ids(value) for value in values]
        text = "\n".join(written_json(value) for value in values)
        return (text + "\n" if self._newline else text).encode()

    def _written_rows(self, body: bytes, answer: bytes) -> bytes:
        rows = _rows(answer)
        if self._join:
            rows = joined_rows(_rows(body), rows)
        if not self._output.whole:
            take = picker(self._output)
            rows = [take(row) for row in rows]
            empty = next((number for number, row in enumerate(rows, 1) if not row), 0)
            if empty:
                raise BadJoin(f"OutputFilter {self._output.text} selects nothing of row {empty} of the answer")
        if self._ids:
            at = _now()
            rows = [[*row, _new_id(), at] for row in rows]
        text = "\n".join(written_row(row) for row in rows)
        return (text + "\n" if text and self._newline else text).encode(_RAW)

    def _values(self, body: bytes, what: str) -> List[Any]:
        """The JSON values of a batch: one a line, or the whole of it where the object is not split."""
        if not self._lines:
            return [parsed_json(body, what)]
        return [parsed_json(line, f"{what}, row {number}") for number, line in _json_lines(body)]

    def _answers(self, answer: bytes, wanted: int) -> List[Any]:
        """The values of an answer: lines of JSON, or a JSON list with one element for each of the `wanted` records (0: not known)."""
        if not self._lines:
            return [parsed_json(answer, "the model's answer")]
        lines = list(_json_lines(answer))
        if len(lines) == 1 and wanted != 1:
            whole = parsed_json(lines[0][1], "the model's answer")
            if isinstance(whole, list) and len(whole) == wanted:
                return whole
        elif len(lines) != 1 and lines and lines[0][1].strip() in (b"[", b"{"):  # one value, written over several lines
            whole = parsed_json(answer, "the model's answer")
            lines = []
            if isinstance(whole, list) and (not wanted or len(whole) == wanted):
                return whole
            raise BadJoin(
                f"The model answered one JSON value to {wanted} records: it must answer one line, or one list element, to each."
            )
        if wanted and len(lines) != wanted:
            raise BadJoin(
                f"The model answered {len(lines)} lines to {wanted} records: to join them it must answer one line, or one element of a "
                "JSON list, to each record of a request. Use BatchStrategy SingleRecord if it takes one at a time."
            )
        return [parsed_json(line, f"the model's answer, line {number}") for number, line in lines]


def picker(path: JsonPath) -> Callable[[Row], Row]:
    """A function that takes what the path names of a row. The usual paths, a range and places, are plain slices."""
    if path.whole:
        return list
    if len(path.parts) == 1:
        part = path.parts[0]
        if isinstance(part, IndexRange):
            first, end = part.first, part.end
            return lambda row: row[first:end]
        if isinstance(part, Indexes):
            places = part.indexes
            return lambda row: [row[place] for place in places if -len(row) <= place < len(row)]
    return lambda row: [str(field) for field in path.select(row)]


def joined_ids(value: Any) -> Dict[str, Any]:
    """The record with an id and the time of its prediction. What is no object becomes the member SageMakerOutput of one."""
    own = value if isinstance(value, dict) else {"SageMakerOutput": value}
    return {**own, ID: _new_id(), TIME: _now()}


def _new_id() -> str:
    import uuid  # only for those who ask for ids

    return str(uuid.uuid4())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _rows(body: bytes) -> List[Row]:
    """Rows of CSV; blank lines are none."""
    return [row for row in rows_of(body.decode(_RAW)) if row != [""]]


def _json_lines(body: bytes) -> List["tuple[int, bytes]"]:
    return [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
