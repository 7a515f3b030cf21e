"""From Clary's errors to AWS's: code, HTTP status and text, per operation.

The codes come from botocore's model: of the candidates below, the first that the operation declares; else the last one, which
every operation of the service may answer undeclared. Departures of the real service from its own model are in one dict.
"""

from __future__ import annotations

from collections.abc import Mapping

from botocore.model import OperationModel

from clary.api.registry import operation_model
from clary.domain.errors import (
    AlreadyExists,
    ClaryError,
    Denied,
    IllegalTransition,
    InUse,
    Invalid,
    InvalidValue,
    LimitExceeded,
    NotFound,
    Stale,
    Unavailable,
    Unschedulable,
)
from clary.domain.events.patterns import InvalidPattern


class ApiError(ClaryError):
    """An error with AWS's own code, for the rare case that a handler must name it (MalformedPolicyDocument)."""

    def __init__(self, code: str, message: str, status: int = 400, members: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.members = dict(members or {})


Candidates = Mapping[type[ClaryError], tuple[str, ...]]

_SAGEMAKER: Candidates = {
    NotFound: ("ResourceNotFound", "ValidationException"),
    AlreadyExists: ("ResourceInUse", "ValidationException"),
    InUse: ("ResourceInUse", "ConflictException", "ValidationException"),
    IllegalTransition: ("ValidationException",),
    Invalid: ("ValidationException",),
    LimitExceeded: ("ResourceLimitExceeded", "ValidationException"),
    Unschedulable: ("ResourceLimitExceeded", "ValidationException"),
    Denied: ("AccessDeniedException",),
    Stale: ("ConflictException", "ThrottlingException"),
    Unavailable: ("ServiceUnavailable",),
}
_LOGS: Candidates = {
    NotFound: ("ResourceNotFoundException",),
    AlreadyExists: ("ResourceAlreadyExistsException",),
    InUse: ("OperationAbortedException",),
    IllegalTransition: ("OperationAbortedException",),
    Invalid: ("InvalidParameterException", "ValidationException"),
    LimitExceeded: ("LimitExceededException",),
    Denied: ("AccessDeniedException",),
    Stale: ("OperationAbortedException", "ServiceUnavailableException"),
    Unavailable: ("ServiceUnavailableException",),
}
_IAM: Candidates = {
    NotFound: ("NoSuchEntity",),
    AlreadyExists: ("EntityAlreadyExists",),
    InUse: ("DeleteConflict",),
    IllegalTransition: ("ValidationError",),
    Invalid: ("InvalidInput", "ValidationError"),
    LimitExceeded: ("LimitExceeded",),
    Denied: ("AccessDenied",),
    Stale: ("ConcurrentModification", "ServiceFailure"),
    Unavailable: ("ServiceFailure",),
}
_STS: Candidates = {
    NotFound: ("AccessDenied",),
    AlreadyExists: ("ValidationError",),
    InUse: ("ValidationError",),
    IllegalTransition: ("ValidationError",),
    Invalid: ("ValidationError",),
    LimitExceeded: ("ValidationError",),
    Denied: ("AccessDenied",),
    Stale: ("ValidationError",),
    Unavailable: ("ServiceUnavailable",),
}
_CLOUDWATCH: Candidates = {
    NotFound: ("ResourceNotFound", "ResourceNotFoundException"),
    AlreadyExists: ("ResourceConflict", "ValidationError"),
    InUse: ("ResourceConflict", "ValidationError"),
    IllegalTransition: ("ValidationError",),
    Invalid: ("InvalidParameterValue", "ValidationError"),
    InvalidValue: ("InvalidParameterValue",),
    LimitExceeded: ("LimitExceeded", "LimitExceededException", "ValidationError"),
    Denied: ("AccessDenied",),
    Stale: ("ConcurrentModificationException", "ResourceConflict", "ServiceUnavailable"),
    Unavailable: ("ServiceUnavailable",),
}
_RUNTIME: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("ValidationError",)),
    Denied: ("AccessDeniedException",),
    Stale: ("ServiceUnavailable",),
    Unavailable: ("ServiceUnavailable",),
}
_FEATURES: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("ValidationError",)),
    NotFound: ("ResourceNotFound", "ValidationError"),
    Denied: ("AccessForbidden",),
    Stale: ("ConflictException", "ServiceUnavailable"),
    Unavailable: ("ServiceUnavailable",),
}
_ATHENA: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("InvalidRequestException",)),
    Denied: ("AccessDeniedException",),
    Stale: ("TooManyRequestsException", "InternalServerException"),
    Unavailable: ("InternalServerException",),
}
_GLUE: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("InvalidInputException",)),
    NotFound: ("EntityNotFoundException", "InvalidInputException"),
    Denied: ("AccessDeniedException",),
    Unavailable: ("InternalServiceException",),
}
_METRICS: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("ValidationException",)),
    NotFound: ("ResourceNotFound",),
    Denied: ("AccessDeniedException",),
    Stale: ("ConflictException",),
    Unavailable: ("ServiceUnavailable",),
}
_SNS: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("InvalidParameter",)),
    NotFound: ("NotFound", "ResourceNotFound", "InvalidParameter"),
    Denied: ("AuthorizationError",),
    Stale: ("ConcurrentAccess", "InternalError"),
    Unavailable: ("ServiceUnavailable",),
}
_SQS: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("InvalidMessageContents", "ReceiptHandleIsInvalid", "InvalidParameterValue")),
    NotFound: ("QueueDoesNotExist", "ResourceNotFoundException"),
    AlreadyExists: ("QueueNameExists", "InvalidParameterValue"),
    InvalidValue: ("InvalidAttributeValue", "InvalidParameterValue"),
    LimitExceeded: ("OverLimit", "InvalidParameterValue"),
    Denied: ("AccessDenied",),
    Stale: ("RequestThrottled", "ServiceUnavailable"),
    Unavailable: ("ServiceUnavailable",),
}
_LAMBDA: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("InvalidParameterValueException",)),
    NotFound: ("ResourceNotFoundException",),
    AlreadyExists: ("ResourceConflictException",),
    InUse: ("ResourceConflictException",),
    LimitExceeded: ("TooManyRequestsException",),
    Denied: ("AccessDeniedException",),
    Stale: ("ResourceConflictException", "TooManyRequestsException"),
    Unschedulable: ("ServiceException",),
    Unavailable: ("ServiceException",),
}
_EVENTS: Candidates = {
    **dict.fromkeys(_SAGEMAKER, ("ValidationException",)),
    NotFound: ("ResourceNotFoundException",),
    AlreadyExists: ("ResourceAlreadyExistsException", "ConflictException", "ValidationException"),
    InUse: ("ConflictException", "ValidationException"),
    InvalidPattern: ("InvalidEventPatternException",),
    LimitExceeded: ("LimitExceededException", "ServiceQuotaExceededException"),
    Denied: ("AccessDeniedException",),
    Stale: ("ConcurrentModificationException", "ConflictException", "ThrottlingException"),
    Unavailable: ("InternalException", "InternalServerException"),
}
_AUTOSCALING: Candidates = {
    NotFound: ("ObjectNotFoundException", "ResourceNotFoundException", "ValidationException"),
    AlreadyExists: ("ValidationException",),
    InUse: ("ValidationException",),
    IllegalTransition: ("ValidationException",),
    Invalid: ("ValidationException",),
    LimitExceeded: ("LimitExceededException", "TooManyTagsException", "ValidationException"),
    Unschedulable: ("LimitExceededException", "ValidationException"),
    Denied: ("AccessDeniedException",),
    Stale: ("ConcurrentUpdateException", "InternalServiceException"),
    Unavailable: ("InternalServiceException",),
}
CODES: Mapping[str, Candidates] = {
    "sagemaker": _SAGEMAKER,
    "logs": _LOGS,
    "iam": _IAM,
    "sts": _STS,
    "cloudwatch": _CLOUDWATCH,
    "sagemaker-runtime": _RUNTIME,
    "sagemaker-featurestore-runtime": _FEATURES,
    "athena": _ATHENA,
    "glue": _GLUE,
    "sagemaker-metrics": _METRICS,
    "sns": _SNS,
    "sqs": _SQS,
    "events": _EVENTS,
    "scheduler": _EVENTS,
    "lambda": _LAMBDA,
    "application-autoscaling": _AUTOSCALING,
}

# What the real service answers against its own model (reference/sagemaker.md 1.3): (operation, error) -> code.
DEPARTURES: Mapping[tuple[str, str, type[ClaryError]], str] = {
    ("sagemaker", "DescribeTrainingJob", NotFound): "ValidationException",
    ("sagemaker", "StopTrainingJob", NotFound): "ValidationException",
    ("sagemaker", "DeleteTrainingJob", NotFound): "ValidationException",
    ("sagemaker", "UpdateTrainingJob", NotFound): "ValidationException",
    ("sagemaker", "DescribeProcessingJob", NotFound): "ValidationException",
    ("sagemaker", "StopProcessingJob", NotFound): "ValidationException",
    ("sagemaker", "DescribeTransformJob", NotFound): "ValidationException",
    ("sagemaker", "StopTransformJob", NotFound): "ValidationException",
    ("sagemaker", "CreateModelCard", AlreadyExists): "ConflictException",
    ("sagemaker", "CreateModelCardExportJob", AlreadyExists): "ConflictException",
}

_STATUS: Mapping[str, int] = {
    "AccessDenied": 403,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
    "ServiceFailure": 500,
}


def declared(operation: OperationModel) -> Mapping[str, int]:
    """Error codes that the model declares for the operation, with their HTTP status."""
    found = {}
    for shape in operation.error_shapes:
        error = shape.metadata.get("error", {})
        code = error.get("code", shape.name)
        found[code] = error.get("httpStatusCode", _STATUS.get(code, 400))  # services of AWS JSON declare none
    return found


def code_of(service: str, operation: str, error: type[ClaryError]) -> tuple[str, int]:
    """The AWS code and HTTP status of that error from that operation."""
    known = declared(operation_model(service, operation))
    kind = next(k for k in error.__mro__ if k in CODES.get(service, _SAGEMAKER) or k is ClaryError)
    if kind is ClaryError:
        return "InternalFailure", 500
    code = DEPARTURES.get((service, operation, kind))
    if code is None:
        candidates = CODES.get(service, _SAGEMAKER)[kind]
        code = next((c for c in candidates if c in known), candidates[-1])
    return code, known.get(code, _STATUS.get(code, 400))


def translate(service: str, operation: str, error: ClaryError) -> tuple[str, str, int, Mapping[str, object]]:
    """(code, message, HTTP status, further members) as AWS answers that error."""
    if isinstance(error, ApiError):
        return error.code, error.message, error.status, error.members
    code, status = code_of(service, operation, type(error))
    return code, error.message, status, {}
