"""SDK v2, the model registry: Model.register, ModelPackage.deploy, a PipelineModel that is registered whole."""

import io
import tarfile

import numpy as np
import xgboost
from common import CPU, ROLE, XGBOOST, csv, in_service, put, session_v2, split, unique
from sagemaker import ModelPackage
from sagemaker.deserializers import CSVDeserializer
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer

prefix, session = unique("v2-registry"), session_v2()
x_train, x_test, y_train, _ = (part.astype("float32") for part in split("breast_cancer"))
booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, xgboost.DMatrix(x_train, y_train), 10)
data, out = bytes(booster.save_raw("ubj")), io.BytesIO()
with tarfile.open(fileobj=out, mode="w:gz") as tar:
    info = tarfile.TarInfo("xgboost-model")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
artifact = put(f"{prefix}/model.tar.gz", out.getvalue())

group = unique("v2-group")
model = Model(XGBOOST, artifact, ROLE, sagemaker_session=session)
package = model.register(
    content_types=["text/csv"],
    response_types=["text/csv"],
    inference_instances=[CPU],
    transform_instances=[CPU],
    model_package_group_name=group,
    approval_status="PendingManualApproval",
    description="the first one",
    customer_metadata_properties={"auc": "0.99"},
)
arn = package.model_package_arn
assert arn.endswith(f"model-package/{group}/1"), arn
listed = session.sagemaker_client.list_model_packages(ModelPackageGroupName=group)["ModelPackageSummaryList"]
assert [entry["ModelApprovalStatus"] for entry in listed] == ["PendingManualApproval"], listed

again = ModelPackage(ROLE, model_package_arn=arn, sagemaker_session=session, predictor_cls=Predictor)
name = unique("v2-registry")
again.deploy(1, CPU, endpoint_name=name, wait=False)
in_service(name)
described = session.sagemaker_client.describe_model_package(ModelPackageName=arn)
assert described["ModelApprovalStatus"] == "Approved", described
assert described["CustomerMetadataProperties"] == {"auc": "0.99"}, described

predictor = Predictor(name, session, serializer=CSVSerializer(), deserializer=CSVDeserializer())
served = np.array(predictor.predict(csv(x_test)), dtype=float).ravel()
assert np.abs(served - booster.predict(xgboost.DMatrix(x_test))).max() < 1e-4
again.update_customer_metadata({"auc": "0.98"})
predictor.delete_endpoint()
