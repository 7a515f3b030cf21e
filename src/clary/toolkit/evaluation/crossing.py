"""Cross-validation: each row is predicted by a model that was trained without it.

Owns the folds (scikit-learn's: random, stratified, by group, ordered in time), a training job for each, all at once, and what they are
given. Training jobs and transform jobs have names that follow from this job's, and end by themselves.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from clary.toolkit.evaluation import measures, predictions
from clary.toolkit.evaluation.data import REGRESSION, Data, column, words
from clary.toolkit.evaluation.predictions import PredictionContext
from clary.toolkit.evaluation.resampling import PredictedRows
from clary.toolkit.evaluation.settings import GROUPED, RANDOM, STRATIFIED, TIME, Evaluation, PredictionSource
from clary.toolkit.failure import UserError, log

Array = Any  # numpy.ndarray

NUMBER = 5
POLL_SECONDS = 0.5
MAX_RUNTIME = 86400
PARALLEL = 4  # transform jobs at a time
ENDED = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Fold:
    """One fold: which rows train and which test, and its training job."""

    train: Array
    test: Array
    job: str


@dataclass(frozen=True)
class Crossed:
    """Predictions of the rows that were tested, which are `rows` of the data, fold by fold."""

    predicted: PredictedRows
    rows: Array
    kind: str
    folds: Tuple[Fold, ...]


def crossed(data: Data, asked: Evaluation, context: PredictionContext) -> Crossed:
    """Train and predict. UserError where the folds cannot be made, or a job fails; the others are stopped then."""
    source = asked.model
    kind, parts = split(data, asked)
    folds = tuple(
        Fold(train, test, "{}-fold-{}".format(context.job[:54].rstrip("-"), number))
        for number, (train, test) in enumerate(parts, 1)
    )
    names = predictions.features(data, asked)
    if not names:
        raise UserError("There are no features to train on: the data has only the target.")
    log("training {} models, {} folds of {:,} rows".format(len(folds), kind, data.rows))
    artifacts = _trained(folds, data, asked, names, context)
    coded = data if data.problem == REGRESSION or source.value.get("header") else _indexed(data)

    def tested(number: int) -> PredictedRows:
        archive = PredictionSource(
            "artifact",
            artifacts[number],
            "fold {}".format(number + 1),
            content_type=source.content_type,
            accept=source.accept,
            image=source.value["image"],
            environment=source.environment,
            instance_type=source.instance_type,
            label=source.label,
            probability=source.probability,
        )
        return predictions.predict(
            archive, "fold-{}".format(number + 1), coded.only(folds[number].test), asked, context
        )

    with ThreadPoolExecutor(PARALLEL) as pool:
        parts_of = list(pool.map(tested, range(len(folds))))
    rows = np.concatenate([fold.test for fold in folds])
    return Crossed(PredictedRows.joined(parts_of), rows, kind, folds)


def split(data: Data, asked: Evaluation) -> Tuple[str, List[Tuple[Array, Array]]]:
    """The kind of the folds, and (rows that train, rows that test) of each."""
    from sklearn import model_selection as sk

    given, brief = asked.model.folds, asked.brief.split if asked.brief else {}
    number, name = int(given.get("number", NUMBER)), str(given.get("column", ""))
    kind = given.get("kind") or next((each for each in (TIME, GROUPED) if each in brief), "")
    kind = kind or (RANDOM if data.problem == REGRESSION else STRATIFIED)
    rows = np.arange(data.rows)
    if kind in (TIME, GROUPED):
        name = name or brief.get(kind, "") or (asked.group if kind == GROUPED else "")
        if not name:
            raise UserError("model.folds.column is missing: it names the column of folds by {}.".format(kind))
        values = column(data.frame, name, "model.folds.column")
        if values.isna().any():
            raise UserError(
                "The column {!r} of the folds is missing in {:,} rows.".format(name, int(values.isna().sum()))
            )
    try:
        if kind == TIME:
            order = np.argsort(values.to_numpy(), kind="stable")
            made = [(order[one], order[other]) for one, other in sk.TimeSeriesSplit(number).split(rows)]
        elif kind == GROUPED:
            made = list(sk.GroupKFold(number).split(rows, groups=words(values)))
        elif kind == STRATIFIED:
            made = list(sk.StratifiedKFold(number, shuffle=True, random_state=asked.seed).split(rows, data.truth))
        else:
            made = list(sk.KFold(number, shuffle=True, random_state=asked.seed).split(rows))
    except ValueError as error:
        raise UserError("{:,} rows cannot be split into {} folds: {}".format(data.rows, number, error)) from None
    return kind, made


def _indexed(data: Data) -> Data:
    """As built-in algorithms know classes: 0, 1, ..."""
    return replace(data, classes=tuple(str(number) for number in range(len(data.classes))))


def table(data: Data, rows: Array, asked: Evaluation, names: Sequence[str], *, header: bool) -> bytes:
    """What a training job reads: the target first."""
    frame = data.frame.iloc[rows][[*names]]
    target = data.frame[asked.target].iloc[rows] if header or data.problem == REGRESSION else data.truth[rows]
    whole = frame.copy()
    whole.insert(0, asked.target, target)
    text: str = whole.to_csv(index=False, header=header, lineterminator="\n")
    return text.encode()


def _trained(
    folds: Sequence[Fold], data: Data, asked: Evaluation, names: Sequence[str], context: PredictionContext
) -> List[str]:
    """The models' archives, one for each fold."""
    sagemaker, s3, given = context.client("sagemaker"), context.client("s3"), asked.model.value
    bucket, _, prefix = context.folder[len("s3://") :].partition("/")
    begun: List[str] = []
    try:
        for fold in folds:
            key = "/".join(part for part in (prefix.strip("/"), fold.job) if part)
            body = table(data, fold.train, asked, names, header=bool(given.get("header")))
            s3.put_object(Bucket=bucket, Key="{}/train/train.csv".format(key), Body=body)
            sagemaker.create_training_job(**_request(fold, given, context, "s3://{}/{}".format(bucket, key)))
            begun.append(fold.job)
        return [_ended(fold, sagemaker) for fold in folds]
    except BaseException:
        for name in begun:
            _stop(name, sagemaker)
        raise


def _request(fold: Fold, given: Mapping[str, Any], context: PredictionContext, folder: str) -> Dict[str, Any]:
    where = {"S3DataType": "S3Prefix", "S3Uri": folder + "/train", "S3DataDistributionType": "FullyReplicated"}
    return {
        "TrainingJobName": fold.job,
        "RoleArn": context.role,
        "AlgorithmSpecification": {"TrainingImage": given["image"], "TrainingInputMode": "File"},
        "HyperParameters": dict(given.get("hyperparameters", {})),
        "InputDataConfig": [
            {
                "ChannelName": given.get("channel", "train"),
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": where},
            }
        ],
        "OutputDataConfig": {"S3OutputPath": folder},
        "ResourceConfig": {
            "InstanceType": given.get("instance_type", "ml.m5.large"),
            "InstanceCount": 1,
            "VolumeSizeInGB": 10,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": given.get("max_runtime", MAX_RUNTIME)},
    }


def _ended(fold: Fold, sagemaker: Any) -> str:
    while True:
        job = sagemaker.describe_training_job(TrainingJobName=fold.job)
        if job["TrainingJobStatus"] in ENDED:
            break
        time.sleep(POLL_SECONDS)
    if job["TrainingJobStatus"] != "Completed":
        reason = job.get("FailureReason", "no reason told")
        raise UserError("Training job {} is {}: {}".format(fold.job, job["TrainingJobStatus"], reason))
    return str(job["ModelArtifacts"]["S3ModelArtifacts"])


def _stop(name: str, sagemaker: Any) -> None:
    """Stop a training job, unless it has ended."""
    if sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] not in ENDED:
        sagemaker.stop_training_job(TrainingJobName=name)


def told(found: Crossed, data: Data, metric: str) -> Dict[str, Any]:
    """The folds as JSON. `data`: all rows, as they were split."""
    made, start = [], 0
    for fold in found.folds:
        part = found.predicted.only(np.arange(start, start + len(fold.test)))
        start += len(fold.test)
        values = measures.metrics(data.problem, data.truth[fold.test], part, len(data.classes))
        value = {"value": values[metric]} if metric in values else {}
        made.append({"training_job": fold.job, "train": len(fold.train), "test": len(fold.test), **value})
    known: List[Any] = [each["value"] for each in made if "value" in each]
    whole: Dict[str, Any] = {"kind": found.kind, "metric": metric, "folds": made}
    if len(known) > 1:
        whole.update(mean=float(np.mean(known)), standard_deviation=float(np.std(known, ddof=1)))
    return whole
