"""The bucket of the hub: what JumpStart's clients read of it."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from clary.app.hub.models import MODELS, HubModel, files
from clary.backends.images import runtimes
from clary.domain.images import repository

FILES = dict(files())


def members(key: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(FILES[key])) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]


def test_what_the_manifest_names_is_there_and_comes_before_it() -> None:
    listed = json.loads(FILES["models_manifest.json"])
    assert {row["model_id"] for row in listed} == {model.id for model in MODELS}
    assert len(MODELS) == len({model.id for model in MODELS}) == 8
    assert list(FILES)[-1] == "models_manifest.json"
    for row in listed:
        spec = json.loads(FILES[row["spec_key"]])
        assert (spec["model_id"], spec["version"]) == (row["model_id"], row["version"])
        for member in ("hosting_artifact_key", "hosting_script_key", "training_artifact_key", "training_script_key"):
            assert spec[member] in FILES


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_scripts_and_images(model: HubModel) -> None:
    spec = json.loads(FILES[model.spec_key])
    training, serving = members(spec["training_script_key"]), members(spec["hosting_script_key"])
    about = json.loads(training["model.json"])
    assert (about["library"], about["task"]) == (model.library, model.task)
    assert {row["name"]: row["default"] for row in spec["hyperparameters"]} == {
        name: str(value) for name, value in about["hyperparameters"].items()
    }
    assert b"def main" in training["transfer_learning.py"]
    assert b"def model_fn" in serving["inference.py"]
    assert ("requirements.txt" in training) == ("requirements.txt" in serving) == bool(model.requirements)
    assert any(repository(model.image) in runtime.repositories for runtime in runtimes())


def test_the_same_content_each_time() -> None:
    assert dict(files()) == FILES
