"""What a CreateTransformJob request means: its defaults, what it may not combine, the fleet of replicas that it needs. Pure.

Sources: the developer guide's "Batch transform" and "Associate prediction results with input records".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clary.domain.endpoints.fleets import Fleet, new_fleet
from clary.domain.errors import Invalid
from clary.domain.models.containers import Container, check_numbers
from clary.domain.s3 import Location, parse_uri
from clary.toolkit.transform.paths import BadPath, parse

DEFAULT_PAYLOAD, MOST_PAYLOAD = 6, 100  # MB
DEFAULT_TIMEOUT, DEFAULT_RETRIES = 600, 3
MIB = 1 << 20
UNBOUNDED = (1 << 30) - 2 * MIB  # bytes of a request where MaxPayloadInMB is 0: the longest that a worker takes
PIECE = 128 << 10  # bytes of a request to a model that answers line by line
_FORMATS = ("text/csv", "application/json", "application/jsonlines", "application/x-jsonlines")


def source(request: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = request["TransformInput"]["DataSource"]["S3DataSource"]
    return found


def input_place(request: Mapping[str, Any]) -> Location:
    return parse_uri(source(request)["S3Uri"])


def output_place(request: Mapping[str, Any]) -> Location:
    return parse_uri(request["TransformOutput"]["S3OutputPath"])


def capture_place(request: Mapping[str, Any]) -> Location | None:
    asked = request.get("DataCaptureConfig")
    return parse_uri(asked["DestinationS3Uri"]) if asked else None


def payload(request: Mapping[str, Any]) -> int:
    """Bytes of one request at most; 0: as many as there are."""
    return int(request.get("MaxPayloadInMB", DEFAULT_PAYLOAD)) * MIB


def client(request: Mapping[str, Any]) -> tuple[int, int]:
    """(seconds that a prediction may take, how often it is asked again)."""
    asked = request.get("ModelClientConfig") or {}
    seconds = int(asked.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT))
    return seconds, int(asked.get("InvocationsMaxRetries", DEFAULT_RETRIES))


def media_type(text: str) -> str:
    """`text/csv; charset=utf-8` is `text/csv`: types are compared, not texts."""
    return text.partition(";")[0].strip().lower()


def check(request: Mapping[str, Any]) -> None:
    """Invalid for what a job cannot do, or AWS does not accept."""
    kind = source(request)["S3DataType"]
    if kind not in ("S3Prefix", "ManifestFile"):
        raise Invalid(f"TransformInput.DataSource.S3DataSource.S3DataType {kind} is not supported for transform jobs.")
    most = request.get("MaxPayloadInMB", DEFAULT_PAYLOAD)
    if most > MOST_PAYLOAD:
        raise Invalid(f"MaxPayloadInMB must be at most {MOST_PAYLOAD}; it is {most}.")
    concurrency = request.get("MaxConcurrentTransforms", 0)
    if concurrency * most > MOST_PAYLOAD:
        raise Invalid(
            f"The value of MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MOST_PAYLOAD} MB; {concurrency} * {most} does."
        )
    if most == 0 and (request["TransformInput"].get("SplitType") or "None") != "None":
        raise Invalid("MaxPayloadInMB 0 (no limit) needs SplitType None: records are packed up to MaxPayloadInMB.")
    input_place(request), output_place(request), capture_place(request)
    _check_processing(request)


def _check_processing(request: Mapping[str, Any]) -> None:
    asked, given, result = request.get("DataProcessing") or {}, request["TransformInput"], request["TransformOutput"]
    try:
        filters = [parse(str(asked[member]), f"DataProcessing.{member}") for member in _FILTERS if asked.get(member)]
    except BadPath as error:
        raise Invalid(str(error)) from None
    ids = bool((request.get("DataCaptureConfig") or {}).get("GenerateInferenceId"))
    joins = asked.get("JoinSource") == "Input"
    if not (joins or ids or any(not each.whole for each in filters)):
        return
    what = "DataProcessing" if joins or filters else "DataCaptureConfig.GenerateInferenceId"
    kinds = [
        media_type(given.get("ContentType") or ""),
        media_type(result.get("Accept") or given.get("ContentType") or ""),
    ]
    for member, kind in zip(("TransformInput.ContentType", "TransformOutput.Accept"), kinds, strict=True):
        if kind not in _FORMATS:
            raise Invalid(f"{what} needs CSV, JSON or JSON lines; {member} is '{kind}'.")
    split, assemble = given.get("SplitType") or "None", result.get("AssembleWith") or "None"
    if split not in ("None", "Line"):
        raise Invalid(f"{what} needs SplitType None or Line; it is {split}.")
    if joins and kinds[0] != kinds[1]:
        raise Invalid(
            "JoinSource Input needs TransformInput.ContentType and TransformOutput.Accept to be the same; they are "
            f"'{kinds[0]}' and '{kinds[1]}'."
        )
    if joins and split != assemble:
        raise Invalid(
            f"JoinSource Input needs SplitType and AssembleWith to be the same; they are {split} and {assemble}."
        )


_FILTERS = ("InputFilter", "OutputFilter")


def check_model(model: str, containers: Sequence[Container]) -> None:
    """Invalid for a model whose requests must say more than a job's can."""
    if any(container.multi_model for container in containers):
        raise Invalid(f"Model '{model}' has Mode MultiModel: batch transform does not support multi-model containers.")
    if any(container.direct for container in containers):
        raise Invalid(
            f"Model '{model}' has InferenceExecutionConfig.Mode Direct: batch transform supports serial pipelines only."
        )


def variables(request: Mapping[str, Any], arn: str) -> dict[str, str]:
    """What the job adds to each container's environment. Of the batch variables one is always there, the others if the user set them."""
    found = {"SAGEMAKER_BATCH": "true", "TRANSFORM_JOB_ARN": arn}
    if "MaxPayloadInMB" in request:
        found["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(request["MaxPayloadInMB"])
    if "BatchStrategy" in request:
        found["SAGEMAKER_BATCH_STRATEGY"] = (
            "MULTI_RECORD" if request["BatchStrategy"] == "MultiRecord" else "SINGLE_RECORD"
        )
    if "MaxConcurrentTransforms" in request:
        found["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(request["MaxConcurrentTransforms"])
    return {**found, **(request.get("Environment") or {})}


def fleet_of(
    id_: str, job: str, arn: str, request: Mapping[str, Any], containers: Sequence[Container], now: float
) -> Fleet:
    """The replicas of the job: one for each instance, of all containers of the model. Their variant has the job's name."""
    own = variables(request, arn)
    seconds, _ = client(request)
    made = [replace(container, environment={**container.environment, **own}) for container in containers]
    for container in made:
        check_numbers(container)
    resources, model = request["TransformResources"], request["ModelName"]
    row = {
        "VariantName": job,
        "ModelName": model,
        "InstanceType": resources["InstanceType"],
        "InitialInstanceCount": int(resources["InstanceCount"]),
    }
    most = max(payload(request), MOST_PAYLOAD * MIB) if payload(request) else UNBOUNDED
    private = {"timeout": float(seconds), "payload": most + MIB}
    return replace(new_fleet(id_, "", [row], {model: made}, now), private=private)


def driver_spec(request: Mapping[str, Any], workers: int, linewise: bool = False) -> dict[str, Any]:
    """What the job's own process reads, beside where the front is. `workers` of each replica: as many requests go to it at once where the
    user does not say. `linewise`: the model is known to answer a line to each line, whatever else is in the request; then requests are
    small, which costs less memory, and nobody can tell the outputs apart."""
    given, result = request["TransformInput"], request["TransformOutput"]
    asked, most = request.get("DataProcessing") or {}, payload(request)
    concurrency = int(request.get("MaxConcurrentTransforms") or 0)
    if not concurrency:
        concurrency = max(1, min(workers, MOST_PAYLOAD * MIB // most if most else 1))
    small = linewise and "MaxConcurrentTransforms" not in request and result.get("AssembleWith") == "Line"
    seconds, retries = client(request)
    return {
        "piece": min(PIECE, most) if small else 0,
        "bucket": input_place(request).bucket,
        "split": given.get("SplitType") or "None",
        "gzip": given.get("CompressionType") == "Gzip",
        "content_type": given.get("ContentType") or "",
        "accept": result.get("Accept") or "",
        "assemble": result.get("AssembleWith") or "None",
        "strategy": request.get("BatchStrategy") or "MultiRecord",
        "payload": most,
        "input_filter": asked.get("InputFilter") or "$",
        "output_filter": asked.get("OutputFilter") or "$",
        "join": asked.get("JoinSource") == "Input",
        "ids": bool((request.get("DataCaptureConfig") or {}).get("GenerateInferenceId")),
        "hosts": int(request["TransformResources"]["InstanceCount"]),
        "concurrency": concurrency,
        "timeout": float(seconds),
        "retries": retries,
    }
