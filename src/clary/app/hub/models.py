"""The hub's models, a row each, as the files of a bucket that JumpStart's clients read: manifests, specifications and archives of scripts.

Layout and members: `sagemaker.jumpstart` (cache.py, types.py) of SageMaker's SDK. Versions, names of tasks and defaults are ours.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

VERSION = "1.0.0"
_REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"  # no matter whose: the repository's name alone decides
_FAMILIES = "c4 c5 c5d c6i c7i m4 m5 m5d m6i m7i r5 r6i t2 t3"
_TYPES = (
    "ml.m5.large",
    "ml.m5.xlarge",
    "ml.m5.2xlarge",
    "ml.m5.4xlarge",
    "ml.c5.large",
    "ml.c5.xlarge",
    "ml.c5.2xlarge",
)
_METRIC = {"classification": ("accuracy",), "regression": ("mse", "r2")}
_BOOSTED = {"n_estimators": 200, "learning_rate": 0.1, "subsample": 1.0, "random_state": 0}


@dataclass(frozen=True, slots=True)
class HubModel:
    """`library` and `task` choose what the scripts do; `image` is the repository and tag that it runs in; `requirements` are installed on
    top of it."""

    id: str
    library: str
    task: str
    image: str
    hyperparameters: Mapping[str, int | float]
    requirements: str = ""

    @property
    def spec_key(self) -> str:
        return f"specs/{self.id}/specs_v{VERSION}.json"

    def key(self, name: str) -> str:
        return f"clary/{self.id}/v{VERSION}/{name}"


_LIBRARIES = (
    (
        "lightgbm",
        "",
        "sagemaker-lightgbm:latest",
        {**_BOOSTED, "num_leaves": 31, "min_child_samples": 20, "reg_lambda": 0.0},
        "",
    ),
    ("xgboost", "", "sagemaker-xgboost:1.7-1", {**_BOOSTED, "max_depth": 6, "reg_lambda": 1.0}, ""),
    (
        "catboost",
        "",
        "sagemaker-scikit-learn:1.2-1-cpu-py3",
        {"iterations": 200, "learning_rate": 0.1, "depth": 6, "l2_leaf_reg": 3.0, "random_seed": 0},
        "catboost\n",
    ),
    ("sklearn", "-linear", "sagemaker-scikit-learn:1.2-1-cpu-py3", {"alpha": 1.0, "max_iter": 1000}, ""),
)
MODELS = tuple(
    HubModel(f"{library}-{task}{end or '-model'}", library, task, f"{_REGISTRY}/{image}", parameters, requirements)
    for library, end, image, parameters, requirements in _LIBRARIES
    for task in ("classification", "regression")
)


def files() -> Iterator[tuple[str, bytes]]:
    """Every object of the bucket: key and content."""
    for model in MODELS:
        yield model.spec_key, _json(spec(model))
        yield model.key("training.tar.gz"), _archive(_scripts(model, "training", "transfer_learning"))
        yield model.key("inference.tar.gz"), _archive(_scripts(model, "inference", "inference"))
        yield model.key("start.tar.gz"), _archive({"about.json": _json({"model_id": model.id, "version": VERSION})})
    # The manifests last: what they name is there then. Nothing here is proprietary, but the SDK's lists fail on an empty manifest.
    listed = [_listed(model) for model in MODELS]
    yield "proprietary-sdk-manifest.json", _json(listed[:1])
    yield "models_manifest.json", _json(listed)


def _listed(model: HubModel) -> dict[str, Any]:
    keys = {"spec_key": model.spec_key, "search_keywords": []}
    return {"model_id": model.id, "version": VERSION, "min_version": "2.0.0", **keys}


# Of the serving container.
_VARIABLES = [
    {
        "name": "SAGEMAKER_PROGRAM",
        "type": "text",
        "default": "inference.py",
        "scope": "container",
        "required_for_model_class": True,
    },
    {
        "name": "SAGEMAKER_SUBMIT_DIRECTORY",
        "type": "text",
        "default": "/opt/ml/model/code",
        "scope": "container",
        "required_for_model_class": False,
    },
]


def spec(model: HubModel) -> dict[str, Any]:
    """A model's specification."""
    variants = {family: {"properties": {"image_uri": model.image}} for family in _FAMILIES.split()}
    ecr = {"framework": "sklearn", "framework_version": "1.2-1", "py_version": "py3"}
    return {
        "model_id": model.id,
        "url": "https://github.com/aws/sagemaker-python-sdk",
        "version": VERSION,
        "min_sdk_version": "2.0.0",
        "training_supported": True,
        "incremental_training_supported": False,
        "hosting_ecr_specs": ecr,
        "hosting_artifact_key": model.key("start.tar.gz"),
        "hosting_script_key": model.key("inference.tar.gz"),
        "hosting_instance_type_variants": {"variants": variants},
        "hosting_use_script_uri": True,
        "inference_environment_variables": _VARIABLES,
        "training_ecr_specs": ecr,
        "training_artifact_key": model.key("start.tar.gz"),
        "training_script_key": model.key("training.tar.gz"),
        "training_instance_type_variants": {"variants": variants},
        "hyperparameters": [
            {
                "name": name,
                "type": "int" if isinstance(value, int) else "float",
                "default": str(value),
                "scope": "algorithm",
            }
            for name, value in model.hyperparameters.items()
        ],
        "metrics": [
            {"Name": f"{part}:{metric}", "Regex": f"{part} {metric}: ([-+]?[0-9.]+)"}
            for part in ("train", "validation")
            for metric in _METRIC[model.task]
        ],
        "default_training_instance_type": _TYPES[0],
        "supported_training_instance_types": list(_TYPES),
        "default_inference_instance_type": _TYPES[0],
        "supported_inference_instance_types": list(_TYPES),
        "predictor_specs": {
            "default_content_type": "text/csv",
            "supported_content_types": ["text/csv", "application/json"],
            "default_accept_type": "application/json",
            "supported_accept_types": ["application/json"],
        },
        "inference_vulnerable": False,
        "training_vulnerable": False,
        "deprecated": False,
        "dynamic_container_deployment_supported": False,
        "resource_name_base": model.id,
    }


def _scripts(model: HubModel, source: str, name: str) -> dict[str, bytes]:
    script = (resources.files("clary.toolkit.hub") / f"{source}.py").read_bytes()
    about = {"library": model.library, "task": model.task, "hyperparameters": dict(model.hyperparameters)}
    found = {f"{name}.py": script, "model.json": _json(about)}
    return {**found, "requirements.txt": model.requirements.encode()} if model.requirements else found


def _archive(members: Mapping[str, bytes]) -> bytes:
    """A .tar.gz that is the same each time."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()
