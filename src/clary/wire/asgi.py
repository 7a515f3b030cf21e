"""The request path of the control plane, as one list of steps (`Application.STEPS`), and its answers.

Owns: the order of the steps, the limits of a request, the shape of every refusal, the access log. Does not know: what
operations do, where keys are kept, who may do what: those come in as `authenticate` and `dispatch`.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from clary.wire import query, rest_json
from clary.wire.autherrors import READERS_OF_XML, auth_error
from clary.wire.errors import ServiceError, UnknownOperation
from clary.wire.http import Headers, Request, Response
from clary.wire.models import load
from clary.wire.protocol import parse_request, serialize_error, serialize_response, stand_in
from clary.wire.route import Router, action_of, signing_name
from clary.wire.sigv4 import ClaimedIdentity, inspect, named
from clary.wire.validate import ExtraValues, validate

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

T = TypeVar("T")

_log = logging.getLogger("clary.wire")
_access = logging.getLogger("clary.access")
_FORM = "application/x-www-form-urlencoded"
_LONGEST_LOGGED = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be; beyond it the answer says which limit it was."""

    body: int = 8 * 1024 * 1024
    body_seconds: float = 60.0
    path: int = 16 * 1024
    headers: int = 200
    header_bytes: int = 64 * 1024
    query_fields: int = 1000


@dataclass(frozen=True, slots=True)
class Invocation:
    """One authenticated, valid call of an operation. ``principal`` is whatever ``authenticate`` answered."""

    service: str
    operation: str
    params: dict[str, Any]
    principal: Any
    region: str
    request_id: str
    headers: Headers
    operation_model: OperationModel = field(repr=False)

    @property
    def user_agent(self) -> str:
        """The client's own words about itself."""
        return str(self.headers.get("user-agent", ""))


Authenticate = Callable[[Request, ClaimedIdentity], Awaitable[Any]]
Dispatch = Callable[[Invocation], Awaitable[Mapping[str, Any] | None]]
Translate = Callable[[Exception, Invocation], ServiceError | None]


@dataclass(slots=True)
class Exchange:
    """One request on its way through the steps; each step fills in what it finds. `scope` and `receive` are ASGI's: of one that was read
    whole, nothing."""

    method: str
    request_id: str
    started: float
    scope: Scope = field(default_factory=dict)
    receive: Receive | None = None
    request: Request | None = None
    claim: ClaimedIdentity | None = None
    signed_for: str | None = None
    principal: Any = None
    service: str | None = None
    model: ServiceModel | None = None
    unknown: UnknownOperation | None = None
    operation: OperationModel | None = None
    params: dict[str, Any] = field(default_factory=dict)
    invocation: Invocation | None = None
    result: Mapping[str, Any] | None = None
    response: Response | None = None
    close: bool = False
    error: str = ""


Step = Callable[["Application", Exchange], Awaitable[None]]


class Application:
    """An ASGI application that speaks AWS's protocols for some services.

    ``services`` are boto3's names. ``authenticate`` gets the request with its claim and answers a principal, or raises
    AuthError. ``dispatch`` answers the result of an operation, or raises; what it raises is answered when it is a
    ServiceError or ``translate`` makes one of it, and is InternalFailure otherwise. ``hosts`` are the names (without
    port, lower-case) that ``Host`` may have; None lets any one name pass.
    """

    def __init__(
        self,
        services: Sequence[str],
        *,
        authenticate: Authenticate,
        dispatch: Dispatch,
        translate: Translate | None = None,
        limits: Limits | None = None,
        hosts: Collection[str] | None = None,
        extra_values: ExtraValues | None = None,
        exempt: Collection[str] = (),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        lifespan: Callable[[bool], Awaitable[None]] | None = None,
    ) -> None:
        self._models = {name: load(name) for name in services}
        self._router = Router(self._models)
        self._authenticate = authenticate
        self._dispatch = dispatch
        self._translate = translate
        self._limits = limits or Limits()
        self._hosts = None if hosts is None else frozenset(hosts)
        self._extra = extra_values
        self._exempt = exempt
        self._new_id = new_id
        self._lifespan = lifespan

    # -- the path of a request ----------------------------------------------------------------------------------------

    async def admit(self, exchange: Exchange) -> None:
        """Refuse what no good client sends: wrong Host, ambiguous length, too many or too long of anything."""
        pairs = exchange.scope["headers"]
        limits = self._limits
        exchange.close = True  # until the body has been read, a connection is not in a state to be used again
        if len(pairs) > limits.headers or sum(len(name) + len(value) for name, value in pairs) > limits.header_bytes:
            raise ServiceError("RequestHeaderSectionTooLarge", "The request's headers are too large.", 431)
        path = exchange.scope.get("raw_path") or exchange.scope["path"].encode()
        raw_query = exchange.scope.get("query_string", b"")
        self._check_target(len(path) + len(raw_query), raw_query.count(b"&"))
        headers = Headers([(name.decode("latin-1"), value) for name, value in pairs])
        path = path.partition(b"?")[0]
        exchange.request = Request(
            exchange.scope["method"], path.decode("latin-1"), raw_query.decode("latin-1"), headers, b""
        )
        lengths = headers.all("content-length")
        if len(lengths) > 1 or (lengths and "transfer-encoding" in headers):
            raise ServiceError("InvalidRequest", "The length of the request's body is ambiguous.", 400)
        self._check_host(headers.all("host"))

    def _check_target(self, length: int, joints: int) -> None:
        """`length` of path and query, and how many `&` there are."""
        if length > self._limits.path:
            raise ServiceError("RequestUriTooLong", f"The request's URI is longer than {self._limits.path} bytes.", 414)
        if joints >= self._limits.query_fields:
            fields = self._limits.query_fields
            raise ServiceError("InvalidRequest", f"The query has more than {fields} fields.", 400)

    async def admit_whole(self, exchange: Exchange) -> None:
        """The same of a request whose head and body a server of ours has read within its own limits."""
        request = _known(exchange.request)
        self._check_target(len(request.path) + len(request.query), request.query.count("&"))
        self._check_host(request.headers.all("host"))

    def _check_host(self, hosts: list[str]) -> None:
        if len(hosts) != 1 or not hosts[0]:
            raise ServiceError("InvalidRequest", "A request must have exactly one Host.", 400)
        name = hosts[0].lower()
        name = name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]
        if self._hosts is not None and name not in self._hosts:
            raise ServiceError("InvalidRequest", "This Host is not one that is served here.", 421)

    async def read_body(self, exchange: Exchange) -> None:
        """Read the whole body, but no more than the limit, and not for ever."""
        request = _known(exchange.request)
        limit = self._limits.body
        stated = str(request.headers.get("content-length", ""))
        if stated and (not stated.isdecimal() or len(stated) > 18):
            raise ServiceError("InvalidRequest", "Content-Length is not a number.", 400)
        too_large = ServiceError(
            "RequestEntityTooLargeException", f"The request's body is larger than the {limit} bytes allowed here.", 413
        )
        if stated and int(stated) > limit:
            raise too_large
        receive, parts, size = _known(exchange.receive), list[bytes](), 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ServiceError("RequestTimeout", "The client went away before its request was whole.", 400)
                    part = message.get("body", b"")
                    size += len(part)
                    if size > limit:
                        raise too_large
                    parts.append(part)
                    if not message.get("more_body"):
                        break
        except TimeoutError as error:
            raise ServiceError("RequestTimeout", "The request's body did not arrive in time.", 408) from error
        exchange.close = False
        exchange.request = Request(request.method, request.path, request.query, request.headers, b"".join(parts))

    async def find_service(self, exchange: Exchange) -> None:
        """Find the service, so that even a refusal of the signature is in its words and protocol."""
        request = _known(exchange.request)
        exchange.signed_for = named(request)
        try:
            exchange.service = self._router.service_of(request, exchange.signed_for)
            exchange.model = self._models[exchange.service]
        except UnknownOperation as error:
            exchange.unknown = error  # said to those only who may ask at all
        exchange.claim = inspect(request, _words(exchange))

    async def identify(self, exchange: Exchange) -> None:
        """Find out who asks; nobody is let in without a signature over the right scope."""
        request, claim, model = _known(exchange.request), exchange.claim, exchange.model
        target = "x-amz-target" in request.headers
        signing = None if model is None else signing_name(model)
        if claim is None:
            raise auth_error("missing", _words(exchange), target=target)
        if signing is not None and claim.service != signing:
            raise auth_error("scope", signing, target=target, detail=f"correct service: '{signing}'")
        exchange.principal = await self._authenticate(request, claim)

    async def parse(self, exchange: Exchange) -> None:
        """Turn the request into an operation and its parameters."""
        if exchange.unknown is not None:
            raise exchange.unknown
        exchange.operation, exchange.params = parse_request(_known(exchange.model), exchange.request)

    async def check_constraints(self, exchange: Exchange) -> None:
        """Check the model's constraints."""
        validate(_known(exchange.operation), exchange.params, extra_values=self._extra, exempt=self._exempt)

    async def invoke(self, exchange: Exchange) -> None:
        """Have the operation done."""
        request, operation = _known(exchange.request), _known(exchange.operation)
        exchange.invocation = Invocation(
            service=_known(exchange.service),
            operation=operation.name,
            params=exchange.params,
            principal=exchange.principal,
            region=_known(exchange.claim).region,
            request_id=exchange.request_id,
            headers=request.headers,
            operation_model=operation,
        )
        exchange.result = await self._dispatch(exchange.invocation)

    async def answer(self, exchange: Exchange) -> None:
        """Write the result in the protocol of the request."""
        exchange.response = serialize_response(
            _known(exchange.model), _known(exchange.operation), exchange.result, exchange.request_id
        )

    KNOWN = (find_service, identify, parse, check_constraints, invoke, answer)
    STEPS = (admit, read_body, *KNOWN)
    STEPS_OF_WHOLE = (admit_whole, *KNOWN)

    # -- around it ----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection scope."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            return
        exchange = Exchange(scope["method"], self._new_id(), time.perf_counter(), scope, receive)
        await self._go(exchange, self.STEPS)
        await self._send(exchange, send)
        self._log(exchange)

    async def whole(self, request: Request) -> Response:
        """The answer to a request that was read whole, without ASGI."""
        exchange = Exchange(request.method, self._new_id(), time.perf_counter(), request=request)
        await self._go(exchange, self.STEPS_OF_WHOLE)
        self._log(exchange)
        return _known(exchange.response)

    async def _go(self, exchange: Exchange, steps: Sequence[Step]) -> None:
        try:
            for step in steps:
                await step(self, exchange)
        except Exception as error:
            exchange.response = self._refuse(exchange, error)

    def _refuse(self, exchange: Exchange, error: Exception) -> Response:
        """The answer to anything raised on the way. What nobody foresaw is logged in full and told to no one."""
        known = error if isinstance(error, ServiceError) else None
        if known is None and exchange.invocation is not None and self._translate is not None:
            known = self._translate(error, exchange.invocation)
        if known is None:
            _log.error("request %s failed", exchange.request_id, exc_info=error)
            known = ServiceError(
                "InternalFailure", "The request processing has failed because of an unknown error.", 500
            )
        exchange.error = known.code
        try:
            return self._error_response(exchange, known)
        except ServiceError as second:  # members that do not fit: the code and message still do
            _log.error("request %s: %s", exchange.request_id, second, exc_info=second)
            return _plain(exchange, known)

    def _error_response(self, exchange: Exchange, error: ServiceError) -> Response:
        if exchange.model is None or exchange.request is None:
            return _plain(exchange, error)
        operation = exchange.operation or stand_in(exchange.model, exchange.request)
        return serialize_error(
            exchange.model, operation, error.code, error.message, error.members, error.status, exchange.request_id
        )

    async def _send(self, exchange: Exchange, send: Send) -> None:
        response = _known(exchange.response)
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers
        ]
        headers.append((b"content-length", str(len(response.body)).encode()))
        if exchange.close:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _log(self, exchange: Exchange) -> None:
        request, response = exchange.request, exchange.response
        entry = {
            "id": exchange.request_id,
            "method": exchange.method,
            "path": request.path[:_LONGEST_LOGGED] if request else "",
            "service": exchange.service,
            "operation": exchange.operation.name if exchange.operation else None,
            "key": exchange.claim.key_id[:_LONGEST_LOGGED] if exchange.claim else None,
            "region": exchange.claim.region[:_LONGEST_LOGGED] if exchange.claim else None,
            "status": response.status if response else None,
            "error": exchange.error or None,
            "bytes_in": len(request.body) if request else 0,
            "bytes_out": len(response.body) if response else 0,
            "ms": round((time.perf_counter() - exchange.started) * 1000, 3),
            "agent": str(request.headers.get("user-agent", ""))[:_LONGEST_LOGGED] if request else "",
        }
        # JSON escapes whatever could forge a line or move a terminal's cursor.
        _access.info("%s", orjson.dumps(entry).decode())

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            starting = message["type"] == "lifespan.startup"
            if self._lifespan is not None:
                await self._lifespan(starting)
            await send({"type": f"{message['type']}.complete"})
            if not starting:
                return


def _known(value: T | None) -> T:
    """What an earlier step has filled in; that it has is what the order of the steps guarantees."""
    if value is None:
        raise RuntimeError("a step was run before the one it needs")
    return value


def _asks_by_form(request: Request | None) -> bool:
    """Whether it is a form or names an Action; not where what it has cannot be read."""
    try:
        return request is not None and (
            request.headers.get("content-type", "").startswith(_FORM) or action_of(request) is not None
        )
    except ServiceError:
        return False


def _words(exchange: Exchange) -> str | None:
    """The signing name of the service in whose words a request is refused; None: those of most."""
    if exchange.model is not None:
        return signing_name(exchange.model)
    return "sts" if _asks_by_form(exchange.request) else exchange.signed_for


def _plain(exchange: Exchange, error: ServiceError) -> Response:
    """An error for a request whose service is not known: XML for what looks like a query or is
    signed for a service of queries, else JSON for every reader."""
    status = error.status or 400
    model = load("sts")
    form = _asks_by_form(exchange.request) or exchange.signed_for in READERS_OF_XML
    if form:
        members = {"RequestId": exchange.request_id}
        response = query.fail(model, None, error.code, error.message, members, status)
    else:
        members = {"__type": error.code}
        response = rest_json.fail(model, None, error.code, error.message, members, status)
    response.headers.append(("x-amzn-requestid", exchange.request_id))
    return response
