"""Lines of captured requests and answers -> rows: the answer's fields first, then the request's. Standard library only.

A line may be torn, of another encoding or without one side. What cannot be read is counted by reason, not guessed at.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import os
from collections import Counter
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from typing import Counter as Counts

LONGEST = 64 << 20  # bytes of a line that are read; AWS's requests have 6 MB at most
SIDES = ("endpointOutput", "endpointInput")
Field = Tuple[str, str]  # name ("": none), text
NAMES = {"endpointInput": "captureData", "endpointOutput": "captureData"}


class CapturedRow(NamedTuple):
    """One row: fields of the answer, fields of the request."""

    output: List[Field]
    input: List[Field]


class Lines:
    """The captured records of a folder. `counts` tells what became of lines."""

    def __init__(self, folder: str, start: str, end: str) -> None:
        self._folder = folder
        self._start, self._end = moment(start), moment(end)
        self.counts: Counts[str] = Counter()

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Records whose inferenceTime is in the window. A record twice (the same event id in one file) is given as it is."""
        for path in files(self._folder):
            with open(path, "rb") as file:
                for line in _lines(file):
                    record = self._record(line)
                    if record is not None:
                        yield record

    def _record(self, line: Optional[bytes]) -> Optional[Dict[str, Any]]:
        if line is not None and not line.strip():
            return None
        self.counts["captured"] += 1
        try:
            record = json.loads(line) if line is not None else None
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("captureData"), dict):
            self.counts["torn"] += 1
            return None
        metadata = record.get("eventMetadata")
        at = moment(str(metadata.get("inferenceTime") or "")) if isinstance(metadata, dict) else None
        if at is not None and not self._inside(at):
            self.counts["captured"] -= 1
            return None
        return record

    def _inside(self, at: float) -> bool:
        return (self._start is None or at >= self._start) and (self._end is None or at < self._end)


def _lines(file: Any) -> Iterator[Optional[bytes]]:
    """Lines; None for one that is too long."""
    while True:
        line = file.readline(LONGEST)
        if not line:
            return
        if line.endswith(b"\n") or len(line) < LONGEST:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield None


def files(folder: str) -> List[str]:
    """All files below, in order of their names, without hidden ones."""
    if os.path.isfile(folder):
        return [folder]
    found = [
        os.path.join(where, name)
        for where, _, names in os.walk(folder)
        for name in names
        if not name.startswith((".", "_"))
    ]
    return sorted(found)


def moment(text: str) -> Optional[float]:
    """Epoch seconds of an ISO 8601 time; None for another text."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def rows(record: Mapping[str, Any], counts: Counts[str]) -> List[CapturedRow]:
    """The rows of a captured record: one for each line of a CSV request. [] counts why there is none."""
    captured = record["captureData"]
    sides: List[List[List[Field]]] = []
    for name in SIDES:
        side = captured.get(name)
        if not isinstance(side, dict):
            sides.append([])
            continue
        found = fields(side)
        if found is None:
            counts["unreadable"] += 1
            return []
        sides.append(found)
    output, given = sides
    if not output and not given:
        counts["empty"] += 1
        return []
    if len(output) == 1 and len(given) > 1 and len(output[0]) == len(given):
        output = [[field] for field in output[0]]  # one line with an answer for each row
    size = max(len(output), len(given))
    if (output and len(output) != size) or (given and len(given) != size):
        counts["uneven"] += 1  # answers and rows do not belong together
        return []
    return [CapturedRow(output[n] if output else [], given[n] if given else []) for n in range(size)]


def fields(side: Mapping[str, Any]) -> Optional[List[List[Field]]]:
    """The rows of one side's body. None: it cannot be read."""
    data = text(side)
    if data is None:
        return None
    encoding = str(side.get("encoding") or "").upper()
    kind = str(side.get("observedContentType") or "").partition(";")[0].strip().lower()
    if encoding == "JSON" or (encoding == "BASE64" and "json" in kind):
        return _json(data)
    if encoding == "CSV" or (encoding == "BASE64" and kind in ("text/csv", "text/plain", "")):
        return [[("", value.strip()) for value in line] for line in csv.reader(io.StringIO(data)) if line]
    return None


def text(side: Mapping[str, Any]) -> Optional[str]:
    """The body as text; None of one that is none."""
    data = side.get("data")
    if not isinstance(data, str):
        return None
    if str(side.get("encoding") or "").upper() != "BASE64":
        return data
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _json(data: str) -> Optional[List[List[Field]]]:
    """JSON or JSON lines; {"instances": [...]} and {"predictions": [...]} are a row each."""
    try:
        values = [json.loads(data)]
    except ValueError:
        try:
            values = [json.loads(line) for line in data.splitlines() if line.strip()]
        except ValueError:
            return None
    except RecursionError:
        return None
    found: List[List[Field]] = []
    for value in values:
        if isinstance(value, dict) and len(value) == 1:
            only = next(iter(value.values()))
            if isinstance(only, list) and only and all(isinstance(each, (dict, list)) for each in only):
                value = only
        if isinstance(value, list) and value and all(isinstance(each, (dict, list)) for each in value):
            found += [flat(each) for each in value]
        else:
            found.append(flat(value))
    return found


def flat(value: Any, name: str = "") -> List[Field]:
    """Nested JSON as fields: `a.b` for members, `a_0` for elements; values of a list alone have no names."""
    if isinstance(value, dict):
        return [field for key, each in value.items() for field in flat(each, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        return [field for place, each in enumerate(value) for field in flat(each, f"{name}_{place}" if name else "")]
    return [(name, plain(value))]


def plain(value: Any) -> str:
    """A JSON value as text; "" is missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


class Handled:
    """What a `preprocess_handler` is given: attributes as AWS names them."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        captured = record.get("captureData") or {}
        metadata = record.get("eventMetadata") or {}
        truth = record.get("groundTruthData")
        self._record = dict(record)
        self.endpoint_input = _Side(captured.get("endpointInput"))
        self.endpoint_output = _Side(captured.get("endpointOutput"))
        self.batch_transform_output = _Side(captured.get("batchTransformOutput"))
        self.ground_truth = _Side(truth)
        self.event_metadata = _Metadata(metadata)
        self.event_version = record.get("eventVersion")

    def as_dict(self) -> Dict[str, Any]:
        return self._record


class _Side:
    def __init__(self, side: Any) -> None:
        given = side if isinstance(side, dict) else {}
        self.data = given.get("data")
        self.encoding = given.get("encoding")
        self.observedContentType = given.get("observedContentType")
        self.mode = given.get("mode")

    def as_dict(self) -> Dict[str, Any]:
        return dict(vars(self))


class _Metadata:
    def __init__(self, given: Mapping[str, Any]) -> None:
        self.event_id = given.get("eventId")
        self.event_time = given.get("inferenceTime")
        self.inference_id = given.get("inferenceId")
        attributes = given.get("customAttributes") or []
        self.custom_attribute = list(attributes)

    def as_dict(self) -> Dict[str, Any]:
        return dict(vars(self))


def handled(handler: Callable[..., Any], record: Mapping[str, Any], logger: Any) -> List[CapturedRow]:
    """The rows that the user's handler makes of a record. What it raises is the user's own."""
    from inspect import signature

    wants_logger = len(signature(handler).parameters) > 1
    made = handler(Handled(record), logger) if wants_logger else handler(Handled(record))
    given: Sequence[Any] = made if isinstance(made, list) else [made] if made else []
    return [CapturedRow([], flat(each)) for each in given]
