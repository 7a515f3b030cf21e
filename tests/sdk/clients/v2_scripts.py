"""SDK v2, script mode: scikit-learn and XGBoost estimators, models from artifacts, serializers, a job that fails, one that stops."""

# ruff: noqa: PT017
import io
import json
import os
import tarfile

import boto3
import joblib
import numpy as np
import sagemaker
from common import CPU, ROLE, bucket, csv, folder, in_service, libsvm, put, session_v2, split, unique
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer, NumpyDeserializer
from sagemaker.serializers import CSVSerializer, JSONSerializer, NumpySerializer
from sagemaker.sklearn import SKLearn, SKLearnModel
from sagemaker.xgboost import XGBoost, XGBoostModel
from sklearn.linear_model import Ridge

session, prefix = session_v2(), unique("v2-scripts")
x_train, x_test, y_train, y_test = split("diabetes")
train = put(f"{prefix}/train/train.csv", csv(x_train, y_train))
common = {"role": ROLE, "instance_count": 1, "instance_type": CPU, "sagemaker_session": session}

# --- scikit-learn: one file, no source_dir, training and serving in the same script; the SDK's own logs
script = folder(
    {
        "train.py": """
    import argparse, os
    import joblib, pandas as pd
    from sklearn.linear_model import Ridge

    def model_fn(model_dir):
        return joblib.load(os.path.join(model_dir, "model.joblib"))

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        parser.add_argument("--alpha", type=float, default=1.0)
        parser.add_argument("--model-dir", type=str, default=os.environ.get("SM_MODEL_DIR"))
        parser.add_argument("--train", type=str, default=os.environ.get("SM_CHANNEL_TRAIN"))
        args, _ = parser.parse_known_args()
        table = pd.read_csv(os.path.join(args.train, "train.csv"), header=None)
        model = Ridge(alpha=args.alpha).fit(table.iloc[:, 1:].values, table.iloc[:, 0].values)
        print("r2: {:.4f};".format(model.score(table.iloc[:, 1:].values, table.iloc[:, 0].values)))
        joblib.dump(model, os.path.join(args.model_dir, "model.joblib"))
    """
    }
)
os.chdir(script)
estimator = SKLearn(
    "train.py",
    framework_version="1.2-1",
    hyperparameters={"alpha": 0.1},
    metric_definitions=[{"Name": "r2", "Regex": "r2: ([0-9.]+);"}],
    **common,
)
estimator.fit({"train": train})
local = Ridge(alpha=0.1).fit(x_train, y_train)
attached = SKLearn.attach(estimator.latest_training_job.name, sagemaker_session=session)
assert attached.hyperparameters()["alpha"] in ("0.1", 0.1), attached.hyperparameters()
assert attached.framework_version == "1.2-1", attached.framework_version
seen = estimator.latest_training_job.describe()
assert (
    abs({m["MetricName"]: m["Value"] for m in seen["FinalMetricDataList"]}["r2"] - local.score(x_train, y_train)) < 1e-3
)

predictor = attached.deploy(1, CPU, endpoint_name=unique("v2-sk"), wait=False)
in_service(predictor.endpoint_name)
for serializer, deserializer in (
    (NumpySerializer(), NumpyDeserializer()),
    (CSVSerializer(), CSVDeserializer()),
    (JSONSerializer(), JSONDeserializer()),
    (CSVSerializer(), NumpyDeserializer()),
    (NumpySerializer(), JSONDeserializer()),
):
    predictor.serializer, predictor.deserializer = serializer, deserializer
    served = np.array(predictor.predict(x_test), dtype=float).ravel()
    assert np.abs(served - local.predict(x_test)).max() < 1e-2, (serializer, deserializer)

# The same endpoint with another model: predictor.update_endpoint
blob = io.BytesIO()
joblib.dump(Ridge(alpha=1000.0).fit(x_train, y_train), blob)
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as tar:
    info = tarfile.TarInfo("model.joblib")
    info.size = len(blob.getvalue())
    tar.addfile(info, io.BytesIO(blob.getvalue()))
artifact = put(f"{prefix}/model.tar.gz", packed.getvalue())
model = SKLearnModel(
    artifact,
    ROLE,
    entry_point="train.py",
    framework_version="1.2-1",
    sagemaker_session=session,
    name=unique("v2-sk"),
    model_server_workers=2,
)
model.create(instance_type=CPU)
predictor.update_endpoint(initial_instance_count=1, instance_type=CPU, model_name=model.name, wait=False)
in_service(predictor.endpoint_name)
predictor.serializer, predictor.deserializer = NumpySerializer(), NumpyDeserializer()
flat = predictor.predict(x_test)
assert np.ptp(flat) < np.ptp(local.predict(x_test)) / 2, "the second model answers"
predictor.delete_endpoint(delete_endpoint_config=True)
model.delete_model()
assert not boto3.client("sagemaker").list_endpoints(NameContains=predictor.endpoint_name)["Endpoints"]

# With network isolation the SDK repacks the artifact: the code goes into it
isolated = SKLearnModel(artifact, ROLE, entry_point="train.py", framework_version="1.2-1", sagemaker_session=session)
isolated.enable_network_isolation = lambda: True
isolated._enable_network_isolation = True
predictor = isolated.deploy(1, CPU, endpoint_name=unique("v2-sk"), wait=False)
in_service(predictor.endpoint_name)
assert np.abs(predictor.predict(x_test) - flat).max() < 1e-6
described = boto3.client("sagemaker").describe_model(ModelName=isolated.name)
assert described["EnableNetworkIsolation"] is True
assert described["PrimaryContainer"]["Environment"]["SAGEMAKER_SUBMIT_DIRECTORY"] == "/opt/ml/model/code"
for content_type, body, status in (
    ("image/png", b"x", 415),
    ("application/json", b"{", 400),
    ("application/json", b"[[1, 2]]", 500),
):
    try:
        session.sagemaker_runtime_client.invoke_endpoint(
            EndpointName=predictor.endpoint_name, ContentType=content_type, Body=body
        )
        raise SystemExit(f"{content_type} {body!r} was predicted")
    except session.sagemaker_runtime_client.exceptions.ModelError as error:
        assert error.response["OriginalStatusCode"] == status, error
predictor.delete_endpoint()

# --- XGBoost script mode, with a dependency beside it
source = folder(
    {
        "train.py": """
    import argparse, os
    import xgboost as xgb
    from lib.reading import read

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        parser.add_argument("--max_depth", type=int)
        parser.add_argument("--num_round", type=int)
        args, rest = parser.parse_known_args()
        data = read(os.environ["SM_CHANNEL_TRAIN"])
        booster = xgb.train({"max_depth": args.max_depth}, data, args.num_round)
        booster.save_model(os.path.join(os.environ["SM_MODEL_DIR"], "xgboost-model.json"))
    """,
        "inference.py": """
    import os
    import xgboost as xgb

    def model_fn(model_dir):
        booster = xgb.Booster()
        booster.load_model(os.path.join(model_dir, "xgboost-model.json"))
        return booster
    """,
        "lib/__init__.py": "",
        "lib/reading.py": """
    import os
    import numpy as np, xgboost as xgb
    def read(folder):
        table = np.loadtxt(os.path.join(folder, "train.csv"), delimiter=",")
        return xgb.DMatrix(table[:, 1:], table[:, 0])
    """,
    }
)
import xgboost  # noqa: E402

xgb_job = XGBoost(
    "train.py",
    source_dir=source,
    framework_version="1.7-1",
    hyperparameters={"max_depth": 3, "num_round": 10},
    **common,
)
xgb_job.fit({"train": train}, logs=False)
booster = xgboost.train({"max_depth": 3}, xgboost.DMatrix(x_train, y_train), 10)
expected = booster.predict(xgboost.DMatrix(x_test))
served_by = XGBoostModel(
    xgb_job.model_data,
    ROLE,
    entry_point="inference.py",
    source_dir=source,
    framework_version="1.7-1",
    sagemaker_session=session,
)
predictor = served_by.deploy(1, CPU, endpoint_name=unique("v2-xs"), wait=False)
in_service(predictor.endpoint_name)
answer = np.array(predictor.predict(libsvm(x_test)), dtype=float).ravel()  # libsvm in, CSV out: the class's own
assert np.abs(answer - expected).max() < 1e-2, np.abs(answer - expected).max()
predictor.serializer = CSVSerializer()
answer = np.array(predictor.predict(x_test), dtype=float).ravel()
assert np.abs(answer - expected).max() < 1e-2
predictor.deserializer = JSONDeserializer()
answer = np.array(predictor.predict(x_test), dtype=float).ravel()
assert np.abs(answer - expected).max() < 1e-2
predictor.delete_model()
predictor.delete_endpoint()

# --- a job that fails tells why, and one that is stopped ends
os.chdir(
    folder(
        {"bad.py": "raise RuntimeError('the learning rate is negative')\n", "slow.py": "import time\ntime.sleep(200)\n"}
    )
)
try:
    SKLearn("bad.py", framework_version="1.2-1", **common).fit(logs="None")
    raise SystemExit("a failing script passed")
except sagemaker.exceptions.UnexpectedStatusException as error:
    assert "RuntimeError: the learning rate is negative" in str(error), error
slow = SKLearn("slow.py", framework_version="1.2-1", **common)
slow.fit(wait=False)
session.stop_training_job(slow.latest_training_job.name)
session.wait_for_job(slow.latest_training_job.name, poll=1)
assert slow.latest_training_job.describe()["TrainingJobStatus"] == "Stopped"
try:
    session.stop_training_job(slow.latest_training_job.name)
    raise SystemExit("an ended job was stopped again")
except session.sagemaker_client.exceptions.ClientError as error:
    assert error.response["Error"]["Code"] == "ValidationException"
    assert error.response["Error"]["Message"].endswith("the training job is in status Stopped."), error

# --- data: what Session offers
uri = session.upload_data(script, key_prefix=f"{prefix}/up")
assert sagemaker.s3.S3Downloader.list(uri, sagemaker_session=session) == [f"{uri}/train.py"]
assert "Ridge" in sagemaker.s3.S3Downloader.read_file(f"{uri}/train.py", sagemaker_session=session)
sagemaker.s3.S3Uploader.upload_string_as_file_body("x", f"{uri}/x.txt", sagemaker_session=session)
assert session.list_s3_files(bucket(), f"{prefix}/up/") == [f"{prefix}/up/train.py", f"{prefix}/up/x.txt"]
session.download_data(folder({}), bucket(), f"{prefix}/up/")
session.logs_for_job(estimator.latest_training_job.name, wait=False)
print(json.dumps({"alpha": attached.hyperparameters()["alpha"]}))
