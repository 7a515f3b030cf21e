"""A record may have a value, beside its name, that no other of its kind and scope has."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    kind = 'TEXT COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else "TEXT"
    op.execute(f"ALTER TABLE resources ADD COLUMN alone {kind} NOT NULL DEFAULT ''")
    op.execute("CREATE UNIQUE INDEX resources_alone ON resources (kind, account, region, alone) WHERE alone <> ''")
