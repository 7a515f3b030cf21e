"""Predictions of a source, in the order of the rows: from columns, from files, from an endpoint, or by a transform job of a model.

Owns how rows are sent (CSV without a header line, or JSON lines `{"features": [...]}`) and how answers are read: CSV, JSON lines, JSON; a
class, a number, a probability, or one for each class. A transform job is used rather than an endpoint of one's own because it ends by
itself, whatever becomes of this job.
"""

from __future__ import annotations

import csv
import io
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
import pandas as pd

from clary.toolkit.evaluation.data import BINARY, MULTICLASS, REGRESSION, Data, column, files, word, words
from clary.toolkit.evaluation.resampling import PredictedRows
from clary.toolkit.evaluation.settings import Evaluation, PredictionSource
from clary.toolkit.failure import UserError, log

Array = Any  # numpy.ndarray

ROWS, BYTES = 500, 1 << 20  # of one request to an endpoint
PARALLEL = 4  # requests at a time
POLL_SECONDS = 0.5
TOLD = (
    "predictions",
    "scores",
    "score",
    "probabilities",
    "probability",
    "predicted_label",
    "predicted_value",
    "prediction",
    "label",
)
THRESHOLD = 0.5


def features(data: Data, asked: Evaluation) -> List[str]:
    """The columns that a model is sent: those of `features`, else all that are nothing else."""
    if asked.features:
        for name in asked.features:
            column(data.frame, name, "features")
        return list(asked.features)
    others = {asked.target, asked.group, asked.model.folds.get("column", ""), *asked.excluded, *asked.model.columns}
    others.update(asked.incumbent.columns if asked.incumbent else ())
    return [str(name) for name in data.frame.columns if name not in others]


def bodies(frame: Any, content_type: str, rows: int = ROWS, size: int = BYTES) -> List[bytes]:
    """The rows as requests: whole lines, at most so many rows or bytes each."""
    if content_type == "text/csv":
        lines = frame.to_csv(header=False, index=False, lineterminator="\n").splitlines(keepends=True)
        if len(lines) != len(frame):
            raise UserError(
                "A value of the features has a line break, which CSV requests cannot carry: use content_type application/jsonlines."
            )
    else:
        values = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
        lines = [json.dumps({"features": row}, default=str) + "\n" for row in values]
    made: List[bytes] = []
    part: List[bytes] = []
    length = 0
    for line in lines:
        coded = line.encode()
        if part and (len(part) >= rows or length + len(coded) > size):
            made.append(b"".join(part))
            part, length = [], 0
        part.append(coded)
        length += len(coded)
    return [*made, b"".join(part)] if part else made


# -- answers ------------------------------------------------------------------------------------------------------------------


def answers(text: str, source: PredictionSource) -> List[List[Any]]:
    """One list of cells for each prediction in an answer's text. UserError for what is neither CSV nor JSON."""
    text = text.strip()
    if text[:1] in ("{", "["):
        return [_cells(each, source) for each in _listed(text)]
    found = [row for row in csv.reader(io.StringIO(text)) if row]
    return [_cells(row, source) for row in found]


def _listed(text: str) -> List[Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        try:
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise UserError("An answer is not JSON: {}: {}".format(error, text[:200])) from None
    if isinstance(whole, dict) and isinstance(whole.get("predictions"), list):
        return list(whole["predictions"])
    return whole if isinstance(whole, list) else [whole]


def _cells(row: Any, source: PredictionSource) -> List[Any]:
    """What a row tells: the probability or probabilities where `probability` names them, else the class of `label`, else all of it."""
    for place in (source.probability, source.label):
        if place is not None:
            try:
                row = row[place]
            except (KeyError, IndexError, TypeError):
                raise UserError("An answer has no {!r}: {}".format(place, json.dumps(row)[:200])) from None
            break
    while isinstance(row, dict):
        name = next((each for each in TOLD if each in row), None)
        if name is None:
            raise UserError(
                "An answer tells no prediction: {}. Name it by `probability` or `label`.".format(json.dumps(row)[:200])
            )
        row = row[name]
    if isinstance(row, str) and row.startswith("["):
        row = json.loads(row)
    return list(row) if isinstance(row, (list, tuple)) else [row]


def arranged(cells: Sequence[Sequence[Any]], rows: int, title: str) -> Array:
    """An object array (rows, width). UserError unless there is one prediction for each row, all of the same width."""
    if rows == 1 and len(cells) > 1 and all(len(each) == 1 for each in cells):
        cells = [[each[0] for each in cells]]
    if len(cells) != rows == sum(map(len, cells)):  # `0.1,0.7,0.3`: an answer to three rows in one line
        cells = [[cell] for each in cells for cell in each]
    if len(cells) != rows:
        raise UserError("{} has {:,} predictions for {:,} rows.".format(title, len(cells), rows))
    widths = {len(each) for each in cells}
    if len(widths) != 1:
        raise UserError("{} has predictions of {} to {} values.".format(title, min(widths), max(widths)))
    made = np.empty((rows, widths.pop()), dtype=object)
    for number, each in enumerate(cells):
        made[number] = each
    return made


def understood(cells: Array, data: Data, asked: Evaluation, title: str) -> PredictedRows:
    """Cells as predictions of the problem. UserError for what does not fit it, with the row."""
    if data.problem == REGRESSION:
        if cells.shape[1] != 1:
            raise UserError("{} has {} values a row, and a regression has one.".format(title, cells.shape[1]))
        return PredictedRows(REGRESSION, numbers=_finite(cells[:, 0], title))
    classes = len(data.classes)
    if cells.shape[1] == 1:
        return _one(cells[:, 0], data, asked, title)
    if cells.shape[1] != classes:
        raise UserError(
            "{} has {} values a row, and the target {} classes ({}).".format(
                title, cells.shape[1], classes, ", ".join(data.classes[:5])
            )
        )
    scores = np.column_stack([_finite(cells[:, number], title) for number in range(classes)])
    if data.problem == BINARY:
        return _scored(_of_positive(scores, data), asked, title)
    sure = bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1.0, atol=1e-3))
    return PredictedRows(MULTICLASS, labels=scores.argmax(axis=1), scores=scores, probabilities=sure)


def _of_positive(scores: Array, data: Data) -> Array:
    """Models tell probabilities in the order of the sorted classes, whichever of them is the positive one."""
    try:
        ordered = sorted(data.classes, key=float)
    except ValueError:
        ordered = sorted(data.classes)
    return scores[:, ordered.index(data.classes[1])]


def _one(values: Array, data: Data, asked: Evaluation, title: str) -> PredictedRows:
    """Classes, or of two classes the probability of the positive one."""
    named = words(pd.Series(values, dtype=object))
    place = {name: number for number, name in enumerate(data.classes)}
    unknown = np.flatnonzero([each not in place for each in named])
    if not len(unknown):
        return PredictedRows(data.problem, labels=np.array([place[each] for each in named]))
    if data.problem == BINARY:
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float)
        if np.isfinite(numbers).all():
            return _scored(numbers, asked, title)
    wrong = int(unknown[0])
    raise UserError(
        "{} predicts {!r} in row {}, which is none of the target's classes ({}){}.".format(
            title,
            word(values[wrong]),
            wrong + 1,
            ", ".join(data.classes[:5]),
            "" if data.problem == MULTICLASS else " and no probability",
        )
    )


def _scored(scores: Array, asked: Evaluation, title: str) -> PredictedRows:
    sure = bool(((scores >= 0) & (scores <= 1)).all())
    if not sure and asked.threshold is None:
        raise UserError(
            "{} has scores from {:g} to {:g}, which are no probabilities: give the `threshold` from which on the prediction is the "
            "positive class.".format(title, scores.min(), scores.max())
        )
    threshold = THRESHOLD if asked.threshold is None else asked.threshold
    return PredictedRows(BINARY, labels=(scores >= threshold).astype(int), scores=scores, probabilities=sure)


def _finite(values: Array, title: str) -> Array:
    numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise UserError(
            "{} predicts {!r} in row {}, which is no finite number.".format(title, values[wrong[0]], wrong[0] + 1)
        )
    return numbers


# -- sources ------------------------------------------------------------------------------------------------------------------


class PredictionContext:
    """What asking a model needs: a client per service, the job's name and role, and a folder in S3 for what a transform job reads and
    writes."""

    def __init__(self, client: Callable[[str], Any], job: str, role: str, folder: str) -> None:
        self.client = client
        self.job = job
        self.role = role
        self.folder = folder


def predict(
    source: PredictionSource, which: str, data: Data, asked: Evaluation, context: PredictionContext
) -> PredictedRows:
    """The source's predictions. `which` is model or incumbent."""
    if source.columns:
        picked = [column(data.frame, name, which).to_numpy(dtype=object) for name in source.columns]
        cells = np.column_stack(picked)
        empty = np.flatnonzero(pd.isna(cells).any(axis=1))
        if len(empty):
            raise UserError(
                "{} has no prediction in row {} ({:,} in all).".format(source.title, empty[0] + 1, len(empty))
            )
        return understood(cells, data, asked, source.title)
    if source.kind == "file":
        if data.dropped:
            raise UserError(
                "{:,} rows have no target: predictions of a file cannot be told apart by rows then.".format(
                    data.dropped
                )
            )
        told = _of_files(source)
    else:
        frame = data.frame[features(data, asked)]
        if not len(frame.columns):
            raise UserError("There are no features to send to {}: the data has only the target.".format(source.title))
        log("asking {} for {:,} rows of {} features".format(source.title, data.rows, len(frame.columns)))
        told = (
            _of_endpoint(source, frame, context)
            if source.kind == "endpoint_name"
            else _of_model(source, which, frame, context)
        )
    return understood(arranged(told, data.rows, source.title), data, asked, source.title)


def _of_files(source: PredictionSource) -> List[List[Any]]:
    paths = files(source.value)
    if not paths:
        raise UserError("{}: there are no files.".format(source.title))
    found: List[List[Any]] = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            found += _lines(file.read(), source)
    return found


def _lines(text: str, source: PredictionSource) -> List[List[Any]]:
    """Predictions of a text in which each line is one."""
    rows = [line for line in text.splitlines() if line.strip()]
    if rows and rows[0].lstrip()[:1] in ("{", "["):
        return (
            [cells for line in rows for cells in answers(line, source)]
            if rows[0].lstrip()[0] == "{"
            else answers(text, source)
        )
    return [_cells(row, source) for row in csv.reader(rows)]


def _of_endpoint(source: PredictionSource, frame: Any, context: PredictionContext) -> List[List[Any]]:
    runtime = context.client("sagemaker-runtime")

    def ask(body: bytes) -> List[List[Any]]:
        rows = body.count(b"\n")
        accept = {"Accept": source.accept} if source.accept else {}
        answer = runtime.invoke_endpoint(
            EndpointName=source.value, Body=body, ContentType=source.content_type, **accept
        )
        text = answer["Body"].read().decode("utf-8", "replace")
        return [list(each) for each in arranged(answers(text, source), rows, source.title)]

    with ThreadPoolExecutor(PARALLEL) as pool:
        return [cells for part in pool.map(ask, bodies(frame, source.content_type)) for cells in part]


def _of_model(source: PredictionSource, which: str, frame: Any, context: PredictionContext) -> List[List[Any]]:
    """By a transform job over the features, which are put beside the job's results and stay there with the predictions."""
    sagemaker, s3 = context.client("sagemaker"), context.client("s3")
    name = "{}-{}".format(context.job[: 63 - len(which) - 1].rstrip("-"), which)
    model, made = _model(source, name, sagemaker, context)
    bucket, _, prefix = context.folder[len("s3://") :].partition("/")
    key = "/".join(part for part in (prefix.strip("/"), name) if part)
    ending = "csv" if source.content_type == "text/csv" else "jsonl"
    try:
        s3.put_object(
            Bucket=bucket, Key="{}/features.{}".format(key, ending), Body=b"".join(bodies(frame, source.content_type))
        )
        _transform(name, model, source, "s3://{}/{}".format(bucket, key), ending, sagemaker)
        answer = s3.get_object(Bucket=bucket, Key="{}/features.{}.out".format(key, ending))["Body"].read()
    finally:
        if made:
            sagemaker.delete_model(ModelName=model)
    return _lines(answer.decode("utf-8", "replace"), source)


def _model(source: PredictionSource, name: str, sagemaker: Any, context: PredictionContext) -> Tuple[str, bool]:
    """The model's name, and whether it was made here. Of a version's containers, not of the version: that would have to be approved."""
    if source.kind == "model_name":
        return source.value, False
    if source.kind == "artifact":
        containers = [{"Image": source.image, "ModelDataUrl": source.value, "Environment": dict(source.environment)}]
    else:
        package = sagemaker.describe_model_package(ModelPackageName=source.value)
        members = ("Image", "ModelDataUrl", "ModelDataSource", "Environment", "ContainerHostname")
        given = package.get("InferenceSpecification", {}).get("Containers", [])
        containers = [{member: each[member] for member in members if member in each} for each in given]
        if not containers:
            raise UserError("{} has no InferenceSpecification: there is nothing to ask.".format(source.title))
    whole = {"PrimaryContainer": containers[0]} if len(containers) == 1 else {"Containers": containers}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=context.role, **whole)
    return name, True


def _transform(name: str, model: str, source: PredictionSource, folder: str, ending: str, sagemaker: Any) -> None:
    where = {"S3DataType": "S3Prefix", "S3Uri": "{}/features.{}".format(folder, ending)}
    accept = {"Accept": source.accept} if source.accept else {}
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=model,
        BatchStrategy="MultiRecord",
        TransformInput={"DataSource": {"S3DataSource": where}, "ContentType": source.content_type, "SplitType": "Line"},
        TransformOutput={"S3OutputPath": folder, "AssembleWith": "Line", **accept},
        TransformResources={"InstanceType": source.instance_type, "InstanceCount": source.instance_count},
    )
    try:
        while True:
            job = sagemaker.describe_transform_job(TransformJobName=name)
            if job["TransformJobStatus"] in ("Completed", "Failed", "Stopped"):
                break
            time.sleep(POLL_SECONDS)
    except BaseException:  # this job is stopped: so is what it started
        sagemaker.stop_transform_job(TransformJobName=name)
        raise
    if job["TransformJobStatus"] != "Completed":
        raise UserError(
            "Transform job {} for {} is {}: {}".format(
                name, source.title, job["TransformJobStatus"], job.get("FailureReason", "no reason told")
            )
        )


def constant(data: Data) -> PredictedRows:
    """What needs no model: the mean; of classes the most frequent one, each as likely as it is frequent."""
    if data.problem == REGRESSION:
        return PredictedRows(REGRESSION, numbers=np.full(data.rows, math.fsum(data.truth) / data.rows))
    shares = np.bincount(data.truth, minlength=len(data.classes)) / data.rows
    labels = np.full(data.rows, int(shares.argmax()))
    scores: Optional[Array] = (
        np.full(data.rows, shares[1]) if data.problem == BINARY else np.tile(shares, (data.rows, 1))
    )
    return PredictedRows(data.problem, labels=labels, scores=scores, probabilities=True)
