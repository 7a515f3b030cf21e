"""How the history of a feature group lies in S3: Parquet files in partitions by the hour of the event.

Layout (developer guide, "Offline store"; reference/lifecycle.md 9.3):

    <S3Uri>/<account>/sagemaker/<region>/offline-store/<group>-<creation epoch>/data/
        year=2024/month=05/day=01/hour=12/20240501T123456Z_<16 letters or digits>.parquet
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from clary.domain.features.groups import Feature, Group

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def partition(event: float) -> str:
    """The folder of an event time in epoch seconds."""
    return datetime.fromtimestamp(event, UTC).strftime("year=%Y/month=%m/day=%d/hour=%H")


def file_name(newest: float, batch: str) -> str:
    """A file of one batch and partition: the same for the same batch, so that a batch that is written again replaces itself."""
    digest = hashlib.sha256(batch.encode()).digest()
    tail = "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:16])
    return f"{datetime.fromtimestamp(newest, UTC):%Y%m%dT%H%M%SZ}_{tail}.parquet"


def columns(features: Mapping[str, Feature]) -> list[dict[str, Any]]:
    """The columns of a file, before Feature Store's own three: name, type and whether it is a list."""
    return [{"name": each.name, "type": each.type, "many": bool(each.collection)} for each in features.values()]


GLUE = {"Integral": "bigint", "Fractional": "double", "String": "string"}


def glue_columns(group: Group) -> list[dict[str, str]]:
    """The table's columns in Glue's words."""
    own = [("write_time", "timestamp"), ("api_invocation_time", "timestamp"), ("is_deleted", "boolean")]
    given = [
        (each.name, f"array<{GLUE[each.type]}>" if each.collection else GLUE[each.type])
        for each in group.features.values()
    ]
    return [{"Name": name, "Type": kind} for name, kind in (*given, *own)]
