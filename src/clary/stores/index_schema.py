"""The object index's tables and its statements, written once with SQLAlchemy Core and compiled once per process.

A statement runs on the raw DBAPI cursor: building and compiling it again costs more than SQLite takes to answer it. Keys are
bytes, so that their order is the order of their bytes in SQLite and PostgreSQL alike. Does not know: what a statement is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy import bindparam as bind
from sqlalchemy.sql import ClauseElement

from clary.stores.compiled import Texts

SCHEMA_VERSION = 2  # 2: commits are numbered, for the journal
METADATA = MetaData()

META = Table("index_meta", METADATA, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

BUCKETS = Table(
    "buckets",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("account", Text, nullable=False, index=True),
    Column("region", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("versioning", Text, nullable=False),
    Column("documents", Text, nullable=False),
    sqlite_autoincrement=True,  # an id is never used again: rows of a dropped bucket can't show in a new one
)


def _item_columns() -> list[Column[Any]]:
    return [
        Column("version", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("etag", Text, nullable=False),
        Column("modified", Float, nullable=False),
        Column("blob", Text, nullable=False),
        Column("headers", Text, nullable=False),
        Column("checksum", Text, nullable=False),
        Column("tags", Text, nullable=False),
        Column("parts", Text, nullable=False),
        Column("marker", Integer, nullable=False),
    ]


# Current objects only: what a GET and a listing read. A key whose newest version is a delete marker has no row here.
OBJECTS = Table(
    "objects",
    METADATA,
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    *_item_columns(),
    sqlite_with_rowid=False,
)
# Versions that are not current, and delete markers.
HISTORY = Table(
    "history",
    METADATA,
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    *_item_columns(),
    sqlite_with_rowid=False,
)
Index("objects_blob", OBJECTS.c.blob)
Index("history_blob", HISTORY.c.blob)

# Bodies of small objects whose blobs are not synced yet: one fsync of the log then makes row and content durable together.
BODIES = Table(
    "bodies",
    METADATA,
    Column("blob", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)

# One row: the number of the last commit and its line of the journal, which a process that was killed may not have written.
COMMITS = Table(
    "commits",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("line", LargeBinary, nullable=False),
)

UPLOADS = Table(
    "uploads",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("bucket", BigInteger, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("initiated", Float, nullable=False),
    Column("headers", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("checksum_type", Text, nullable=False),
)
Index("uploads_key", UPLOADS.c.bucket, UPLOADS.c.key, UPLOADS.c.id)
PARTS = Table(
    "parts",
    METADATA,
    Column("upload", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("etag", Text, nullable=False),
    Column("modified", Float, nullable=False),
    Column("file", Text, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("checksum", Text, nullable=False),
    sqlite_with_rowid=False,
)

ITEM = ("key", "seq", "version", "size", "etag", "modified", "blob", "headers", "checksum", "tags", "parts", "marker")
LISTED = ("key", "size", "etag", "modified", "checksum", "headers")
BUCKET = ("id", "name", "account", "region", "created", "versioning")
_B, _O, _H, _U, _P, _C = BUCKETS.c, OBJECTS.c, HISTORY.c, UPLOADS.c, PARTS.c, COMMITS.c


def _here(table: Table) -> Any:
    return (table.c.bucket == bind("b")) & (table.c.key == bind("k"))


def _cells(table: Table, names: tuple[str, ...]) -> list[Column[Any]]:
    return [table.c[name] for name in names]


def _values(table: Table) -> Any:
    return insert(table).values({column.name: bind(column.name) for column in table.columns})


def _range(table: Table, names: tuple[str, ...]) -> Any:
    """Rows with low <= key < high, in byte order."""
    return (
        select(*_cells(table, names))
        .where(table.c.bucket == bind("b"), table.c.key >= bind("low"), table.c.key < bind("high"))
        .order_by(table.c.key)
        .limit(bind("n"))
    )


STATEMENTS: Mapping[str, ClauseElement] = {
    "bucket": select(*_cells(BUCKETS, BUCKET), _B.documents).where(_B.name == bind("name")),
    "bucket_by_id": select(_B.versioning).where(_B.id == bind("b")),
    "buckets": select(*_cells(BUCKETS, BUCKET)).where(_B.account == bind("account")).order_by(_B.name),
    "add_bucket": insert(BUCKETS).values(
        {c.name: bind(c.name) for c in BUCKETS.columns if c.name != "id"}
    ),
    "set_versioning": update(BUCKETS).where(_B.name == bind("name_")).values(versioning=bind("versioning_")),
    "set_documents": update(BUCKETS).where(_B.name == bind("name_")).values(documents=bind("documents_")),
    "drop_bucket": delete(BUCKETS).where(_B.id == bind("b")),
    "any_object": select(_O.seq).where(_O.bucket == bind("b")).limit(1),
    "any_history": select(_H.seq).where(_H.bucket == bind("b")).limit(1),
    "find": select(*_cells(BUCKETS, BUCKET), *_cells(OBJECTS, ITEM))
    .select_from(BUCKETS.outerjoin(OBJECTS, (_O.bucket == _B.id) & (_O.key == bind("k"))))
    .where(_B.name == bind("name")),
    "current": select(*_cells(OBJECTS, ITEM)).where(_here(OBJECTS)),
    "old": select(*_cells(HISTORY, ITEM)).where(_here(HISTORY), _H.version == bind("v")),
    "newest_old": select(*_cells(HISTORY, ITEM)).where(_here(HISTORY)).order_by(_H.seq.desc()).limit(1),
    "add_current": _values(OBJECTS),
    "add_old": _values(HISTORY),
    "drop_current": delete(OBJECTS).where(_here(OBJECTS)),
    "drop_old": delete(HISTORY).where(_here(HISTORY), _H.seq == bind("seq")),
    "replace_current": update(OBJECTS)
    .where(_here(OBJECTS))
    .values({c.name: bind(c.name) for c in OBJECTS.columns if c.name not in ("bucket", "key")}),
    "tag_current": update(OBJECTS).where(_here(OBJECTS)).values(tags=bind("tags_")),
    "tag_old": update(HISTORY).where(_here(HISTORY), _H.version == bind("v")).values(tags=bind("tags_")),
    "page": _range(OBJECTS, LISTED),
    "page_items": _range(OBJECTS, ITEM),
    "page_old": select(*_cells(HISTORY, ITEM))
    .where(_H.bucket == bind("b"), _H.key >= bind("low"), _H.key < bind("high"))
    .order_by(_H.key, _H.seq.desc())
    .limit(bind("n")),
    "begin": _values(UPLOADS),
    "upload": select(*UPLOADS.columns).where(_U.id == bind("id")),
    "uploads": select(*UPLOADS.columns)
    .where(_U.bucket == bind("b"), _U.key >= bind("low"), _U.key < bind("high"))
    .order_by(_U.key, _U.id)
    .limit(bind("n")),
    "drop_upload": delete(UPLOADS).where(_U.id == bind("id")),
    "drop_uploads": delete(UPLOADS).where(_U.bucket == bind("b")),
    "drop_parts_of": delete(PARTS).where(
        _P.upload.in_(select(_U.id).where(_U.bucket == bind("b")))
    ),
    "part": select(*PARTS.columns).where(_P.upload == bind("u"), _P.number == bind("n")),
    "parts": select(*PARTS.columns).where(_P.upload == bind("u")).order_by(_P.number),
    "add_part": _values(PARTS),
    "drop_part": delete(PARTS).where(_P.upload == bind("u"), _P.number == bind("n")),
    "drop_parts": delete(PARTS).where(_P.upload == bind("u")),
    "files": select(_P.file).distinct(),
    "blobs": select(_O.blob).where(_O.blob >= bind("low"), _O.blob < bind("high")),
    "old_blobs": select(_H.blob).where(_H.blob >= bind("low"), _H.blob < bind("high")),
    "add_body": _values(BODIES),
    "bodies": select(BODIES.c.blob, BODIES.c.body).where(BODIES.c.blob > bind("low")).order_by(BODIES.c.blob).limit(bind("n")),
    "drop_body": delete(BODIES).where(BODIES.c.blob == bind("id")),
    "meta": select(META.c.value).where(META.c.name == bind("name")),
    "set_meta": update(META).where(META.c.name == bind("name_")).values(value=bind("value_")),
    "add_meta": _values(META),
    "commit": select(_C.number, _C.line).where(_C.id == 1),
    "add_commit": _values(COMMITS),
    "set_commit": update(COMMITS).where(_C.id == 1).values(number=bind("number_"), line=bind("line_")),
    "add_bucket_as": _values(BUCKETS),
    "first_bucket": select(_B.id).limit(1),
    "first_object": select(_O.seq).limit(1),
    "first_old": select(_H.seq).limit(1),
    "all_buckets": select(*BUCKETS.columns),
    "all_objects": select(*OBJECTS.columns),
    "all_history": select(*HISTORY.columns),
    "contents": select(_O.bucket, _O.key, _O.version, _O.size, _O.blob),
    "old_contents": select(_H.bucket, _H.key, _H.version, _H.size, _H.blob),
    "all_uploads": select(*UPLOADS.columns),
    "all_parts": select(*PARTS.columns),
}  # fmt: skip


class Statements(Texts):
    """Every statement as text for one database."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(STATEMENTS, engine.dialect)
