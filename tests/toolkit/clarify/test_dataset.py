"""Datasets as files hold them: CSV with and without headers, JSON, Parquet, captured requests, a second dataset beside."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit.clarify import config, dataset
from clary.toolkit.clarify.columns import column, continuous, distinct, member

METHODS = {"pre_training_bias": {"methods": "all"}}
GOOD: dict[str, Any] = {
    "label": "y", "label_values_or_threshold": [1], "facet": [{"name_or_index": "a"}], "methods": METHODS,
}  # fmt: skip


def read(folder: Path, files: dict[str, str | bytes], **more: Any) -> dataset.Dataset:
    for name, body in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(body.encode() if isinstance(body, str) else body)
    return dataset.read(config.analysis({**GOOD, **more}), str(folder))


def test_csv_with_headers_in_the_configuration(tmp_path: Path) -> None:
    files = {"1.csv": "a,b,y\n1,x,0\n", "deep/2.csv": gzip.compress(b"2,z,1\r\n"), "_SUCCESS": "", ".x": "1"}
    found = read(tmp_path, files, headers=["a", "b", "y"])
    assert (found.names, found.cells) == (("a", "b", "y"), [["1", "2"], ["x", "z"], ["0", "1"]])
    assert (found.label, found.model, found.rows) == (2, (0, 1), 2)


def test_csv_whose_first_row_names_the_columns(tmp_path: Path) -> None:
    assert read(tmp_path, {"1.csv": "a,b,y\n1,x,0\n"}).names == ("a", "b", "y")


def test_csv_without_any_names(tmp_path: Path) -> None:
    found = read(tmp_path, {"1.csv": "1,x,0\n2,z,1\n"}, label=2, facet=[{"name_or_index": 0}])
    assert (found.names, found.rows) == (("column_0", "column_1", "column_2"), 2)


def test_columns_that_the_model_does_not_get(tmp_path: Path) -> None:
    given = {"headers": ["id", "a", "b", "y"], "excluded_columns": ["b"], "joinsource_name_or_index": "id"}
    assert read(tmp_path, {"1.csv": "7,1,2,0\n"}, **given).model == (1,)


@pytest.mark.parametrize(
    ("files", "more", "told"),
    [
        ({"1.csv": "1,2,3\n1,2\n"}, {"headers": ["a", "b", "y"]}, "1.csv: row 2 has 2 columns, the first has 3"),
        ({"1.csv": "1,2\n"}, {"headers": ["a", "b", "y"]}, "1.csv has 2 columns, headers names 3"),
        ({"1.csv": ""}, {"headers": ["a", "y"]}, "The dataset has no rows"),
        ({"1.csv": b"\xff\xfe1"}, {}, "Unable to read 1.csv"),
        ({}, {}, "The dataset has no files"),
        ({"1.csv": "1,2\n"}, {"headers": ["a", "b"]}, "label: the dataset has no column 'y'; it has 2 columns: 'a', 'b'"),
        ({"1.csv": "1,2\n"}, {"headers": ["a", "b"], "label": 7}, "no column 7"),
        ({"1.parquet": "PAR1"}, {"dataset_type": "application/x-parquet"}, "Unable to read 1.parquet as Parquet"),
        ({"1": "{"}, {"dataset_type": "application/jsonlines", "features": "f"}, "1, line 1 is not JSON"),
        ({"1": '{"f": 1}'}, {"dataset_type": "application/jsonlines", "features": "f"}, "does not find lists"),
        ({"1": '{"f": [1]}'}, {"dataset_type": "application/json", "features": "f["}, "no JMESPath expression"),
        ({"1": "{}"}, {"dataset_type": "application/json"}, "features: must be a JMESPath expression"),
    ],
)  # fmt: skip
def test_what_is_wrong(tmp_path: Path, files: dict[str, str | bytes], more: dict[str, Any], told: str) -> None:
    with pytest.raises(config.CustomerError, match=told):
        read(tmp_path, files, **more)


def test_json_lines_and_json(tmp_path: Path) -> None:
    lines = '{"f": [1, "x"], "y": 0}\n\n{"f": [2, null], "y": 1}\n'
    (tmp_path / "l").mkdir()
    found = read(
        tmp_path / "l", {"1.jsonl": lines}, dataset_type="application/jsonlines", features="f", headers=["a", "b"]
    )
    assert (found.names, found.cells, found.label) == (("a", "b", "Label"), [[1, 2], ["x", None], [0, 1]], 2)
    whole = json.dumps({"rows": [{"f": [1, 2], "y": 0}, {"f": [3, 4], "y": 1}]})
    (tmp_path / "j").mkdir()
    given = {"dataset_type": "application/json", "features": "rows[*].f", "label": "rows[*].y"}
    found = read(tmp_path / "j", {"1.json": whole}, **given)
    assert (found.names, found.cells) == (("column_0", "column_1", "Label"), [[1, 3], [2, 4], [0, 1]])


def test_parquet(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"a": [1, 2], "y": [0.0, 1.0]}), tmp_path / "1.parquet")
    found = read(tmp_path, {}, dataset_type="application/x-parquet")
    assert (found.names, found.cells) == (("a", "y"), [[1, 2], [0.0, 1.0]])


def captured(given: str, answer: str, truth: str | None = None) -> str:
    data = {
        "endpointInput": {"data": given, "encoding": "CSV", "mode": "INPUT", "observedContentType": "text/csv"},
        "endpointOutput": {"data": answer, "encoding": "CSV", "mode": "OUTPUT", "observedContentType": "text/csv"},
    }
    more = {} if truth is None else {"groundTruthData": {"data": truth, "encoding": "CSV"}}
    return json.dumps({"captureData": data, "eventMetadata": {"eventId": "e"}, **more}) + "\n"


def test_captured_requests_hold_rows_and_torn_ones_are_left_out(tmp_path: Path) -> None:
    lines = (
        captured("1,2\n3,4", "0.1\n0.9", "0\n1")
        + '{"captureData": {"endpo\n'
        + captured("5", "1", "1")
        + captured("6,7", "0.4", "0")
    )
    given = {"dataset_type": "application/sagemakercapturejson", "headers": ["a", "b", "y"]}
    found = read(tmp_path, {"1.jsonl": lines}, **given)
    assert found.names == ("a", "b", "y")
    assert found.cells == [["1", "3", "6"], ["2", "4", "7"], ["0", "1", "0"]]
    assert found.answers == [["0.1"], ["0.9"], ["0.4"]]


def test_no_captured_request_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(config.CustomerError, match=r"^NO_DATA: no record can be used"):
        read(tmp_path, {"1.jsonl": "{}\n"}, dataset_type="application/sagemakercapturejson")


def test_a_second_dataset_is_joined_by_its_column_or_by_order(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    given = {"headers": ["id", "b", "y"], "joinsource_name_or_index": "id", "predicted_label": "p"}
    more = {"predicted_label_dataset_uri": "s3://x/y", "predicted_label_headers": ["id", "p"]}
    data = read(tmp_path / "d", {"1.csv": "7,1,0\n8,2,1\n"}, **given, **more)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "1.csv").write_text("8,yes\n7,no\n")
    asked = config.analysis({**GOOD, **given, **more})
    found = dataset.attached(asked, data, str(tmp_path / "p"), "predicted_label")
    assert (found.names, found.cells[3], found.predicted, found.model) == (
        ("id", "b", "y", "p"),
        ["no", "yes"],
        3,
        (1,),
    )
    (tmp_path / "p" / "1.csv").write_text("8,yes\n9,no\n")
    with pytest.raises(config.CustomerError, match="cannot be joined: '7' is missing"):
        dataset.attached(asked, data, str(tmp_path / "p"), "predicted_label")


def test_kinds_of_columns() -> None:
    assert column("x", ["0.0", "1.0", "", "NaN"]).kind == "int"
    assert column("x", ["0.5", "1"]).kind == "float"
    assert column("x", ["1", "one"]).kind == "text"
    assert column("x", ["1_000"]).kind == "text"
    assert column("x", [True, False]).kind == "text"
    assert distinct(column("x", ["3", "1", "3", ""])) == [3, 1]
    assert distinct(column("x", ["b", "", "a", "b"])) == ["b", "a"]
    assert continuous(column("x", [0.5, 1]), [1])
    assert not continuous(column("x", [0.5, 1]), [0.5, 1])
    assert continuous(column("x", list(range(30))), [3])
    assert not continuous(column("x", [0, 1] * 3), [1])


def test_values_match_however_they_are_written() -> None:
    assert member(column("x", ["0", "1"]), ["1.0"]).tolist() == [False, True]
    assert member(column("x", ["a", "1"]), [1]).tolist() == [False, True]
    assert member(column("x", ["True", "False", ""]), [True]).tolist() == [True, False, False]
    assert member(column("x", [1.5, None]), ["x", 1.5]).tolist() == [True, False]
