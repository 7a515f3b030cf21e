"""How long each kind of endpoint takes to be created, and to be updated to another model: from the call until Describe says InService.

One replica, or copy, each, on a machine that does nothing else; the model is the built-in XGBoost's, its runtime is built.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.common import Row, say
from benchmarks.start import BUCKET, ROLE, XGBOOST, Bench, name, put_data, remove, running, train

PATIENCE = 120.0  # seconds
ROUNDS = 3  # the quickest counts: what the kind costs, not what else ran
SIZE = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
Shape = Callable[[str], dict[str, Any]]  # of a model's name, to the parameters of its CreateEndpointConfig


def _row(model: str, variant: str = "main") -> dict[str, Any]:
    return {"VariantName": variant, "ModelName": model, **SIZE}


def _plain(model: str) -> dict[str, Any]:
    return {"ProductionVariants": [_row(model)]}


def _several(model: str) -> dict[str, Any]:
    return {"ProductionVariants": [_row(model), _row(model, "other")]}


def _shadow(model: str) -> dict[str, Any]:
    return {**_plain(model), "ShadowProductionVariants": [_row(model, "shadow")]}


def _asynchronous(model: str) -> dict[str, Any]:
    return {**_plain(model), "AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/answers"}}}


def _serverless(model: str) -> dict[str, Any]:
    sleeper = {"ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5}}
    return {"ProductionVariants": [{"VariantName": "main", "ModelName": model, **sleeper}]}


class Models:
    """Makes models of one artifact; each is another one to Clary, by a variable of its environment."""

    def __init__(self, bench: Bench) -> None:
        put_data(bench)
        _, job = train(bench, XGBOOST, {"num_round": "20", "objective": "binary:logistic"})
        self.artifact: str = job["ModelArtifacts"]["S3ModelArtifacts"]
        self.bench = bench

    def container(self, **more: str) -> dict[str, Any]:
        return {"Image": XGBOOST, "ModelDataUrl": self.artifact, "Environment": {"WHICH": name("which")}, **more}

    def _made(self, **what: Any) -> str:
        model = name("model")
        self.bench.sagemaker.create_model(ModelName=model, ExecutionRoleArn=ROLE, **what)
        return model

    def single(self) -> str:
        return self._made(PrimaryContainer=self.container())

    def many(self) -> str:
        prefix = self.artifact.rpartition("/")[0] + "/"
        return self._made(PrimaryContainer=self.container(Mode="MultiModel", ModelDataUrl=prefix))

    def two(self) -> str:
        names = ("one", "two")
        containers = [self.container(ContainerHostname=each) for each in names]
        return self._made(Containers=containers, InferenceExecutionConfig={"Mode": "Direct"})


def rows(environments: str) -> list[Row]:
    """The rows of `scripts/bench deploy` about the kinds of endpoint."""
    with running(environments) as (bench, _):
        models = Models(bench)
        kinds: Mapping[str, tuple[Callable[[], str], Shape]] = {
            "real-time": (models.single, _plain),
            "two variants": (models.single, _several),
            "with a shadow": (models.single, _shadow),
            "asynchronous": (models.single, _asynchronous),
            "serverless": (models.single, _serverless),
            "multi-model": (models.many, _plain),
            "two containers": (models.two, _plain),
        }
        found = []
        for kind, (model, shape) in kinds.items():
            say(f"  {kind} ...")
            found += _rows_of(kind, [_endpoint(bench, model, shape) for _ in range(ROUNDS)])
        say("  inference component ...")
        return found + _rows_of("inference component", _components(bench, models))


def _rows_of(kind: str, times: list[tuple[float, float]]) -> list[Row]:
    created, updated = (min(each) for each in zip(*times, strict=True))
    return [Row(f"create, {kind}", created, "s"), Row(f"update to another model, {kind}", updated, "s")]


def _endpoint(bench: Bench, model: Callable[[], str], shape: Shape) -> tuple[float, float]:
    """Seconds of its creation, and of an update all at once."""
    endpoint, times = name("kind"), []
    for call in (bench.sagemaker.create_endpoint, bench.sagemaker.update_endpoint):
        config = name("config")
        bench.sagemaker.create_endpoint_config(EndpointConfigName=config, **shape(model()))
        began = time.perf_counter()
        call(EndpointName=endpoint, EndpointConfigName=config)
        found = _settled(lambda: bench.sagemaker.describe_endpoint(EndpointName=endpoint), "EndpointStatus")
        times.append(time.perf_counter() - began)
        if found["EndpointConfigName"] != config:
            raise RuntimeError(f"{endpoint} went back to {found['EndpointConfigName']}: {found.get('FailureReason')}")
    remove(bench, endpoint)
    return times[0], times[1]


def _components(bench: Bench, models: Models) -> list[tuple[float, float]]:
    """The same of components, one after the other on one endpoint."""
    sagemaker, host, times = bench.sagemaker, name("host"), []
    variant = {"VariantName": "all", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=host, ProductionVariants=[variant], ExecutionRoleArn=ROLE)
    sagemaker.create_endpoint(EndpointName=host, EndpointConfigName=host)
    _settled(lambda: sagemaker.describe_endpoint(EndpointName=host), "EndpointStatus")
    needs = {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 512}
    for _ in range(ROUNDS):
        component = name("component")

        def described(component: str = component) -> dict[str, Any]:
            return dict(sagemaker.describe_inference_component(InferenceComponentName=component))

        began = time.perf_counter()
        sagemaker.create_inference_component(
            InferenceComponentName=component,
            EndpointName=host,
            VariantName="all",
            Specification={"ModelName": models.single(), "ComputeResourceRequirements": needs},
            RuntimeConfig={"CopyCount": 1},
        )
        _settled(described, "InferenceComponentStatus")
        created = time.perf_counter() - began
        another = {"ModelName": models.single(), "ComputeResourceRequirements": needs}
        began = time.perf_counter()
        sagemaker.update_inference_component(InferenceComponentName=component, Specification=another)
        _settled(described, "InferenceComponentStatus")
        times.append((created, time.perf_counter() - began))
        sagemaker.delete_inference_component(InferenceComponentName=component)
        while sagemaker.list_inference_components(EndpointNameEquals=host)["InferenceComponents"]:
            time.sleep(0.01)
    remove(bench, host)
    return times


def _settled(describe: Callable[[], dict[str, Any]], status: str) -> dict[str, Any]:
    """Its description once it is in service."""
    deadline = time.monotonic() + PATIENCE
    while (found := describe())[status] != "InService":
        if found[status] not in ("Creating", "Updating") or time.monotonic() > deadline:
            raise RuntimeError(f"{found[status]}: {found.get('FailureReason')}")
        time.sleep(0.01)
    return found
