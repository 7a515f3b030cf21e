"""Each further framework through unmodified boto3: a training job in its runtime makes a model, an endpoint serves it."""

from __future__ import annotations

import json
import os

import pytest
from tests.sdk.acts import REGISTRY, User, targz
from tests.sdk.conftest import Server
from tests.toolkit import onnx_models

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def user(server: Server) -> User:
    return User(server)


def served(user: User, image: str, data: str, environment: dict[str, str] | None = None) -> str:
    return user.endpoint({"ModelName": user.model(image, data, environment)}, seconds=180)


def test_lightgbm(user: User) -> None:
    image = f"{REGISTRY}/sagemaker-lightgbm:4"
    done = user.train(
        image,
        {
            "train.py": """
            import json, lightgbm as lgb, numpy as np
            x = np.random.default_rng(0).normal(size=(200, 3)); y = x @ [1.0, 2.0, 3.0]
            booster = lgb.train({"objective": "regression", "verbose": -1, "num_threads": 1}, lgb.Dataset(x, y), 10)
            booster.save_model("/opt/ml/model/model.txt")
            json.dump(booster.predict([[1.0, 1.0, 1.0]]).tolist(), open("/opt/ml/model/report.json", "w"))
            """
        },
    )
    name = served(user, image, done["ModelArtifacts"]["S3ModelArtifacts"])
    assert json.loads(user.ask(name, "1,1,1", ContentType="text/csv")) == user.report(done)
    assert user.ask(name, "1,1,1", ContentType="text/csv", Accept="text/csv") == f"{user.report(done)[0]}\n".encode()


def test_onnx(user: User) -> None:
    data = user.put("onnx/model.tar.gz", targz({"model.onnx": onnx_models.linear()}))
    name = served(user, "onnxruntime:latest", data)
    assert json.loads(user.ask(name, "1,2,3,4", ContentType="text/csv")) == [[4321]]
    assert json.loads(user.ask(name, '{"inputs": {"x": [[1, 0, 0, 0]]}}', ContentType="application/json")) == [[1]]


def test_mlflow(user: User) -> None:
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlflow-pyfunc:2.9.2"
    done = user.train(
        image,
        {
            "train.py": """
            import numpy as np, pandas as pd, mlflow.sklearn
            from mlflow.models import infer_signature
            from sklearn.linear_model import LinearRegression
            x = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]}); y = x.a + 10 * x.b
            mlflow.sklearn.save_model(LinearRegression().fit(x, y), "/tmp/m", signature=infer_signature(x, y),
                                      pip_requirements=["mlflow==2.9.2", "scikit-learn"], serialization_format="cloudpickle")
            import shutil; shutil.copytree("/tmp/m", "/opt/ml/model", dirs_exist_ok=True)
            """
        },
    )
    name = served(user, image, done["ModelArtifacts"]["S3ModelArtifacts"])
    body = json.dumps({"dataframe_split": {"columns": ["b", "a"], "data": [[1, 2]]}})
    (value,) = json.loads(user.ask(name, body, ContentType="application/json"))["predictions"]
    assert value == pytest.approx(12)
    (value,) = json.loads(user.ask(name, "a,b\n2,1\n", ContentType="text/csv"))["predictions"]
    assert value == pytest.approx(12)


@pytest.mark.torch
@pytest.mark.skipif(
    "CLARY_TEST_TORCH" not in os.environ, reason="CLARY_TEST_TORCH=1 builds PyTorch's runtimes (gigabytes)"
)
@pytest.mark.parametrize("repository", ["pytorch-inference", "huggingface-pytorch-inference"])
def test_torch(user: User, repository: str) -> None:
    image = f"763104351884.dkr.ecr.us-east-1.amazonaws.com/{repository}:2.6-cpu-py312"
    done = user.train(
        image.replace("inference", "training"),
        {
            "train.py": """
            import torch
            net = torch.nn.Linear(2, 1); net.weight.data[:] = torch.tensor([1.0, 10.0]); net.bias.data[:] = 0
            torch.jit.script(net).save("/opt/ml/model/model.pt")
            try:
                from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast
            except ImportError: raise SystemExit
            words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
            open("/tmp/vocab.txt", "w").write("\\n".join(words))
            BertTokenizerFast(vocab={w: n for n, w in enumerate(words)}).save_pretrained("/opt/ml/model")
            BertForSequenceClassification(BertConfig(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                                     intermediate_size=8)).save_pretrained("/opt/ml/model")
            """
        },
    )
    name = served(user, image, done["ModelArtifacts"]["S3ModelArtifacts"])
    if repository.startswith("huggingface"):
        (answer,) = json.loads(user.ask(name, '{"inputs": "good"}', ContentType="application/json"))
        assert answer["label"] in ("LABEL_0", "LABEL_1")
    else:
        assert json.loads(user.ask(name, "[[1, 2]]", ContentType="application/json")) == [[21]]
