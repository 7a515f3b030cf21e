"""Where a replica finds things in its sandbox, and its workload: a value. Pure.

Its files: `spec` (replica.json, its token, its keys: what its processes read); `model`, `code` and others, folders of models that the node
has by their digests; of a multi-model replica `archives` (HASH/model.tar.gz) and `models`, where it unpacks them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clary.domain.endpoints.commands import StartReplica
from clary.domain.endpoints.replicas import replica_key
from clary.domain.endpoints.serverless import Rest
from clary.domain.machine import instances
from clary.domain.machine.addresses import Address
from clary.domain.machine.capacity import Fit
from clary.domain.machine.workload import ContainerImage, Environment, Files, LogTarget, MountMode, Workload
from clary.domain.models import own_servers
from clary.domain.names import log_group
from clary.domain.resources import Record
from clary.loops.core.sandboxes import LIBRARY, bundle_files, bundle_variables
from clary.ports import Runtime

SPEC = "/opt/clary/spec"
SPEC_FILES, ARCHIVE_FILES = "spec", "archives"  # names of a replica's files
TOKEN = "token"
MODEL = "/opt/ml/model"
CODE = "/opt/ml/code"
ADDITIONAL = "/opt/ml/additional-model-data-sources"
PROGRAM = "/opt/program"  # where SageMaker's examples of own containers keep their code; some of their files say so
HISTORY = "history"  # the log stream of an endpoint's history
ARCHIVES = "/opt/clary/archives"
MODELS = "/opt/ml/models"
_BATCH = 64
_OURS = ("PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "CLARY_REPLICA", "CLARY_CPUS")  # of no use in somebody else's image


@dataclass(frozen=True, slots=True)
class ServingSettings:
    """What the endpoint loop may know of the settings. `home(name)` is the number of the home front
    of that endpoint; `endpoint` is AWS_ENDPOINT_URL as a sandbox reaches it, `ca_bundle` says the PEM text that goes with it under TLS.
    `owner` is the loop's name in leases."""

    home: Callable[[str], int]
    endpoint: str
    ca_bundle: Callable[[], str] = str
    policy: str = "fit"
    owner: str = "control"
    rest: Rest = field(default_factory=Rest)
    passed: Mapping[str, str] = field(default_factory=dict)


def log_stream(variant: str, replica: str, container: str = "") -> str:
    """`container`: its hostname, where the model has several."""
    return f"{variant}/{replica}/{container}" if container else f"{variant}/{replica}"


def below_models(path: str) -> str:
    """A prepared folder as `Variant.prepared` names it: `DIGEST/out/NAME`. (An older Clary wrote down whole paths.)"""
    return path if not path.startswith("/") else "/".join(path.split("/")[-3:])


def digest_of(path: str) -> str:
    """The digest of the model that such a folder is of."""
    return below_models(path).partition("/")[0]


def model_files(name: str, path: str, target: str, below: str = "") -> Files:
    """Such a folder (`DIGEST/out/NAME` in a record), or what is `below` it, as files of a workload."""
    digest, _, folder = below_models(path).split("/")
    return Files(name, target, model="/".join(filter(None, (digest, folder, below))))


def replica_spec(command: StartReplica, front: Address, runtime: Runtime, fit: Fit) -> str:
    """The JSON that the zygote and its workers read. `front`: where they dial the endpoint's home front. The token is a file beside it."""
    prepared = command.prepared
    multi = {"archives": ARCHIVES, "folder": MODELS, "memory": fit.memory, "resized": f"{SPEC}/memory"}
    return json.dumps(
        {
            "replica": command.id,
            "token_file": f"{SPEC}/{TOKEN}",
            "fronts": [str(front)],
            "framework": runtime.framework,
            "algorithm": _algorithm(command, runtime),
            "image": command.container.image,
            "model_dir": MODEL,
            "code_dir": prepared["code_dir"],
            "program": prepared["program"],
            "workers": command.workers,
            "threads": max(1, int(fit.cpu) // command.workers),
            "batch": _BATCH,
            "timeout": command.timeout,
            "remedy": instances.remedy(command.instance_type),
            **_server(command),
            **({"multi": multi} if command.container.multi_model else {}),
            **({"explainer": command.explainer["ClarifyExplainerConfig"]} if command.explainer else {}),
        }
    )


def _algorithm(command: StartReplica, runtime: Runtime) -> str:
    """The built-in algorithm that serves the model; "" where the user's code does."""
    return "" if command.prepared["program"] else runtime.algorithm


def _server(command: StartReplica) -> dict[str, Any]:
    """The user's own server, where the model's code is one."""
    prepared = command.prepared
    if prepared.get("image"):
        return {"server": own_servers.spec([], "/", isolated=True)}  # in a container, whose network the sandbox shares
    if not prepared.get("server"):
        return {}
    said = own_servers.spec(list(prepared["server"]), prepared["code_dir"] or MODEL, command.container.isolated)
    return {"server": said}


def replica_workload(
    command: StartReplica,
    record: Record,
    settings: ServingSettings,
    runtime: Runtime,
    environment: Environment,
    fit: Fit,
    files: Files,
    credentials: Mapping[str, str],
) -> Workload:
    """The inference container as AWS lays it out, with our zygote in the place of its web server. `files`: its `spec`."""
    prepared = command.prepared
    isolated = command.container.isolated
    variables = _variables(command, record, settings, environment, fit, credentials)
    return Workload(
        key=replica_key(command.id),
        command=(environment.python, "-m", "clary.toolkit.zygote"),
        environment=variables,
        container=_container(command, settings, variables),
        packages=environment,
        files=(files, *_model(command), *bundle_files(settings.ca_bundle())),
        logs=LogTarget(
            record.scope,
            log_group(command.endpoint),
            log_stream(command.variant, command.id, command.container.hostname),
        ),
        cpu=fit.cpu,
        burst=fit.burst,
        memory=fit.memory,
        network=not isolated or bool(prepared.get("image")),
        fronts=True,
        connects=not _algorithm(command, runtime) or bool(_server(command)),
        hostname="localhost",
        stop_grace=30.0,
        gpus=fit.gpus,
    )


def _model(command: StartReplica) -> list[Files]:
    """The model with what belongs to it, and where a multi-model replica has its models."""
    prepared = command.prepared
    found = [model_files("model", prepared["model"], MODEL)]
    if prepared["code"]:
        found.append(model_files("code", prepared["code"], CODE))
    if prepared.get("server") and prepared["code_dir"]:
        own = bool(prepared["code"])
        found.append(model_files("program", prepared["code" if own else "model"], PROGRAM, "" if own else "code"))
    for number, (channel, data) in enumerate((prepared.get("additional") or {}).items()):
        found.append(model_files(f"additional-{number}", data, f"{ADDITIONAL}/{channel}"))
    if command.container.multi_model:
        found += [Files(ARCHIVE_FILES, ARCHIVES), Files("models", MODELS, MountMode.READ_WRITE)]
    return found


def _container(command: StartReplica, settings: ServingSettings, variables: Mapping[str, str]) -> ContainerImage | None:
    """A real image, laid out as AWS does: `serve` as its command, the model and what the user gave. Nothing of Clary's own."""
    prepared = command.prepared
    if not prepared.get("image"):
        return None
    given = {
        name: value for name, value in variables.items() if name not in _OURS or name in command.container.environment
    }
    bundle = [each.name for each in bundle_files(settings.ca_bundle())]
    files = ("model", *(["code"] if prepared["code"] else []), *bundle)
    port = {"SAGEMAKER_BIND_TO_PORT": str(own_servers.PORT)}
    network = not command.container.isolated
    return ContainerImage(prepared["image"], ("serve",), {**given, **port}, files=files, network=network)


def _variables(
    command: StartReplica,
    record: Record,
    settings: ServingSettings,
    environment: Environment,
    fit: Fit,
    credentials: Mapping[str, str],
) -> dict[str, str]:
    own: dict[str, Any] = dict(command.container.environment)
    path = f"{LIBRARY}:{own['PYTHONPATH']}" if own.get("PYTHONPATH") else LIBRARY
    bins = environment.python.rpartition("/")[0]
    return {
        **({} if command.container.isolated else settings.passed),
        "PATH": f"{bins}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONUNBUFFERED": "1",
        "AWS_REGION": record.scope.region,
        "AWS_DEFAULT_REGION": record.scope.region,
        "SAGEMAKER_REGION": record.scope.region,
        "SM_MODEL_DIR": MODEL,  # AWS's images have it when they serve, too
        "AWS_ENDPOINT_URL": settings.endpoint,
        **bundle_variables(settings.ca_bundle()),
        **credentials,
        "CLARY_CPUS": str(max(1, int(fit.cpu))),
        **({"SAGEMAKER_MULTI_MODEL": "true"} if command.container.multi_model else {}),
        **own,
        "PYTHONPATH": path,
        "CLARY_REPLICA": f"{SPEC}/replica.json",
    }
