"""The first schema: one table for records of all kinds.

A new database is made whole from `stores.schema`, so this one only marks where migrations begin. Later ones are written in the
same manner: a file `rNNNN_what.py` with statements of its own, `down_revision` the one before, `stores.schema.VERSION` raised.
There is no way down: the copy made before is it.
"""

from __future__ import annotations

from alembic import op

from clary.stores.schema import RESOURCES

revision = "0001"
down_revision = None


def upgrade() -> None:
    RESOURCES.create(op.get_bind())
