"""Image URIs -> runtimes, by the repository's name: registry, account, region and tag never matter. Pure tables.

The repositories are those of the SageMaker SDK's image lists; for frameworks that SageMaker has no image of, names that a user would
type (`mlflow-pyfunc` is what `mlflow sagemaker build-and-push-container` makes). One version of each framework stands for all tags;
which one, the requirement files beside this module say.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import resources

from clary.ports import Runtime

# name, framework, built-in algorithm, image repositories. Script mode of an XGBoost image needs more than the algorithm alone, whose
# environment stays small because its import is waited for: hence two.
_TABLE = (
    ("xgboost", "xgboost", "xgboost", ("sagemaker-xgboost", "xgboost")),
    ("xgboost-script", "xgboost", "", ()),
    ("sklearn", "sklearn", "", ("sagemaker-scikit-learn",)),
    ("lightgbm", "lightgbm", "", ("sagemaker-lightgbm", "lightgbm")),
    ("onnx", "onnx", "", ("sagemaker-onnxruntime", "onnxruntime", "onnx")),
    ("mlflow", "mlflow", "", ("mlflow-pyfunc", "sagemaker-mlflow", "mlflow")),
    ("pytorch", "pytorch", "", ("pytorch-training", "pytorch-inference")),
    ("huggingface", "huggingface", "", ("huggingface-pytorch-training", "huggingface-pytorch-inference")),
    ("tuning", "tuning", "", ()),  # no image: what suggests hyperparameters to tuning jobs
    (
        "tensorflow",
        "tensorflow",
        "",
        (
            "tensorflow-training",
            "tensorflow-inference",
            "sagemaker-tensorflow-scriptmode",
            "sagemaker-tensorflow-serving",
            "sagemaker-tensorflow",
        ),
    ),
    ("clarify", "clarify", "", ("sagemaker-clarify-processing",)),
    ("mlflow-server", "mlflow-server", "", ()),  # no image: MLflow itself, behind tracking servers and apps
    ("features", "features", "", ()),  # no image: what reads and writes the history of feature groups
    ("prepare", "prepare", "", ("clary-prepare",)),
    ("evaluation", "evaluation", "", ("clary-evaluate",)),
    ("retraining", "evaluation", "", ("clary-retrain",)),
    ("privacy", "privacy", "", ("clary-privacy",)),
    ("fetch", "fetch", "", ("clary-fetch",)),
    ("load-test", "load-test", "", ("clary-load-test",)),
    (
        "monitor",
        "monitor",
        "",
        ("sagemaker-model-monitor-analyzer", "sagemaker-model-monitor-groundtruth-merger"),
    ),
    ("sources", "sources", "", ()),  # no image: what asks SQL databases for inputs of jobs
    ("python", "python", "", ("sagemaker-base-python", *(f"sagemaker-base-python-3{minor}" for minor in range(8, 14)))),
)
_MAIN = {
    "xgboost": "xgboost-cpu",
    "xgboost-script": "xgboost-cpu",
    "sklearn": "scikit-learn",
    "lightgbm": "lightgbm",
    "onnx": "onnxruntime",
    "mlflow": "mlflow-skinny",
    "pytorch": "torch",
    "huggingface": "transformers",
    "tuning": "optuna",
    "tensorflow": "tensorflow-cpu",
    "clarify": "numpy",
    "mlflow-server": "mlflow",
    "features": "pyarrow",
    "prepare": "duckdb",
    "evaluation": "scikit-learn",
    "retraining": "scikit-learn",
    "privacy": "pyarrow",
    "fetch": "pip",
    "load-test": "pip",
    "monitor": "datasketches",
    "sources": "adbc-driver-manager",
    "python": "pip",
}
# MB of wheels for Linux on x86_64 (arm64: up to 6 % more), as `uv pip compile --format pylock.toml` tells their sizes. The ordinary index
# has PyTorch for Linux only with CUDA, whose libraries it does not start without.
_DOWNLOADS = {
    "xgboost": 113,
    "xgboost-script": 155,
    "sklearn": 94,
    "lightgbm": 98,
    "onnx": 100,
    "mlflow": 111,
    "pytorch": 3036,
    "huggingface": 3066,
    "tuning": 26,
    "tensorflow": 430,
    "clarify": 102,
    "mlflow-server": 198,
    "features": 70,
    "monitor": 70,
    "prepare": 165,
    "evaluation": 175,
    "retraining": 175,
    "privacy": 175,
    "fetch": 48,
    "load-test": 48,
    "sources": 60,
    "python": 48,
}
# What a processing job runs that names no entrypoint, by runtime: a module of the toolkit.
_PROCESSES = {
    "clarify": "clary.toolkit.clarify",
    "prepare": "clary.toolkit.preparation",
    "evaluation": "clary.toolkit.evaluation",
    "retraining": "clary.toolkit.retraining",
    "privacy": "clary.toolkit.privacy",
    "fetch": "clary.toolkit.fetch",
    "load-test": "clary.toolkit.load_test",
    "monitor": "clary.toolkit.monitor",
}
SHARED = {
    "privacy": "evaluation",
    "retraining": "evaluation",
    "fetch": "python",
    "load-test": "python",
}  # a runtime with the requirements of another: one environment for both
_BOUND = re.compile(
    r"python_full_version (<|>=) '(\d+)\.(\d+)'"
)  # as uv writes it where a version is not for every Python


@dataclass(frozen=True, slots=True)
class RuntimeVariant:
    """One environment of a runtime: the Python that it is made with, and which version of the runtime's main package this one gets."""

    runtime: Runtime
    python: str
    version: str

    @classmethod
    def of(cls, runtime: Runtime, python: tuple[int, int]) -> RuntimeVariant:
        main = _MAIN.get(runtime.name, "")
        version = pinned(runtime.requirements, main, python) if main else ""
        return cls(runtime, ".".join(map(str, python)), version or runtime.version)


def runtimes() -> tuple[Runtime, ...]:
    """All runtimes that Clary ships, with their pinned requirements."""
    folder = resources.files("clary.backends") / "environments"
    found = []
    for name, framework, algorithm, repositories in _TABLE:
        text = (folder / f"{SHARED.get(name, name)}.txt").read_text()
        version = pinned(text, _MAIN[name])
        process = _PROCESSES.get(name, "")
        found.append(
            Runtime(name, framework, algorithm, repositories, text, version, _DOWNLOADS[name], process=process)
        )
    return tuple(found)


def pinned(requirements: str, package: str, python: tuple[int, int] = sys.version_info[:2]) -> str:
    """The version of a package in a requirement file, where it depends on the Python that of this one; "" without one."""
    for found in re.finditer(rf"^{re.escape(package)}==([^\s;\\]+)([^\n]*)", requirements, re.MULTILINE):
        bounds = _BOUND.findall(found[2])
        if all((python < (int(major), int(minor))) == (sign == "<") for sign, major, minor in bounds):
            return found[1]
    return ""
