"""AWS's wire protocols, sans I/O: requests to parameters, results and errors to responses, for any botocore model."""

from clary.wire.errors import AuthError, SerializationError, ServiceError, UnknownOperation, ValidationError
from clary.wire.http import Headers, Request, Response
from clary.wire.protocol import parse_request, serialize_error, serialize_response

__all__ = [
    "AuthError",
    "Headers",
    "Request",
    "Response",
    "SerializationError",
    "ServiceError",
    "UnknownOperation",
    "ValidationError",
    "parse_request",
    "serialize_error",
    "serialize_response",
]
