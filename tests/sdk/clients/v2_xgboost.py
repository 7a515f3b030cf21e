"""SDK v2, built-in XGBoost: every kind of training data gives the same model; every kind of request gives the same predictions."""

# ruff: noqa: PT017
import io
import json

import numpy as np
import xgboost
from common import CPU, ROLE, XGBOOST, bucket, csv, in_service, libsvm, put, session_v2, split, unique
from sagemaker.amazon.common import write_numpy_to_dense_tensor
from sagemaker.deserializers import CSVDeserializer, JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer, IdentitySerializer, LibSVMSerializer

x_train, x_test, y_train, y_test = (part.astype("float32") for part in split("breast_cancer"))
prefix, session = unique("v2-xgb"), session_v2()


def recordio(x, y=None):
    out = io.BytesIO()
    write_numpy_to_dense_tensor(out, x, y)
    return out.getvalue()


KINDS = {"text/csv": csv, "text/libsvm": libsvm, "application/x-recordio-protobuf": recordio}
estimators = {}
for number, (kind, write) in enumerate(KINDS.items()):
    uris = [
        put(f"{prefix}/{number}/{name}/data", write(x, y))
        for name, x, y in (("train", x_train, y_train), ("validation", x_test, y_test))
    ]
    estimator = Estimator(
        XGBOOST,
        ROLE,
        instance_count=1,
        instance_type=CPU,
        sagemaker_session=session,
        output_path=f"s3://{bucket()}/{prefix}/out",
        base_job_name="v2-xgb",
        hyperparameters={"objective": "binary:logistic", "num_round": 12, "max_depth": 3, "eval_metric": "logloss,auc"},
        max_run=300,
        tags=[{"Key": "client", "Value": "v2"}],
    )
    # Pipe mode for one of them, as notebooks with large sets do.
    mode = "Pipe" if kind.endswith("protobuf") else "File"
    inputs = {
        name: TrainingInput(uri, content_type=kind, input_mode=mode)
        for name, uri in zip(("train", "validation"), uris, strict=True)
    }
    estimator.fit(inputs, wait=False)
    estimators[kind] = estimator
metrics = {}
for kind, estimator in estimators.items():
    estimator.latest_training_job.wait(logs=False)
    seen = estimator.latest_training_job.describe()
    metrics[kind] = {entry["MetricName"]: entry["Value"] for entry in seen["FinalMetricDataList"]}
    assert {"train:logloss", "validation:logloss", "validation:auc"} <= set(metrics[kind]), metrics
    frame = estimator.training_job_analytics.dataframe()
    assert {"train:logloss", "validation:logloss"} <= set(frame["metric_name"]), frame
    losses = frame[frame["metric_name"] == "train:logloss"]["value"]
    assert metrics[kind]["train:logloss"] <= losses.mean() < 0.7, frame
    assert abs(metrics[kind]["validation:logloss"] - metrics["text/csv"]["validation:logloss"]) < 2e-3, metrics

csv_job = estimators["text/csv"]
attached = Estimator.attach(csv_job.latest_training_job.name, sagemaker_session=session)
assert attached.model_data == csv_job.model_data
assert attached.hyperparameters()["max_depth"] == "3"
assert attached.image_uri == XGBOOST

predictor = attached.deploy(1, CPU, endpoint_name=unique("v2-xgb"), wait=False, serializer=CSVSerializer())
in_service(predictor.endpoint_name)
booster = xgboost.train(
    {"objective": "binary:logistic", "max_depth": 3}, xgboost.DMatrix(x_train, y_train), num_boost_round=12
)
local = booster.predict(xgboost.DMatrix(x_test))
text = predictor.predict(x_test).decode()
served = np.array([float(value) for value in text.replace("\n", ",").split(",") if value])
assert np.abs(served - local).max() < 1e-5, np.abs(served - local).max()


def close(values):
    assert np.abs(np.array(values, dtype=float).ravel() - local[:5]).max() < 1e-5, values


def ask(serializer, deserializer):
    return Predictor(predictor.endpoint_name, session, serializer, deserializer)


five = x_test[:5]
close(ask(CSVSerializer(), CSVDeserializer()).predict(five))
close(ask(LibSVMSerializer(), CSVDeserializer()).predict(libsvm(five)))
close(ask(IdentitySerializer("libsvm"), CSVDeserializer()).predict(libsvm(five)))
close(ask(IdentitySerializer("text/x-libsvm"), CSVDeserializer()).predict(libsvm(five)))
close(ask(IdentitySerializer("application/x-recordio-protobuf"), CSVDeserializer()).predict(recordio(five)))
answer = ask(CSVSerializer(), JSONDeserializer()).predict(five)
close([row["score"] for row in answer["predictions"]])
answer = ask(CSVSerializer(), CSVDeserializer()).predict(five, inference_id="me", target_variant="AllTraffic")
close(answer)
for content_type, body, status in (("text/csv", "a,b\n", 415), ("image/png", "x", 415), ("text/csv", "1,2\n", 400)):
    try:
        ask(IdentitySerializer(content_type), CSVDeserializer()).predict(body)
        raise SystemExit(f"{content_type} {body!r} was predicted")
    except session.sagemaker_runtime_client.exceptions.ModelError as error:
        assert error.response["OriginalStatusCode"] == status, (content_type, body, error)
predictor.delete_model()
predictor.delete_endpoint()

# Selectable inference content, and a model made by hand.
other = Model(
    XGBOOST,
    csv_job.model_data,
    ROLE,
    env={"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,probability"},
    sagemaker_session=session,
    predictor_cls=Predictor,
)
predictor = other.deploy(1, CPU, endpoint_name=unique("v2-xgb"), wait=False)
in_service(predictor.endpoint_name)
predictor.serializer, predictor.deserializer = CSVSerializer(), JSONDeserializer()
rows = predictor.predict(five)["predictions"]
assert [row["predicted_label"] for row in rows] == [int(value > 0.5) for value in local[:5]], rows
assert [round(row["probability"], 5) for row in rows] == [round(float(value), 5) for value in local[:5]], rows
predictor.delete_endpoint()
other.delete_model()
print("metrics", json.dumps(metrics))
