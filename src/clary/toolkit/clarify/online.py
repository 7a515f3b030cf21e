"""Explanations of an endpoint's own answers: a handler around the model's, in the workers of an endpoint that has an ExplainerConfig.

The answer is AWS's: `{"version", "predictions": {"content_type", "data"}, "explanations": {"kernel_shap": [record: [feature: {...}]]}}`.
EnableExplanations (the config's, or the request's instead) is asked of the model's answer to each record; nothing but the prediction is
made where no record is to be explained.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

import numpy as np

from clary.toolkit.clarify import answers, shapley
from clary.toolkit.clarify.columns import column
from clary.toolkit.clarify.config import CustomerError, Predictor
from clary.toolkit.clarify.dataset import rows_of_csv
from clary.toolkit.frames import Request
from clary.toolkit.inference import Handler, LoadError, Response

HEADER = "x-amzn-sagemaker-enable-explanations"
KINDS = ("text/csv", "application/jsonlines")
_PLANS = 64  # sets of features whose coalitions are kept
_COMPARISON = re.compile(r"^\[(\d+)\]\s*(>=|<=|==|!=|>|<)\s*`(-?[0-9.]+)`$")
_SIGNS: Dict[str, Callable[[float, float], bool]] = {
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


class Explained(Handler):
    """The model's handler, whose answers it explains. `asked` is the ClarifyExplainerConfig. LoadError for a baseline that is none."""

    def __init__(self, model: Handler, asked: Mapping[str, Any]) -> None:
        self.model = model
        self.batchable, self.companion = model.batchable, model.companion
        self._when = str(asked.get("EnableExplanations") or "`true`")
        self._shap: Mapping[str, Any] = asked["ShapConfig"]
        given = self._shap["ShapBaselineConfig"]
        self._inference: Mapping[str, Any] = asked.get("InferenceConfig") or {}
        self._headers: Sequence[str] = self._inference.get("FeatureHeaders") or ()
        self._types: Sequence[str] = self._inference.get("FeatureTypes") or ()
        self._kept: Dict[str, shapley.Explainer] = {}
        try:
            self._baseline = self._records(str(given["ShapBaseline"]), str(given.get("MimeType") or "text/csv"))
        except CustomerError as error:
            raise LoadError("ShapBaseline cannot be read: {}".format(error)) from None

    def predict(self, requests: Sequence[Request]) -> List[Response]:
        """Answer each request, explained where it asks for that."""
        self.model.most, self.model.setting = self.most, self.setting
        return [self._answer(*pair) for pair in zip(requests, self.model.predict(requests))]

    def probe(self) -> None:
        self.model.probe()

    def set_threads(self, count: int) -> None:
        self.model.set_threads(count)

    def _answer(self, request: Request, made: Response) -> Response:
        if not 200 <= made.status < 300:
            return made
        try:
            document = self._explained(request, made)
        except CustomerError as error:
            return Response(400, "The request cannot be explained: {}".format(error).encode())
        return Response(200, json.dumps(document).encode(), "application/json", made.headers)

    def _explained(self, request: Request, made: Response) -> Dict[str, Any]:
        data = made.body.decode("utf-8", "replace")
        document: Dict[str, Any] = {
            "version": "1.0",
            "predictions": {"content_type": made.content_type, "data": data},
            "explanations": {},
        }
        when = request.headers.get(HEADER) or self._when
        if when.strip() == "`false`":
            return document
        kind = _kind(request.content_type)
        records = self._records(_text(request.body), kind)
        predictor = self._predictor(kind)
        wanted = [True] * len(records)
        if when.strip() != "`true`":
            wanted = [_holds(when, each) for each in _documents(data, made.content_type, len(records))]
        if not any(wanted):
            return document
        explainer = self._explainer(request, kind, predictor, len(records[0]))
        explained = [self._features(explainer.explain(row)) if asked else None for row, asked in zip(records, wanted)]
        document["explanations"] = {"kernel_shap": explained}
        if self._inference.get("LabelHeaders"):
            document["explanations"]["label_headers"] = list(self._inference["LabelHeaders"])
        return document

    def _features(self, found: Any) -> List[Dict[str, Any]]:
        features = []
        for at, values in enumerate(found.tolist()):
            feature: Dict[str, Any] = {"attributions": [{"attribution": values}]}
            if at < len(self._headers):
                feature["feature_header"] = self._headers[at]
            if at < len(self._types):
                feature["feature_type"] = self._types[at]
            features.append(feature)
        return features

    def _records(self, text: str, kind: str) -> List[List[Any]]:
        """The rows of cells of a body. CustomerError for what holds none."""
        if kind not in KINDS:
            raise CustomerError("ContentType must be text/csv or application/jsonlines, is {!r}".format(kind))
        if kind == "text/csv":
            rows: List[List[Any]] = [list(each) for each in rows_of_csv(text, "the body")]
        else:
            rows = [self._of_line(line) for line in text.split("\n") if line.strip()]
        if not rows:
            raise CustomerError("the body has no records")
        return rows

    def _of_line(self, line: str) -> List[Any]:
        document = _json(line)
        name = self._inference.get("FeaturesAttribute")
        found = _found(str(name), document) if name else document
        if isinstance(found, dict) and not name and len(found) == 1:
            found = next(iter(found.values()))
        if not isinstance(found, list):
            raise CustomerError("FeaturesAttribute {!r} finds no list in a record: {}".format(name, line[:100]))
        return found

    def _predictor(self, kind: str) -> Predictor:
        """How synthetic records are written, and where the model's answers have their scores."""
        given = self._inference
        template = str(given.get("ContentTemplate") or ("" if kind == "text/csv" else '{"features":$features}'))
        label = given.get("LabelAttribute", given.get("LabelIndex"))
        probability = given.get("ProbabilityAttribute", given.get("ProbabilityIndex"))
        return Predictor(
            "", "", "", "", 1, "", kind, kind, label, probability, tuple(given.get("LabelHeaders") or ()), template, "", ""
        )  # fmt: skip

    def _explainer(self, request: Request, kind: str, predictor: Predictor, width: int) -> shapley.Explainer:
        """What explains requests of this kind; its expected value is asked for once in a worker's life."""
        key = "\0".join((kind, request.accept))
        if len(self._baseline[0]) != width or (self._headers and len(self._headers) != width):
            wide = len(self._headers) if self._headers and len(self._headers) != width else len(self._baseline[0])
            raise CustomerError("a record has {} features, ShapBaseline or FeatureHeaders {}".format(width, wide))
        found = self._kept.get(key)
        if found is None:
            shap = self._shap
            found = shapley.Explainer(
                self._scores(request, predictor), self._baseline, [(at,) for at in range(width)],
                int(shap.get("NumberOfSamples") or 0), int(shap.get("Seed") or 0) % (1 << 32), bool(shap.get("UseLogit")), _PLANS,
            )  # fmt: skip
            if len(self._kept) < _PLANS:
                self._kept[key] = found
        return found

    def _scores(self, request: Request, predictor: Predictor) -> shapley.Ask:
        """Ask the model in this process for scores, by requests that are no larger than InferenceConfig allows."""
        most = int(self._inference.get("MaxRecordCount") or answers.MOST_ROWS)
        size = min(int(self._inference.get("MaxPayloadInMB") or 6) << 20, answers.MOST_BYTES)
        kind, accept = request.content_type, request.accept
        headers = {name: value for name, value in request.headers.items() if name != HEADER}

        def ask(rows: List[List[Any]]) -> Any:
            found: List[List[float]] = []
            for body, count in answers.bodies(predictor, self._headers, rows, most, size):
                made = self.model.predict([Request(request.id, body.encode(), kind, accept, headers)])[0]
                if not 200 <= made.status < 300:
                    raise CustomerError(
                        "the model refuses synthetic records: {}".format(made.body[:200].decode("utf-8", "replace"))
                    )
                told = answers.answers(predictor, made.body.decode("utf-8", "replace"), made.content_type, count)
                if any(each.scores is None for each in told):
                    raise CustomerError(
                        "the model answers with no numeric scores: see InferenceConfig.ProbabilityIndex"
                    )
                found += [each.scores for each in told if each.scores is not None]
            return np.array(found)

        return ask


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _text(body: bytes) -> str:
    try:
        return bytes(body).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CustomerError("the body is not UTF-8: {}".format(error)) from None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CustomerError("a record is not JSON: {}".format(error)) from None


def _found(path: str, document: Any) -> Any:
    """What a JMESPath expression finds. Plain names joined by dots need no library, which not every runtime has."""
    if re.match(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", path):
        for name in path.split("."):
            document = document.get(name) if isinstance(document, dict) else None
        return document
    try:
        import jmespath
    except ImportError:
        raise CustomerError(
            "{!r}: this image understands plain names, such as a.b, and no other JMESPath".format(path)
        ) from None
    try:
        return jmespath.search(path, document)
    except jmespath.exceptions.JMESPathError as error:
        raise CustomerError("{!r} is no JMESPath expression: {}".format(path, error)) from None


def _documents(data: str, content_type: str, count: int) -> List[Any]:
    """The model's answer to each record: a list of values for CSV, a document for JSON lines."""
    kind = _kind(content_type)
    if kind == "text/csv":
        rows = rows_of_csv(data, "the answer")
        if len(rows) == 1 and count > 1 and len(rows[0]) == count:
            rows = [[each] for each in rows[0]]
        found: List[Any] = [[_number(each) for each in row] for row in rows]
    else:
        found = [_json(line) for line in data.split("\n") if line.strip()]
    if len(found) != count:
        raise CustomerError("{} records were asked, {} answered".format(count, len(found)))
    return found


def _number(cell: str) -> Any:
    found = column("", [cell])
    return cell if found.kind == "text" else float(found.values[0])


def _holds(when: str, answer: Any) -> bool:
    """Whether EnableExplanations is true of the model's answer to one record."""
    compared: Optional["re.Match[str]"] = _COMPARISON.match(when.strip())
    if compared is None:
        return bool(_found(when, answer))
    at, sign, bound = int(compared[1]), _SIGNS[compared[2]], float(compared[3])
    value = answer[at] if isinstance(answer, list) and at < len(answer) else None
    return isinstance(value, (int, float)) and sign(value, bound)
