"""What was written is kept for an hour, for the other stores on this database."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    kind = 'TEXT COLLATE "C"' if postgres else "TEXT"
    number = "BIGSERIAL PRIMARY KEY" if postgres else "INTEGER NOT NULL PRIMARY KEY"
    names = ", ".join(f"{name} {kind} NOT NULL" for name in ("made_by", "kind", "arn"))
    op.execute(
        f"CREATE TABLE changes (seq {number}, at {'FLOAT(53)' if postgres else 'FLOAT'} NOT NULL, {names}, "
        "version INTEGER NOT NULL, removed TEXT NOT NULL)"
    )
