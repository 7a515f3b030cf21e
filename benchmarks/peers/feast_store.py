"""Feast with SQLite, in its own environment: `make FOLDER ROWS` declares ten features of one entity and writes rows with
`write_to_online_store`; it prints the seconds of that. The server is `feast serve` in the same folder.
"""

import datetime
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

CONFIGURATION = """\
project: bench
provider: local
registry: registry.db
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


def make(folder: Path, rows: int) -> None:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    (folder / "feature_store.yaml").write_text(CONFIGURATION)
    values = np.random.default_rng(0).random((rows, 10))
    names = [f"f{number}" for number in range(10)]
    now = pd.Timestamp.now(tz="UTC")
    table = pd.DataFrame({"id": np.arange(rows), "at": now, **dict(zip(names, values.T, strict=True))})
    table.head(10).to_parquet(folder / "source.parquet")
    source = FileSource(path=str(folder / "source.parquet"), timestamp_field="at")
    entity = Entity(name="row", join_keys=["id"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=Float64) for name in names]
    view = FeatureView(name="v", entities=[entity], ttl=datetime.timedelta(days=1), schema=schema, source=source)
    store = FeatureStore(str(folder))
    store.apply([entity, view])
    began = time.perf_counter()
    store.write_to_online_store("v", table)
    print(time.perf_counter() - began)


if __name__ == "__main__":
    make(Path(sys.argv[2]), int(sys.argv[3]))
