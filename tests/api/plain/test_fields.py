"""Every member of a plain record's requests has a use, and what is kept is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clary.api import handlers, registry
from clary.api.plain import fields
from clary.api.plain.noun import NOUNS, Noun
from clary.domain.errors import Invalid
from clary.domain.fields.table import OPERATIONS, Use

handlers.load()
DOCS = Path(__file__).parents[3] / "docs" / "fields.md"
ROW = NOUNS["user-profile"]


def test_the_page_is_current() -> None:
    assert DOCS.read_text() == fields.render(), "write docs/fields.md again: scripts/generated.py"


@pytest.mark.parametrize("operation", sorted(fields.KEPT_OPERATIONS))
def test_every_path_of_botocore_has_a_use(operation: str) -> None:
    table = fields.KEPT_OPERATIONS[operation]
    shape: Any = registry.operation_model("sagemaker", operation).input_shape
    assert set(shape.members) == {path for path in table if "." not in path and "[" not in path}
    assert operation not in OPERATIONS
    assert [row.path for row in table.values() if row.use in (Use.REFUSED, Use.IGNORED) and not row.why] == []
    assert Use.RECORDED not in {row.use for row in table.values()}


def test_a_use_holds_for_all_that_is_below() -> None:
    table = fields.KEPT_OPERATIONS["CreateDomain"]
    assert table["DefaultUserSettings.JupyterServerAppSettings.DefaultResourceSpec"].use is Use.KEPT
    assert table["Tags[].Key"].use is Use.HONOURED
    refused = fields.KEPT_OPERATIONS["CreateModelPackageGroup"]["ManagedConfiguration"]
    assert (refused.use, refused.why) == (Use.REFUSED, "managed storage is not available")


def test_a_row_that_forgets_a_member_fails() -> None:
    row = Noun(
        kind="domain",
        name="TrainingJob",
        plural="TrainingJobs",
        key=("TrainingJobName",),
        operations={"Describe": "DescribeDomain"},
    )
    with pytest.raises(
        ValueError, match=r"CreateTrainingJob: .*HyperParameters.* would be lost: DescribeDomain does not show it"
    ):
        fields.derive(row, "Create", "CreateTrainingJob")


def test_strict_fields_lets_pass_what_is_kept_and_nothing_that_is_ignored() -> None:
    fields.check(
        "CreateUserProfile", {"DomainId": "d-1", "UserProfileName": "u", "UserSettings": {"ExecutionRole": "r"}}, True
    )
    ignored = {"DomainId": "d-1", "RetentionPolicy": {"HomeEfsFileSystem": "Delete"}}
    fields.check("DeleteDomain", ignored, False)
    with pytest.raises(Invalid, match=r"strict_fields refuses them: RetentionPolicy \(Clary makes no file system"):
        fields.check("DeleteDomain", ignored, True)
    with pytest.raises(Invalid, match=r"does not support: ManagedConfiguration"):
        fields.check("CreateModelPackageGroup", {"ManagedConfiguration": {"ManagedStorageType": "Restricted"}}, False)
