"""The built-in XGBoost algorithm: channels and hyperparameters in, `xgboost-model` out, metrics on the log in SageMaker's form.

Owns the training run (watchlist, early stopping, cross validation, checkpoints, SIGTERM, several hosts). The log line
`[3]#011train-auc:0.9#011validation-auc:0.8` carries a literal `#011`: CloudWatch shows the container's tab so, and the
service's metric expressions look for it. Does not know where channels come from and where the model goes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import scipy.sparse
import xgboost

from clary.toolkit.algorithms import xgboost_channels as channels
from clary.toolkit.algorithms import xgboost_hosts, xgboost_metrics, xgboost_parameters
from clary.toolkit.algorithms.xgboost_parameters import Parameters
from clary.toolkit.environment import TrainingEnvironment
from clary.toolkit.failure import UserError, log

MODEL = "xgboost-model"
_CHECKPOINT = re.compile(r"^xgboost-checkpoint\.(\d+)$")
_KEPT_CHECKPOINTS = 5


def train(env: TrainingEnvironment) -> int:
    """Train on this host; answers the exit code. UserError for what the user can mend."""
    raw = {k: v for k, v in env.raw.items() if not k.startswith("sagemaker_") and k != "default_user_module_name"}
    parameters = xgboost_parameters.validate({k: _unquoted(v) for k, v in raw.items()}, env.cpus)
    for note in parameters.notes:
        log(note)
    with ExitStack() as stack:
        if len(env.hosts) > 1:
            stack.enter_context(xgboost_hosts.joined(env.hosts, env.host, os.environ.get("TRAINING_JOB_ARN", "")))
        training, validation = _load(env, parameters)
        if parameters.kfold:
            return _cross_validate(env, parameters, training, validation)
        booster = _fit(env, parameters, _watchlist(training, validation))
        if env.host == env.hosts[0]:
            _save(booster, os.path.join(env.model_dir, MODEL))
    return 0


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _load(env: TrainingEnvironment, parameters: Parameters) -> Tuple[channels.Data, Optional[channels.Data]]:
    if "train" not in env.channels:
        raise UserError("Missing required channel: train")
    training = channels.load(env, "train", parameters.csv_weights)
    validation = channels.load(env, "validation", parameters.csv_weights)
    width = max([d.features.shape[1] for d in (training, validation) if d is not None], default=0)
    if len(env.hosts) > 1:
        # A shard may have got no object, and libsvm shards end at their own last feature: all hosts agree on the width.
        width = int(xgboost.collective.allreduce(np.array([width], dtype=np.int64), xgboost.collective.Op.MAX)[0])
        if training is None and width:
            training = channels.Data(np.empty((0, width), np.float32), np.empty(0, np.float32))
    if training is None or not width:
        raise UserError("No training data: the channel 'train' is empty.")
    if training.features.shape[1] < width and channels.content_type(env.channels["train"]) == channels.CSV:
        raise UserError("The channels train and validation have different numbers of columns.")
    training = training._replace(features=channels.widened(training.features, width))
    if validation is not None:
        validation = validation._replace(features=channels.widened(validation.features, width))
    for name, data in (("Train", training), ("Validation", validation)):
        if data is not None:
            log("{} matrix has {} rows and {} columns".format(name, *data.features.shape))
    _check_labels(parameters, training)
    return training, validation


def _check_labels(parameters: Parameters, data: channels.Data) -> None:
    if not len(data.labels):
        return
    if np.isnan(data.labels).any():
        raise UserError("The label (first column) of the training data has missing values.")
    low, high = float(data.labels.min()), float(data.labels.max())
    if parameters.objective in ("binary:logistic", "binary:hinge", "reg:logistic") and (low < 0 or high > 1):
        raise UserError("label must be in [0,1] for logistic regression; it runs from {:g} to {:g}.".format(low, high))
    count = parameters.booster.get("num_class")
    if count and (low < 0 or high >= count):
        raise UserError("label must be in [0, num_class); it runs from {:g} to {:g}.".format(low, high))


def _matrix(data: channels.Data, rows: Optional[Any] = None) -> xgboost.DMatrix:
    def of(values: Optional[Any]) -> Optional[Any]:
        return values if values is None or rows is None else values[rows]

    return xgboost.DMatrix(of(data.features), of(data.labels), weight=of(data.weights), qid=of(data.groups))


def _watchlist(training: channels.Data, validation: Optional[channels.Data]) -> List[Tuple[xgboost.DMatrix, str]]:
    found = [(_matrix(training), "train")]
    if validation is not None:
        found.append((_matrix(validation), "validation"))
    return found


def _fit(
    env: TrainingEnvironment,
    parameters: Parameters,
    watchlist: List[Tuple[xgboost.DMatrix, str]],
    results: Optional[Dict[str, Any]] = None,
) -> xgboost.Booster:
    checkpoints = None if parameters.kfold else _checkpoint_folder(env)
    before, done = newest_checkpoint(checkpoints)
    if done >= parameters.num_round:
        log("Training was complete at the checkpoint of iteration {}.".format(done - 1))
        return xgboost.Booster(model_file=before)
    callbacks: List[Any] = [_Monitor()]
    if parameters.early_stopping_rounds:
        name = parameters.early_stopping_metric
        callbacks.append(
            xgboost.callback.EarlyStopping(
                rounds=parameters.early_stopping_rounds,
                data_name=watchlist[-1][1],
                metric_name=name,
                maximize=xgboost_parameters.maximized(name) if name else None,
                save_best=parameters.booster.get("booster", "gbtree") == "gbtree",
            )
        )
    if env.host == env.hosts[0]:
        if checkpoints:
            callbacks.append(Checkpoints(checkpoints))
        if parameters.save_model_on_termination:
            callbacks.append(_SaveOnTermination(os.path.join(env.model_dir, MODEL)))
    custom = xgboost_metrics.custom_metric(parameters.custom_metrics) if parameters.custom_metrics else None
    try:
        return xgboost.train(
            dict(parameters.booster),
            watchlist[0][0],
            num_boost_round=parameters.num_round - done,
            evals=watchlist,
            custom_metric=custom,
            callbacks=callbacks,
            verbose_eval=False,
            evals_result=results,
            xgb_model=before,
        )
    except xgboost.core.XGBoostError as error:
        raise UserError("XGBoostError: " + _first_words(str(error))) from error


def _first_words(text: str) -> str:
    """xgboost's message without its C++ stack trace."""
    return text.split("Stack trace:", 1)[0].strip()


def _save(booster: xgboost.Booster, path: str) -> None:
    """Whole or not at all, in UBJSON, which every container since 1.6 reads (they know it by its first bytes)."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    staged = path + ".part"
    with open(staged, "wb") as file:
        file.write(portable(bytes(booster.save_raw("ubj"))))
    os.replace(staged, path)


def portable(model: bytes) -> bytes:
    """XGBoost 3.1 and later write base_score as a list, which older ones take for 0.5 without a word: a list of one value, however
    often it stands there, becomes that value, as all versions read it. The rest of the bytes stays."""
    found = re.search(rb"base_scoreSL(.{8})\[([^\[\]]*)\]", model, re.DOTALL)
    if found is None or int.from_bytes(found[1], "big") != len(found[2]) + 2:
        return model
    values = set(found[2].split(b","))
    if len(values) != 1:
        return model
    value: bytes = values.pop()
    return model[: found.start(1)] + len(value).to_bytes(8, "big") + value + model[found.end() :]


class _Monitor(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """The line of metrics after each iteration."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, Sequence[Any]]]) -> bool:
        if evals_log and xgboost.collective.get_rank() == 0:
            print(
                metric_line(epoch, {d: {m: _last(v) for m, v in ms.items()} for d, ms in evals_log.items()}), flush=True
            )
        return False


def metric_line(iteration: int, scores: Mapping[str, Mapping[str, float]]) -> str:
    """`[3]#011train-auc:0.90000#011validation-auc:0.80000`."""
    pairs = [
        "{}-{}:{:.5f}".format(data, metric, value)
        for data, metrics in scores.items()
        for metric, value in metrics.items()
    ]
    return "[{}]#011{}".format(iteration, "#011".join(pairs))


def _last(values: Sequence[Any]) -> float:
    value = values[-1]
    return float(value[0] if isinstance(value, tuple) else value)


class _SaveOnTermination(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """On SIGTERM (a stopped job, a time limit) keep the model of the iteration that has just ended, and end well."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, _number: int, _frame: Any) -> None:
        self._asked = True

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        if self._asked:
            _save(model, self._path)
            log("Stopped by SIGTERM after iteration {}: its model is saved.".format(epoch))
            sys.stdout.flush()
            raise SystemExit(0)
        return False


class Checkpoints(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """A model per iteration in the checkpoint folder, the newest few kept."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        _save(model, os.path.join(self._folder, "xgboost-checkpoint.{}".format(model.num_boosted_rounds() - 1)))
        for number, path in _checkpoints(self._folder)[:-_KEPT_CHECKPOINTS]:
            os.unlink(path)
        return False


def _checkpoint_folder(env: TrainingEnvironment) -> Optional[str]:
    """Where checkpoints go: the folder is there only when the job has a CheckpointConfig, which may name another one."""
    try:
        with open(os.path.join(env.base, "input", "config", "checkpointconfig.json"), encoding="utf-8") as file:
            folder = json.load(file).get("LocalPath")
    except FileNotFoundError:
        folder = None
    folder = folder or os.path.join(env.base, "checkpoints")
    return folder if os.path.isdir(folder) else None


def _checkpoints(folder: str) -> List[Tuple[int, str]]:
    matches = [(_CHECKPOINT.match(name), name) for name in os.listdir(folder)]
    return sorted((int(m.group(1)), os.path.join(folder, name)) for m, name in matches if m)


def newest_checkpoint(folder: Optional[str]) -> Tuple[Optional[str], int]:
    """The model to go on from and the iterations it has: (None, 0) without one."""
    found = _checkpoints(folder) if folder else []
    if not found:
        return None, 0
    number, path = found[-1]
    log("Going on from the checkpoint of iteration {}.".format(number))
    return path, number + 1


def _cross_validate(
    env: TrainingEnvironment, parameters: Parameters, training: channels.Data, validation: Optional[channels.Data]
) -> int:
    """k models on k folds (`_kfold`, repeated `_num_cv_round` times), their mean metrics, and the out-of-fold predictions."""
    data = training if validation is None else _both(training, validation)
    if data.groups is not None or len(env.hosts) > 1:
        raise UserError("_kfold works on one host and on data without query ids.")
    folds = parameters.kfold or 2
    if len(data.labels) < folds:
        raise UserError("_kfold is {} but there are only {} rows.".format(folds, len(data.labels)))
    stratified = parameters.objective.startswith(("binary:", "multi:"))
    rounds: List[Dict[str, Any]] = []
    predictions: Dict[int, List[Any]] = {}
    for repeat in range(parameters.num_cv_round):
        assigned = _assign_folds(data.labels, folds, stratified, seed=repeat + int(parameters.booster.get("seed", 0)))
        for fold in range(folds):
            inside, outside = np.flatnonzero(assigned != fold), np.flatnonzero(assigned == fold)
            number = repeat * folds + fold
            log(
                "Cross validation: model {} trains on {} rows and is judged on {}.".format(
                    number, len(inside), len(outside)
                )
            )
            results: Dict[str, Any] = {}
            held_out = _matrix(data, outside)
            booster = _fit(env, parameters, [(_matrix(data, inside), "train"), (held_out, "validation")], results)
            _save(booster, os.path.join(env.model_dir, "{}-{}".format(MODEL, number)))
            rounds.append({d: {m: _last(v) for m, v in ms.items()} for d, ms in results.items()})
            for row, value in zip(outside.tolist(), booster.predict(held_out).tolist()):
                predictions.setdefault(row, []).append(value)
    means = {d: {m: float(np.mean([r[d][m] for r in rounds])) for m in rounds[0][d]} for d in rounds[0]}
    log("Mean metrics of {} models:".format(len(rounds)))
    print(metric_line(parameters.num_round, means), flush=True)
    _write_predictions(os.path.join(env.output_dir, "data", "predictions.csv"), data.labels, predictions)
    return 0


def _both(first: channels.Data, second: channels.Data) -> channels.Data:
    if scipy.sparse.issparse(first.features) != scipy.sparse.issparse(second.features):
        raise UserError("With _kfold the channels train and validation must be of the same content type.")

    def joined(a: Optional[Any], b: Optional[Any]) -> Optional[Any]:
        return np.concatenate([a, b]) if a is not None and b is not None else None

    features = channels.stacked([first.features, second.features])
    labels = np.concatenate([first.labels, second.labels])
    return channels.Data(features, labels, joined(first.weights, second.weights), joined(first.groups, second.groups))


def _assign_folds(labels: Any, folds: int, stratified: bool, seed: int) -> Any:
    """A fold number per row, at random; stratified: each class is spread evenly."""
    order = np.random.default_rng(seed).permutation(len(labels))
    if stratified:
        order = order[np.argsort(labels[order], kind="stable")]
    assigned = np.empty(len(labels), dtype=np.int64)
    assigned[order] = np.arange(len(labels)) % folds
    return assigned


def _write_predictions(path: str, labels: Any, predictions: Mapping[int, List[Any]]) -> None:
    """One row per sample: its label, the mean of its predictions."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        for row in sorted(predictions):
            mean = np.atleast_1d(np.mean(np.array(predictions[row], dtype=np.float64), axis=0))
            file.write(",".join(repr(float(v)) for v in [labels[row], *mean]) + "\n")
