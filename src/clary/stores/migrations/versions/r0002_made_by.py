"""Records remember the call that made them, so that a retry of it finds its own success."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    kind = 'TEXT COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else "TEXT"
    op.execute(f"ALTER TABLE resources ADD COLUMN made_by {kind} NOT NULL DEFAULT ''")
    op.execute("CREATE INDEX resources_by_call ON resources (made_by) WHERE made_by <> ''")
