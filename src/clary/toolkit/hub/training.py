"""Trains one of the hub's models on a table: `transfer_learning.py` of its archive, as JumpStart names the script.

The channel `training` (or `train`, and then perhaps `validation`) holds CSV files without a header, the target in the first column; or
folders `train` and `validation` of such files. `model.json` beside this script tells the library and the task.
"""

import argparse
import glob
import json
import os
import time
from typing import Any, Dict, List, Optional, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = "model.joblib"
Rows = Tuple[Any, Any]  # features, target


def channel(*names: str) -> Optional[str]:
    return next((os.environ[f"SM_CHANNEL_{name}"] for name in names if os.environ.get(f"SM_CHANNEL_{name}")), None)


def folders() -> Tuple[str, Optional[str]]:
    """Where training and validation rows are."""
    top = channel("TRAINING", "TRAIN")
    if top is None:
        raise SystemExit("There is no channel 'training': give fit() {'training': 's3://...'}")
    validation = channel("VALIDATION")
    inner = os.path.join(top, "validation")
    if validation is None and os.path.isdir(inner):
        validation = inner
    train = os.path.join(top, "train")
    return (train if os.path.isdir(train) else top), validation


def read(folder: str) -> Rows:
    import pandas

    files = sorted(each for each in glob.glob(os.path.join(folder, "*")) if os.path.isfile(each))
    if not files:
        raise SystemExit(f"There is no file in {folder}")
    table = pandas.concat([pandas.read_csv(each, header=None) for each in files], ignore_index=True)
    if table.shape[1] < 2:
        raise SystemExit(f"{files[0]} has {table.shape[1]} column: the target comes first, features follow")
    return table.iloc[:, 1:].to_numpy(), table.iloc[:, 0].to_numpy()


def parsed(defaults: Dict[str, Any], argv: Optional[List[str]] = None) -> Dict[str, Any]:
    """Hyperparameters, of the types that the defaults have. Those that are not known are told and left out."""
    parser = argparse.ArgumentParser()
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    known, others = parser.parse_known_args(argv)
    if others:
        print(f"without effect: {' '.join(others)}", flush=True)
    return vars(known)


def estimator(library: str, task: str, given: Dict[str, Any]) -> Any:
    """The library's own estimator with scikit-learn's methods."""
    classifies = task == "classification"
    if library == "lightgbm":
        import lightgbm

        return (lightgbm.LGBMClassifier if classifies else lightgbm.LGBMRegressor)(verbose=-1, **given)
    if library == "xgboost":
        import xgboost

        return (xgboost.XGBClassifier if classifies else xgboost.XGBRegressor)(**given)
    if library == "catboost":
        import catboost

        kind = catboost.CatBoostClassifier if classifies else catboost.CatBoostRegressor
        return kind(verbose=False, allow_writing_files=False, **given)
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = (
        LogisticRegression(C=1 / given["alpha"], max_iter=given["max_iter"]) if classifies else Ridge(given["alpha"])
    )
    return make_pipeline(StandardScaler(), linear)


def told(model: Any, task: str, rows: Rows, name: str) -> None:
    """The metrics that the model's specification names."""
    from sklearn.metrics import accuracy_score, mean_squared_error, r2_score

    features, target = rows
    predicted = model.predict(features).reshape(-1)
    if task == "classification":
        print(f"{name} accuracy: {accuracy_score(target, predicted):.6f}", flush=True)
    else:
        print(f"{name} mse: {mean_squared_error(target, predicted):.6f}", flush=True)
        print(f"{name} r2: {r2_score(target, predicted):.6f}", flush=True)


def main() -> None:
    import joblib

    with open(os.path.join(HERE, "model.json"), encoding="utf-8") as file:
        about = json.load(file)
    given = parsed(about["hyperparameters"])
    train, validation = folders()
    rows = read(train)
    print(f"{len(rows[1])} rows, {rows[0].shape[1]} features", flush=True)
    classes = None
    features, target = rows
    if about["task"] == "classification":
        import numpy

        classes, target = numpy.unique(target, return_inverse=True)
        if len(classes) < 2:
            raise SystemExit(f"The target has one class, {classes[0]}: a classifier needs two or more")
    begun = time.monotonic()
    model = estimator(about["library"], about["task"], given)
    model.fit(features, target)
    print(f"fitted in {time.monotonic() - begun:.1f} s", flush=True)
    told(model, about["task"], (features, target), "train")
    if validation is not None:
        more, wanted = read(validation)
        if classes is not None:
            places = {value: at for at, value in enumerate(classes.tolist())}
            wanted = [places.get(value, -1) for value in wanted.tolist()]
        told(model, about["task"], (more, wanted), "validation")
    where = os.path.join(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"), MODEL)
    joblib.dump({"model": model, "classes": None if classes is None else classes.tolist()}, where)


if __name__ == "__main__":
    main()
