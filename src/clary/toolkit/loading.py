"""Which module makes a model's handler: by its spec, the user's own server, the framework's script or a built-in algorithm.

Does not know what a handler does (`inference`).
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Mapping

from clary.toolkit.inference import Handler, LoadError

_FRAMEWORKS = {
    "xgboost": "clary.toolkit.frameworks.xgboost_script",
    "sklearn": "clary.toolkit.frameworks.sklearn",
    "lightgbm": "clary.toolkit.frameworks.lightgbm_script",
    "onnx": "clary.toolkit.frameworks.onnx",
    "mlflow": "clary.toolkit.frameworks.mlflow_pyfunc",
    "pytorch": "clary.toolkit.frameworks.pytorch",
    "huggingface": "clary.toolkit.frameworks.huggingface",
    "tensorflow": "clary.toolkit.frameworks.tensorflow",
    "python": "clary.toolkit.frameworks.generic",
}
_ALGORITHMS = {"xgboost": "clary.toolkit.frameworks.xgboost_algorithm"}


def preload(spec: Mapping[str, Any]) -> None:
    """Import the framework, without the model and without user code: what a zygote does before it forks or loads."""
    if spec.get("server"):
        return
    importlib.import_module(_module(spec))
    with contextlib.suppress(ImportError):  # here once, else in each worker, which sets its threads by it
        importlib.import_module("threadpoolctl")


def load(spec: Mapping[str, Any]) -> Handler:
    """Load the model. LoadError for what the user can mend without a traceback; user code's own exceptions go through."""
    handler = _loaded(spec)
    if not spec.get("explainer"):
        return handler
    try:
        from clary.toolkit.clarify import online
    except ImportError as error:
        raise LoadError("ExplainerConfig needs numpy in the model's image: {}".format(error)) from None
    return online.Explained(handler, spec["explainer"])


def _loaded(spec: Mapping[str, Any]) -> Handler:
    if spec.get("server"):
        from clary.toolkit import own_server  # only where it is used: a worker starts with as little as it can

        return own_server.load(spec)
    if spec.get("program") or not spec.get("algorithm"):
        from clary.toolkit.frameworks import script  # numpy: who runs a server of their own may not have it

        framework = importlib.import_module(_FRAMEWORKS[str(spec.get("framework") or "python")])
        return script.load(spec, framework.DEFAULTS)
    handler = importlib.import_module(_module(spec)).load(spec)
    assert isinstance(handler, Handler)
    return handler


def _module(spec: Mapping[str, Any]) -> str:
    algorithm, framework = str(spec.get("algorithm") or ""), str(spec.get("framework") or "python")
    if algorithm and not spec.get("program"):
        if algorithm not in _ALGORITHMS:
            raise LoadError("This runtime has no built-in algorithm named {}.".format(algorithm))
        return _ALGORITHMS[algorithm]
    if framework not in _FRAMEWORKS:
        raise LoadError("This runtime has no framework named {}.".format(framework))
    return _FRAMEWORKS[framework]
