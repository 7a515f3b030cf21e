"""The rest-xml protocol: its body format and its errors, S3's among them.

Does not know: locations (``rest``, ``bindings``) and XML values (``xml_body``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clary.wire import rest, xml_body
from clary.wire.bindings import write_headers
from clary.wire.errors import SerializationError
from clary.wire.http import Request, Response
from clary.wire.json_rpc import fault
from clary.wire.shapes import Member, Places, answer_places, message_member

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
_S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

# The root elements that S3 answers with (Amazon S3 API Reference, "Response Syntax" of each operation): the service
# model does not carry them. Operations not here answer with the name of their output less "Output".
_S3_ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListDirectoryBuckets": "ListAllMyDirectoryBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListParts": "ListPartsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectTagging": "Tagging",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
}


class _Xml:
    content_type = "application/xml"

    def parse_members(self, shape: Any, body: bytes, wanted: tuple[Member, ...]) -> dict[str, Any]:
        return xml_body.parse_members(shape, xml_body.load(body), wanted)

    def parse_payload(self, member: Member, body: bytes) -> Any:
        return xml_body.parse(member.shape, xml_body.load(body))

    def write_members(self, operation: OperationModel, shape: Any, result: Mapping[str, Any], found: Places) -> bytes:
        if not found.body:
            return b""
        if operation.name == "GetBucketLocation":
            return _location(result.get("LocationConstraint"))
        name = shape.serialization.get("name") or _root(operation, shape)
        metadata = operation.service_model.metadata
        space = metadata.get("xmlNamespace") or (_S3_NAMESPACE if _is_s3(operation.service_model) else None)
        own = xml_body.attributes(shape, result)
        out = [_PROLOG, f"<{name}{own if 'xmlns' in own else xml_body.namespace(space) + own}>"]
        xml_body.write_members(out, shape, result, found.body)
        out.append(f"</{name}>")
        return "".join(out).encode()

    def write_payload(self, member: Member, value: Any) -> bytes:
        name = member.shape.serialization.get("name") or member.shape.name
        out = [_PROLOG]
        xml_body.write(out, member.shape, value, str(name))
        return "".join(out).encode()

    def empty_payload(self, member: Member) -> bytes:
        return b""


_BODY = _Xml()


def _is_s3(service_model: ServiceModel) -> bool:
    return bool(service_model.metadata.get("endpointPrefix") == "s3")


def _root(operation: OperationModel, shape: Any) -> str:
    if _is_s3(operation.service_model):
        return _S3_ROOTS.get(operation.name, str(shape.name).removesuffix("Output"))
    return str(shape.name)


def _location(constraint: Any) -> bytes:
    # The one answer whose root element is the member itself; empty means us-east-1 (GetBucketLocation, S3 API Reference).
    text = xml_body.escape(str(constraint)) if constraint else ""
    return f'{_PROLOG}<LocationConstraint xmlns="{_S3_NAMESPACE}">{text}</LocationConstraint>'.encode()


def parse(operation: OperationModel, request: Request, labels: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a request."""
    return rest.parse(operation, request, labels, _BODY)


def respond(operation: OperationModel, result: Mapping[str, Any]) -> Response:
    """The answer of an operation that succeeded."""
    return rest.respond(operation, result, _BODY)


def fail(
    service_model: ServiceModel,
    shape: Any | None,
    code: str,
    message: str,
    members: Mapping[str, Any],
    status: int,
) -> Response:
    """An error: S3's bare ``<Error>`` with any further members inside, others' ``<ErrorResponse>``.

    ``RequestId`` and ``HostId`` among the members go where each form has them.
    """
    headers = [("Content-Type", "application/xml")]
    rest_members = dict(members)
    request_id = str(rest_members.pop("RequestId", ""))
    if shape is not None:
        where = answer_places(shape)
        headers += write_headers(where, members)
        for member in where.header:
            rest_members.pop(member.name, None)
    wire_code = shape.error_code if shape is not None else code
    inside = [f"<Code>{xml_body.escape(str(wire_code))}</Code><Message>{xml_body.escape(message)}</Message>"]
    write_error_members(inside, shape, rest_members)
    content = "".join(inside)
    if _is_s3(service_model):
        text = f"{_PROLOG}<Error>{content}<RequestId>{xml_body.escape(request_id)}</RequestId></Error>"
    else:
        space = xml_body.namespace(service_model.metadata.get("xmlNamespace"))
        text = (
            f"{_PROLOG}<ErrorResponse{space}><Error><Type>{fault(shape, status)}</Type>{content}</Error>"
            f"<RequestId>{xml_body.escape(request_id)}</RequestId></ErrorResponse>"
        )
    return Response(status, headers, text.encode())


def write_error_members(out: list[str], shape: Any | None, members: Mapping[str, Any]) -> None:
    """Append an error's members: the modelled ones by their shapes, any others (S3's ``Resource``) as plain text."""
    known = dict(shape.members) if shape is not None else {}
    skip = {message_member(shape), "Code", "Message", "message"}
    modelled = {name: value for name, value in members.items() if name in known and name not in skip}
    if shape is not None:
        xml_body.write_members(out, shape, modelled)
    for name, value in members.items():
        if name not in known and name not in skip and value is not None:
            if not name.isidentifier():
                raise SerializationError(f"Not an element name: {name!r:.60}")
            out.append(f"<{name}>{xml_body.escape(str(value))}</{name}>")
