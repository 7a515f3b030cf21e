"""What jobs and replicas were given of a machine is stored, so that several control planes give the same memory once.

The rows of what runs are made by the control plane at its start (`loops/core/grants.py`), which knows what records have.
"""

from __future__ import annotations

from alembic import op

from clary.stores.schema import GRANTS, MACHINES

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for table in (MACHINES, GRANTS):
        table.create(op.get_bind())
