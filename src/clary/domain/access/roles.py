"""Roles and what is attached to them: documents, ids, trust. Pure.

A role's record keeps what IAM keeps of it. Clary does not restrict what a role may do inside its own account: every authenticated
caller of an account may do everything in that account and nothing outside of it. `simulate` answers by that rule.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.ids import written
from clary.domain.resources import Record, Scope

SAGEMAKER = "sagemaker.amazonaws.com"
DEFAULT_NAME = "ClaryDefaultRole"
FULL_ACCESS = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
MAX_SESSION = 3600  # seconds, IAM's default for a role
_ARN = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):role(/(?:[\x21-\x7e]+/)?)([\w+=,.@-]{1,64})")
_ASSUMED = re.compile(r"arn:aws[a-z-]*:sts::(\d{12}):assumed-role/([\w+=,.@-]{1,64})/([\w+=,.@-]{2,64})")
_MANAGED = re.compile(r"arn:aws[a-z-]*:iam::(aws|\d{12}):policy(/(?:[\x21-\x7e]+/)?)([\w+=,.@-]{1,128})")


def parse_role(arn: str) -> tuple[str, str, str] | None:
    """(account, path, name) of a role's ARN; None when it is no such thing."""
    found = _ARN.fullmatch(arn)
    return (found.group(1), found.group(2), found.group(3)) if found else None


def parse_assumed(arn: str) -> tuple[str, str, str] | None:
    """(account, role name, session name) of an assumed role's ARN."""
    found = _ASSUMED.fullmatch(arn)
    return (found.group(1), found.group(2), found.group(3)) if found else None


def parse_policy(arn: str) -> tuple[str, str, str] | None:
    """(account or 'aws', path, name) of a managed policy's ARN."""
    found = _MANAGED.fullmatch(arn)
    return (found.group(1), found.group(2), found.group(3)) if found else None


def role_arn(account: str, path: str, name: str) -> str:
    """As it is stored; `ids.written` has it as a region shows it."""
    return f"arn:aws:iam::{account}:role{path}{name}"


def assumed_arn(account: str, role: str, session: str) -> str:
    """What a session of a role is called, in GetCallerIdentity and as a principal."""
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"


def unique_id(prefix: str, arn: str) -> str:
    """AWS's ids of principals: AROA (roles), AIDA (users), ANPA (policies) and 17 letters or digits; here made from the ARN."""
    return prefix + base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]


def trusting(service: str) -> str:
    """The trust policy that lets a service assume the role."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def check_policy(text: str, *, trust: bool) -> Mapping[str, Any]:
    """A policy document, parsed. Invalid (which IAM calls MalformedPolicyDocument) when it is not one."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid("This policy contains invalid Json") from error
    if not isinstance(document, dict) or "Statement" not in document:
        raise Invalid("Syntax errors in policy.")
    if document.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise Invalid("The policy is not in the valid JSON format: Version must be 2012-10-17 or 2008-10-17.")
    statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
    for statement in statements:
        _check_statement(statement, trust=trust)
    return document


def _check_statement(statement: Any, *, trust: bool) -> None:
    if not isinstance(statement, dict) or statement.get("Effect") not in ("Allow", "Deny"):
        raise Invalid("Syntax errors in policy.")
    if not ({"Action", "NotAction"} & statement.keys()):
        raise Invalid("Policy statement must contain actions.")
    if trust:
        if not ({"Principal", "NotPrincipal"} & statement.keys()):
            raise Invalid("Missing required field Principal")
        if "Resource" in statement:
            raise Invalid("Has prohibited field Resource")
    elif "Principal" in statement:
        raise Invalid("Policy document should not specify a principal.")
    elif not ({"Resource", "NotResource"} & statement.keys()):
        raise Invalid("Policy statement must contain resources.")


def new_role(account: str, request: Mapping[str, Any], now: float) -> Record:
    """A role's record from CreateRole's members."""
    path, name = request.get("Path", "/"), request["RoleName"]
    document = {
        "request": {**request, "Path": path, "MaxSessionDuration": request.get("MaxSessionDuration", MAX_SESSION)},
        "tags": list(request.get("Tags", [])),
        "attached": [],  # ARNs of managed policies
        "inline": {},  # name -> policy document, as text
    }
    return Record("role", Scope(account, ""), name, role_arn(account, path, name), "", now, now, document)


def default_role(account: str, now: float) -> Record:
    """The role that `clary env` names: SageMaker may assume it. Stored at first start."""
    request = {
        "RoleName": DEFAULT_NAME,
        "Path": "/",
        "AssumeRolePolicyDocument": trusting(SAGEMAKER),
        "Description": "Made by Clary at its first start.",
    }
    record = new_role(account, request, now)
    document = {**record.document, "attached": [FULL_ACCESS]}
    return Record("role", record.scope, record.name, record.arn, "", now, now, document)


def default_role_arn(account: str, region: str) -> str:
    """As it is written in that region."""
    return written(role_arn(account, "/", DEFAULT_NAME), region)


def simulate(account: str, resource: str) -> bool:
    """Whether a principal of the account may act on a resource: everything of its own account, nothing of another's."""
    parts = resource.split(":", 5)
    return len(parts) < 6 or parts[4] in ("", "*", "aws", account)
