"""How each family of services words a refused signature.

Owns: the codes, texts and statuses of authentication errors (S3's, the query services', all others'). Does not know:
signatures. The status of the JSON services is 400, of the rest-json ones 403.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from clary.wire.errors import AuthError

_QUERY = frozenset({"sts", "iam", "sns", "monitoring", "sqs"})
READERS_OF_XML = frozenset({"sts", "iam", "sns"})  # whose clients speak nothing but query

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
_S3_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)


class _Answer(NamedTuple):
    code: str
    message: str
    status: int | None = None


# What went wrong -> (code, text, status) for: services with JSON, query services, S3. Status None: by protocol.
_ANSWERS: dict[str, tuple[_Answer, _Answer, _Answer]] = {
    "missing": (
        _Answer("MissingAuthenticationTokenException", "Missing Authentication Token"),
        _Answer("MissingAuthenticationToken", "Request is missing Authentication Token", 403),
        _Answer("AccessDenied", "Access Denied", 403),
    ),
    "unknown key": (
        _Answer("UnrecognizedClientException", "The security token included in the request is invalid."),
        _Answer("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
        _Answer("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403),
    ),
    "bad token": (
        _Answer("UnrecognizedClientException", "The security token included in the request is invalid."),
        _Answer("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
        _Answer("InvalidToken", "The provided token is malformed or otherwise invalid.", 400),
    ),
    "expired token": (
        _Answer("ExpiredTokenException", "The security token included in the request is expired"),
        _Answer("ExpiredToken", "The security token included in the request is expired", 403),
        _Answer("ExpiredToken", "The provided token has expired.", 400),
    ),
    "mismatch": (
        _Answer("InvalidSignatureException", _MISMATCH),
        _Answer("SignatureDoesNotMatch", _MISMATCH, 403),
        _Answer("SignatureDoesNotMatch", _S3_MISMATCH, 403),
    ),
    "malformed": (
        _Answer("IncompleteSignatureException", "The authorization header is malformed: {detail}"),
        _Answer("IncompleteSignature", "The authorization header is malformed: {detail}", 400),
        _Answer("AuthorizationHeaderMalformed", "The authorization header is malformed; {detail}", 400),
    ),
    "malformed query": (
        _Answer("IncompleteSignatureException", "{detail}"),
        _Answer("IncompleteSignature", "{detail}", 400),
        _Answer("AuthorizationQueryParametersError", "{detail}", 400),
    ),
    "scope": (
        _Answer("InvalidSignatureException", "Credential should be scoped to {detail}."),
        _Answer("SignatureDoesNotMatch", "Credential should be scoped to {detail}.", 403),
        _Answer(
            "AuthorizationHeaderMalformed",
            "The authorization header is malformed; it should be scoped to {detail}.",
            400,
        ),
    ),
    "skewed": (
        _Answer("InvalidSignatureException", "{detail}"),
        _Answer("SignatureDoesNotMatch", "{detail}", 403),
        _Answer(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", 403
        ),
    ),
    "expired url": (
        _Answer("InvalidSignatureException", "Signature expired: {detail}"),
        _Answer("SignatureDoesNotMatch", "Signature expired: {detail}", 403),
        _Answer("AccessDenied", "Request has expired", 403),
    ),
    "early url": (
        _Answer("InvalidSignatureException", "Signature not yet current: {detail}"),
        _Answer("SignatureDoesNotMatch", "Signature not yet current: {detail}", 403),
        _Answer("AccessDenied", "Request is not valid yet", 403),
    ),
    "unsigned header": (
        _Answer("InvalidSignatureException", "'{detail}' must be a signed header in the request."),
        _Answer("SignatureDoesNotMatch", "'{detail}' must be a signed header in the request.", 403),
        _Answer("AccessDenied", "There were headers present in the request which were not signed", 403),
    ),
    "unsigned body": (
        _Answer("InvalidSignatureException", "The body of this request must be signed: {detail} is not accepted."),
        _Answer("SignatureDoesNotMatch", "The body of this request must be signed: {detail} is not accepted.", 403),
        _Answer("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400),
    ),
    "old signature": (
        _Answer("IncompleteSignatureException", "Only AWS Signature Version 4 is accepted."),
        _Answer("IncompleteSignature", "Only AWS Signature Version 4 is accepted.", 400),
        _Answer("InvalidArgument", "Unsupported Authorization Type", 400),
    ),
}


def auth_error(kind: str, service: str | None, *, target: bool = True, detail: str = "", **members: Any) -> AuthError:
    """The error that ``service`` (a signing scope; None: unknown) answers when ``kind`` went wrong.

    ``target`` says whether the request had an ``X-Amz-Target``: the JSON services answer 400, the rest-json ones 403.
    """
    column = 2 if service == "s3" else 1 if service in _QUERY else 0
    answer = _ANSWERS[kind][column]
    status = answer.status if answer.status is not None else 400 if target else 403
    return AuthError(answer.code, answer.message.format(detail=detail), status, members)
