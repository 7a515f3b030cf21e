"""Other clients than boto3, as users have them: obstore and pyarrow read and write the store unmodified."""

from __future__ import annotations

import os
from typing import Any

import pytest


def test_obstore(live: Any, s3: Any, bucket: str) -> None:
    obstore = pytest.importorskip("obstore")
    from obstore.store import S3Store

    store = S3Store(
        bucket, endpoint=live.endpoint, access_key_id=live.key.access_key_id, secret_access_key=live.key.secret,
        region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip
    large = os.urandom(12 << 20)
    obstore.put(store, "dir/ü file+1", b"small")
    obstore.put(store, "dir/large", large, chunk_size=5 << 20)
    assert bytes(obstore.get(store, "dir/large").bytes()) == large
    assert bytes(obstore.get_range(store, "dir/large", start=100, end=300)) == large[100:300]
    assert sorted(one["path"] for batch in obstore.list(store, "dir") for one in batch) == ["dir/large", "dir/ü file+1"]
    assert obstore.head(store, "dir/ü file+1")["size"] == 5
    obstore.copy(store, "dir/large", "copy")
    obstore.rename(store, "copy", "moved")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "moved", b"x", mode="create")
    obstore.delete(store, ["moved", "dir/large", "dir/ü file+1"])
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_pyarrow(live: Any, s3: Any, bucket: str) -> None:
    fs = pytest.importorskip("pyarrow.fs")
    import pyarrow
    from pyarrow import parquet

    files = fs.S3FileSystem(
        access_key=live.key.access_key_id,
        secret_key=live.key.secret,
        endpoint_override=live.endpoint,
        region="us-east-1",
    )
    table = pyarrow.table({"n": list(range(100_000)), "s": [str(n) for n in range(100_000)]})
    parquet.write_table(table, f"{bucket}/set/part-0.parquet", filesystem=files)
    assert parquet.read_table(f"{bucket}/set", filesystem=files).equals(table)
    assert parquet.read_table(f"{bucket}/set", filesystem=files, columns=["n"]).num_columns == 1
    large = os.urandom(30 << 20)
    with files.open_output_stream(f"{bucket}/large") as out:
        out.write(large)
    with files.open_input_file(f"{bucket}/large") as file:
        assert file.read_at(1000, 20 << 20) == large[20 << 20 : (20 << 20) + 1000]
    files.copy_file(f"{bucket}/large", f"{bucket}/copied")
    found = {info.path: info.size for info in files.get_file_info(fs.FileSelector(bucket, recursive=True))}
    assert found[f"{bucket}/copied"] == 30 << 20
    files.delete_dir_contents(bucket)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
