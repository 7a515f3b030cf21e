"""Model package groups: plain records that count their versions."""

from __future__ import annotations

from clary.api import records
from clary.api.call import Call
from clary.api.plain.noun import Noun
from clary.api.plain.operations import counted, register
from clary.domain.resources import Record

GROUP = register(
    Noun(
        kind="model-package-group",
        name="ModelPackageGroup",
        plural="ModelPackageGroups",
        key=("ModelPackageGroupName",),
        status=("ModelPackageGroupStatus", "Completed"),
        verbs=("Create", "Describe", "List", "Delete"),
        holds={"model-package": "group"},
        filters={"CrossAccountFilterOption": lambda _, which: which != "CrossAccount"},  # there is no sharing
        refused={"ManagedConfiguration": "managed storage is not available"},
        begin={"versions": 0},
        search="ModelPackageGroup",
        missing='Could not find {label} "{arn}": Model Package Group {name} does not exist.',
    )
)


async def next_version(call: Call, name: str) -> tuple[Record, int]:
    """The group and the number of a new version in it; numbers are never given twice."""
    group = await records.amend(call, lambda: records.named(call, GROUP.kind, name), counted)
    return group, int(group.document["versions"])
