"""Domains, user profiles and spaces of Studio. Plain records on purpose: notebooks and Terraform look for them, and there is no Studio to
start. Their ids and addresses have AWS's forms; nothing answers at the addresses."""

from __future__ import annotations

import os

from clary.api.call import Call, Params
from clary.api.plain.noun import Noun
from clary.api.plain.operations import register


def _url(call: Call, request: Params) -> str:
    return f"https://{request['DomainId']}.studio.{call.scope.region}.sagemaker.aws"


def _file_system(_: Call, request: Params) -> str | None:
    return None if request.get("HomeEfsFileSystemCreation") == "Disabled" else f"fs-0{os.urandom(8).hex()}"


def _uid(_: Call, __: Params) -> str:
    """A user id of the file system that AWS would have."""
    return str(200_000 + int.from_bytes(os.urandom(4)) % 1_000_000_000)


register(
    Noun(
        kind="domain",
        name="Domain",
        plural="Domains",
        key=("DomainId",),
        generated={
            "DomainId": lambda call, _: f"d-{call.new_code(12)}",
            "Url": _url,
            "HomeEfsFileSystemId": _file_system,
            "AppNetworkAccessType": lambda _, __: "PublicInternetOnly",
        },
        unique="DomainName",
        ignored={"RetentionPolicy": "Clary makes no file system for a domain"},
        says={
            "Create": "Record a domain, with an id and an address of AWS's form: no Studio is started, and nothing answers there."
        },
    )
)
register(
    Noun(
        kind="user-profile",
        name="UserProfile",
        plural="UserProfiles",
        key=("DomainId", "UserProfileName"),
        parent="domain",
        generated={"HomeEfsFileSystemUid": _uid},
    )
)
register(
    Noun(
        kind="space",
        name="Space",
        plural="Spaces",
        key=("DomainId", "SpaceName"),
        parent="domain",
        generated={"HomeEfsFileSystemUid": _uid, "Url": _url},
    )
)
