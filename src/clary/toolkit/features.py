"""`python -m clary.toolkit.features SPEC`: write lines of feature groups' history as Parquet files, inside a sandbox of its own.

SPEC is a JSON file: `{"columns": [{"name", "type": "Integral" | "Fractional" | "String", "many": bool}, ...], "rows": path,
"files": [path, ...]}`. Each line of `rows` is `{"file": index, "values": {column: text or list of texts}, "written": epoch seconds,
"invoked": epoch seconds, "deleted": bool}`; what a line does not name is null. The files get the columns, then Feature Store's own:
write_time, api_invocation_time (UTC, milliseconds) and is_deleted. pyarrow is the runtime's.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Callable, Dict, List


def main(argv: List[str]) -> int:
    with open(argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    rows: List[List[Dict[str, Any]]] = [[] for _ in spec["files"]]
    with open(spec["rows"], encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows[row["file"]].append(row)
    for path, found in zip(spec["files"], rows):
        write(path, spec["columns"], found)
    return 0


def write(path: str, columns: List[Dict[str, Any]], rows: List[Dict[str, Any]]) -> None:
    """One file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"Integral": pa.int64(), "Fractional": pa.float64(), "String": pa.string()}
    reads: Dict[str, Callable[[str], Any]] = {"Integral": int, "Fractional": number, "String": str}
    moment = pa.timestamp("ms", tz="UTC")
    fields, arrays = [], []
    for column in columns:
        kind, read, name = types[column["type"]], reads[column["type"]], column["name"]
        values = [row["values"].get(name) for row in rows]
        if column["many"]:
            kind, values = (
                pa.list_(kind),
                [None if value is None else [read(each) for each in value] for value in values],
            )
        else:
            values = [None if value is None else read(value) for value in values]
        fields.append(pa.field(name, kind))
        arrays.append(pa.array(values, kind))
    for name, member in (("write_time", "written"), ("api_invocation_time", "invoked")):
        fields.append(pa.field(name, moment))
        arrays.append(pa.array([int(row[member] * 1000) for row in rows], pa.int64()).cast(moment))
    fields.append(pa.field("is_deleted", pa.bool_()))
    arrays.append(pa.array([row["deleted"] for row in rows], pa.bool_()))
    pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path, compression="snappy")


def number(text: str) -> float:
    """As Java writes it: also Infinity and NaN, which Python reads as they are."""
    return float(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
