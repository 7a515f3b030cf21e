"""The hyperparameters of the built-in XGBoost: which there are, what they may be, and what the booster is told.

Owns the table (AWS "XGBoost hyperparameters", versions 1.3 to 3.0 together) and the refusals in the container's own words.
Values arrive as strings. Knows no data and does not import xgboost.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from clary.toolkit.failure import UserError

ALIASES = {
    "learning_rate": "eta",
    "min_split_loss": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
    "random_state": "seed",
    "n_jobs": "nthread",
}
OBJECTIVE_ALIASES = {"reg:linear": "reg:squarederror"}
OBJECTIVES = frozenset(
    "binary:logistic binary:logitraw binary:hinge count:poisson multi:softmax multi:softprob "
    "rank:pairwise rank:ndcg rank:map reg:squarederror reg:squaredlogerror reg:logistic reg:pseudohubererror "
    "reg:absoluteerror reg:quantileerror reg:gamma reg:tweedie survival:cox survival:aft".split()
)

# Metrics that the container adds to xgboost's own; xgboost_metrics.py computes them.
CUSTOM_METRICS = frozenset(
    "accuracy balanced_accuracy f1 f1_binary f1_macro mse precision precision_macro precision_micro r2 recall "
    "recall_macro recall_micro".split()
)
METRICS = frozenset(
    "rmse rmsle mae mape mphe logloss error merror mlogloss auc aucpr ndcg map pre ndcg- map- poisson-nloglik "
    "gamma-nloglik cox-nloglik gamma-deviance tweedie-nloglik aft-nloglik interval-regression-accuracy quantile".split()
)
_MAXIMIZED = ("auc", "aucpr", "pre", "map", "ndcg", "interval-regression-accuracy")

# Known to older containers and without meaning for the xgboost of today: accepted, said, and left out.
RETIRED = frozenset(
    "sketch_eps predictor single_precision_histogram deterministic_histogram dsplit use_dask_gpu_training prob_buffer_row "
    "gpu_id validate_parameters".split()
)

Parse = Callable[[str], Any]
_UNBOUNDED = float("inf")


def _number(kind: Callable[[str], Any], low: float, high: float = _UNBOUNDED, open_low: bool = False) -> Parse:
    def parse(text: str) -> Any:
        value = kind(text)
        if not (low < value if open_low else low <= value) or not value <= high:
            bracket = "(" if open_low else "["
            raise ValueError(
                "is not in the range {}{:g}, {}]".format(bracket, low, "+inf" if high == _UNBOUNDED else high)
            )
        return value

    return parse


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        value = float(text)  # tuners send whole numbers as "5.0"
        if value != int(value):
            raise
        return int(value)


def _choice(*allowed: str) -> Parse:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError("is not in {}".format(sorted(allowed)))
        return text

    return parse


def _flag(text: str) -> int:
    lowered = text.lower()
    if lowered in ("1", "true"):
        return 1
    if lowered in ("0", "false"):
        return 0
    raise ValueError("is not in ['0', '1']")


def _metrics(text: str) -> List[str]:
    try:
        decoded = json.loads(text)
    except ValueError:
        decoded = None
    names = decoded if isinstance(decoded, list) else text.strip("[]").split(",")
    metrics = [str(n).strip().strip("'\"") for n in names]
    for name in metrics:
        base = name.split("@", 1)[0]
        if base not in METRICS and name not in CUSTOM_METRICS:
            raise ValueError("contains an unknown metric: {}".format(name))
    return metrics


def _json_or_tuple(text: str) -> str:
    try:
        json.loads(text.replace("(", "[").replace(")", "]"))
    except ValueError:
        raise ValueError("could not parse value") from None
    return text


def _probability(text: str) -> float:
    return float(_number(float, 0, 1)(text))


_FRACTION = _number(float, 0, 1, open_low=True)
_POSITIVE = _number(float, 0)
_COUNT = _number(_whole, 0)

TABLE: Dict[str, Parse] = {
    "num_round": _number(_whole, 1),
    "num_class": _number(_whole, 2),
    "csv_weights": _flag,
    "early_stopping_rounds": _number(_whole, 1),
    "booster": _choice("gbtree", "gblinear", "dart"),
    "verbosity": _number(_whole, 0, 3),
    "nthread": _number(_whole, 1),
    "eta": _probability,
    "gamma": _POSITIVE,
    "max_depth": _COUNT,
    "min_child_weight": _POSITIVE,
    "max_delta_step": _POSITIVE,
    "subsample": _FRACTION,
    "colsample_bytree": _FRACTION,
    "colsample_bylevel": _FRACTION,
    "colsample_bynode": _FRACTION,
    "sampling_method": _choice("uniform", "gradient_based"),
    "lambda": _POSITIVE,
    "alpha": _POSITIVE,
    "tree_method": _choice("auto", "exact", "approx", "hist", "gpu_hist"),
    "scale_pos_weight": _POSITIVE,
    "updater": str,
    "refresh_leaf": _flag,
    "process_type": _choice("default", "update"),
    "grow_policy": _choice("depthwise", "lossguide"),
    "max_leaves": _COUNT,
    "max_bin": _number(_whole, 2),
    "num_parallel_tree": _number(_whole, 1),
    "monotone_constraints": _json_or_tuple,
    "interaction_constraints": _json_or_tuple,
    "max_cat_to_onehot": _COUNT,
    "max_cat_threshold": _COUNT,
    "multi_strategy": _choice("one_output_per_tree", "multi_output_tree"),
    "device": str,
    "sample_type": _choice("uniform", "weighted"),
    "normalize_type": _choice("tree", "forest"),
    "rate_drop": _probability,
    "one_drop": _flag,
    "skip_drop": _probability,
    "lambda_bias": _probability,
    "feature_selector": _choice("cyclic", "shuffle", "random", "greedy", "thrifty"),
    "top_k": _COUNT,
    "tweedie_variance_power": _number(float, 1, 2, open_low=True),
    "huber_slope": _number(float, 0, open_low=True),
    "quantile_alpha": str,
    "aft_loss_distribution": _choice("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": _number(float, 0, open_low=True),
    "lambdarank_pair_method": _choice("mean", "topk"),
    "lambdarank_num_pair_per_sample": _number(_whole, 1),
    "lambdarank_normalization": _flag,
    "lambdarank_score_normalization": _flag,
    "lambdarank_unbiased": _flag,
    "ndcg_exp_gain": _flag,
    "objective": lambda text: _choice(*OBJECTIVES)(OBJECTIVE_ALIASES.get(text, text)),
    "base_score": float,
    "eval_metric": _metrics,
    "seed": _number(_whole, -(2**31)),
    "seed_per_iteration": _flag,
    "save_model_on_termination": _flag,
    "_kfold": _number(_whole, 2),
    "_num_cv_round": _number(_whole, 1),
    "_tuning_objective_metric": str,
}
# What is ours to do, and not the booster's to know.
_OURS = (
    "num_round csv_weights early_stopping_rounds eval_metric save_model_on_termination _kfold _num_cv_round "
    "_tuning_objective_metric".split()
)


@dataclass(frozen=True)
class Parameters:
    """Validated hyperparameters. `booster` goes to xgboost; `notes` are lines for the log."""

    booster: Mapping[str, Any]
    num_round: int
    metrics: Tuple[str, ...]  # xgboost's own
    custom_metrics: Tuple[str, ...]
    early_stopping_rounds: Optional[int]
    early_stopping_metric: Optional[str]
    csv_weights: bool
    save_model_on_termination: bool
    kfold: Optional[int]
    num_cv_round: int
    objective: str
    notes: Tuple[str, ...]


def validate(given: Mapping[str, str], cpus: int) -> Parameters:
    """Check and parse; UserError in the container's words for what is missing, unknown or out of range."""
    notes: List[str] = []
    values: Dict[str, Any] = {}
    for key, text in given.items():
        name = ALIASES.get(key, key)
        if name == "silent":
            values.setdefault("verbosity", 0 if text.lower() in ("1", "true") else 1)
        elif name in RETIRED:
            notes.append("Hyperparameter {} has no effect in this version of XGBoost.".format(key))
        elif name not in TABLE:
            near = difflib.get_close_matches(key, TABLE, 1)
            meant = "; did you mean {}?".format(near[0]) if near else ""
            raise UserError("Extraneous hyperparameter found: {}{}".format(key, meant))
        else:
            values[name] = _parse(name, text)
    if "num_round" not in values:
        raise UserError("Missing required hyperparameter: num_round")
    objective = values.setdefault("objective", "reg:squarederror")
    if given.get("objective") in OBJECTIVE_ALIASES:
        notes.append("Objective {} is now called {}.".format(given["objective"], objective))
    _check_classes(objective, values)
    if values.get("tree_method") == "gpu_hist":
        values["tree_method"] = "hist"
        notes.append("Tree method gpu_hist runs as hist on the CPU.")
    return _arranged(values, objective, cpus, notes)


def _parse(name: str, text: str) -> Any:
    try:
        return TABLE[name](text.strip())
    except (ValueError, OverflowError) as error:
        words = str(error)
        if not words.startswith(("is not in", "contains")):
            words = "could not parse value"
            raise UserError("Hyperparameter {}: {}: {}".format(name, words, text[:100])) from None
        raise UserError("Hyperparameter {}: value {} {}".format(name, text[:100], words)) from None


def _check_classes(objective: str, values: Mapping[str, Any]) -> None:
    multi = objective.startswith("multi:")
    if multi and "num_class" not in values:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    if not multi and "num_class" in values:
        raise UserError("Do not need to setup parameter 'num_class' for learning task other than multi-classification.")


def _arranged(values: Dict[str, Any], objective: str, cpus: int, notes: List[str]) -> Parameters:
    metrics: List[str] = list(values.get("eval_metric") or [])
    tuning = str(values.get("_tuning_objective_metric") or "").split(":")[-1]
    if tuning and (tuning in CUSTOM_METRICS or tuning.split("@", 1)[0] in METRICS) and tuning not in metrics:
        metrics.append(tuning)
    own = tuple(m for m in metrics if m not in CUSTOM_METRICS)
    custom = tuple(m for m in metrics if m in CUSTOM_METRICS)
    booster = {k: v for k, v in values.items() if k not in _OURS}
    booster.setdefault("nthread", cpus)
    # Not given, base_score is estimated by XGBoost 3.1, so a model is the same as one trained without Clary. A score per class is
    # what older versions cannot read; softmax is the same for any common one.
    if objective.startswith("multi:"):
        booster.setdefault("base_score", 0.5)
    booster.setdefault("verbosity", 1)
    if own:
        booster["eval_metric"] = list(own)
    elif custom:
        booster["disable_default_eval_metric"] = 1
    return Parameters(
        booster=booster,
        num_round=values["num_round"],
        metrics=own,
        custom_metrics=custom,
        early_stopping_rounds=values.get("early_stopping_rounds"),
        early_stopping_metric=metrics[-1] if metrics else None,
        csv_weights=bool(values.get("csv_weights")),
        save_model_on_termination=bool(values.get("save_model_on_termination")),
        kfold=values.get("_kfold"),
        num_cv_round=values.get("_num_cv_round") or 1,
        objective=objective,
        notes=tuple(notes),
    )


def maximized(metric: str) -> bool:
    """Whether more is better: xgboost must be told for early stopping."""
    base = metric.split("@", 1)[0].rstrip("-")
    return base in _MAXIMIZED or (metric in CUSTOM_METRICS and metric != "mse")
