from __future__ import annotations

from typing import Any

import pytest

from clary.api import handlers, registry
from clary.api.call import Call
from clary.wire.models import load


async def nothing(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {}


def test_an_operation_that_botocore_lacks_fails_at_registration() -> None:
    with pytest.raises(ValueError, match="no operation CreateUnicorn"):
        registry.operation("sagemaker", "CreateUnicorn")


def test_an_operation_that_is_taken_fails_at_registration() -> None:
    handlers.load()
    with pytest.raises(ValueError, match="answered by"):
        registry.operation("sagemaker", "CreateModel")(nothing)


def test_what_is_missing_is_what_is_not_registered() -> None:
    handlers.load()
    missing = registry.missing("sagemaker")
    assert "CreateModel" not in missing
    assert "CreateNotebookInstance" in missing
    done = [name for service, name in registry.registered() if service == "sagemaker"]
    assert len(missing) + len(done) == len(registry.model("sagemaker").operation_names)


def test_no_handler_module_is_forgotten() -> None:
    assert handlers.unlisted() == []


def test_operations_are_of_the_models_that_requests_are_read_by() -> None:
    assert registry.model("sagemaker") is load("sagemaker")  # a second one would take 20 MiB
