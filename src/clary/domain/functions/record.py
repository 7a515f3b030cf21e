"""A Lambda function as a record: names, settings and their limits, and what Describes say of it. Pure. Source: Lambda API reference.

`document["config"]` holds the members of CreateFunction as they are answered; `document["code"]` names the archive. `document["revision"]`
changes with either, and a sandbox is used again for the same revision only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from clary.domain.errors import Invalid, NotFound
from clary.domain.ids import arn as make_arn
from clary.domain.ids import belongs
from clary.domain.resources import Record, Scope

FUNCTION, EVENT = "lambda-function", "lambda-event"
LATEST = "$LATEST"
LARGEST_PAYLOAD = 6_291_556  # bytes of a request and of an answer
LARGEST_EVENT = 1 << 20  # bytes of an asynchronous one
LARGEST_CODE = 262_144_000  # bytes of a function's files
LARGEST_VARIABLES = 4096  # bytes of names and values
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ARN = re.compile(
    r"arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:(?P<name>[A-Za-z0-9_-]+)(?::(?P<at>[A-Za-z0-9$_-]+))?"
)
_PARTIAL = re.compile(r"(?:(?P<account>\d{12}):(?:function:)?)?(?P<name>[A-Za-z0-9_-]+)(?::(?P<at>[A-Za-z0-9$_-]+))?")
_HANDLER = re.compile(r"[^\s]{1,128}")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]+")
RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)
# Members of CreateFunction that are answered as they were given.
KEPT = (
    "Runtime",
    "Role",
    "Handler",
    "Description",
    "Timeout",
    "MemorySize",
    "Environment",
    "VpcConfig",
    "DeadLetterConfig",
    "KMSKeyArn",
    "TracingConfig",
    "EphemeralStorage",
    "LoggingConfig",
    "Architectures",
    "SnapStart",
)


@dataclass(frozen=True, slots=True)
class Named:
    """What a FunctionName means: a function of an account and region ("": the caller's), and which version of it."""

    name: str
    account: str = ""
    region: str = ""
    qualifier: str = ""


def parse_name(text: str) -> Named:
    """A name, a partial ARN or an ARN. Invalid for anything else."""
    whole = _ARN.fullmatch(text)
    if whole is not None and belongs(text, whole["region"]):
        return Named(whole["name"], whole["account"], whole["region"], whole["at"] or "")
    part = _PARTIAL.fullmatch(text)
    if part is None:
        raise Invalid(f"'{text[:200]}' is neither the name nor the ARN of a function")
    return Named(part["name"], part["account"] or "", "", part["at"] or "")


def function_arn(scope: Scope, name: str) -> str:
    return make_arn("lambda", scope.region, scope.account, f"function:{name}")


def missing(scope: Scope, name: str) -> NotFound:
    return NotFound(f"Function not found: {function_arn(scope, name)}")


def check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"'{name[:200]}' cannot be the name of a function: 1 to 64 letters, digits, hyphens and underscores"
        )
    return name


def checked(given: Mapping[str, Any], runtimes: Mapping[str, str]) -> dict[str, Any]:
    """The members of a Create or UpdateFunctionConfiguration that are kept, each checked but for the role.
    `runtimes`: those that are there, by name."""
    found = {name: given[name] for name in KEPT if given.get(name) not in (None, {}, [])}
    if "Runtime" in found and found["Runtime"] not in runtimes:
        known = ", ".join(runtimes) or "none"
        raise Invalid(f"The runtime parameter of {found['Runtime']} is not supported here. Clary has: {known}.")
    if "Handler" in found and (not _HANDLER.fullmatch(found["Handler"]) or "." not in found["Handler"]):
        raise Invalid(f"Handler '{found['Handler'][:200]}' must be FILE.FUNCTION, such as index.handler")
    for name, smallest, largest in (("Timeout", 1, 900), ("MemorySize", 128, 10_240)):
        if name in found and not smallest <= found[name] <= largest:
            raise Invalid(f"{name} must be {smallest} to {largest}, not {found[name]}")
    _check_variables((found.get("Environment") or {}).get("Variables") or {})
    target = (found.get("DeadLetterConfig") or {}).get("TargetArn")
    if target and target.split(":")[2:3] != ["sqs"]:
        raise Invalid(f"DeadLetterConfig.TargetArn must be the ARN of an SQS queue here, not {target[:200]}")
    return found


def _check_variables(variables: Mapping[str, str]) -> None:
    taken = sorted(RESERVED & variables.keys())
    if taken:
        raise Invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains "
            f"reserved keys that are currently not supported for modification. Reserved keys used in this request: {', '.join(taken)}"
        )
    strange = [name for name in variables if not _VARIABLE.fullmatch(name)]
    if strange:
        raise Invalid(f"'{strange[0][:100]}' cannot be the name of an environment variable")
    if any("\0" in value for value in variables.values()):
        raise Invalid("An environment variable holds a zero byte")
    if sum(len(name.encode()) + len(value.encode()) for name, value in variables.items()) > LARGEST_VARIABLES:
        raise Invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the "
            f"{LARGEST_VARIABLES} byte limit"
        )


def plain_name(record: Record) -> str:
    """The function's name, of it or of a version of it."""
    return record.name.partition(":")[0]


def version(record: Record) -> str:
    """$LATEST of the function itself, a number of a version."""
    return str(record.document.get("number", LATEST))


def described(record: Record, arn: str = "") -> dict[str, Any]:
    """The configuration of a function or of a version, as Describes answer it. `arn`: that of the alias by which it was named."""
    config, code = record.document["config"], record.document["code"]
    moment = datetime.fromtimestamp(record.modified, UTC)
    return {
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Architectures": ["x86_64"],
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        **config,
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": log_group(record), **(config.get("LoggingConfig") or {})},
        "FunctionName": plain_name(record),
        "FunctionArn": arn or record.arn,
        "CodeSize": code["size"],
        "CodeSha256": code["sha256"],
        "LastModified": moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}+0000",
        "Version": version(record),
        "RevisionId": record.document["revision"],
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
    }


def timeout(record: Record) -> float:
    """Seconds that one invocation may take."""
    return float(record.document["config"].get("Timeout", 3))


def memory(record: Record) -> int:
    """MB."""
    return int(record.document["config"].get("MemorySize", 128))


def variables(record: Record) -> dict[str, str]:
    """What the user sets for its environment."""
    return dict((record.document["config"].get("Environment") or {}).get("Variables") or {})


def log_group(record: Record) -> str:
    given = (record.document["config"].get("LoggingConfig") or {}).get("LogGroup")
    return str(given or f"/aws/lambda/{plain_name(record)}")


def statement(params: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """A statement of the function's policy, as AddPermission writes it."""
    principal = params["Principal"]
    service = principal.endswith(".amazonaws.com")
    conditions: dict[str, dict[str, str]] = {}
    if params.get("SourceArn"):
        conditions["ArnLike"] = {"AWS:SourceArn": params["SourceArn"]}
    if params.get("SourceAccount"):
        conditions["StringEquals"] = {"AWS:SourceAccount": params["SourceAccount"]}
    who: Any = {"Service": principal} if service else "*" if principal == "*" else {"AWS": principal}
    found = {
        "Sid": params["StatementId"],
        "Effect": "Allow",
        "Principal": who,
        "Action": params["Action"],
        "Resource": record.arn,
    }
    return {**found, "Condition": conditions} if conditions else found


def policy(record: Record) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": record.document["policy"]})
