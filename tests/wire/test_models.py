"""Where models come from, and what they may not cost."""

import copy
import subprocess
import sys
from typing import Any

import pytest
from botocore.loaders import Loader

from clary.wire.models import lean, load, share, speaking


def test_models_are_loaded_once() -> None:
    assert load("sagemaker") is load("sagemaker")
    assert load("sagemaker").service_name == "sagemaker"


def test_unknown_services_are_refused() -> None:
    with pytest.raises(LookupError):
        load("no-such-service")


def test_models_carry_of_their_documentation_what_may_tell_a_default() -> None:
    told = b'{"a": {"shape": "A", "documentation": "What it is."}, "b": {"shape": "B", "documentation": "The default is 5."}}'
    assert lean(told) == {"a": {"shape": "A"}, "b": {"shape": "B", "documentation": "The default is 5."}}


def test_a_member_may_be_called_documentation() -> None:
    members = {"documentation": {"shape": "String"}}
    assert lean(b'{"members": {"documentation": {"shape": "String"}}}') == {"members": members}


def test_equal_objects_of_a_model_are_one_object() -> None:
    model: dict[str, Any] = {
        "A": {
            "type": "structure",
            "members": {"a": {"shape": "S"}, "b": {"shape": "S"}, "c": {"shape": "S", "x": ["y"]}},
        },
        "B": {"type": "structure", "members": {"a": {"shape": "S"}}},
        "S": {"type": "string"},
        "T": {"type": "string"},
        "E": [{"shape": "X"}, {"shape": "X"}],
    }
    before = copy.deepcopy(model)
    share(model)
    assert model == before
    assert model["A"]["members"]["a"] is model["A"]["members"]["b"] is model["B"]["members"]["a"]
    assert model["S"] is model["T"]
    assert model["E"][0] is model["E"][1]


@pytest.mark.parametrize(
    "service",
    ["sagemaker", "cloudwatch", "lambda", "s3"],  # S3's has a file of changes, too
)
def test_a_lean_model_is_botocores_but_for_its_prose(service: str) -> None:
    whole = Loader().load_service_model(service, "service-2")
    mine = load(service)._service_description
    assert mine == without_prose(whole)
    assert list(mine["shapes"]) == list(whole["shapes"])


def without_prose(value: Any) -> Any:
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    prose = {"documentation"} if "default" not in str(value.get("documentation", "default")) else set()
    return {key: without_prose(item) for key, item in value.items() if key not in prose or isinstance(item, dict)}


def test_a_model_may_speak_another_of_its_protocols() -> None:
    model = load("cloudwatch")
    assert speaking(model, "json") is model
    assert speaking(model, "query").resolved_protocol == "query"
    assert speaking(model, "query") is speaking(model, "query")


def test_importing_the_wire_does_not_import_botocore() -> None:
    code = "import sys, clary.wire.asgi; print(any(name.startswith('botocore') for name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "False"
