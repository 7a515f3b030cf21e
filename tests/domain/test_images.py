from __future__ import annotations

import pytest

from clary.domain.images import NOT_IMPLEMENTED, repository, resolved, unknown


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", "sagemaker-xgboost"),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1", "xgboost"),
        ("811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:latest", "xgboost"),
        ("123.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-scikit-learn:1.2-1-cpu-py3", "sagemaker-scikit-learn"),
        ("localhost:5000/team/pytorch-training:2.6-cpu-py312", "pytorch-training"),
        ("sagemaker-base-python", "sagemaker-base-python"),
        ("x.y/xgboost@sha256:00aa", "xgboost"),
        ("", ""),
    ],
)
def test_repository(image: str, name: str) -> None:
    assert repository(image) == name


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1",
            "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost",
        ),
        ("localhost:5000/team/own", "localhost:5000/team/own"),
        ("xgboost:1", "xgboost"),
        ("x.y/own:1@sha256:00aa", "x.y/own"),
    ],
)
def test_an_image_by_its_digest(image: str, shown: str) -> None:
    assert resolved(image, "sha256:ff") == f"{shown}@sha256:ff"


def test_a_built_in_algorithm_is_named_and_no_runtime_is_recommended_for_its_image() -> None:
    image = "174872318107.dkr.ecr.us-west-2.amazonaws.com/kmeans:1"
    what, instead = unknown(image)
    assert what == f"Image '{image}' is SageMaker's built-in algorithm K-Means, which Clary does not implement"
    assert "sklearn.cluster.MiniBatchKMeans in the runtime sklearn" in instead
    assert not [name for name in NOT_IMPLEMENTED if "runtime add" in str(unknown(f"{name}:1"))]
    assert "clary runtime add my/own:1 RUNTIME" in unknown("my/own:1").instead
