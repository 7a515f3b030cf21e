"""MLflow model directories (`MLmodel` with the flavour python_function), behind MLflow's own scoring protocol.

The protocol is MLflow's code: which JSON forms there are (`dataframe_split`, `dataframe_records`, `instances`, `inputs`, with
`params`), how the model's signature types them, and how predictions are written (`{"predictions": ...}`). Requests are not stacked:
a pyfunc may treat its frame as a whole. Importing this module imports mlflow."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Tuple

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a model in a sandbox tells nobody that it is used

import mlflow.exceptions
import mlflow.pyfunc
from mlflow.pyfunc import scoring_server

from clary.toolkit import content
from clary.toolkit.frameworks.defaults import Defaults
from clary.toolkit.inference import LoadError

_CLIENTS = (400, 404, 415)  # statuses of MLflow's errors that tell what is wrong with the request


class _Body(NamedTuple):
    data: Any
    content_type: str


class MlflowDefaults(Defaults):
    name = "mlflow"

    def model(self, model_dir: str) -> Any:
        if not os.path.isfile(os.path.join(model_dir, "MLmodel")):
            raise LoadError(
                "There is no MLmodel file at the top of the model's archive, which holds: {}. Put the contents of MLflow's model "
                "directory there (mlflow artifacts download), not the directory itself.".format(
                    ", ".join(sorted(os.listdir(model_dir)))[:500] or "nothing"
                )
            )
        try:
            return mlflow.pyfunc.load_model(model_dir)
        except mlflow.exceptions.MlflowException as error:
            raise LoadError("MLflow {} cannot load the model: {}".format(mlflow.__version__, error)) from error

    def read(self, body: Any, content_type: str) -> Any:
        """Kept as it is: the model's signature says how to read it."""
        return _Body(body, content_type)

    def predict(self, data: Any, model: Any) -> Any:
        if not isinstance(data, _Body):  # the user's own input_fn
            return model.predict(data)
        schema = model.metadata.get_input_schema() if model.metadata else None
        try:
            answer = scoring_server.invocations(data.data, data.content_type or content.JSON, model, schema)
        except mlflow.exceptions.MlflowException as error:
            if error.get_http_status_code() in _CLIENTS:
                raise content.BadContent(_words(error)) from error
            raise
        if answer.status == 415:
            raise content.UnsupportedFormat(data.content_type, str(answer.response))
        return answer

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        """MLflow answers JSON whatever is asked."""
        if isinstance(prediction, scoring_server.InvocationsResponse):
            return str(prediction.response).encode(), str(prediction.mimetype)
        return content.encode(prediction, accept)


def _words(error: Any) -> str:
    """The message, and the model's own traceback where MLflow carries one."""
    trace = (error.json_kwargs or {}).get("stack_trace", "")
    return "{}\n{}".format(error.message, trace).strip()


DEFAULTS = MlflowDefaults()
