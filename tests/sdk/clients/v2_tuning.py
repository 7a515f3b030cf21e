"""SDK v2's HyperparameterTuner: the built-in XGBoost and script mode; analytics, attach, the best estimator, deploy, warm start."""

import os

import numpy as np
import sagemaker
from common import CPU, ROLE, XGBOOST, csv, folder, in_service, put, session_v2, split, unique
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearn
from sagemaker.tuner import (
    CategoricalParameter,
    ContinuousParameter,
    HyperparameterTuner,
    IntegerParameter,
)

session, prefix = session_v2(), unique("v2-tuning")
common = {"role": ROLE, "instance_count": 1, "instance_type": CPU, "sagemaker_session": session}

# --- built-in XGBoost: the objective's metric is not in eval_metric, the service adds it
x_train, x_test, y_train, y_test = split("breast_cancer")
channels = {
    "train": TrainingInput(put(f"{prefix}/xgb/train.csv", csv(x_train, y_train)), content_type="text/csv"),
    "validation": TrainingInput(put(f"{prefix}/xgb/test.csv", csv(x_test, y_test)), content_type="text/csv"),
}
xgb = sagemaker.estimator.Estimator(
    XGBOOST,
    output_path=f"s3://{session.default_bucket()}/{prefix}/models",
    hyperparameters={"objective": "binary:logistic", "num_round": 20, "eval_metric": "logloss"},
    **common,
)
tuner = HyperparameterTuner(
    xgb,
    objective_metric_name="validation:auc",
    objective_type="Maximize",
    hyperparameter_ranges={
        "eta": ContinuousParameter(0.01, 0.5, scaling_type="Logarithmic"),
        "max_depth": IntegerParameter(1, 6),
        "tree_method": CategoricalParameter(["hist", "exact"]),
    },
    max_jobs=4,
    max_parallel_jobs=2,
    random_seed=5,
    base_tuning_job_name=unique("xgb")[:16],
)
tuner.fit(channels)
name = tuner.latest_tuning_job.name
described = tuner.describe()
assert described["HyperParameterTuningJobStatus"] == "Completed", described
assert described["TrainingJobDefinition"]["StaticHyperParameters"]["_tuning_objective_metric"] == "validation:auc"
frame = tuner.analytics().dataframe()
assert len(frame) == 4, frame
assert frame["FinalObjectiveValue"].max() > 0.9
assert set(frame["TrainingJobStatus"]) == {"Completed"}
assert {"eta", "max_depth", "tree_method"} <= set(frame.columns)
best = tuner.best_training_job()
assert best == frame.sort_values("FinalObjectiveValue", ascending=False).iloc[0]["TrainingJobName"], (best, frame)

attached = HyperparameterTuner.attach(name, sagemaker_session=session)
assert attached.best_training_job() == best
assert attached.objective_metric_name == "validation:auc"
endpoint = unique("tuned")
predictor = tuner.deploy(1, CPU, serializer=CSVSerializer(), endpoint_name=endpoint, wait=False)
in_service(endpoint)
scores = np.array(predictor.predict(x_test).decode().replace("\n", ",").strip(",").split(","), dtype=float)
assert len(scores) == len(x_test)
assert ((scores > 0.5) == (y_test > 0.5)).mean() > 0.9
predictor.delete_endpoint()

# --- warm start with the same data and algorithm: the parent's best counts
child = tuner.identical_dataset_and_algorithm_tuner()
child.max_jobs, child.max_parallel_jobs, child.base_tuning_job_name = 1, 1, unique("warm")[:16]
assert child.warm_start_config.parents == {name}
child.fit(channels)
overall = child.describe()["OverallBestTrainingJob"]
values = [overall["FinalHyperParameterTuningJobObjectiveMetric"]["Value"], frame["FinalObjectiveValue"].max()]
assert values[0] >= values[1], values

# --- script mode: values are JSON, the categorical ones too; the script does not get the service's own
os.chdir(
    folder(
        {
            "train.py": """
    import argparse, os
    import joblib, pandas as pd
    from sklearn.linear_model import ElasticNet

    def model_fn(model_dir):
        return joblib.load(os.path.join(model_dir, "model.joblib"))

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        parser.add_argument("--alpha", type=float)
        parser.add_argument("--selection", choices=["cyclic", "random"])
        args = parser.parse_args()
        table = pd.read_csv(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "train.csv"), header=None)
        x, y = table.iloc[:, 1:].values, table.iloc[:, 0].values
        model = ElasticNet(alpha=args.alpha, selection=args.selection).fit(x, y)
        print("average test loss: {:.6f};".format(1 - model.score(x, y)))
        joblib.dump(model, os.path.join(os.environ["SM_MODEL_DIR"], "model.joblib"))
    """
        }
    )
)
x_train, _, y_train, _ = split("diabetes")
train = put(f"{prefix}/sk/train.csv", csv(x_train, y_train))
tuner = HyperparameterTuner(
    SKLearn("train.py", framework_version="1.2-1", **common),
    objective_metric_name="average test loss",
    objective_type="Minimize",
    metric_definitions=[{"Name": "average test loss", "Regex": "average test loss: ([0-9.]+);"}],
    hyperparameter_ranges={
        "alpha": ContinuousParameter(1e-4, 1.0),
        "selection": CategoricalParameter(["cyclic", "random"]),
    },
    strategy="Random",
    max_jobs=3,
    max_parallel_jobs=2,
    early_stopping_type="Auto",
    base_tuning_job_name=unique("sk")[:16],
)
tuner.fit({"train": train})
static = tuner.describe()["TrainingJobDefinition"]["StaticHyperParameters"]
assert static["_tuning_objective_metric"] == '"average test loss"', static
best = tuner.best_estimator()
assert isinstance(best, SKLearn), best
assert "alpha" in best.hyperparameters()
print("done")
