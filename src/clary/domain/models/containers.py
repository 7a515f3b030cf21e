"""The serving part of a model record: its containers, each with image, artifact, code and environment.

Pure reading of CreateModel's request. A `Container` is copied into the endpoint when it is created or updated, so an endpoint
never depends on a model or config that was deleted meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.resources import Record

MOST_CONTAINERS = 15
DEFAULT_TIMEOUT = 60.0  # seconds of one prediction (reference/sagemaker.md 3.1)
DEFAULT_PROGRAM = "inference.py"
SUBMIT_IN_MODEL = "/opt/ml/model/code"


@dataclass(frozen=True, slots=True)
class DataSource:
    """One of AdditionalModelDataSources: what lies below /opt/ml/additional-model-data-sources/CHANNEL. Members as `Container`'s."""

    channel: str
    uri: str
    compression: str
    prefix: bool


@dataclass(frozen=True, slots=True)
class Container:
    """`artifact` is the S3 URI of a .tar.gz ("Gzip"), of one object or of a prefix ("None" = not compressed), or "".

    `multi_model`: `artifact` is the prefix of archives, each of which is a model; `cached`: they stay loaded between requests.
    `isolated`: EnableNetworkIsolation, no network inside. `wall`: SAGEMAKER_MODEL_SERVER_TIMEOUT does not raise the deadline.
    `hostname` tells the containers of one model apart ("" where there is one), `of` is how many they are, `stage` the place in a
    serial pipeline, from 0; `direct`: clients name the one that they mean instead."""

    model: str
    image: str
    artifact: str = ""
    compression: str = "Gzip"
    prefix: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    isolated: bool = False
    wall: bool = False
    hostname: str = ""
    of: int = 1
    stage: int = 0
    direct: bool = False
    additional: tuple[DataSource, ...] = ()
    multi_model: bool = False
    cached: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Container:
        return Container(**{**data, "additional": tuple(DataSource(**s) for s in data.get("additional", ()))})

    @property
    def label(self) -> str:
        """As AWS's messages call it."""
        return self.hostname or "primary"

    @property
    def program(self) -> str:
        return self.environment.get("SAGEMAKER_PROGRAM", "")

    @property
    def submit(self) -> str:
        """S3 URI of sourcedir.tar.gz; "" when the code travels inside the model (code/) or there is none."""
        value = self.environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
        return value if value.startswith(("s3://", "https://")) else ""

    @property
    def timeout(self) -> float:
        """Seconds that one prediction may take."""
        asked = _number(self.environment, "SAGEMAKER_MODEL_SERVER_TIMEOUT", DEFAULT_TIMEOUT)
        return min(asked, DEFAULT_TIMEOUT) if self.wall else asked

    @property
    def workers(self) -> int:
        """Workers that the user asked for; 0: as many as the size has vCPUs."""
        return int(_number(self.environment, "SAGEMAKER_MODEL_SERVER_WORKERS", 0))


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise Invalid(f"Environment variable {name} must be a number, not '{text}'.") from None
    if not 0 <= value < 1e9:
        raise Invalid(f"Environment variable {name} must be a positive number, not '{text}'.")
    return value


def definitions(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The container definitions of a CreateModel request, in order, as they were given."""
    if request.get("PrimaryContainer"):
        return [request["PrimaryContainer"]]
    return list(request.get("Containers") or [])


def containers_of(model: Record) -> tuple[Container, ...]:
    """The containers that a model record serves with, in order."""
    request = resolved(model.document["request"], model.document.get("packages") or {})
    given = definitions(request)
    direct = is_direct(request)
    names = hostnames(given)
    return tuple(
        replace(
            _container(model.name, request, definition),
            hostname=names[place] if len(given) > 1 else "",
            of=len(given),
            stage=0 if direct else place,
            direct=direct,
        )
        for place, definition in enumerate(given)
    )


def _container(model: str, request: Mapping[str, Any], definition: Mapping[str, Any]) -> Container:
    source = (definition.get("ModelDataSource") or {}).get("S3DataSource")
    url = definition.get("ModelDataUrl", "")
    return Container(
        model=model,
        image=definition.get("Image", ""),
        artifact=source["S3Uri"] if source else url,
        compression=source["CompressionType"] if source else "Gzip",
        prefix=bool(source and source["S3DataType"] == "S3Prefix"),
        environment=dict(definition.get("Environment") or {}),
        role=request.get("ExecutionRoleArn", ""),
        isolated=bool(request.get("EnableNetworkIsolation", False)),
        additional=tuple(_additional(row) for row in definition.get("AdditionalModelDataSources") or ()),
        multi_model=is_multi_model(definition),
        cached=(definition.get("MultiModelConfig") or {}).get("ModelCacheSetting") != "Disabled",
    )


def _additional(row: Mapping[str, Any]) -> DataSource:
    source = row["S3DataSource"]
    return DataSource(
        row["ChannelName"], source["S3Uri"], source["CompressionType"], source["S3DataType"] == "S3Prefix"
    )


def resolved(request: Mapping[str, Any], packages: Mapping[str, Sequence[Mapping[str, Any]]]) -> Mapping[str, Any]:
    """The request with the containers of `packages` (ModelPackageName as given, then its definitions) in the places that name them.
    A package of several containers makes a pipeline of a PrimaryContainer."""
    if not packages:
        return request
    given = []
    for definition in definitions(request):
        own = packages.get(package_key(definition))
        if own is None:
            given.append(dict(definition))
            continue
        for inside in own:
            environment = {**(inside.get("Environment") or {}), **(definition.get("Environment") or {})}
            hostname = {"ContainerHostname": h} if len(own) == 1 and (h := definition.get("ContainerHostname")) else {}
            given.append({**inside, **hostname, "Environment": environment})
    rest = {name: value for name, value in request.items() if name not in ("PrimaryContainer", "Containers")}
    return {**rest, "PrimaryContainer": given[0]} if len(given) == 1 else {**rest, "Containers": given}


def package_key(definition: Mapping[str, Any]) -> str:
    """What a definition takes from the registry: package and inference specification; "" for nothing."""
    name = definition.get("ModelPackageName", "")
    return f"{name} {definition.get('InferenceSpecificationName', '')}".strip() if name else ""


def is_direct(request: Mapping[str, Any]) -> bool:
    """Whether clients name the container they mean (InferenceExecutionConfig.Mode Direct; Serial where nothing is said)."""
    several = len(definitions(request)) > 1
    return several and (request.get("InferenceExecutionConfig") or {}).get("Mode") == "Direct"


def hostnames(given: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the containers: the given ones; AWS names the others by their place."""
    return [d.get("ContainerHostname") or f"container-{place}" for place, d in enumerate(given, 1)]


def not_found(uri: str) -> str:
    """AWS's own text for model data that is not there."""
    return f"Could not find model data at {uri}."


def no_access(uri: str, role: str, region: str) -> str:
    """AWS's own text for model data that the role may not read."""
    return (
        f'Could not access model data at {uri}. Please ensure that the role "{role}" exists and that its trust relationship policy '
        'allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure that the role has '
        f'"s3:GetObject" permissions and that the object is located in {region}. If your Model uses multiple models or uncompressed '
        'models, please ensure that the role has "s3:ListBucket" permission.'
    )


def check_numbers(container: Container) -> None:
    """Invalid when a variable that Clary reads as a number is none."""
    _ = container.timeout, container.workers


def check_request(request: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The container definitions of a CreateModel request; Invalid where it has none, too many, or contradicts itself. `whole` is the
    request with what it takes from the registry (`resolved`)."""
    if request.get("PrimaryContainer") and request.get("Containers"):
        raise Invalid("Please provide either PrimaryContainer or Containers, not both.")
    if not definitions(request):
        raise Invalid("Please provide either PrimaryContainer or Containers.")
    given = definitions(whole)
    if len(given) > MOST_CONTAINERS:
        raise Invalid(
            f"A model has at most {MOST_CONTAINERS} containers; with those of its packages this one has {len(given)}."
        )
    _check_together(request, given)
    for place, definition in enumerate(given):
        where = "PrimaryContainer" if whole.get("PrimaryContainer") else f"Containers[{place}]"
        check_mode(definition, where)
        if definition.get("ModelDataUrl") and definition.get("ModelDataSource"):
            raise Invalid(f"Please provide either ModelDataUrl or ModelDataSource, not both, in {where}.")
        if not definition.get("Image"):
            raise Invalid(f"Please provide Image in the container definition {where}.")
        _check_channels(definition.get("AdditionalModelDataSources") or (), where)
    return given


def _check_channels(sources: Sequence[Mapping[str, Any]], where: str) -> None:
    names = [source["ChannelName"] for source in sources]
    for name in names:
        if name in (".", ".."):
            raise Invalid(f"ChannelName '{name}' in {where}.AdditionalModelDataSources cannot be the name of a folder.")
        if names.count(name) > 1:
            raise Invalid(
                f"ChannelName must be unique in {where}.AdditionalModelDataSources; '{name}' is used more than once."
            )


def is_multi_model(definition: Mapping[str, Any]) -> bool:
    return definition.get("Mode") == "MultiModel"


def check_mode(definition: Mapping[str, Any], where: str) -> None:
    """Invalid where Mode and the members that go with it contradict each other."""
    if not is_multi_model(definition):
        if definition.get("MultiModelConfig"):
            raise Invalid(f"MultiModelConfig needs Mode MultiModel in the same container definition, {where}.")
        return
    if definition.get("ModelDataSource"):
        raise Invalid(
            f"ModelDataSource cannot be used with Mode MultiModel in {where}; give the prefix of the models in ModelDataUrl."
        )
    if not definition.get("ModelDataUrl"):
        raise Invalid(
            f"Mode MultiModel in {where} needs ModelDataUrl: the prefix below which the models lie, such as s3://bucket/models/."
        )


def _check_together(request: Mapping[str, Any], given: Sequence[Mapping[str, Any]]) -> None:
    """Invalid where several containers cannot be told apart."""
    asked = request.get("InferenceExecutionConfig")
    if asked and not request.get("Containers"):
        raise Invalid("InferenceExecutionConfig is for models with Containers; this one has a PrimaryContainer.")
    many = sum(map(is_multi_model, given))
    if many > 1:
        raise Invalid("Only one of the Containers may have Mode MultiModel.")
    if asked and asked["Mode"] == "Direct":
        if many:
            raise Invalid("Mode MultiModel is for serial pipelines; InferenceExecutionConfig.Mode is Direct.")
        if len(given) < 2:
            raise Invalid("InferenceExecutionConfig.Mode Direct needs at least two Containers.")
        for place, definition in enumerate(given):
            if not definition.get("ContainerHostname"):
                raise Invalid(f"InferenceExecutionConfig.Mode Direct needs ContainerHostname in Containers[{place}].")
    names = hostnames(given)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Invalid(f"ContainerHostname must be unique in Containers; '{twice}' is used more than once.")
