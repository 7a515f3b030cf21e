from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.waiter import WaiterModel

from clary.api.errors import CODES, ApiError, code_of, translate
from clary.api.registry import model
from clary.domain import errors

WAITERS = WaiterModel(Loader().load_service_model("sagemaker", "waiters-2"))


@pytest.mark.parametrize("name", WAITERS.waiter_names)
def test_a_missing_resource_ends_every_waiter_as_the_service_does(name: str) -> None:
    """A `...Deleted` waiter must succeed on our NotFound; the others must stop at once instead of polling for an hour."""
    waiter = WAITERS.get_waiter(name)
    code, _ = code_of("sagemaker", waiter.operation, errors.NotFound)
    ends = [a for a in waiter.acceptors if a.matcher == "error" and a.expected == code]
    if name.endswith("Deleted"):
        assert [a.state for a in ends] == ["success"]
    else:  # botocore itself stops a waiter at an error that no acceptor names
        assert [a.state for a in ends] in ([], ["failure"])


@pytest.mark.parametrize(
    ("operation", "error", "code"),
    [
        ("DescribeEndpoint", errors.NotFound, "ValidationException"),
        ("DescribeTrainingJob", errors.NotFound, "ValidationException"),
        ("DescribePipeline", errors.NotFound, "ResourceNotFound"),
        ("DescribeHyperParameterTuningJob", errors.NotFound, "ResourceNotFound"),
        ("CreateEndpoint", errors.AlreadyExists, "ValidationException"),
        ("CreateTrainingJob", errors.AlreadyExists, "ResourceInUse"),
        ("CreateTrainingJob", errors.LimitExceeded, "ResourceLimitExceeded"),
        ("CreatePipeline", errors.AlreadyExists, "ValidationException"),
        ("UpdateEndpoint", errors.IllegalTransition, "ValidationException"),
        ("DeleteTrainingJob", errors.InUse, "ResourceInUse"),
        ("ListTags", errors.Denied, "AccessDeniedException"),
    ],
)
def test_codes(operation: str, error: type[errors.ClaryError], code: str) -> None:
    assert code_of("sagemaker", operation, error)[0] == code


@pytest.mark.parametrize(
    ("service", "operation", "error", "wanted"),
    [
        ("iam", "GetRole", errors.NotFound, ("NoSuchEntity", 404)),
        ("iam", "CreateRole", errors.AlreadyExists, ("EntityAlreadyExists", 409)),
        ("iam", "DeleteRole", errors.InUse, ("DeleteConflict", 409)),
        ("logs", "GetLogEvents", errors.NotFound, ("ResourceNotFoundException", 400)),
        ("logs", "CreateLogGroup", errors.AlreadyExists, ("ResourceAlreadyExistsException", 400)),
        ("sts", "AssumeRole", errors.Denied, ("AccessDenied", 403)),
    ],
)
def test_codes_of_other_services(service: str, operation: str, error: Any, wanted: tuple[str, int]) -> None:
    assert code_of(service, operation, error) == wanted


def test_every_error_of_ours_has_a_code_in_every_service() -> None:
    def leaves(kind: type[errors.ClaryError]) -> list[type[errors.ClaryError]]:
        return [leaf for sub in kind.__subclasses__() for leaf in (leaves(sub) or [sub])] or [kind]

    kinds = [k for k in leaves(errors.ClaryError) if k.__module__ == errors.__name__]
    for service in CODES:
        for operation in list(model(service).operation_names)[:40]:
            for kind in kinds:
                if kind in (errors.Unschedulable,) and service != "sagemaker":
                    continue
                code, status = code_of(service, operation, kind)
                assert re.fullmatch(r"[A-Za-z]+", code), (service, operation, kind)
                assert 400 <= status < 600
                assert code != "InternalFailure", (service, operation, kind)


def test_a_handler_may_name_the_code() -> None:
    error = ApiError("MalformedPolicyDocument", "Syntax errors in policy.")
    assert translate("iam", "CreateRole", error) == ("MalformedPolicyDocument", "Syntax errors in policy.", 400, {})
