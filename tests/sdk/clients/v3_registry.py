"""SDK v3: ModelBuilder.register, packages and cards as core resources, a model of an alias."""

import io
import json
import tarfile

import boto3
import numpy as np
import xgboost
from common import CPU, ROLE, XGBOOST, csv, put, session_v3, split, unique
from sagemaker.core.resources import (
    Endpoint,
    EndpointConfig,
    Model,
    ModelCard,
    ModelPackage,
    ModelPackageGroup,
)
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.serve import ModelBuilder

session, prefix, sm = session_v3(), unique("v3-registry"), boto3.client("sagemaker")
x_train, x_test, y_train, _ = (part.astype("float32") for part in split("breast_cancer"))
booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, xgboost.DMatrix(x_train, y_train), 10)
data, out = bytes(booster.save_raw("ubj")), io.BytesIO()
with tarfile.open(fileobj=out, mode="w:gz") as tar:
    info = tarfile.TarInfo("xgboost-model")
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
artifact = put(f"{prefix}/model.tar.gz", out.getvalue())

builder = ModelBuilder(
    image_uri=XGBOOST, s3_model_data_url=artifact, role_arn=ROLE, sagemaker_session=session, instance_type=CPU
)
builder.build(model_name=unique("v3"))
arn = builder.register(
    model_package_group_name=prefix,
    content_types=["text/csv"],
    response_types=["text/csv"],
    inference_instances=[CPU],
    transform_instances=[CPU],
    approval_status="PendingManualApproval",
    description="the first one",
    customer_metadata_properties={"auc": "0.99"},
)
assert arn.endswith(f":model-package/{prefix}/1"), arn
package = ModelPackage.get(model_package_name=arn)
assert (package.model_package_status, package.model_approval_status) == ("Completed", "PendingManualApproval"), package
assert package.customer_metadata_properties == {"auc": "0.99"}, package
package.update(model_approval_status="Approved", approval_description="good")
assert [each.model_approval_status for each in ModelPackage.get_all(model_package_group_name=prefix)] == ["Approved"]
sm.add_tags(ResourceArn=arn, Tags=[{"Key": "clary:alias", "Value": "champion"}])

name = unique("v3")
Model.create(
    model_name=name,
    execution_role_arn=ROLE,
    primary_container=ContainerDefinition(model_package_name=arn.replace("/1", "@champion")),
)
config = EndpointConfig.create(
    endpoint_config_name=name,
    production_variants=[
        ProductionVariant(variant_name="main", model_name=name, initial_instance_count=1, instance_type=CPU)
    ],
)
endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=config)
endpoint.wait_for_status("InService", poll=1, timeout=60)
answer = endpoint.invoke(body=csv(x_test), content_type="text/csv", accept="text/csv").body.read().decode()
served = np.array(answer.replace("\n", ",").strip(",").split(","), dtype=float)
assert np.abs(served - booster.predict(xgboost.DMatrix(x_test))).max() < 1e-4
endpoint.delete()

content = json.dumps({"model_overview": {"model_description": "d"}})
card = ModelCard.create(model_card_name=prefix, content=content, model_card_status="Draft")
card.update(model_card_status="Approved")
card.update(content=json.dumps({"model_overview": {"model_description": "e"}}))
card = ModelCard.get(model_card_name=prefix)  # refresh() asks for the version that it has
assert (card.model_card_version, card.model_card_status) == (2, "Approved"), card
assert [each.model_card_version for each in card.get_all_versions()] == [2, 1]
card.delete()
group = ModelPackageGroup.get(model_package_group_name=prefix)
assert group.model_package_group_status == "Completed", group
