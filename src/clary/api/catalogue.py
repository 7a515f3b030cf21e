"""`docs/operations.md`: the operations of AWS's API that Clary has, generated from the registry and botocore's models."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from clary.api import handlers, registry
from clary.api.refusals.table import REFUSED, empty

# Services in the order of the page, with what is said of each. Their data planes are answered by other processes.
SERVICES: Mapping[str, str] = {
    "sagemaker": "",
    "sts": "",
    "iam": "",
    "logs": "",
    "sns": "",
    "sqs": "",
    "events": "",
    "scheduler": "",
    "lambda": "",
    "athena": "",
    "glue": "",
    "application-autoscaling": "",
    "cloudwatch": "",
    "ecr": "",
    "sagemaker-metrics": "",
    "sagemaker-featurestore-runtime": "",
}
PLANNED = frozenset({"sagemaker", "sagemaker-metrics", "sagemaker-featurestore-runtime"})
PLAIN = "clary.api.plain.operations"  # whose handlers keep records
_IMAGES = (
    "What is not an operation: images of **TensorFlow** run on the CPU, in one version of TensorFlow for all tags. Rules of **Debugger**",
    "and **Profiler** (DebugRuleConfigurations, ProfilerRuleConfigurations) are recorded and not run: they are images of AWS's own.",
)
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
        "Generated from the registry (`clary/api`) and botocore's models; do not edit.",
        "",
        "| | what Clary answers |",
        "|---|---|",
        "| *done* | what AWS does |",
        "| *record* | the same, for what is a record here and no more: a domain is kept and shown, and no Studio starts |",
        "| *planned* | an AWS error that names the operation, until it is done |",
        "| *refused* | an AWS error that says what it is, why it is not here, and what to do instead |",
        "| *empty* | an empty list, of what is refused: clients that only look go on |",
        "| *missing* | an AWS error that names the operation; nothing of Clary needs it |",
        "",
        "| service | done | record | planned | refused | empty | missing |",
        "|---|---|---|---|---|---|---|",
    ]
    for service in SERVICES:
        numbers = [len(_in(service, what)) for what in ("done", "record", "planned", "refused", "empty", "missing")]
        lines += [f"| {service} | {' | '.join(map(str, numbers))} |"]
    lines += ["", "| service | operation | where it is answered |", "|---|---|---|"]
    lines += [f"| {service} | {operation} | {what} |" for service, operation, what in ELSEWHERE]
    lines += ["", *_IMAGES]
    for service in SERVICES:
        for what, title in (("done", service), ("record", f"{service}: record")):
            names = _in(service, what)
            if names:
                lines += ["", f"## {title}", "", "| operation | what it does |", "|---|---|"]
                lines += [f"| {name} | {_says(registry.find(service, name))} |" for name in names]
    for service in SERVICES:
        names = [*_in(service, "refused"), *_in(service, "empty")]
        if names:
            lines += ["", f"## {service}: refused", "", "| operations | why, and what instead |", "|---|---|"]
            by_reason: dict[str, list[str]] = {}
            for name in sorted(names):
                told = f"{name} (*empty*)" if empty(service, name) is not None else name
                by_reason.setdefault(REFUSED[service, name], []).append(told)
            lines += [f"| {', '.join(told)} | {why} |" for why, told in by_reason.items()]
    for service in SERVICES:
        for what in ("planned", "missing"):
            names = _in(service, what)
            if names:
                lines += ["", f"## {service}: {what}", "", ", ".join(names) + "."]
    return "\n".join(lines) + "\n"


def _in(service: str, what: str) -> list[str]:
    """The service's operations of which the page says that."""
    return [name for name in sorted(registry.model(service).operation_names) if _class(service, name) == what]


def _class(service: str, name: str) -> str:
    found = registry.find(service, name)
    if found is not None:
        return "record" if found.handler.__module__ == PLAIN else "done"
    if (service, name) in REFUSED:
        return "refused" if empty(service, name) is None else "empty"
    return "planned" if service in PLANNED else "missing"


def _says(operation: registry.Operation | None) -> str:
    """The first sentence of the handler's docstring; a handler without one has nothing of its own to say."""
    text = inspect.getdoc(operation.handler) if operation is not None else None
    first = " ".join((text or "").split("\n\n")[0].split()).replace("|", "\\|")
    return first or "As on AWS."
