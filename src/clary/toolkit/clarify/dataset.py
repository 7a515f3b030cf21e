"""Reads a dataset: CSV, JSON Lines, JSON, Parquet, and what endpoints captured. Every row becomes cells, as the file has them."""

from __future__ import annotations

import csv
import gzip
import json
import os
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from clary.toolkit.clarify import monitored
from clary.toolkit.clarify.columns import Column, column
from clary.toolkit.clarify.config import Analysis, CustomerError, Name, found

_LABEL, _PREDICTED = "Label", "Predicted Label"


class Dataset(NamedTuple):
    """`names` and `cells` are those of all columns, in the file's order; the rest are indexes of columns. `answers` are the model's
    answers, one a row, where they were captured."""

    names: Tuple[str, ...]
    cells: List[List[Any]]
    label: Optional[int]
    predicted: Optional[int]
    model: Tuple[int, ...]
    answers: Optional[List[Any]] = None

    @property
    def rows(self) -> int:
        return len(self.cells[0]) if self.cells else 0

    def column(self, at: int) -> Column:
        return column(self.names[at], self.cells[at])

    def at(self, name: Name, where: str) -> int:
        """The index of a column; CustomerError where there is none."""
        return found(self.names, name, where)


def read(asked: Analysis, folder: str, bounds: monitored.Window = (None, None)) -> Dataset:
    """The dataset of a folder's files. CustomerError, which names the file, for what cannot be read, and where there are no rows.
    `bounds`: of captured requests those that were answered then."""
    paths = files(folder)
    if asked.dataset_type in ("application/jsonlines", "application/json"):
        table = _documents(asked, paths)
    elif asked.dataset_type == "application/sagemakercapturejson":
        return _captured(asked, paths, bounds)
    else:
        table = _table(asked, paths)
    if not table.rows:
        raise CustomerError("The dataset has no rows ({} files)".format(len(paths)))
    return table


def files(folder: str) -> List[str]:
    """The files of a folder in the order of their names, those that begin with a dot or an underscore left out."""
    listed = []
    for top, folders, names in os.walk(folder):
        folders.sort()
        listed += [os.path.join(top, each) for each in names if not each.startswith((".", "_"))]
    if not listed:
        raise CustomerError("The dataset has no files: nothing lies under its S3 URI")
    return sorted(listed)


def _opened(path: str) -> str:
    """A file's text, uncompressed; CustomerError for what is no UTF-8."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CustomerError("Unable to read {}: {}".format(os.path.basename(path), error)) from None


# -- tables -------------------------------------------------------------------------------------------------------------------


def _table(asked: Analysis, paths: Sequence[str]) -> Dataset:
    reader = _parquet if asked.dataset_type == "application/x-parquet" else _csv
    names, cells = reader(paths, asked.headers, asked.label)
    label = None if asked.label is None else found(names, asked.label, "label")
    predicted = None
    if asked.predicted_label is not None and not asked.predicted_uri:
        predicted = found(names, asked.predicted_label, "predicted_label")
    left_out = {label, predicted, *(found(names, each, "excluded_columns") for each in asked.excluded)}
    if asked.join is not None:
        left_out.add(found(names, asked.join, "joinsource_name_or_index"))
    return Dataset(names, cells, label, predicted, tuple(at for at in range(len(names)) if at not in left_out))


def attached(asked: Analysis, data: Dataset, folder: str, which: str) -> Dataset:
    """The dataset with the columns of a second one ("facet" or "predicted_label") behind its own, which the model does not get. Rows belong
    together by the join column, where both have it, or by their order. CustomerError where they do not match."""
    where = which + "_dataset_uri"
    headers = asked.predicted_headers if which == "predicted_label" else asked.facet_headers
    names, cells = _csv(files(folder), headers, asked.predicted_label if which == "predicted_label" else None)
    if asked.join is not None and (not isinstance(asked.join, str) or asked.join in names):
        own, theirs = (
            data.cells[data.at(asked.join, "joinsource_name_or_index")],
            cells[found(names, asked.join, where)],
        )
        places = {key: at for at, key in enumerate(theirs)}
        missing = [key for key in own if key not in places]
        if missing or len(places) < len(theirs):
            raise CustomerError(
                "{}: rows cannot be joined: {!r} is {}".format(
                    where, (missing or theirs)[0], "missing" if missing else "there twice"
                )
            )
        cells = [[each[places[key]] for key in own] for each in cells]
        at = found(names, asked.join, where)
        names, cells = (*names[:at], *names[at + 1 :]), [*cells[:at], *cells[at + 1 :]]
    if not cells or len(cells[0]) != data.rows:
        raise CustomerError("{} has {} rows, the dataset {}".format(where, len(cells[0]) if cells else 0, data.rows))
    predicted = data.predicted
    if which == "predicted_label":
        predicted = len(data.names) + (
            found(names, asked.predicted_label, "predicted_label") if asked.predicted_label is not None else 0
        )
    return data._replace(names=(*data.names, *names), cells=[*data.cells, *cells], predicted=predicted)


def rows_of_csv(text: str, where: str) -> List[List[str]]:
    """The rows of a CSV's text; CustomerError for rows of different lengths."""
    rows = [row for row in csv.reader(text.splitlines(keepends=True), skipinitialspace=True) if row]
    for at, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise CustomerError("{}: row {} has {} columns, the first has {}".format(where, at, len(row), len(rows[0])))
    return rows


def _csv(
    paths: Sequence[str], headers: Optional[Tuple[str, ...]], label: Optional[Name]
) -> Tuple[Tuple[str, ...], List[List[Any]]]:
    names = headers
    found_rows: List[List[str]] = []
    for path in paths:
        where = os.path.basename(path)
        try:
            rows = rows_of_csv(_opened(path), where)
        except csv.Error as error:
            raise CustomerError("Unable to read {}: {}".format(where, error)) from None
        if not rows:
            continue
        if names is None:
            names = tuple(rows[0]) if _is_header(rows, label) else tuple(_placeholders(len(rows[0])))
        if len(names) != len(rows[0]):
            raise CustomerError("{} has {} columns, headers names {}".format(where, len(rows[0]), len(names)))
        found_rows += rows[1:] if tuple(each.strip() for each in rows[0]) == names else rows
    return names or (), [list(each) for each in zip(*found_rows)]


def _placeholders(width: int) -> Iterator[str]:
    return ("column_{}".format(at) for at in range(width))


def _is_header(rows: List[List[str]], label: Optional[Name]) -> bool:
    """Whether the first row holds names: no numbers, and another kind of cells than the rows below it, or the label's name."""
    first = column("", rows[0])
    if first.kind != "text" or len(set(rows[0])) < len(rows[0]) or "" in rows[0]:
        return False
    if isinstance(label, str) and label in rows[0]:
        return True
    if any(column("", [each]).kind != "text" for each in rows[0]):
        return False
    return any(column("", list(each)).kind != "text" for each in zip(*rows[1:]))


def _parquet(
    paths: Sequence[str], headers: Optional[Tuple[str, ...]], label: Optional[Name]
) -> Tuple[Tuple[str, ...], List[List[Any]]]:
    import pyarrow
    import pyarrow.parquet

    names: Optional[Tuple[str, ...]] = None
    cells: List[List[Any]] = []
    for path in paths:
        try:
            table = pyarrow.parquet.read_table(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise CustomerError("Unable to read {} as Parquet: {}".format(os.path.basename(path), error)) from None
        own = tuple(table.column_names)
        if names is not None and own != names:
            raise CustomerError(
                "{} has other columns than the first file: {}".format(os.path.basename(path), ", ".join(own))
            )
        names = own
        cells = cells or [[] for _ in own]
        for target, source in zip(cells, table.columns):
            target += source.to_pylist()
    if headers is not None and len(headers) != len(names or ()):
        raise CustomerError("The dataset has {} columns, headers names {}".format(len(names or ()), len(headers)))
    return headers or names or (), cells


# -- JSON ---------------------------------------------------------------------------------------------------------------------


def search(expression: str, document: Any, where: str) -> Any:
    """What a JMESPath expression finds; CustomerError for one that is wrong."""
    import jmespath

    try:
        return jmespath.search(expression, document)
    except jmespath.exceptions.JMESPathError as error:
        raise CustomerError(
            "Invalid analysis config: {}: {!r} is no JMESPath expression: {}".format(where, expression, error)
        ) from None


def _documents(asked: Analysis, paths: Sequence[str]) -> Dataset:
    if not asked.features:
        raise CustomerError(
            "Invalid analysis config: features: must be a JMESPath expression for {}".format(asked.dataset_type)
        )
    lines = asked.dataset_type == "application/jsonlines"
    rows: List[List[Any]] = []
    labels: List[Any] = []
    predictions: List[Any] = []
    for path in paths:
        for document, where in _parsed(path, lines):
            these = search(asked.features, document, "features")
            these = [these] if lines else these
            if not isinstance(these, list) or not all(isinstance(each, list) for each in these):
                raise CustomerError("{}: features {!r} does not find lists of values".format(where, asked.features))
            rows += these
            for kept, name, what in (
                (labels, asked.label, "label"),
                (predictions, asked.predicted_label, "predicted_label"),
            ):
                if name is not None:
                    kept += _one_each(search(str(name), document, what), lines, len(these), where, what)
    width = len(rows[0]) if rows else 0
    for at, row in enumerate(rows, 1):
        if len(row) != width:
            raise CustomerError("Record {} has {} features, the first has {}".format(at, len(row), width))
    extra = [_LABEL] * bool(labels) + [_PREDICTED] * bool(predictions)
    names = _named(asked.headers, width, extra)
    cells = [list(each) for each in zip(*rows)] + [each for each in (labels, predictions) if each]
    label = width if labels else None
    predicted = width + bool(labels) if predictions else None
    excluded = {found(names, each, "excluded_columns") for each in asked.excluded}
    return Dataset(names, cells, label, predicted, tuple(at for at in range(width) if at not in excluded))


def _one_each(values: Any, lines: bool, count: int, where: str, what: str) -> List[Any]:
    values = [values] if lines else values
    if not isinstance(values, list) or len(values) != count:
        raise CustomerError("{}: {} does not find one value for each of {} records".format(where, what, count))
    return values


def _parsed(path: str, lines: bool) -> Iterator[Tuple[Any, str]]:
    text, name = _opened(path), os.path.basename(path)
    pieces = (
        [(each, "{}, line {}".format(name, at)) for at, each in enumerate(text.split("\n"), 1)]
        if lines
        else [(text, name)]
    )
    for piece, where in pieces:
        if piece.strip():
            try:
                yield json.loads(piece), where
            except ValueError as error:
                raise CustomerError("{} is not JSON: {}".format(where, error)) from None


def _named(headers: Optional[Tuple[str, ...]], width: int, extra: List[str]) -> Tuple[str, ...]:
    """Names of the features, and of label and predicted label behind them, which headers may name or leave out."""
    if headers is None:
        return (*_placeholders(width), *extra)
    if not width <= len(headers) <= width + len(extra):
        raise CustomerError("The dataset has {} features, headers names {} columns".format(width, len(headers)))
    return (*headers, *extra[len(headers) - width :])


# -- captured -----------------------------------------------------------------------------------------------------------------


def _captured(asked: Analysis, paths: Sequence[str], bounds: monitored.Window) -> Dataset:
    """Captured requests with their ground truth, as a monitor merged them: a request may hold several rows. What is torn is left out, and,
    where labels are needed, what has none."""
    rows: List[List[Any]] = []
    labels: List[Any] = []
    answers: List[Any] = []
    lost = 0
    for path in paths:
        for line in _opened(path).split("\n"):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
                if not monitored.inside(document, bounds):
                    continue
                these, theirs, truth = _record(asked, document)
            except (ValueError, KeyError, TypeError, AttributeError):
                lost += 1
                continue
            if rows and these and len(these[0]) != len(rows[0]):
                lost += 1
                continue
            rows += these
            answers += theirs
            labels += truth
    if not rows:
        raise CustomerError(
            "NO_DATA: no record can be used (rows: captured {}, used 0; files {}).".format(lost, len(paths))
        )
    if lost:
        print("{} records are left out: they are torn, or have another number of features".format(lost), flush=True)
    if asked.pre is not None or asked.post is not None:
        rows, answers, labels = monitored.labelled(rows, answers, labels)
    width = len(rows[0])
    headers = asked.headers
    if headers is not None and isinstance(asked.label, str) and asked.label in headers and len(headers) == width + 1:
        headers = tuple(each for each in headers if each != asked.label)
    names = _named(headers, width, [str(asked.label) if asked.label is not None else _LABEL])
    return Dataset(names, [list(each) for each in zip(*rows)] + [labels], width, None, tuple(range(width)), answers)


def _record(asked: Analysis, line: Dict[str, Any]) -> Tuple[List[List[Any]], List[Any], List[Any]]:
    data = line["captureData"]
    these = _rows(asked, data["endpointInput"])
    answer = data.get("endpointOutput")
    theirs: List[Any] = _answers(answer) if answer else []
    truth = line.get("groundTruthData")
    told = [] if truth is None else [each[0] for each in rows_of_csv(str(truth["data"]), "ground truth")]
    if len(theirs) not in (0, len(these)) or len(told) not in (0, len(these)):
        raise ValueError("rows of input, output and ground truth differ")
    return these, theirs or [None] * len(these), told or [None] * len(these)


def _rows(asked: Analysis, part: Dict[str, Any]) -> List[List[Any]]:
    if part["encoding"] == "CSV":
        return [list(each) for each in rows_of_csv(part["data"], "input")]
    document = json.loads(part["data"])
    found_rows = search(asked.features, document, "features") if asked.features else document
    if isinstance(found_rows, dict):
        found_rows = list(found_rows.values())
    nested = isinstance(found_rows, list) and found_rows and isinstance(found_rows[0], list)
    return found_rows if nested else [found_rows]  # type: ignore[return-value]


def _answers(part: Dict[str, Any]) -> List[Any]:
    if part["encoding"] == "CSV":
        return [list(each) for each in rows_of_csv(part["data"], "output")]
    return [json.loads(part["data"])]
