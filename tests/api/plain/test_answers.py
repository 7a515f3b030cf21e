"""Answers have the members that botocore's output has, and no others."""

from __future__ import annotations

from typing import Any

from clary.api import handlers, registry
from clary.api.plain.answers import answer, document, fit
from clary.api.plain.noun import NOUNS
from clary.domain.resources import Record, Scope

handlers.load()
SCOPE = Scope("000000000000", "eu-west-1")
SPACE = Record(
    "space",
    SCOPE,
    "d-1/s",
    "arn:aws:sagemaker:eu-west-1:000000000000:space/d-1/s",
    "InService",
    1.0,
    2.0,
    {
        "request": {
            "DomainId": "d-1",
            "SpaceName": "s",
            "SpaceSettings": {
                "AppType": "JupyterLab",
                "SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 5}},
                "CustomFileSystems": [],
            },
            "Url": "https://d-1",
        },
        "by": "arn:aws:iam::000000000000:user/clary",
        "above": "arn:aws:sagemaker:eu-west-1:000000000000:domain/d-1",
    },
)


def output(operation: str) -> Any:
    return registry.operation_model("sagemaker", operation).output_shape


def test_describe_shows_what_was_recorded_and_what_clary_gave() -> None:
    shown = answer(output("DescribeSpace"), document(NOUNS["space"], SPACE))
    request = SPACE.document["request"]
    assert shown == {
        **request,
        "SpaceArn": SPACE.arn,
        "Status": "InService",
        "CreationTime": 1.0,
        "LastModifiedTime": 2.0,
    }


def test_an_item_of_a_list_is_cut_and_summarised() -> None:
    item = output("ListSpaces").members["Spaces"].member
    shown = answer(item, document(NOUNS["space"], SPACE))
    assert shown["SpaceSettingsSummary"] == {
        "AppType": "JupyterLab",
        "SpaceStorageSettings": {"EbsStorageSettings": {"EbsVolumeSizeInGb": 5}},
    }
    assert {"SpaceSettings", "Url", "SpaceArn", "CreatedBy"}.isdisjoint(shown)


def test_the_parent_is_shown_where_the_shape_has_it() -> None:
    assert document(NOUNS["space"], SPACE)["DomainArn"] == SPACE.document["above"]


def test_an_operation_without_an_answer_answers_nothing() -> None:
    assert answer(output("DeleteSpace"), document(NOUNS["space"], SPACE)) == {}


def test_fit_drops_members_that_the_shape_does_not_have_at_any_depth() -> None:
    shape = output("DescribeSpace").members["SpaceSettings"]
    given = {
        "AppType": "CodeEditor",
        "New": 1,
        "CustomFileSystems": [{"EFSFileSystem": {"FileSystemId": "fs-1", "New": 2}}],
    }
    assert fit(shape, given) == {
        "AppType": "CodeEditor",
        "CustomFileSystems": [{"EFSFileSystem": {"FileSystemId": "fs-1"}}],
    }
