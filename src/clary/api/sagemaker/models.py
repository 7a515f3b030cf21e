"""CreateModel, DescribeModel, ListModels, DeleteModel. A model is a record; what is in its data is looked at by endpoints."""

from __future__ import annotations

from clary.api import images, paging, records, searchable, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.api.sagemaker.package_names import package_named
from clary.api.searchable import Searchable
from clary.domain.errors import Denied, Invalid, NotFound
from clary.domain.fields import table
from clary.domain.models import containers
from clary.domain.models import packages as model_packages
from clary.domain.models.containers import Container
from clary.domain.objects import public_buckets
from clary.domain.resources import Record
from clary.domain.s3 import parse_uri
from clary.domain.search.plan import Kept
from clary.ports import Artifacts


@operation("sagemaker", "CreateModel", again=lambda _, record: {"ModelArn": record.arn})
async def create_model(call: Call, params: Params) -> Params:
    """Record the model. The image must select a runtime, and the data must exist."""
    table.check("CreateModel", params, call.settings.strict_fields)
    packages, made_of = await _packages(call, params)
    for definition in containers.check_request(params, containers.resolved(params, packages)):
        images.require(call, definition["Image"])
    if params.get("ExecutionRoleArn"):
        records.check_role(call, params["ExecutionRoleArn"])
    model = records.new(
        call,
        "model",
        params["ModelName"],
        {
            "request": _request(params),
            "packages": packages,
            "made_of": made_of,
            "tags": tagging.checked(params.get("Tags")),
        },
    )
    for container in containers.containers_of(model):
        containers.check_numbers(container)
        await _check_data(call, container)
    model = await records.add(call, model)
    return {"ModelArn": model.arn}


async def _packages(call: Call, params: Params) -> tuple[dict[str, list[Params]], dict[str, str]]:
    """What the definitions take from the registry, copied: a model does not depend on its package any further. And the ARN of the package
    behind each ModelPackageName, which may be an alias."""
    found: dict[str, list[Params]] = {}
    made_of: dict[str, str] = {}
    for definition in containers.definitions(params):
        model_packages.check_definition(definition)
        key = containers.package_key(definition)
        if key and key not in found:
            package = await package_named(call, definition["ModelPackageName"])
            made_of[definition["ModelPackageName"]] = package.arn
            taken = model_packages.containers_of(package, definition.get("InferenceSpecificationName", ""))
            table.check("CreateModel", {"ModelName": params["ModelName"], "Containers": taken}, False)
            found[key] = taken
    return found, made_of


async def _check_data(call: Call, container: Container) -> None:
    """That the model's data is there. AWS looks at it without opening it; not at a prefix of many models, which may come later."""
    if not container.artifact or container.multi_model:
        return
    uri, bucket = container.artifact, parse_uri(container.artifact).bucket
    try:
        if not await _is_there(call.ports.artifacts.of(call.scope.account), container):
            raise Invalid(containers.not_found(uri) + public_buckets.missing(bucket))
    except Denied:
        raise Invalid(containers.no_access(uri, container.role, call.scope.region)) from None


async def _is_there(artifacts: Artifacts, container: Container) -> bool:
    location = parse_uri(container.artifact)
    try:
        if container.prefix:
            return bool(await artifacts.find(location.bucket, location.key, limit=1))
        await artifacts.head(location.bucket, location.key)
    except NotFound:
        return False
    return True


def _request(params: Params) -> Params:
    return {name: value for name, value in params.items() if name != "Tags"}


@operation("sagemaker", "DescribeModel")
async def describe_model(call: Call, params: Params) -> Params:
    return described(await records.find(call, "model", params["ModelName"]))


def described(model: Record) -> Params:
    """DescribeModel's answer."""
    request = dict(model.document["request"])
    answer = {
        **request,
        "ModelArn": model.arn,
        "CreationTime": model.created,
        "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
    }
    if "PrimaryContainer" in request:
        answer["PrimaryContainer"] = _shown(request["PrimaryContainer"])
    if request.get("Containers"):
        answer["Containers"] = [_shown(container) for container in request["Containers"]]
    return answer


def _shown(container: Params) -> Params:
    """As AWS shows it: Mode and Environment are there even when they were not given."""
    return {"Mode": "SingleModel", "Environment": {}, **container}


searchable.register(
    Searchable(
        "Model",
        "model",
        lambda _, record: {"Model": described(record), "LastModifiedTime": record.modified},
        Kept(
            {
                "Model.ModelName": "name",
                "Model.ModelArn": "arn",
                "Model.CreationTime": "created",
                "LastModifiedTime": "modified",
            }
        ),
    )
)


@operation("sagemaker", "ListModels")
async def list_models(call: Call, params: Params) -> Params:
    found, more = await paging.page(call, params, paging.query(call, params, "model"))
    models = [{"ModelName": m.name, "ModelArn": m.arn, "CreationTime": m.created} for m in found]
    return {"Models": models, **more}


@operation("sagemaker", "DeleteModel")
async def delete_model(call: Call, params: Params) -> Params:
    """Allowed while endpoints serve it: they keep what they need (sdk.md 4)."""
    await records.drop(call, "model", params["ModelName"])
    return {}
