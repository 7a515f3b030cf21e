"""Takes named columns out of captured requests and answers, before anything of them is stored. Pure.

Columns are `input.NAME` and `output.NAME`, by keys of JSON (at any depth; `a.b` is b within a) or by position (`input.0`). A value that
is taken out is empty in CSV and null in JSON. A body that cannot be read, or is of another content type, is taken out whole: nothing is
stored by mistake.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from typing import Any

from clary.domain.errors import Invalid

TAG = "clary:capture-redact"
INPUT, OUTPUT = "input.", "output."
_ROWS = ("instances", "predictions", "inputs", "outputs", "data")  # keys of JSON below which each value is a row


def read(text: str) -> tuple[str, ...]:
    """The columns of the tag, blanks between them. Invalid: not columns."""
    names = tuple(text.split())
    for name in names:
        if not name.startswith((INPUT, OUTPUT)) or name in (INPUT, OUTPUT):
            raise Invalid(
                f"{TAG}: '{name}' is no column: they begin with {INPUT} or {OUTPUT}, such as input.0 or input.email."
            )
    if not names:
        raise Invalid(f"{TAG} names no column.")
    return names


def redacted(body: bytes, content_type: str, columns: Collection[str], prefix: str) -> bytes:
    """The body without those of the columns that begin with the prefix; b"" where it cannot be read."""
    names = frozenset(name.removeprefix(prefix) for name in columns if name.startswith(prefix))
    if not names:
        return body
    kind = content_type.partition(";")[0].strip().lower()
    try:
        text = body.decode()
        if kind == "text/csv":
            return _csv(text, names).encode()
        if "json" in kind:
            documents = text.splitlines() if "lines" in kind else [text]
            return "\n".join(
                json.dumps(_json(json.loads(each), names, (), False)) for each in documents if each.strip()
            ).encode()
    except (ValueError, RecursionError, csv.Error):
        pass
    return b""


def _csv(text: str, names: frozenset[str]) -> str:
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    for row in csv.reader(io.StringIO(text)):
        writer.writerow("" if str(place) in names else field for place, field in enumerate(row))
    return made.getvalue()


def _json(value: Any, names: frozenset[str], path: tuple[str, ...], rows: bool) -> Any:
    """`path` leads here; `rows`: each value of this list is a row of one column, which is column 0."""
    if isinstance(value, dict):
        return {key: _member(each, names, (*path, key), key in _ROWS, True) for key, each in value.items()}
    if isinstance(value, list):
        return [
            _member(each, names, (*path, "0" if rows else str(place)), False, False) for place, each in enumerate(value)
        ]
    return None if not path and "0" in names else value


def _member(value: Any, names: frozenset[str], path: tuple[str, ...], rows: bool, keyed: bool) -> Any:
    whole = keyed or not isinstance(value, (list, dict))  # a position names a value, not a row
    if whole and any(".".join(path[at:]) in names for at in range(len(path))):
        return None
    return _json(value, names, path, rows)
