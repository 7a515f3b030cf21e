"""The classic XGBoost notebook, as published: nothing in it names a role, a bucket or an endpoint of ours. Run by `clary shell`."""

import os

import boto3
import numpy as np
import sagemaker
from common import csv, in_service, split
from sagemaker import get_execution_role
from sagemaker.inputs import TrainingInput
from sagemaker.serializers import CSVSerializer
from sagemaker.session import Session

role = get_execution_role()
session = Session()
bucket, prefix = session.default_bucket(), "sagemaker/DEMO-xgboost"
region = boto3.Session().region_name
x_train, x_test, y_train, y_test = split("breast_cancer")
os.makedirs("data", exist_ok=True)
with open("data/train.csv", "w") as file:
    file.write(csv(x_train, y_train))
boto3.Session().resource("s3").Bucket(bucket).Object(os.path.join(prefix, "train/train.csv")).upload_file(
    "data/train.csv"
)
s3_input_train = TrainingInput(s3_data=f"s3://{bucket}/{prefix}/train", content_type="csv")
container = sagemaker.image_uris.retrieve("xgboost", region, "latest")
xgb = sagemaker.estimator.Estimator(
    container,
    role,
    instance_count=1,
    instance_type="ml.m4.xlarge",
    output_path=f"s3://{bucket}/{prefix}/output",
    sagemaker_session=session,
)
xgb.set_hyperparameters(
    max_depth=5,
    eta=0.2,
    gamma=4,
    min_child_weight=6,
    subsample=0.8,
    silent=0,
    objective="binary:logistic",
    num_round=30,
)
xgb.fit({"train": s3_input_train})
predictor = xgb.deploy(initial_instance_count=1, instance_type="ml.m4.xlarge", serializer=CSVSerializer(), wait=False)
in_service(predictor.endpoint_name)
answer = np.array(predictor.predict(x_test).decode("utf-8").replace("\n", ",").split(","), dtype=float)
print("accuracy", round(float(np.mean((answer > 0.5) == y_test)), 3))
predictor.delete_endpoint()
