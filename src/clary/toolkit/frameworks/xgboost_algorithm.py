"""The built-in XGBoost's server: `xgboost-model` files, SageMaker's content rules, a whole batch in one call.

Owns status codes and texts of the container's algorithm mode (204 for an empty body, 415 for what cannot be read, 406 for what
cannot be written, 400 for what the model refuses), ensembles, selectable inference content, and the hot path: one CSV parse and
one C call for all single-row requests of a batch. Model files load here, inside the sandbox, pickles of old containers too.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from clary.toolkit import content, tables
from clary.toolkit.frames import Request
from clary.toolkit.frameworks import xgboost_answers as answers
from clary.toolkit.frameworks.xgboost_direct import Direct, Scores
from clary.toolkit.frameworks.xgboost_lean import xgboost
from clary.toolkit.inference import Handler, LoadError, Response, environment_flag

_KINDS = {
    "text/csv": "csv",
    "text/libsvm": "libsvm",
    "text/x-libsvm": "libsvm",
    "libsvm": "libsvm",
    "csv": "csv",
    "application/x-recordio-protobuf": "recordio-protobuf",
    "application/json": "json",
    "application/jsonlines": "jsonlines",
}
_NEW = tuple.__new__  # a Response without the calls of a NamedTuple's constructor
OFFERED = (content.CSV, content.JSON, content.JSON_LINES, content.RECORDIO)


class _Refused(Exception):
    """This request gets that answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def load(spec: Mapping[str, Any]) -> Handler:
    """Load every model file of `model_dir` (or the first one, without ensembles)."""
    folder = str(spec["model_dir"])
    names = sorted(n for n in os.listdir(folder) if not n.startswith(".") and os.path.isfile(os.path.join(folder, n)))
    if not names:
        raise LoadError("Failed to load model: no model file in {}.".format(folder))
    preferred = [n for n in names if n.startswith("xgboost-model")]
    names = preferred or names
    if not environment_flag(os.environ, "SAGEMAKER_INFERENCE_ENSEMBLE", "true"):
        names = names[:1]
    style = answers.Style.of(str(spec.get("image") or ""), bool(spec.get("multi")))
    return XGBoostHandler([read_booster(os.path.join(folder, name)) for name in names], style)


def read_booster(path: str) -> xgboost.Booster:
    """A booster out of JSON, UBJSON or (containers before 1.3) a pickle."""
    with open(path, "rb") as file:
        data = file.read()
    if not data:  # xgboost ends the whole process over this one
        raise LoadError("Failed to load model {}: the file is empty.".format(os.path.basename(path)))
    try:
        if data[:1] == b"\x80":
            model = pickle.loads(data)  # noqa: S301  (in the sandbox)
            return model.get_booster() if hasattr(model, "get_booster") else model
        booster = xgboost.Booster()
        booster.load_model(bytearray(data))
        return booster
    except Exception as error:
        first = str(error).split("Stack trace:", 1)[0].strip()
        raise LoadError("Failed to load model {}: {}".format(os.path.basename(path), first)) from error


class _Model:
    """One booster and the quickest right way to call it."""

    def __init__(self, booster: xgboost.Booster) -> None:
        self.booster = booster
        booster.set_param({"nthread": 1})
        self.width = booster.num_features()
        config = json.loads(booster.save_config())["learner"]
        self.objective = str(config["objective"]["name"])
        self.classes = int(config["learner_model_param"].get("num_class") or 0)
        self.linear = config["gradient_booster"]["name"] == "gblinear"
        if self.linear:  # each prediction's matrix asks whether its rows are SciPy's: here once for all workers
            importlib.import_module("scipy.sparse")
        # The booster knows its best iteration when early stopping did not cut it there.
        best = booster.attributes().get("best_iteration")
        self.rounds = (0, int(best) + 1) if best is not None else (0, 0)
        self.direct = None if self.linear else Direct.of(booster, self.rounds)
        self.scores: Optional[Scores] = None  # where it has one for each row
        if self.direct is not None:
            self._prove(self.direct)

    def predict(self, rows: Any) -> Any:
        """Predictions of float32 rows as wide as the model."""
        if self.direct is not None:
            return self.direct.predict(rows)
        if self.linear:
            return self.booster.predict(xgboost.DMatrix(rows), iteration_range=self.rounds, validate_features=False)
        return self.booster.inplace_predict(rows, iteration_range=self.rounds, validate_features=False)

    def _prove(self, direct: Direct) -> None:
        """Call it directly only if that answers what the package's own call does."""
        rows = np.linspace(-1, 1, 3 * self.width, dtype=np.float32).reshape(3, self.width)
        expected = self.booster.inplace_predict(rows, iteration_range=self.rounds, validate_features=False)
        try:
            if not np.array_equal(direct.predict(rows), expected):
                self.direct = None
            elif direct.scores(rows.ctypes.data, *rows.shape) == expected.tolist():
                self.scores = direct.scores
        except xgboost.core.XGBoostError:
            self.direct = None


class XGBoostHandler(Handler):
    """Boosters behind SageMaker's content rules, as the image of that style has them."""

    batchable = True

    def __init__(self, boosters: Sequence[xgboost.Booster], style: answers.Style) -> None:
        self._models = [_Model(booster) for booster in boosters]
        self._width = self._models[0].width
        self._objective = self._models[0].objective
        self._default = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT") or content.CSV
        batch = environment_flag(os.environ, "SAGEMAKER_BATCH")
        selection = answers.selected(os.environ.get("SAGEMAKER_INFERENCE_OUTPUT", "")) if style.selects else []
        self._heeds_accept = style.heeds_accept or bool(selection)
        self._write = answers.writer(style, batch, selection, self._objective, self._models[0].classes)
        self._accepts: Dict[str, Optional[str]] = {}
        plain = len(boosters) == 1 and not batch and not selection
        self._scores = self._models[0].scores if plain else None
        self._end = "\n" if style.lines else ""

    def predict(self, requests: Sequence[Request]) -> List[Response]:
        quick = self._single_rows(requests)
        if quick is not None:
            return quick
        found: List[Any] = []
        for request in requests:
            try:
                found.append((self._accept(request.accept), self._rows(request)))
            except _Refused as refused:
                found.append(refused.response)
        return self._answer(found)

    def _single_rows(self, requests: Sequence[Request]) -> Optional[List[Response]]:
        """The hot path: CSV of one row each. None when a request is anything else."""
        kinds, accepts, plain, end = _KINDS, self._accepts, self._scores is not None, self._end
        bodies: List[bytes] = []
        for _, body, content_type, accept, _ in requests:
            chosen = accepts.get(accept)
            if chosen is None or kinds.get(content_type) != "csv":
                return None
            plain = plain and chosen == content.CSV
            bodies.append(body)
        try:
            if plain:
                scores = self._plain_scores(bodies)
                if scores is not None:
                    return [_NEW(Response, (200, f"{score}{end}".encode(), answers.CSV_REPLY, ())) for score in scores]
            rows = tables.csv_batch(bodies) if len(bodies) > 1 else None
            if rows is None or rows.shape[1] != self._width:
                return None
            values = self._values(rows)
        except xgboost.core.XGBoostError:
            return None
        write = self._write
        return [write(values[i : i + 1], accepts[request[3]] or self._default) for i, request in enumerate(requests)]

    def _plain_scores(self, bodies: List[bytes]) -> Optional[List[float]]:
        """One number for each body. None when a body is not so simple, or the model says more than that."""
        values = tables.csv_values(bodies, self._width)
        if values is None or self._scores is None:
            return None
        return self._scores(values.buffer_info()[0], len(bodies), self._width)

    def _answer(self, found: List[Any]) -> List[Response]:
        """One call for all that could be read; when it fails, one call each, so that a failure concerns its own request."""
        good = [item[1] for item in found if isinstance(item, tuple) and not isinstance(item, Response)]
        if not good:
            return found
        try:
            values = self._values(good[0] if len(good) == 1 else np.concatenate(good))
        except xgboost.core.XGBoostError:
            return [item if isinstance(item, Response) else self._alone(*item) for item in found]
        responses: List[Response] = []
        place = 0
        for item in found:
            if isinstance(item, Response):
                responses.append(item)
                continue
            accept, rows = item
            responses.append(self._write(values[place : place + len(rows)], accept))
            place += len(rows)
        return responses

    def _alone(self, accept: str, rows: Any) -> Response:
        try:
            return self._write(self._values(rows), accept)
        except xgboost.core.XGBoostError as error:
            return _unable(str(error).split("Stack trace:", 1)[0].strip())

    def _values(self, rows: Any) -> Any:
        models = self._models
        if len(models) == 1:
            return models[0].predict(rows)
        return answers.combine([model.predict(rows) for model in models], self._objective)

    def _accept(self, accept: str) -> str:
        chosen = self._accepts.get(accept)
        if chosen is None:
            chosen = content.choose(accept, OFFERED, self._default) if self._heeds_accept else content.CSV
            if chosen is None:
                raise _Refused(Response(406, "Accept type {} is not supported".format(accept).encode()))
            if len(self._accepts) < 256:
                self._accepts[accept] = chosen
        return chosen

    def _rows(self, request: Request) -> Any:
        if not request.body:
            raise _Refused(Response(204, b""))
        kind = _KINDS.get(content.base(request.content_type))
        if kind is None:
            raise _Refused(_unreadable("Content type {} is not supported".format(request.content_type or "''")))
        try:
            rows = self._parse(kind, request.body)
        except tables.ParseError as error:
            raise _Refused(
                _unreadable(
                    "Loading {} data failed with Exception, please ensure data is in {} format: {}".format(
                        kind, kind, error
                    )
                )
            ) from None
        width = rows.shape[1]
        if width != self._width:
            raise _Refused(
                _unable(
                    "Feature size of {} inference data {} is not consistent with feature size of trained model {}.".format(
                        kind, width, self._width
                    )
                )
            )
        return rows

    def _parse(self, kind: str, body: bytes) -> Any:
        if kind == "csv":
            return tables.csv(body)
        if kind == "libsvm":
            sparse = tables.libsvm(body, labelled=False)
            if sparse.width > self._width:
                raise _Refused(
                    _unable(
                        "Feature size of libsvm inference data {} is larger than feature size of trained model {}.".format(
                            sparse.width, self._width
                        )
                    )
                )
            return sparse.dense(self._width)
        if kind == "recordio-protobuf":
            return tables.records(body)[0]
        return tables.instances(body, lines=kind == "jsonlines")

    def probe(self) -> None:
        self._values(np.zeros((1, self._width), dtype=np.float32))

    def set_threads(self, count: int) -> None:
        for model in self._models:
            model.booster.set_param({"nthread": count})


def _unreadable(text: str) -> Response:
    return Response(415, text.encode("utf-8", "replace"))


def _unable(text: str) -> Response:
    return Response(400, "Unable to evaluate payload provided: {}".format(text).encode("utf-8", "replace"))
