"""`clary parity RESOURCE`: what would be otherwise on AWS, read from what Describe tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, say, say_json, table
from clary.app.cli.site import here
from clary.app.settings import Settings
from clary.backends.images import runtimes
from clary.domain import parity
from clary.domain.errors import Invalid
from clary.domain.parity import Difference, Wanted

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Noun:
    """How a kind of resource is described (operation, member of its name, its ARN), which Create it was made by, and what it runs on."""

    describe: str
    name: str
    arn: str
    create: str
    wants: Callable[[Answer], Iterable[Wanted]] = lambda _: ()


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


_NOUNS = (  # of what a bare name may be, in this order
    Noun("DescribeEndpoint", "EndpointName", "EndpointArn", "CreateEndpoint"),
    Noun("DescribeTrainingJob", "TrainingJobName", "TrainingJobArn", "CreateTrainingJob", _training),
    Noun("DescribeProcessingJob", "ProcessingJobName", "ProcessingJobArn", "CreateProcessingJob", _processing),
    Noun("DescribeTransformJob", "TransformJobName", "TransformJobArn", "CreateTransformJob", _transform),
    Noun(
        "DescribeHyperParameterTuningJob",
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobArn",
        "CreateHyperParameterTuningJob",
    ),
    Noun("DescribeModel", "ModelName", "ModelArn", "CreateModel"),
    Noun("DescribeEndpointConfig", "EndpointConfigName", "EndpointConfigArn", "CreateEndpointConfig", _variants),
)
_BY_NAME = {noun.name: noun for noun in _NOUNS}


def parity_of(directory: str | None, resource: str, *, prices: str, as_json: bool) -> None:
    """Print it."""
    costs = _prices(prices)
    site = here(directory)
    client = site.client()
    noun, answer = _found(client, resource)
    rows = [
        {"resource": name, **asdict(each)}
        for name, part in _parts(client, noun, answer)
        for each in _of(client, part, costs, site.settings)
    ]
    if as_json:
        say_json({"resource": answer[noun.arn], "differences": rows})
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


def _found(client: Client, resource: str) -> tuple[Noun, Answer]:
    """The resource of an ARN or a name. CommandRefused when there is none."""
    name = resource.rpartition("/")[2]
    kind = resource.rpartition(":")[2].partition("/")[0].replace("-", "") if resource.startswith("arn:") else ""
    for noun in _NOUNS:
        if kind and noun.name.removesuffix("Name").lower() != kind:
            continue
        try:
            return noun, client.call("sagemaker", noun.describe, {noun.name: name})
        except ApiFailure as error:
            if error.code != NOT_FOUND:
                raise
    raise CommandRefused(f"No endpoint, job, model or endpoint config is named {resource}.", NOT_FOUND)


Part = tuple[Noun, Answer]


def _parts(client: Client, noun: Noun, answer: Answer) -> Iterator[tuple[str, Part]]:
    """The resource, and of an endpoint and its config what they are made of."""
    yield _named(noun, answer), (noun, answer)
    for below, name in _below(noun, answer):
        described = client.call("sagemaker", below.describe, {below.name: name})
        yield from _parts(client, below, described)


def _below(noun: Noun, answer: Answer) -> Iterator[tuple[Noun, str]]:
    if noun.name == "EndpointName":
        yield _BY_NAME["EndpointConfigName"], answer["EndpointConfigName"]
    if noun.name == "EndpointConfigName":
        rows = (*answer.get("ProductionVariants", ()), *answer.get("ShadowProductionVariants", ()))
        for model in dict.fromkeys(row["ModelName"] for row in rows if row.get("ModelName")):
            yield _BY_NAME["ModelName"], model


def _named(noun: Noun, answer: Answer) -> str:
    return f"{answer[noun.arn].rpartition(':')[2].partition('/')[0]} {answer[noun.name]}"


def _of(client: Client, part: Part, prices: Mapping[str, float], settings: Settings) -> Iterator[Difference]:
    noun, answer = part
    tags = list(client.pages("sagemaker", "ListTags", "Tags", {"ResourceArn": answer[noun.arn]}))
    limits: Iterable[Difference] = ()
    if noun.name == "EndpointName":
        limits = parity.serving(settings.deadline, settings.max_payload)
    elif noun.name == "TrainingJobName":
        limits = parity.job((answer.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds"))
    return chain(
        parity.fields(noun.create, answer),
        parity.tags(tags),
        parity.images(_images(answer), _versions()),
        limits,
        parity.sizes(noun.wants(answer), prices),
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
