# ruff: noqa: PT017, PT018
"""SDK v2: JumpStart's estimator and model ids, from the bucket that `clary hub sync` filled."""

import json
import os
import subprocess

import numpy as np
from common import CPU, ROLE, csv, put, session_v2, unique
from sagemaker.jumpstart.estimator import JumpStartEstimator
from sagemaker.jumpstart.notebook_utils import list_jumpstart_models

session, prefix = session_v2(), unique("v2-hub")
synced = subprocess.run([os.environ["CLARY"], "hub", "sync", "--json"], capture_output=True, text=True, check=True)
told = json.loads(synced.stdout)
assert told["put"] > 0 and "lightgbm-classification-model" in told["models"]
again = subprocess.run([os.environ["CLARY"], "hub", "sync", "--json"], capture_output=True, text=True, check=True)
assert json.loads(again.stdout)["put"] == 0
assert set(list_jumpstart_models(sagemaker_session=session)) >= set(told["models"])

random = np.random.default_rng(1)
x = random.normal(size=(400, 3))
kind = np.where(x[:, 0] + x[:, 1] > 0.5, 2, np.where(x[:, 2] > 0, 1, 0))
put(f"{prefix}/classes/train/data.csv", csv(x[:300], kind[:300]))
put(f"{prefix}/classes/validation/data.csv", csv(x[300:], kind[300:]))
bucket = put(f"{prefix}/numbers/data.csv", csv(x, 3 * x[:, 0] - x[:, 1])).rpartition("/")[0]


def trained(model_id, data, **hyperparameters):
    estimator = JumpStartEstimator(
        model_id=model_id, role=ROLE, instance_type=CPU, sagemaker_session=session, hyperparameters=hyperparameters
    )
    estimator.fit({"training": data}, logs=False)
    return estimator


# --- a classifier: trained, its metrics read, deployed, asked
estimator = trained("lightgbm-classification-model", bucket.replace("/numbers", "/classes"), n_estimators="60")
assert {"learning_rate", "n_estimators", "num_leaves"} <= set(estimator.hyperparameters()), estimator.hyperparameters()
metrics = {
    row["MetricName"]: row["Value"]
    for row in session.describe_training_job(estimator.latest_training_job.name)["FinalMetricDataList"]
}
assert metrics["train:accuracy"] > 0.95 and metrics["validation:accuracy"] > 0.8, metrics
predictor = estimator.deploy(instance_type=CPU, initial_instance_count=1)
answer = predictor.predict("\n".join(",".join(str(each) for each in row) for row in x[300:]))
right = np.mean(np.array(answer["predicted_label"]) == kind[300:])
assert answer["labels"] == [0, 1, 2] and right > 0.8, right
assert np.allclose(np.array(answer["probabilities"]).sum(axis=1), 1)
predictor.delete_endpoint()

# --- a regression by another library
estimator = trained("sklearn-regression-linear", bucket)
predictor = estimator.deploy(instance_type=CPU, initial_instance_count=1)
assert abs(predictor.predict("1,0,0")["prediction"][0] - 3) < 0.1
predictor.delete_endpoint()

# --- an id that is not in the hub
try:
    JumpStartEstimator(model_id="huggingface-text-generation", role=ROLE, sagemaker_session=session)
    raise SystemExit("an unknown id was taken")
except ValueError as error:
    assert "huggingface-text-generation" in str(error)
