"""`docs/operations.md`: the operations of AWS's API that Clary has, generated from the registry and botocore's models."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from clary.api import handlers, registry
from clary.api.refusals import REFUSED

# Services in the order of the page, with what is said of each. Their data planes are answered by other processes.
SERVICES: Mapping[str, str] = {
    "sagemaker": "",
    "sts": "",
    "iam": "",
    "logs": "",
    "sns": "",
    "application-autoscaling": "",
    "cloudwatch": "",
    "ecr": "",
    "sagemaker-metrics": "",
    "sagemaker-featurestore-runtime": "",
}
ELSEWHERE: tuple[tuple[str, str, str], ...] = (
    ("sagemaker-runtime", "InvokeEndpoint", "answered by the fronts"),
    ("sagemaker-runtime", "InvokeEndpointAsync", "answered by the control plane: queued for the endpoint's replicas"),
    ("sagemaker-runtime", "InvokeEndpointWithResponseStream", "answered by the fronts"),
    (
        "s3",
        "objects, buckets, versions, multipart uploads, presigned requests, POST forms",
        "answered by the object store",
    ),
)


def render() -> str:
    """The whole page, as Markdown."""
    handlers.load()
    lines = [
        "# Operations",
        "",
        "Generated from the registry (`clary/api`) and botocore's models; do not edit. Tables describe the *done* operations. An operation",
        "that is *modelled* is not supported: Clary answers an AWS error that names it. One that is *refused* is not planned either;",
        "the error says why and what to do instead.",
        "",
        "| service | done | modelled | refused |",
        "|---|---|---|---|",
    ]
    for service in SERVICES:
        modelled, refused = len(registry.missing(service)), sum(owner == service for owner, _ in REFUSED)
        lines += [f"| {service} | {len(_done(service))} | {modelled - refused} | {refused} |"]
    lines += ["", "| service | operation | |", "|---|---|---|"]
    lines += [f"| {service} | {operation} | {what} |" for service, operation, what in ELSEWHERE]
    for service in SERVICES:
        done = _done(service)
        if not done:
            continue
        lines += ["", f"## {service}", "", "| operation | what it does |", "|---|---|"]
        lines += [f"| {name} | {_says(registry.find(service, name))} |" for name in done]
    for service in SERVICES:
        reasons = sorted((name, why) for (owner, name), why in REFUSED.items() if owner == service)
        if reasons:
            lines += ["", f"## {service}: refused", "", "| operation | why, and what instead |", "|---|---|"]
            lines += [f"| {name} | {why} |" for name, why in reasons]
    for service in SERVICES:
        missing = [name for name in registry.missing(service) if (service, name) not in REFUSED]
        if missing:
            lines += ["", f"## {service}: modelled, not done", "", ", ".join(missing) + "."]
    return "\n".join(lines) + "\n"


def _done(service: str) -> list[str]:
    return sorted(name for owner, name in registry.registered() if owner == service)


def _says(operation: registry.Operation | None) -> str:
    """The first sentence of the handler's docstring, if it has one."""
    text = inspect.getdoc(operation.handler) if operation is not None else None
    first = " ".join((text or "").split("\n\n")[0].split()).replace("|", "\\|")
    return first
