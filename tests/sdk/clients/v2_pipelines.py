"""SDK v2, PipelineModel: scikit-learn that prepares, built-in XGBoost that predicts, behind one endpoint."""

import io
import tarfile

import numpy as np
import xgboost
from common import CPU, ROLE, XGBOOST, csv, folder, in_service, put, session_v2, split, unique
from sagemaker.deserializers import CSVDeserializer
from sagemaker.model import Model
from sagemaker.pipeline import PipelineModel
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer
from sagemaker.sklearn import SKLearnModel

prefix, session = unique("v2-pipe"), session_v2()
x_train, x_test, y_train, _ = (part.astype("float32") for part in split("breast_cancer"))
mean, spread = x_train.mean(axis=0), x_train.std(axis=0)


def packed(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


booster = xgboost.train(
    {"objective": "binary:logistic", "max_depth": 3}, xgboost.DMatrix((x_train - mean) / spread, y_train), 10
)
numbers = io.BytesIO()
np.save(numbers, np.stack([mean, spread]))
scaler_data = put(f"{prefix}/scaler/model.tar.gz", packed({"scale.npy": numbers.getvalue()}))
booster_data = put(f"{prefix}/booster/model.tar.gz", packed({"xgboost-model": bytes(booster.save_raw("ubj"))}))

script = folder(
    {
        "scale.py": """
    import io, os
    import numpy as np

    def model_fn(model_dir):
        return np.load(os.path.join(model_dir, "scale.npy"))

    def input_fn(data, content_type):
        assert content_type == "text/csv", content_type
        return np.loadtxt(io.StringIO(data), delimiter=",", ndmin=2)

    def predict_fn(table, model):
        return (table - model[0]) / model[1]

    def output_fn(table, accept):
        out = io.StringIO()
        np.savetxt(out, table, delimiter=",")
        return out.getvalue(), "text/csv"
    """
    }
)
scaler = SKLearnModel(
    scaler_data,
    ROLE,
    "scale.py",
    source_dir=script,
    framework_version="1.2-1",
    py_version="py3",
    sagemaker_session=session,
)
model = Model(XGBOOST, booster_data, ROLE, sagemaker_session=session)
pipeline = PipelineModel(
    [scaler, model], ROLE, predictor_cls=Predictor, name=unique("v2-pipe"), sagemaker_session=session
)
name = unique("v2-pipe")
predictor = pipeline.deploy(1, CPU, endpoint_name=name, wait=False)
in_service(name)
described = session.sagemaker_client.describe_model(ModelName=pipeline.name)
assert len(described["Containers"]) == 2, described

predictor.serializer, predictor.deserializer = CSVSerializer(), CSVDeserializer()
served = np.array(predictor.predict(csv(x_test)), dtype=float).ravel()
local = booster.predict(xgboost.DMatrix((x_test - mean) / spread))
assert np.abs(served - local).max() < 1e-3, np.abs(served - local).max()

predictor.delete_endpoint()
pipeline.delete_model()
