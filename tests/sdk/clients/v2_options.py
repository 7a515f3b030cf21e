"""SDK v2: the less common arguments of estimators and inputs, and the Session's own ways to endpoints (two weighted variants)."""

import gzip
import io
import json
import os
import tarfile

import boto3
import sagemaker
from common import CPU, ROLE, XGBOOST, bucket, csv, folder, in_service, put, session_v2, split, unique
from sagemaker.estimator import Estimator
from sagemaker.inputs import ShuffleConfig, TrainingInput
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer
from sagemaker.session import production_variant
from sagemaker.sklearn import SKLearn

session, prefix = session_v2(), unique("v2-options")
for name in "abcd":
    put(f"{prefix}/data/{name}.txt", f"{name}\n")
    put(f"{prefix}/gz/{name}.gz", gzip.compress(f"{name}\n".encode()))
manifest = put(f"{prefix}/the.manifest", json.dumps([{"prefix": f"s3://{bucket()}/{prefix}/data/"}, "b.txt", "d.txt"]))
put(f"{prefix}/checkpoints/before.txt", "kept")

library = folder({"shared/__init__.py": "WORD = 'from a dependency'\n"})
source = folder(
    {
        "go.py": """
    import json, os, sys
    from shared import WORD
    seen = {}
    for channel in json.loads(os.environ["SM_CHANNELS"]):
        path = "/opt/ml/input/data/" + channel
        if os.path.isdir(path):
            seen[channel] = sorted(os.listdir(path))
        else:
            with open(path + "_0", "rb") as pipe:
                seen[channel] = pipe.read().decode()
    with open("/opt/ml/checkpoints/after.txt", "w") as file:
        file.write("new")
    print("seen", json.dumps(seen))
    with open("/opt/ml/model/report.json", "w") as file:
        json.dump({"seen": seen, "word": WORD, "hps": json.loads(os.environ["SM_HPS"]), "mine": os.environ["MINE"],
                   "host": os.environ["SM_CURRENT_HOST"], "old": os.listdir("/opt/ml/checkpoints")}, file)
    """
    }
)
hyperparameters = {"learning-rate": 1e-3, "layers": [64, 32], "flag": False, "none": None, "text": "two words", "n": 3}
estimator = SKLearn(
    "go.py",
    source_dir=source,
    dependencies=[f"{library}/shared"],
    framework_version="1.2-1",
    role=ROLE,
    instance_count=1,
    instance_type=CPU,
    sagemaker_session=session,
    hyperparameters=dict(hyperparameters),
    environment={"MINE": "yes"},
    use_spot_instances=True,
    max_run=200,
    max_wait=300,
    checkpoint_s3_uri=f"s3://{bucket()}/{prefix}/checkpoints",
    tags=[{"Key": "a", "Value": "b"}],
    volume_size=10,
    keep_alive_period_in_seconds=None,
    disable_profiler=True,
    output_path=f"s3://{bucket()}/{prefix}/out",
    code_location=f"s3://{bucket()}/{prefix}/code",
    base_job_name="Options",
    enable_sagemaker_metrics=True,
    max_retry_attempts=2,
    encrypt_inter_container_traffic=True,
)
where = f"s3://{bucket()}/{prefix}"
estimator.fit(
    {
        "all": f"{where}/data",
        "listed": TrainingInput(manifest, s3_data_type="ManifestFile", shuffle_config=ShuffleConfig(1)),
        "fast": TrainingInput(f"{where}/data/", input_mode="FastFile"),
        "pipe": TrainingInput(f"{where}/data/", input_mode="Pipe"),
        "zipped": TrainingInput(f"{where}/gz/", input_mode="Pipe", compression="Gzip"),
    },
    job_name=(job := unique("Options")),
    logs=False,
)
described = estimator.latest_training_job.describe()
assert described["TrainingJobName"] == job
assert described["TrainingJobArn"].endswith(f":training-job/{job.lower()}"), described["TrainingJobArn"]
assert described["HyperParameters"]["learning-rate"] == "0.001", described["HyperParameters"]


def report():
    body = boto3.resource("s3").Object(bucket(), estimator.model_data.split("/", 3)[3]).get()["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return json.load(tar.extractfile("report.json"))


told = report()
assert told["word"] == "from a dependency"
assert told["seen"]["all"] == ["a.txt", "b.txt", "c.txt", "d.txt"], told["seen"]
assert sorted(told["seen"]["listed"]) == ["b.txt", "d.txt"], told["seen"]
assert told["seen"]["fast"] == ["a.txt", "b.txt", "c.txt", "d.txt"]
assert told["seen"]["pipe"] == told["seen"]["zipped"] == "a\nb\nc\nd\n", told["seen"]
assert told["hps"] == hyperparameters, told["hps"]
assert (told["mine"], sorted(told["old"])) == ("yes", ["after.txt", "before.txt"])
keys = session.list_s3_files(bucket(), f"{prefix}/")
assert f"{prefix}/checkpoints/after.txt" in keys
assert f"{prefix}/code/{job}/source/sourcedir.tar.gz" in keys, keys
assert session.list_tags(described["TrainingJobArn"]) == [{"Key": "a", "Value": "b"}]
attached = SKLearn.attach(job, sagemaker_session=session)
assert attached.source_dir == f"{where}/code/{job}/source/sourcedir.tar.gz"
assert estimator.training_image_uri().rsplit("/", 1)[1].startswith("sagemaker-scikit-learn:")

# A plain Estimator with a script of its own, as for a custom image; a shell script
os.chdir(
    folder(
        {
            "train.sh": '#!/bin/sh\necho "got $@" > /opt/ml/model/words\nls /opt/ml/input/data/train >> /opt/ml/model/words\n'
        }
    )
)
shell = Estimator(
    XGBOOST,
    ROLE,
    1,
    CPU,
    entry_point="train.sh",
    source_dir=os.getcwd(),
    sagemaker_session=session,
    hyperparameters={"x": 1},
    output_path=f"{where}/out",
)
shell.fit({"train": f"{where}/data"}, logs=False)

# Two variants by the Session's own means, as in the A/B testing notebook
x_train, x_test, y_train, y_test = split("breast_cancer")
train = put(f"{prefix}/xgb/train.csv", csv(x_train, y_train))
models = []
for depth in (1, 4):
    booster = Estimator(
        XGBOOST,
        ROLE,
        1,
        CPU,
        sagemaker_session=session,
        output_path=f"{where}/out",
        hyperparameters={"objective": "binary:logistic", "num_round": 5, "max_depth": depth},
    )
    booster.fit({"train": TrainingInput(train, content_type="text/csv")}, wait=False)
    models.append(booster)
names = []
for booster in models:
    booster.latest_training_job.wait(logs=False)
    name = unique("ab")
    names.append(name)
    session.create_model(name, ROLE, {"Image": XGBOOST, "ModelDataUrl": booster.model_data})
variants = [
    production_variant(name, CPU, 1, variant_name=f"Variant{n}", initial_weight=n) for n, name in enumerate(names, 1)
]
endpoint = unique("ab")
session.endpoint_from_production_variants(endpoint, variants, tags=[{"Key": "k", "Value": "v"}], wait=False)
in_service(endpoint)
predictor = Predictor(endpoint, session, CSVSerializer())
first, second = (predictor.predict(x_test[:1], target_variant=f"Variant{n}") for n in (1, 2))
assert first != second
shares = {first: 0, second: 0}
for _ in range(60):
    shares[predictor.predict(x_test[:1])] += 1
assert min(shares.values()) > 5, shares
sm = boto3.client("sagemaker")
sm.update_endpoint_weights_and_capacities(
    EndpointName=endpoint,
    DesiredWeightsAndCapacities=[
        {"VariantName": "Variant1", "DesiredWeight": 0},
        {"VariantName": "Variant2", "DesiredWeight": 1},
    ],
)
assert in_service(endpoint)["EndpointStatus"] == "InService"
assert {predictor.predict(x_test[:1]) for _ in range(20)} == {second}
session.delete_endpoint(endpoint)
session.delete_endpoint_config(endpoint)
for name in names:
    session.delete_model(name)
assert sagemaker.__version__.startswith("2.")
