"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig. A config is a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clary.api import paging, records, tagging
from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.endpoints import async_inference, capture, components, explainers, redaction, regression, serverless
from clary.domain.errors import Invalid
from clary.domain.fields import table
from clary.domain.monitoring.drift import DriftRule
from clary.domain.monitoring.quality import LabelRule
from clary.domain.objectives import record as latency_objectives


@operation("sagemaker", "CreateEndpointConfig", again=lambda _, record: {"EndpointConfigArn": record.arn})
async def create_endpoint_config(call: Call, params: Params) -> Params:
    """Record the config; every model that it names must exist."""
    table.check("CreateEndpointConfig", params, call.settings.strict_fields)
    serverless.check(params["ProductionVariants"], params)
    shadows = params.get("ShadowProductionVariants") or []
    _check_variants(params["ProductionVariants"], params.get("ExecutionRoleArn", ""))
    if params.get("AsyncInferenceConfig"):
        async_inference.check_config(params["AsyncInferenceConfig"])
        if not all(variant.get("ModelName") for variant in params["ProductionVariants"]):
            raise Invalid(
                "AsyncInferenceConfig needs variants with a ModelName: inference components are invoked in real time."
            )
    if not all(variant.get("ModelName") for variant in params["ProductionVariants"]):
        records.check_role(call, params["ExecutionRoleArn"])
    if params.get("DataCaptureConfig"):
        capture.check_config(params["DataCaptureConfig"], params["ProductionVariants"])
    if params.get("ExplainerConfig"):
        explainers.check_config(params)
    _check_shadows(params["ProductionVariants"], shadows)
    for variant in (*params["ProductionVariants"], *shadows):
        if variant.get("ModelName"):
            await records.find(call, "model", variant["ModelName"])
    request = {name: value for name, value in params.items() if name != "Tags"}
    request["ProductionVariants"] = [{"InitialVariantWeight": 1.0, **v} for v in params["ProductionVariants"]]
    if shadows:
        request["ShadowProductionVariants"] = [{"InitialVariantWeight": 1.0, **v} for v in shadows]
    tags = tagging.checked(params.get("Tags"))
    for tag in tags:
        if tag["Key"] == regression.TAG:
            regression.rate_of(tag["Value"], f"The tag {regression.TAG}")
        if tag["Key"] == capture.DRIFT:
            DriftRule.read(tag["Value"])
        if tag["Key"] == capture.LABELS:
            LabelRule.read(tag["Value"])
        if tag["Key"] == redaction.TAG:
            redaction.read(tag["Value"])
    objective, _ = latency_objectives.objective_of(tags, call.settings.latency_objective, "")
    for variant in params["ProductionVariants"]:
        _check_managed(variant, objective)
    config = await records.add(
        call, records.new(call, "endpoint-config", params["EndpointConfigName"], {"request": request, "tags": tags})
    )
    return {"EndpointConfigArn": config.arn}


def _check_variants(variants: Sequence[Mapping[str, Any]], role: str = "") -> None:
    names = [variant["VariantName"] for variant in variants]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"Production variant names must be unique; '{name}' is given more than once.")
    for variant in variants:
        _check_host(variants, variant, role)
        needed = ("ModelName",) if variant.get("ServerlessConfig") else ("InstanceType", "InitialInstanceCount")
        for member in needed:
            if variant.get(member) in (None, ""):
                raise Invalid(f"Production variant '{variant['VariantName']}' needs {member}.")
    if len(variants) > 1 and all(float(v.get("InitialVariantWeight", 1.0)) == 0 for v in variants):
        raise Invalid("At least one production variant must have an InitialVariantWeight above 0.")


def _check_host(variants: Sequence[Mapping[str, Any]], variant: Mapping[str, Any], role: str) -> None:
    """With a model, or a place for inference components: never both."""
    if variant.get("ModelName"):
        if any(not v.get("ModelName") for v in variants):
            raise Invalid(
                "Either all production variants have a ModelName, or none: those without host inference components."
            )
    elif not variant.get("ServerlessConfig"):
        components.check_config(variant, role)


def _check_managed(variant: Mapping[str, Any], objective: float) -> None:
    """ManagedInstanceScaling is the range of what scales by itself: hosts of inference components, and variants with an objective."""
    scaling, name = variant.get("ManagedInstanceScaling"), variant["VariantName"]
    if not scaling or not variant.get("ModelName"):
        return
    if not objective:
        raise Invalid(
            f"ManagedInstanceScaling of variant '{name}' is for variants that host inference components (leave ModelName out), and for "
            f"those with a latency objective: tag the endpoint config with {latency_objectives.TAG}, or register a scalable target."
        )
    least, most = scaling.get("MinInstanceCount", 1), scaling.get("MaxInstanceCount")
    if most is not None and most < least:
        raise Invalid(
            f"ManagedInstanceScaling of variant '{name}': MinInstanceCount {least} is above MaxInstanceCount {most}."
        )


def _check_shadows(variants: Sequence[Mapping[str, Any]], shadows: Sequence[Mapping[str, Any]]) -> None:
    """One shadow of one production variant, as on AWS; its weight is a share of that one's."""
    if not shadows:
        return
    if len(variants) > 1 or len(shadows) > 1:
        raise Invalid(
            f"ShadowProductionVariants needs exactly one production and one shadow variant; {len(variants)} and {len(shadows)} "
            "are given."
        )
    for variant in (*variants, *shadows):
        if not variant.get("ModelName"):
            raise Invalid(f"Production variant '{variant['VariantName']}' needs ModelName.")
    _check_variants([*variants, *shadows])
    if float(variants[0].get("InitialVariantWeight", 1.0)) == 0:
        raise Invalid(
            f"Production variant '{variants[0]['VariantName']}' needs an InitialVariantWeight above 0: the shadow's weight is a part "
            "of it."
        )


@operation("sagemaker", "DescribeEndpointConfig")
async def describe_endpoint_config(call: Call, params: Params) -> Params:
    config = await records.find(call, "endpoint-config", params["EndpointConfigName"])
    return {
        "EnableNetworkIsolation": False,
        **config.document["request"],
        "EndpointConfigArn": config.arn,
        "CreationTime": config.created,
    }


@operation("sagemaker", "ListEndpointConfigs")
async def list_endpoint_configs(call: Call, params: Params) -> Params:
    found, more = await paging.page(call, params, paging.query(call, params, "endpoint-config"))
    configs = [{"EndpointConfigName": c.name, "EndpointConfigArn": c.arn, "CreationTime": c.created} for c in found]
    return {"EndpointConfigs": configs, **more}


@operation("sagemaker", "DeleteEndpointConfig")
async def delete_endpoint_config(call: Call, params: Params) -> Params:
    """Allowed while endpoints use it: they keep what they need (sdk.md 4)."""
    await records.drop(call, "endpoint-config", params["EndpointConfigName"])
    return {}
