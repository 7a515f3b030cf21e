"""Parses a request to the data plane: the endpoint, the variant, and what the model gets.

Owns the reading of InvokeEndpoint's path and headers and AWS's refusals of them (service model of sagemaker-runtime). Does not know
who asks and where the endpoint runs. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote

from clary.toolkit import frames

PREFIX = "/endpoints/"
SUFFIX = "/invocations"
STREAMED = "/invocations-response-stream"
LATER = {  # paths of the service model that are not served yet
    "/invocations-bidirectional-stream": "InvokeEndpointWithBidirectionalStream",
}
NEW_SESSION = "NEW_SESSION"
_SESSION = "^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_VISIBLE = frozenset(chr(c) for c in range(0x20, 0x7F))

TARGET_MODEL = "x-amzn-sagemaker-target-model"

ENABLE_EXPLANATIONS = "x-amzn-sagemaker-enable-explanations"

PASSED = (  # request headers that the model sees beside Content-Type and Accept
    "x-amzn-sagemaker-custom-attributes",
    "x-amzn-sagemaker-inference-id",
    "x-amzn-sagemaker-session-id",
    TARGET_MODEL,
    ENABLE_EXPLANATIONS,
)
_LIMITS = {
    TARGET_MODEL: ("targetModel", 1024),
    "x-amzn-sagemaker-custom-attributes": ("customAttributes", 1024),
    "x-amzn-sagemaker-inference-id": ("inferenceId", 64),
    "x-amzn-sagemaker-session-id": ("sessionId", 256),
    "x-amzn-sagemaker-target-variant": ("targetVariant", 63),
    "x-amzn-sagemaker-target-container-hostname": ("targetContainerHostname", 63),
    "x-amzn-sagemaker-inference-component": ("inferenceComponentName", 63),
    ENABLE_EXPLANATIONS: ("enableExplanations", 64),
    "accept": ("accept", 1024),
    "content-type": ("contentType", 1024),
}


class Aim(NamedTuple):
    """What a request names: TargetVariant, TargetContainerHostname, SessionId. "": it does not."""

    variant: str
    container: str
    session: str


class Refusal(Exception):
    """An answer other than a prediction. `request_id` where the message tells it."""

    def __init__(self, status: int, code: str, message: str, request_id: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.request_id = request_id


_ENDPOINTS: dict[str, str] = {}


def endpoint_name(method: str, path: str) -> str:
    """The endpoint of an InvokeEndpoint path, or of the same for an answer in pieces; Refusal for every other path and verb."""
    known = _ENDPOINTS.get(path)
    if known is not None and method == "POST":
        return known
    name = _endpoint_name(method, path)
    if len(_ENDPOINTS) >= 1024:
        _ENDPOINTS.clear()
    _ENDPOINTS[path] = name
    return name


def _no_name(given: str) -> Refusal:
    """What is wrong about the name of an endpoint, in AWS's words."""
    broken = ["have length less than or equal to 63"] if len(given) > 63 else []
    if not given or not _PLAIN.issuperset(given):
        broken.append("satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*")
    shown = f"Value '{given[:80]}' at 'endpointName' failed to satisfy constraint: Member must"
    errors = "1 validation error" if len(broken) == 1 else f"{len(broken)} validation errors"
    text = "; ".join(f"{shown} {constraint}" for constraint in broken)
    return Refusal(400, "ValidationError", f"{errors} detected: {text}")


def _endpoint_name(method: str, path: str) -> str:
    if path.startswith(PREFIX) and method == "POST":
        suffix = SUFFIX if path.endswith(SUFFIX) else STREAMED
        if path.endswith(suffix):
            name = path[len(PREFIX) : -len(suffix)]
            if name and _PLAIN.issuperset(name) and len(name) <= 63:
                return name
            decoded = unquote(name)
            raise _no_name(name if _PLAIN.issuperset(decoded) else decoded)
        for suffix, operation in LATER.items():
            if path.endswith(suffix):
                raise Refusal(
                    400,
                    "UnknownOperationException",
                    f"Clary does not implement {operation} yet. docs/operations.md lists what it does.",
                )
    raise Refusal(
        404, "UnknownOperationException", f"There is no operation {method} {path[:200]} on the inference endpoint."
    )


_METAS: dict[tuple[str | None, str | None], bytes] = {}
_TARGETED: dict[tuple[str | None, str | None, str], bytes] = {}


_TOLD: dict[
    tuple[str, ...], list[str]
] = {}  # names of headers, of which a client always sends the same -> those for SageMaker


def passed(name: str, headers: Mapping[str, str], explains: bool = False) -> tuple[bytes, Aim | None]:
    """Check the headers of InvokeEndpoint: what the model gets of them (encoded), and what they aim at, if at anything. `explains`:
    whether the endpoint has an ExplainerConfig."""
    names = tuple(headers)
    told = _TOLD.get(names)
    if told is None:
        if len(_TOLD) >= 1024:
            _TOLD.clear()
        told = _TOLD[names] = [name for name in names if name.startswith("x-amzn-sagemaker-")]
    if told:
        return _targeted(name, headers) if told == [TARGET_MODEL] else _rich(name, headers, explains)
    # nearly every request: nothing but Content-Type and Accept, in a handful of combinations
    key = (headers.get("content-type"), headers.get("accept"))
    return _METAS.get(key) or _remember(*key), None


def passed_streamed(name: str, headers: Mapping[str, str], explains: bool = False) -> tuple[bytes, Aim | None]:
    """The same for an answer in pieces: Accept is in a header of its own there, and a session must have begun before."""
    meta, aim = passed(name, {**headers, "accept": headers.get("x-amzn-sagemaker-accept", "")}, explains)
    if aim is not None and aim.session == NEW_SESSION:
        raise _not_a_session(NEW_SESSION, _SESSION)
    return meta, aim


def _targeted(name: str, headers: Mapping[str, str]) -> tuple[bytes, None]:
    """One that names its model, and says nothing else."""
    key = (headers.get("content-type"), headers.get("accept"), headers[TARGET_MODEL])
    known = _TARGETED.get(key)
    if known is None:
        known, _ = _rich(name, headers)
        if len(_TARGETED) >= 4096:
            _TARGETED.clear()
        _TARGETED[key] = known
    return known, None


def _rich(name: str, headers: Mapping[str, str], explains: bool = False) -> tuple[bytes, Aim | None]:
    if ENABLE_EXPLANATIONS in headers and not explains:
        text = f"EnableExplanations needs an endpoint with an ExplainerConfig, and {name} has none."
        raise Refusal(400, "ValidationError", text)
    _check_limits(headers)
    kept = [(header, headers[header]) for header in PASSED if header in headers]
    meta = _encoded(headers.get("content-type", ""), headers.get("accept", ""), kept)
    session = headers.get("x-amzn-sagemaker-session-id")
    if session is not None and session != NEW_SESSION:
        ends = session[:1] + session[-1:]
        if not session or not _PLAIN.issuperset(session) or "-" in ends:
            raise _not_a_session(session, f"^({NEW_SESSION})$|{_SESSION}")
    aim = Aim(
        headers.get("x-amzn-sagemaker-target-variant", ""),
        headers.get("x-amzn-sagemaker-target-container-hostname", ""),
        session or "",
    )
    return meta, aim if any(aim) else None


def nowhere(name: str, component: str, account: str, hosting: bool | None) -> Refusal:
    """Why a name leads nowhere. `hosting`: whether the endpoint is for components; None: there is no such endpoint."""
    if hosting is None:
        text = f"Endpoint {name} of account {account} not found."
    elif hosting:
        text = f"Inference Component {component} of endpoint {name} of account {account} not found."
    else:
        text = (
            "Inference Component Name header is not allowed for endpoints to which no inference component was deployed, such as "
            f"{name}."
        )
    return Refusal(400, "ValidationError", text)


def component_needed() -> Refusal:
    """AWS's words for a request to an endpoint that has nothing but components."""
    return Refusal(
        400,
        "ValidationError",
        "Inference Component Name header is required for endpoints to which you plan to deploy inference components. Please include "
        "Inference Component Name header or consider using SageMaker models.",
    )


def check_container(name: str, known: Sequence[str], aim: Aim | None) -> None:
    """Refusal unless the request names a container where, and only where, it must. `known`: those that can be named."""
    named = aim.container if aim is not None else ""
    if named in known or not (named or known):
        return
    if not known:
        text = f"TargetContainerHostname is only allowed for multi-container endpoints with direct invocation, and {name} is not one."
    elif not named:
        text = (
            f"TargetContainerHostname is required to invoke {name}, a multi-container endpoint with direct invocation."
        )
    else:
        text = f"Container {named} not found in endpoint {name}."
    listed = f" Its containers: {', '.join(known)}." if known else ""
    raise Refusal(400, "ValidationError", text + listed)


def _not_a_session(session: str, pattern: str) -> Refusal:
    return Refusal(
        400,
        "ValidationError",
        f"1 validation error detected: Value '{session}' at 'sessionId' failed to satisfy constraint: Member must satisfy regular "
        f"expression pattern: {pattern}",
    )


def _remember(content_type: str | None, accept: str | None) -> bytes:
    _check_limits({"content-type": content_type or "", "accept": accept or ""})
    if len(_METAS) >= 1024:
        _METAS.clear()
    meta = _METAS[content_type, accept] = _encoded(content_type or "", accept or "", [])
    return meta


def _encoded(content_type: str, accept: str, kept: list[tuple[str, str]]) -> bytes:
    try:
        return frames.request_meta(content_type, accept, kept)
    except frames.FrameError as error:
        raise Refusal(400, "ValidationError", f"A header of the request cannot be passed on: {error}.") from error


def _check_limits(headers: Mapping[str, str]) -> None:
    for header, (member, limit) in _LIMITS.items():
        value = headers.get(header)
        if value is None:
            continue
        if len(value) > limit:
            constraint = f"Member must have length less than or equal to {limit}"
        elif header == TARGET_MODEL and (not value.strip("/") or not _VISIBLE.issuperset(value)):
            constraint = "Member must satisfy regular expression pattern: \\A\\S[\\p{Print}]*\\z"
        elif not _VISIBLE.issuperset(value):
            constraint = "Member must satisfy regular expression pattern: \\p{ASCII}*"
        else:
            continue
        raise Refusal(
            400,
            "ValidationError",
            f"1 validation error detected: Value at '{member}' failed to satisfy constraint: {constraint}",
        )


_RETRIES: dict[str, bool] = {}


def may_retry(headers: Mapping[str, str]) -> bool:
    """Whether the client has attempts left under the same invocation id (`amz-sdk-request: attempt=1; max=3`).

    boto3 in legacy mode tells no `max`: it makes up to five."""
    told = headers.get("amz-sdk-request", "")
    known = _RETRIES.get(told)
    if known is None:
        attempts: dict[str, int] = {}
        for part in told.split(";"):
            name, _, value = part.strip().partition("=")
            if value.isdecimal():
                attempts[name] = int(value[:6])
        if len(_RETRIES) >= 1024:
            _RETRIES.clear()  # only a client that says its `ttl` gets here
        known = _RETRIES[told] = attempts.get("attempt", 1) < attempts.get("max", 5)
    return known
