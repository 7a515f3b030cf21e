"""Where models come from, and what they may not cost."""

import subprocess
import sys

import pytest

from clary.wire.models import load, speaking


def test_models_are_loaded_once() -> None:
    assert load("sagemaker") is load("sagemaker")
    assert load("sagemaker").service_name == "sagemaker"


def test_unknown_services_are_refused() -> None:
    with pytest.raises(LookupError):
        load("no-such-service")


def test_a_model_may_speak_another_of_its_protocols() -> None:
    model = load("cloudwatch")
    assert speaking(model, "json") is model
    assert speaking(model, "query").resolved_protocol == "query"
    assert speaking(model, "query") is speaking(model, "query")


def test_importing_the_wire_does_not_import_botocore() -> None:
    code = "import sys, clary.wire.asgi; print(any(name.startswith('botocore') for name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "False"
