"""`clary parity RESOURCE`: what would be otherwise on AWS, read from what Describe tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from clary.app.cli.client import Client
from clary.app.cli.kinds import Kind, first
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, say, say_json, table
from clary.app.cli.recreate import rests_on
from clary.app.cli.site import here
from clary.app.settings import Settings
from clary.backends.images import runtimes
from clary.domain import parity
from clary.domain.errors import Invalid
from clary.domain.parity import Difference, Wanted

Answer = Mapping[str, Any]


def _training(answer: Answer) -> Iterator[Wanted]:
    yield from _cluster(answer.get("ResourceConfig") or {}, answer)


def _processing(answer: Answer) -> Iterator[Wanted]:
    yield from _cluster((answer.get("ProcessingResources") or {}).get("ClusterConfig") or {}, answer)


def _transform(answer: Answer) -> Iterator[Wanted]:
    yield from _cluster(answer.get("TransformResources") or {}, answer)


def _cluster(config: Answer, answer: Answer) -> Iterator[Wanted]:
    if config.get("InstanceType"):
        begun = answer.get("TrainingStartTime") or answer.get("ProcessingStartTime") or answer.get("TransformStartTime")
        ended = answer.get("TrainingEndTime") or answer.get("ProcessingEndTime") or answer.get("TransformEndTime")
        seconds = float(ended) - float(begun) if begun and ended else 0.0
        yield Wanted(
            config["InstanceType"], int(config.get("InstanceCount", 1)), answer.get("BillableTimeInSeconds", seconds)
        )


def _variants(answer: Answer) -> Iterator[Wanted]:
    for row in (*answer.get("ProductionVariants", ()), *answer.get("ShadowProductionVariants", ())):
        if row.get("InstanceType"):
            yield Wanted(row["InstanceType"], int(row.get("InitialInstanceCount", 1)))


_KINDS = (  # of what a bare name may be, in this order
    Kind("endpoint", "Endpoint", "EndpointName"),
    Kind("training-job", "TrainingJob", "TrainingJobName"),
    Kind("processing-job", "ProcessingJob", "ProcessingJobName"),
    Kind("transform-job", "TransformJob", "TransformJobName"),
    Kind("hyper-parameter-tuning-job", "HyperParameterTuningJob", "HyperParameterTuningJobName"),
    Kind("model", "Model", "ModelName"),
    Kind("endpoint-config", "EndpointConfig", "EndpointConfigName"),
)
_WANTS: Mapping[str, Callable[[Answer], Iterable[Wanted]]] = {  # what each runs on; the others on nothing of their own
    "training-job": _training,
    "processing-job": _processing,
    "transform-job": _transform,
    "endpoint-config": _variants,
}


def parity_of(directory: str | None, resource: str, *, prices: str, as_json: bool) -> None:
    """Print it."""
    costs = _prices(prices)
    site = here(directory)
    client = site.client()
    kind, answer = _found(client, resource)
    rows = [
        {"resource": f"{part.noun} {seen[part.member]}", **asdict(each)}
        for part, seen in _parts(client, kind, answer)
        for each in _of(client, part, seen, costs, site.settings)
    ]
    if as_json:
        say_json({"resource": answer[kind.arn], "differences": rows})
        return
    if not rows:
        say(f"Nothing of {resource} would be otherwise on AWS, as far as Clary knows.")
        return
    say(table(("resource", "kind", "what", "on AWS"), [tuple(row.values()) for row in rows]))


def _prices(file: str) -> Mapping[str, float]:
    if not file:
        return {}
    try:
        return parity.price_table(json.loads(Path(file).read_text()), file)
    except OSError as error:
        raise CommandRefused(f"--prices {file}: {error.strerror}", USAGE) from error
    except ValueError as error:
        raise CommandRefused(f"--prices {file} is no JSON: {error}", USAGE) from error
    except Invalid as error:
        raise CommandRefused(error.message, USAGE) from error


def _found(client: Client, resource: str) -> tuple[Kind, Answer]:
    """The resource of an ARN or a name. CommandRefused when there is none."""
    noun, _, name = resource.rpartition(":")[2].rpartition("/")
    kinds = [kind for kind in _KINDS if not resource.startswith("arn:") or kind.noun == noun]
    found = first(client, kinds, name)
    if found is None:
        raise CommandRefused(f"No endpoint, job, model or endpoint config is named {resource}.", NOT_FOUND)
    return found


def _parts(client: Client, kind: Kind, answer: Answer) -> Iterator[tuple[Kind, Answer]]:
    """The resource, and what it rests on: an endpoint on its config, that on its models."""
    yield kind, answer
    for noun, name in rests_on(kind, answer):
        below = next(each for each in _KINDS if each.noun == noun)
        yield from _parts(client, below, below.describe(client, name))


def _of(
    client: Client, kind: Kind, answer: Answer, prices: Mapping[str, float], settings: Settings
) -> Iterator[Difference]:
    tags = list(client.pages("sagemaker", "ListTags", "Tags", {"ResourceArn": answer[kind.arn]}))
    limits: Iterable[Difference] = ()
    wants = _WANTS.get(kind.noun)
    if kind.noun == "endpoint":
        limits = parity.serving(settings.deadline, settings.max_payload)
    elif kind.noun == "training-job":
        limits = parity.job((answer.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"))
    return chain(
        parity.fields(f"Create{kind.operation}", answer),
        parity.tags(tags),
        parity.images(_images(answer), _versions()),
        limits,
        parity.sizes(wants(answer) if wants else (), prices),
    )


def _images(value: Any) -> Iterator[str]:
    """Every image that an answer names."""
    if isinstance(value, Mapping):
        for name, member in value.items():
            if name in ("TrainingImage", "Image", "ImageUri") and isinstance(member, str) and member:
                yield member
            else:
                yield from _images(member)
    elif isinstance(value, list):
        for item in value:
            yield from _images(item)


def _versions() -> Mapping[str, str]:
    return {name: f"{each.framework} {each.version}" for each in runtimes() for name in each.repositories}
