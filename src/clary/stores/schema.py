"""The table of records: one for all kinds (design.md 3), that of their changes, and those of what machines gave to them.

Owns columns, indexes and the schema's version.

The document is JSON text; the columns beside it are what lists filter and sort by. Each index of a list holds every column that
lists filter by, so that a page is found without reading documents: 100,000 records are gone through in milliseconds. Names and
ARNs compare by bytes, in both databases.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, Table, Text, UniqueConstraint, text

VERSION = "0006"  # the newest migration (stores/migrations/versions)

METADATA = MetaData()

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_ID = BigInteger().with_variant(Integer(), "sqlite")

RESOURCES = Table(
    "resources",
    METADATA,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("kind", _TEXT, nullable=False),
    Column("account", _TEXT, nullable=False),
    Column("region", _TEXT, nullable=False),
    Column("name", _TEXT, nullable=False),
    Column("arn", _TEXT, nullable=False),
    Column("status", _TEXT, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("modified", Float(53), nullable=False),
    Column("version", Integer, nullable=False),
    Column("claimed_by", _TEXT, nullable=False, server_default=""),
    Column("claimed_until", Float(53), nullable=False, server_default="0"),
    Column("document", Text, nullable=False),
    Column(
        "made_by", _TEXT, nullable=False, server_default=""
    ),  # the call that made it, for its own retries: `ports.Store.add`
    Column(
        "alone", _TEXT, nullable=False, server_default=""
    ),  # a value that no other of its kind and scope has; "": none
    UniqueConstraint("kind", "account", "region", "name", name="resources_name"),
    UniqueConstraint("arn", name="resources_arn"),
    Index("resources_by_created", "kind", "account", "region", "created", "name", "status", "modified"),
    Index("resources_by_modified", "kind", "account", "region", "modified", "name", "status", "created"),
    Index("resources_by_name", "kind", "account", "region", "name", "status", "created", "modified"),
    Index("resources_by_status", "kind", "account", "region", "status", "name", "created", "modified"),
    Index("resources_to_claim", "kind", "status", "claimed_until"),
    Index("resources_by_call", "made_by", sqlite_where=text("made_by <> ''"), postgresql_where=text("made_by <> ''")),
    Index(
        "resources_alone",
        *("kind", "account", "region", "alone"),
        unique=True,
        sqlite_where=text("alone <> ''"),
        postgresql_where=text("alone <> ''"),
    ),
)

# What was written, in order: `stores/changes.py`. The newest row is never deleted, so no number is given twice; no index, since
# every write adds a row.
CHANGES = Table(
    "changes",
    METADATA,
    Column("seq", _ID, primary_key=True, autoincrement=True),
    Column("at", Float(53), nullable=False),
    Column("made_by", _TEXT, nullable=False),
    Column("kind", _TEXT, nullable=False),
    Column("arn", _TEXT, nullable=False),
    Column("version", Integer, nullable=False),
    Column("removed", Text, nullable=False),  # the record as it was last; "" for one that is there
)

# What was given of each machine: `ports.Grants`. A machine's version guards all of its grants; a row of `grants` is one host or replica.
MACHINES = Table(
    "machines",
    METADATA,
    Column("name", _TEXT, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

GRANTS = Table(
    "grants",
    METADATA,
    Column("key", _TEXT, primary_key=True),
    Column("machine", _TEXT, nullable=False),
    Column("used_as", _TEXT, nullable=False),
    Column("arn", _TEXT, nullable=False),
    Column("kind", _TEXT, nullable=False),  # of its owner, as users know it: this, and the three that follow
    Column("name", _TEXT, nullable=False),
    Column("account", _TEXT, nullable=False),
    Column("region", _TEXT, nullable=False),
    Column("cpu", Float(53), nullable=False),
    Column("memory", BigInteger, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("kept", BigInteger, nullable=False),
    Column("since", Float(53), nullable=False),
    Column("version", Integer, nullable=False),
    Index("grants_of_machine", "machine"),
)

# What records are found by besides their columns: `domain/conditions.py`. Kinds, accounts and regions are told by the record.
TERMS = Table(
    "terms",
    METADATA,
    Column("term", _TEXT, primary_key=True),
    Column("value", _TEXT, primary_key=True),
    Column("resource", _ID, primary_key=True, autoincrement=False),
    Index("terms_of", "resource"),
    sqlite_with_rowid=False,
)

# Alembic's own bookkeeping, made with the schema so that a new database needs no Alembic.
ALEMBIC = Table("alembic_version", METADATA, Column("version_num", Text, primary_key=True))
