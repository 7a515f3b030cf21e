"""DuckDB (httpfs), s3fs, pandas and pyarrow, configured as for any S3-compatible server, on one and the same bucket."""

import os
import pathlib
import urllib.parse

import duckdb
import duckdb_extension_httpfs
import pandas as pd
import pyarrow.dataset
import pyarrow.fs
import s3fs

endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
files = s3fs.S3FileSystem()
bucket = os.environ["CLIENT_BUCKET"]
files.mkdir(bucket)

# s3fs: small, large (multipart), append, glob, rename, folders
with files.open(f"{bucket}/a/small.txt", "w") as file:
    file.write("hällo\n")
large = os.urandom(17 << 20)
with files.open(f"{bucket}/a/large.bin", "wb", block_size=6 << 20) as file:
    for start in range(0, len(large), 3 << 20):
        file.write(large[start : start + (3 << 20)])
assert files.cat(f"{bucket}/a/large.bin") == large
with files.open(f"{bucket}/a/large.bin", "rb") as file:
    file.seek(9 << 20)
    assert file.read(1000) == large[9 << 20 : (9 << 20) + 1000]
with files.open(f"{bucket}/a/small.txt", "a") as file:
    file.write("more\n")
assert files.cat(f"{bucket}/a/small.txt").decode() == "hällo\nmore\n"
assert files.glob(f"{bucket}/a/*.txt") == [f"{bucket}/a/small.txt"]
files.mv(f"{bucket}/a/small.txt", f"{bucket}/b c/moved+1.txt")
assert files.find(bucket) == [f"{bucket}/a/large.bin", f"{bucket}/b c/moved+1.txt"], files.find(bucket)
assert files.info(f"{bucket}/a/large.bin")["size"] == len(large)
assert not files.exists(f"{bucket}/a/small.txt")
files.rm(f"{bucket}/b c", recursive=True)

# pandas writes, DuckDB reads, DuckDB writes partitions, pyarrow reads them
table = pd.DataFrame({"n": range(1000), "kind": ["odd" if n % 2 else "even" for n in range(1000)]})
table.to_csv(f"s3://{bucket}/t/in.csv", index=False)
table.to_parquet(f"s3://{bucket}/t/in.parquet", index=False)
assert pd.read_csv(f"s3://{bucket}/t/in.csv").equals(table)
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
folder = pathlib.Path(duckdb_extension_httpfs.__file__).parent
(extension,) = folder.rglob("httpfs.duckdb_extension")
connection.execute(f"LOAD '{extension}'")
connection.execute(
    f"CREATE SECRET (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION 'us-east-1', ENDPOINT '{endpoint.netloc}', "
    f"URL_STYLE 'path', USE_SSL {'true' if endpoint.scheme == 'https' else 'false'})"
)
for name in ("in.csv", "in.parquet", "in*.parquet"):
    found = connection.execute(f"SELECT count(*), sum(n) FROM 's3://{bucket}/t/{name}' WHERE kind = 'odd'").fetchone()
    assert found == (500, 250000), (name, found)
connection.execute(
    f"COPY (SELECT * FROM 's3://{bucket}/t/in.parquet') TO 's3://{bucket}/parts' (FORMAT parquet, PARTITION_BY (kind))"
)
connection.execute(f"COPY (SELECT range AS x FROM range(2000000)) TO 's3://{bucket}/t/long.parquet'")
assert connection.execute(f"SELECT max(x) FROM 's3://{bucket}/t/long.parquet'").fetchone() == (1999999,)
arrow = pyarrow.fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"], region="us-east-1")
parts = pyarrow.dataset.dataset(f"{bucket}/parts", filesystem=arrow, partitioning="hive")
assert sorted(pathlib.PurePath(path).parent.name for path in parts.files) == ["kind=even", "kind=odd"], parts.files
assert parts.to_table(filter=pyarrow.dataset.field("kind") == "odd").num_rows == 500
files.invalidate_cache()
files.rm(bucket, recursive=True)
assert not files.exists(bucket)
