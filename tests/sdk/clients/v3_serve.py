"""SDK v3: ModelBuilder over an artifact, endpoints as core resources."""

import io
import json
import pathlib
import tarfile

import boto3
import joblib
import numpy as np
from common import CPU, ROLE, XGBOOST, csv, folder, in_service, put, session_v3, split, unique
from sagemaker.core import image_uris
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.core.training.configs import Compute, InputData, SourceCode
from sagemaker.serve import ModelBuilder
from sagemaker.train import ModelTrainer
from sklearn.linear_model import Ridge

session, prefix = session_v3(), unique("v3-serve")
x_train, x_test, y_train, _ = split("diabetes")
local = Ridge(alpha=0.5).fit(x_train, y_train)
blob, packed = io.BytesIO(), io.BytesIO()
joblib.dump(local, blob)
with tarfile.open(fileobj=packed, mode="w:gz") as tar:
    info = tarfile.TarInfo("model.joblib")
    info.size = len(blob.getvalue())
    tar.addfile(info, io.BytesIO(blob.getvalue()))
artifact = put(f"{prefix}/model.tar.gz", packed.getvalue())
image = image_uris.retrieve("sklearn", "us-east-1", version="1.2-1", py_version="py3", instance_type=CPU)
source = folder(
    {
        "inference.py": """
    import os, joblib
    def model_fn(model_dir):
        return joblib.load(os.path.join(model_dir, "model.joblib"))
    """
    }
)
builder = ModelBuilder(
    image_uri=image,
    s3_model_data_url=artifact,
    role_arn=ROLE,
    sagemaker_session=session,
    source_code=SourceCode(source_dir=source, entry_script="inference.py"),
    instance_type=CPU,
)
builder.build(model_name=unique("v3"))
endpoint = builder.deploy(endpoint_name=unique("v3"), initial_instance_count=1, instance_type=CPU)
assert isinstance(endpoint, Endpoint), endpoint
answer = endpoint.invoke(body=csv(x_test), content_type="text/csv", accept="text/csv")
served = np.array([float(v) for v in answer.body.read().decode().replace("\n", ",").split(",") if v])
assert np.abs(served - local.predict(x_test)).max() < 1e-2
assert answer.invoked_production_variant, answer
endpoint.delete()
endpoint.wait_for_delete(poll=1, timeout=30)

# a trainer's own model
training = put(f"{prefix}/train.csv", csv(*split("breast_cancer")[::2]))
trainer = ModelTrainer(
    training_image=XGBOOST,
    role=ROLE,
    sagemaker_session=session,
    base_job_name="v3-serve",
    compute=Compute(instance_type=CPU, instance_count=1),
    hyperparameters={"objective": "binary:logistic", "num_round": 5},
)
trainer.train([InputData(channel_name="train", data_source=training, content_type="text/csv")], logs=False)
builder = ModelBuilder(model=trainer, image_uri=XGBOOST, role_arn=ROLE, sagemaker_session=session, instance_type=CPU)
builder.build(model_name=unique("v3"))
endpoint = builder.deploy(endpoint_name=unique("v3"), initial_instance_count=1, instance_type=CPU, wait=False)
in_service(endpoint.endpoint_name)
_, x_other, _, y_other = split("breast_cancer")
answer = endpoint.invoke(body=csv(x_other), content_type="text/csv").body.read().decode()
assert np.mean((np.array(answer.split("\n")[:-1], dtype=float) > 0.5) == y_other) > 0.93
endpoint.delete()

# core resources alone
name = unique("v3")
packed = io.BytesIO()
with tarfile.open(fileobj=packed, mode="w:gz") as tar:
    for member, data in (
        ("model.joblib", blob.getvalue()),
        ("code/inference.py", pathlib.Path(source, "inference.py").read_bytes()),
    ):
        info = tarfile.TarInfo(member)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
whole = put(f"{prefix}/whole/model.tar.gz", packed.getvalue())
model = Model.create(
    model_name=name, execution_role_arn=ROLE, primary_container=ContainerDefinition(image=image, model_data_url=whole)
)
config = EndpointConfig.create(
    endpoint_config_name=name,
    production_variants=[
        ProductionVariant(variant_name="main", model_name=name, initial_instance_count=1, instance_type=CPU)
    ],
)
made = Endpoint.create(endpoint_name=name, endpoint_config_name=config)
made.wait_for_status("InService", poll=1, timeout=60)
made.refresh()
assert made.production_variants[0].current_instance_count == 1
answer = made.invoke(body=csv(x_test[:3]), content_type="text/csv", accept="application/json")
assert np.abs(np.array(json.loads(answer.body.read())) - local.predict(x_test[:3])).max() < 1e-2
assert name in [each.endpoint_name for each in Endpoint.get_all(name_contains=name)]
assert Model.get(model_name=name).primary_container.model_data_url == whole
other = EndpointConfig.create(
    endpoint_config_name=unique("v3"),
    production_variants=[
        ProductionVariant(variant_name="main", model_name=name, initial_instance_count=2, instance_type=CPU)
    ],
)
boto3.client("sagemaker").update_endpoint(EndpointName=name, EndpointConfigName=other.endpoint_config_name)
in_service(name)
made.refresh()
assert made.production_variants[0].current_instance_count == 2
for thing in (made, config, other, model):
    thing.delete()
made.wait_for_delete(poll=1, timeout=30)
