"""What an asynchronous invocation is: its record, where its answer goes, and what is told of it. Pure.

An invocation is a record of kind `async-invocation`, named by a UUID that also names its output. It is Queued until its answer lies
in S3, then Completed or Failed; for a while it is kept as that, without its body, so that a client's late retry finds it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.resources import Record, Scope
from clary.domain.s3 import Location, parse_uri

KIND = "async-invocation"
QUEUED, COMPLETED, FAILED = "Queued", "Completed", "Failed"
LARGEST = 1_000_000_000  # bytes of an input in S3, and of an output
INLINE = 128_000  # bytes of a Body
TTL, TIMEOUT = 21_600, 900  # seconds, where the call says nothing
LONGEST = 3600.0  # seconds that a call may give a prediction
INCLUDED = 128 << 10  # bytes of a response that a notification may carry
KEPT = 900.0  # seconds that an answered invocation is remembered: no client's retry comes later

_SUCCESS, _ERROR = "SUCCESS_NOTIFICATION_TOPIC", "ERROR_NOTIFICATION_TOPIC"


def config_of(endpoint: Record) -> Mapping[str, Any] | None:
    """The AsyncInferenceConfig of the fleet that serves. None: nothing serves yet. Empty: the endpoint is not asynchronous."""
    serving = endpoint.document["plant"].get("serving")
    return None if serving is None else serving.get("asynchronous") or {}


def check_config(config: Mapping[str, Any]) -> None:
    """Invalid for an AsyncInferenceConfig that could not be carried out."""
    output = config["OutputConfig"]
    for member in ("S3OutputPath", "S3FailurePath"):
        if output.get(member):
            parse_uri(output[member])
    notify = output.get("NotificationConfig") or {}
    for where, topic in ((_SUCCESS, "SuccessTopic"), (_ERROR, "ErrorTopic")):
        if where in (notify.get("IncludeInferenceResponseIn") or ()) and not notify.get(topic):
            raise Invalid(f"IncludeInferenceResponseIn names {where}, and NotificationConfig has no {topic}.")


def default_bucket(scope: Scope) -> str:
    """That of the SDKs."""
    return f"sagemaker-{scope.region}-{scope.account}"


def output_of(
    config: Mapping[str, Any], scope: Scope, endpoint: str, id_: str, extension: str, filename: str
) -> Location:
    """Where the answer goes. Without an S3OutputPath: into the SDKs' default bucket."""
    default = f"s3://{default_bucket(scope)}/async-endpoint-outputs/{endpoint}"
    base = parse_uri(config["OutputConfig"].get("S3OutputPath") or default)
    return base.below(*(part for part in extension.split("/") if part), filename or f"{id_}.out")


def failure_of(config: Mapping[str, Any], id_: str) -> Location | None:
    """Where the reason goes when there is no answer. None: the config has no S3FailurePath, so nowhere (as on AWS)."""
    path = config["OutputConfig"].get("S3FailurePath")
    return parse_uri(path).below(f"{id_}-error.out") if path else None


def retry_name(endpoint_arn: str, token: str, params: Mapping[str, Any]) -> str:
    """The name that a client's retry of the same call has too: a UUID out of `amz-sdk-invocation-id` and what was sent."""
    body = params.get("Body") or b""
    rest = {name: value for name, value in params.items() if name != "Body"}
    text = json.dumps([endpoint_arn, token, rest, hashlib.sha256(body).hexdigest()], sort_keys=True)
    return str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4))


def document(params: Mapping[str, Any], config: Mapping[str, Any], scope: Scope, id_: str) -> dict[str, Any]:
    """An invocation's document out of the call. Invalid unless it has exactly one of InputLocation and Body."""
    location, body = params.get("InputLocation"), params.get("Body")
    if location and body:
        raise Invalid("InputLocation and Body are mutually exclusive: give one of them.")
    if not location and not body:
        raise Invalid("Give the input: either InputLocation (an S3 URI) or Body (up to 128000 bytes).")
    if body is not None and len(body) > INLINE:
        raise Invalid(
            f"Body has {len(body)} bytes; at most {INLINE} may be sent inline. Put it into S3 and give InputLocation."
        )
    if location and not parse_uri(location).key:
        raise Invalid(f"InputLocation '{location}' names no object: it must look like s3://bucket/key.")
    failure = failure_of(config, id_)
    output = output_of(
        config, scope, params["EndpointName"], id_, params.get("S3OutputPathExtension", ""), params.get("Filename", "")
    )
    return {
        "endpoint": params["EndpointName"],
        "inference": params.get("InferenceId") or id_,
        "input": location or "",
        "body": base64.b64encode(body).decode() if body else "",
        "content_type": params.get("ContentType", ""),
        "accept": params.get("Accept", ""),
        "attributes": params.get("CustomAttributes", ""),
        "output": str(output),
        "named": bool(params.get("Filename")),
        "failure": str(failure) if failure else "",
        "ttl": params.get("RequestTTLSeconds", TTL),
        "timeout": params.get("InvocationTimeoutSeconds", TIMEOUT),
        "notify": config["OutputConfig"].get("NotificationConfig") or {},
    }


def answered(record: Record, status: str, now: float) -> Record:
    """The invocation once its answer, or the reason for having none, is where it belongs."""
    return replace(record, status=status, modified=now, document={**record.document, "body": ""})


def topic_of(document: Mapping[str, Any], failed: bool) -> str:
    """The topic that is to hear of it, or ''."""
    return str(document["notify"].get("ErrorTopic" if failed else "SuccessTopic") or "")


def wants_response(document: Mapping[str, Any], failed: bool) -> bool:
    """Whether the notification contains the response itself."""
    return (_ERROR if failed else _SUCCESS) in (document["notify"].get("IncludeInferenceResponseIn") or ())


def notification(
    record: Record, now: float, *, failure: str = "", content_type: str = "", response: bytes | None = None
) -> str:
    """The message that SNS gets (reference 3.5), as JSON. `failure`: FailureReason; '' for success."""
    document = record.document
    request = {"contentType": document["content_type"], "endpointName": document["endpoint"]}
    if document["input"]:
        request["inputLocation"] = document["input"]
    message: dict[str, Any] = {
        "awsRegion": record.scope.region,
        "eventTime": stamp(now),
        "receivedTime": stamp(record.created),
        "invocationStatus": "Failed" if failure else "Completed",
        "requestParameters": {name: value for name, value in request.items() if value},
    }
    if failure:
        message["failureReason"] = failure
        if document["failure"]:
            message["responseParameters"] = {"outputLocation": document["failure"]}
    else:
        message["responseParameters"] = {"contentType": content_type, "outputLocation": document["output"]}
    if response is not None and len(response) <= INCLUDED:
        message["responseBody"] = _readable(response)
    message |= {
        "inferenceId": document["inference"],
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    return json.dumps(message)


def _readable(response: bytes) -> dict[str, str]:
    try:
        return {"content": response.decode(), "encoding": "UTF-8"}
    except UnicodeDecodeError:
        return {"content": base64.b64encode(response).decode(), "encoding": "BASE64"}


def stamp(seconds: float) -> str:
    """A moment as SNS and SageMaker write it: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"
