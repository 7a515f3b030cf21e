"""Hyperparameters of the built-in XGBoost: what is taken, renamed, left out and refused."""

from __future__ import annotations

import pytest

from clary.toolkit.algorithms.xgboost_parameters import CUSTOM_METRICS, TABLE, maximized, validate
from clary.toolkit.failure import UserError

# "XGBoost hyperparameters" of the developer guide, 1.7-1, all of them.
DOCUMENTED = {
    "num_class": "3", "num_round": "10", "alpha": "0.1", "base_score": "0.5", "booster": "dart", "colsample_bylevel": "0.5",
    "colsample_bynode": "0.5", "colsample_bytree": "0.5", "csv_weights": "1", "deterministic_histogram": "true",
    "early_stopping_rounds": "3", "eta": "0.2", "eval_metric": "mlogloss,accuracy", "gamma": "4", "grow_policy": "lossguide",
    "interaction_constraints": "[[0, 1], [2, 3]]", "lambda": "1", "lambda_bias": "0", "max_bin": "256", "max_delta_step": "0",
    "max_depth": "6", "max_leaves": "0", "min_child_weight": "1", "monotone_constraints": "(1, -1)", "normalize_type": "forest",
    "nthread": "2", "objective": "multi:softprob", "one_drop": "0", "process_type": "default", "rate_drop": "0.1",
    "refresh_leaf": "1", "sample_type": "weighted", "scale_pos_weight": "1", "seed": "7", "single_precision_histogram": "false",
    "sketch_eps": "0.03", "skip_drop": "0.1", "subsample": "0.5", "tree_method": "hist", "tweedie_variance_power": "1.5",
    "updater": "grow_colmaker,prune", "use_dask_gpu_training": "false", "verbosity": "1",
}  # fmt: skip


def test_every_documented_one_is_taken() -> None:
    found = validate(DOCUMENTED, cpus=4)
    assert found.num_round == 10
    assert found.booster["eta"] == 0.2
    assert found.booster["eval_metric"] == ["mlogloss"]
    assert found.custom_metrics == ("accuracy",)
    assert found.early_stopping_metric == "accuracy"
    assert found.csv_weights
    assert found.booster["nthread"] == 2
    assert len(found.notes) == 4  # the four that today's XGBoost no longer has
    assert not set(found.booster) & {"num_round", "csv_weights", "sketch_eps"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("eta", "1.5", "value 1.5 is not in the range [0, 1]"),
        ("eta", "fast", "could not parse value"),
        ("subsample", "0", "is not in the range (0, 1]"),
        ("max_depth", "-1", "is not in the range [0, +inf]"),
        ("max_depth", "2.5", "could not parse value"),
        ("booster", "forest", "is not in ['dart', 'gblinear', 'gbtree']"),
        ("objective", "binary:logit", "is not in"),
        ("eval_metric", "auc,nonsense", "contains an unknown metric: nonsense"),
        ("csv_weights", "2", "is not in ['0', '1']"),
        ("monotone_constraints", "(1,", "could not parse value"),
        ("early_stopping_rounds", "0", "is not in"),
        ("num_round", "0", "is not in"),
        ("eta", "nan", "is not in"),
    ],
)
def test_refusals_name_the_hyperparameter(name: str, value: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        validate({"num_round": "5", name: value}, cpus=1)
    assert str(caught.value).startswith(f"Hyperparameter {name}: ")
    assert words in str(caught.value)


def test_missing_and_extraneous() -> None:
    with pytest.raises(UserError, match="Missing required hyperparameter: num_round"):
        validate({}, cpus=1)
    with pytest.raises(UserError, match="Extraneous hyperparameter found: depth"):
        validate({"num_round": "5", "depth": "3"}, cpus=1)
    with pytest.raises(UserError, match="found: max_dept; did you mean max_depth"):
        validate({"num_round": "5", "max_dept": "3"}, cpus=1)


def test_classes_belong_to_multi_objectives() -> None:
    with pytest.raises(UserError, match="Require input for parameter 'num_class'"):
        validate({"num_round": "5", "objective": "multi:softmax"}, cpus=1)
    with pytest.raises(UserError, match="Do not need to setup parameter 'num_class'"):
        validate({"num_round": "5", "num_class": "3", "objective": "reg:squarederror"}, cpus=1)


def test_old_names() -> None:
    found = validate(
        {"num_round": "5.0", "silent": "1", "objective": "reg:linear", "learning_rate": "0.1", "reg_alpha": "2"}, 3
    )
    assert found.objective == found.booster["objective"] == "reg:squarederror"
    assert (found.booster["eta"], found.booster["alpha"], found.booster["verbosity"], found.booster["nthread"]) == (
        0.1,
        2,
        0,
        3,
    )


@pytest.mark.parametrize("text", ["auc,f1", '["auc", "f1"]', "[auc, f1]", "auc, f1"])
def test_forms_of_eval_metric(text: str) -> None:
    found = validate({"num_round": "5", "eval_metric": text}, cpus=1)
    assert (found.metrics, found.custom_metrics) == (("auc",), ("f1",))


def test_only_custom_metrics_switch_the_default_one_off() -> None:
    found = validate({"num_round": "5", "eval_metric": "accuracy"}, cpus=1)
    assert found.booster["disable_default_eval_metric"] == 1
    assert "eval_metric" not in found.booster


def test_a_tuners_objective_metric_is_computed() -> None:
    found = validate({"num_round": "5", "_tuning_objective_metric": "validation:auc"}, cpus=1)
    assert found.metrics == ("auc",)


def test_directions() -> None:
    assert all(maximized(m) for m in ("auc", "aucpr", "map", "ndcg@5", "map-", "accuracy", "r2"))
    assert not any(maximized(m) for m in ("rmse", "logloss", "mse", "merror", "mape"))
    assert all(maximized(m) for m in CUSTOM_METRICS - {"mse"})


def test_no_row_is_unreachable() -> None:
    assert not set(TABLE) & {"silent", "learning_rate"}
