"""What a model record means for serving: one container with its image, artifact, code and environment.

Pure reading of CreateModel's request. A `Container` is copied into the endpoint when it is created or updated, so an endpoint
never depends on a model or config that was deleted meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.resources import Record

DEFAULT_TIMEOUT = 60.0  # seconds of one prediction (reference/sagemaker.md 3.1)
DEFAULT_PROGRAM = "inference.py"
SUBMIT_IN_MODEL = "/opt/ml/model/code"


@dataclass(frozen=True, slots=True)
class Container:
    """`artifact` is the S3 URI of a .tar.gz ("Gzip"), of one object or of a prefix ("None" = not compressed), or "".

    `isolated`: EnableNetworkIsolation, no network inside. `wall`: SAGEMAKER_MODEL_SERVER_TIMEOUT does not raise the deadline."""

    model: str
    image: str
    artifact: str = ""
    compression: str = "Gzip"
    prefix: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    role: str = ""
    isolated: bool = False
    wall: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Container:
        return Container(**data)

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
    """The container definitions of a CreateModel request, in order."""
    if request.get("PrimaryContainer"):
        return [request["PrimaryContainer"]]
    return list(request.get("Containers") or [])


def container_of(model: Record) -> Container:
    """The single container that a model record serves with."""
    request = model.document["request"]
    definition = definitions(request)[0]
    source = (definition.get("ModelDataSource") or {}).get("S3DataSource")
    url = definition.get("ModelDataUrl", "")
    container = Container(
        model=model.name,
        image=definition.get("Image", ""),
        artifact=source["S3Uri"] if source else url,
        compression=source["CompressionType"] if source else "Gzip",
        prefix=bool(source and source["S3DataType"] == "S3Prefix"),
        environment=dict(definition.get("Environment") or {}),
        role=request.get("ExecutionRoleArn", ""),
        isolated=bool(request.get("EnableNetworkIsolation", False)),
    )
    return container


def check_numbers(container: Container) -> None:
    """Invalid when a variable that Clary reads as a number is none."""
    _ = container.timeout, container.workers


def check_request(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one container definition of a CreateModel request; Invalid where it has none, two, or contradicts itself."""
    given = definitions(request)
    if request.get("PrimaryContainer") and request.get("Containers"):
        raise Invalid("Please provide either PrimaryContainer or Containers, not both.")
    if not given:
        raise Invalid("Please provide either PrimaryContainer or Containers.")
    if len(given) > 1:
        raise Invalid(
            f"Containers with {len(given)} members (inference pipelines) are not available in Clary yet; give one container."
        )
    definition = given[0]
    if definition.get("Mode") == "MultiModel":
        raise Invalid("Mode MultiModel is not available in Clary yet; SingleModel is.")
    if definition.get("ModelDataUrl") and definition.get("ModelDataSource"):
        raise Invalid("Please provide either ModelDataUrl or ModelDataSource, not both.")
    if not definition.get("Image"):
        raise Invalid("Please provide Image in the container definition.")
    return definition
