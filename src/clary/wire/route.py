"""Which service and which operation a request means.

Owns: the tables made from service models (targets, query actions, RPC paths, methods with path templates) and the order
of the questions: ``X-Amz-Target``, the RPC path, ``Action``, then scope with method and path. Does not know: bodies
beyond ``Action``, credentials beyond the scope's service name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from clary.wire.bindings import query_pairs
from clary.wire.errors import UnknownOperation
from clary.wire.http import Request
from clary.wire.shapes import places

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel

RPC_V2 = "smithy-rpc-v2-cbor"
_VERBS = {"json": ("POST",), RPC_V2: ("POST",), "query": ("POST", "GET")}  # who names its operation asks by these alone
_BEGINNING = 65_536  # bytes of a body in which Action is looked for


class Route(NamedTuple):
    """One operation's place: path segments (None is a label), literal query pairs, and what it must be given."""

    operation: str
    segments: tuple[str | None, ...]
    labels: tuple[str, ...]
    greedy: bool
    literals: tuple[tuple[str, str], ...]
    wanted_query: frozenset[str]
    wanted_headers: frozenset[str]
    deprecated: bool

    @property
    def weight(self) -> tuple[int, bool, int, int, int, bool]:
        """More specific first: literal segments, no greedy label, length, literal queries, what must be given.

        S3 has deprecated operations on the very path of their successors.
        """
        fixed = sum(segment is not None for segment in self.segments)
        needs = len(self.wanted_query) + len(self.wanted_headers)
        return fixed, not self.greedy, len(self.segments), len(self.literals), needs, not self.deprecated


class Match(NamedTuple):
    """The operation found by path, and its labels, still percent-encoded."""

    operation: str
    labels: dict[str, str]


class _Table(NamedTuple):
    targets: dict[str, str]
    actions: dict[str, str]
    routes: dict[str, list[Route]]
    protocols: frozenset[str]


_tables: WeakKeyDictionary[ServiceModel, _Table] = WeakKeyDictionary()


def protocols_of(service_model: ServiceModel) -> list[str]:
    """Every protocol that the model lists."""
    return list(service_model.metadata.get("protocols") or [service_model.metadata["protocol"]])


def name_of(service_model: ServiceModel) -> str | None:
    """The service's name; models made by hand may lack one, and botocore's own attribute then never returns."""
    name = service_model._service_name or service_model.metadata.get("endpointPrefix")
    return None if name is None else str(name)


def signing_name(service_model: ServiceModel) -> str:
    """The service's name in credential scopes."""
    return str(service_model.metadata.get("signingName") or service_model.metadata.get("endpointPrefix"))


def spoken(service_model: ServiceModel, request: Request) -> str:
    """The protocol a request speaks, among those its service knows; the model's preferred one when nothing tells."""
    known = protocols_of(service_model)
    if len(known) == 1:
        return known[0]
    if "json" in known and "x-amz-target" in request.headers:
        return "json"
    if RPC_V2 in known and (request.headers.get("smithy-protocol") == "rpc-v2-cbor" or _rpc_v2(request.path)):
        return RPC_V2
    form = str(request.headers.get("content-type", "")).startswith("application/x-www-form-urlencoded")
    if "query" in known and (form or "Action=" in request.query):
        return "query"
    return str(service_model.resolved_protocol)


def operation_of(service_model: ServiceModel, request: Request, protocol: str) -> tuple[str, dict[str, str]]:
    """The operation's name and its path labels; raises UnknownOperation with what the request called it."""
    table = _table(service_model)
    if request.method not in _VERBS.get(protocol, (request.method,)):
        raise UnknownOperation(f"{request.method} {_called(request)}", name_of(service_model))
    if protocol == "json" and len(table.targets) == 1 and "x-amz-target" not in request.headers:
        return next(iter(table.targets)), {}  # a model of one operation needs no name
    if protocol == "json":
        target = str(request.headers.get("x-amz-target", ""))
        name = table.targets.get(target.rpartition(".")[2])
        if name is None:
            raise UnknownOperation(target or f"{request.method} {request.path:.200}", name_of(service_model))
        return name, {}
    if protocol == RPC_V2:
        parts = _rpc_v2(request.path)
        name = table.targets.get(parts[1]) if parts else None
        if name is None:
            raise UnknownOperation(parts[1] if parts else request.path[:200], name_of(service_model))
        return name, {}
    if protocol == "query":
        action = action_of(request) or ""
        name = table.actions.get(action)
        if name is None:
            raise UnknownOperation(action or f"{request.method} {request.path:.200}", name_of(service_model))
        return name, {}
    match = match_path(service_model, request)
    return match.operation, match.labels


def match_path(service_model: ServiceModel, request: Request) -> Match:
    """The operation of a rest service by method, path, literal query and required query and header members."""
    routes = _table(service_model).routes.get(request.method, ())
    segments = request.path.split("/")[1:] if request.path.startswith("/") else request.path.split("/")
    query = dict(_cached_pairs(request.query)) if request.query else {}
    fallback: Match | None = None
    for route in routes:
        labels = _fit(route, segments)
        if labels is None or any(query.get(name) != value for name, value in route.literals):
            continue
        if route.wanted_query <= query.keys() and all(name in request.headers for name in route.wanted_headers):
            return Match(route.operation, labels)
        # Nothing asks for less: let validation tell what is missing rather than "no such operation".
        fallback = Match(route.operation, labels)
    if fallback is None:
        raise UnknownOperation(f"{request.method} {request.path:.200}", name_of(service_model))
    return fallback


@lru_cache(maxsize=4096)
def _cached_pairs(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(query_pairs(query))


def _fit(route: Route, segments: list[str]) -> dict[str, str] | None:
    wanted = route.segments
    count = len(wanted)
    if len(segments) < count:
        return None
    # A trailing slash after the last segment names the same thing ("/bucket/").
    slash = len(segments) == count + 1 and not segments[-1] and bool(segments[-2])
    if len(segments) > count and not route.greedy and not slash:
        return None
    found: list[str] = []
    last = count - 1
    for at, fixed in enumerate(wanted):
        if fixed is not None:
            if fixed != segments[at]:
                return None
        elif route.greedy and at == last:
            found.append("/".join(segments[at:]))
        else:
            found.append(segments[at])
    if not all(found):
        return None
    return dict(zip(route.labels, found, strict=True))


def action_of(request: Request) -> str | None:
    """The ``Action`` of a query request, from its form or its query string."""
    body = _beginning(request)
    at = 7 if body.startswith(b"Action=") else body.find(b"&Action=") + 8
    if at > 7 or body.startswith(b"Action="):
        return body[at:].partition(b"&")[0].decode("latin-1")
    return next((value for name, value in query_pairs(request.query) if name == "Action"), None)


def _called(request: Request) -> str:
    return str(request.headers.get("x-amz-target") or request.path)[:200]


def _beginning(request: Request) -> bytes:
    """The first bytes of a body, inflated where it is compressed (of PutMetricData). What is no gzip tells nothing."""
    body = request.body
    if not body.startswith(b"\x1f\x8b") or "gzip" not in request.headers.get("content-encoding", ""):
        return body[:_BEGINNING]
    try:
        return zlib.decompressobj(31).decompress(body, _BEGINNING)
    except zlib.error:
        return b""


def _rpc_v2(path: str) -> tuple[str, str] | None:
    parts = path.split("/")
    if len(parts) >= 5 and parts[-4] == "service" and parts[-2] == "operation":
        return parts[-3], parts[-1]
    return None


def _table(service_model: ServiceModel) -> _Table:
    table = _tables.get(service_model)
    if table is None:
        table = _tables[service_model] = _compile(service_model)
    return table


def _compile(service_model: ServiceModel) -> _Table:
    names = service_model.operation_names
    known = frozenset(protocols_of(service_model))
    routes: dict[str, list[Route]] = {}
    if any(protocol.startswith("rest-") for protocol in known):
        for name in names:
            operation = service_model.operation_model(name)
            routes.setdefault(operation.http.get("method", "POST"), []).append(_route(operation))
        for group in routes.values():
            group.sort(key=lambda route: route.weight, reverse=True)
    return _Table({name: name for name in names}, {name: name for name in names}, routes, known)


def _route(operation: OperationModel) -> Route:
    path, _, query = str(operation.http.get("requestUri", "/")).partition("?")
    segments: list[str | None] = []
    labels: list[str] = []
    greedy = False
    for part in path.removeprefix("/").split("/"):
        if part.startswith("{") and part.endswith("}"):
            greedy = part.endswith("+}")
            labels.append(part[1:-1].removesuffix("+"))
            segments.append(None)
        else:
            segments.append(part)
    if segments and segments[-1] == "" and len(segments) > 1:
        segments.pop()
    wanted_query, wanted_headers = _must_be_given(operation)
    literals = tuple(query_pairs(query))
    return Route(
        operation.name,
        tuple(segments),
        tuple(labels),
        greedy,
        literals,
        wanted_query,
        wanted_headers,
        bool(operation.deprecated),
    )


def _must_be_given(operation: OperationModel) -> tuple[frozenset[str], frozenset[str]]:
    shape = operation.input_shape
    if shape is None:
        return frozenset(), frozenset()
    found = places(shape)
    required = set(shape.required_members)
    queries = frozenset(member.wire for member in found.query if member.name in required)
    headers = frozenset(member.wire for member in found.header if member.name in required)
    return queries, headers


class Router:
    """Finds the service and operation of a request among several services, many of which may share a signing scope."""

    def __init__(self, services: Mapping[str, ServiceModel]) -> None:
        self._services = dict(services)
        self._only = next(iter(self._services)) if len(self._services) == 1 else None
        self._by_prefix: dict[str, str] = {}
        self._by_scope: dict[str, list[str]] = {}
        self._by_action: dict[tuple[str, str], str] = {}
        for name, model in self._services.items():
            prefix = model.metadata.get("targetPrefix")
            if prefix:
                self._by_prefix[prefix] = name
            self._by_scope.setdefault(signing_name(model), []).append(name)
            if "query" in protocols_of(model):
                for action in model.operation_names:
                    self._by_action.setdefault((action, str(model.metadata.get("apiVersion"))), name)

    def service_of(self, request: Request, scope: str | None) -> str:
        """The service's name; ``scope`` is the service in the credential scope, None where there is none.

        Raises UnknownOperation that carries what the request asked for. Of one service nothing is asked: its operations are looked for when
        the request is read.
        """
        if self._only is not None:
            return self._only
        target = request.headers.get("x-amz-target")
        if target:
            prefix, _, operation = str(target).rpartition(".")
            if prefix not in self._by_prefix:
                raise UnknownOperation(operation or str(target))
            return self._by_prefix[prefix]
        rpc = _rpc_v2(request.path)
        if rpc and rpc[0] in self._by_prefix:
            return self._by_prefix[rpc[0]]
        candidates = self._by_scope.get(scope, []) if scope is not None else list(self._services)
        found = self._by_path(request, candidates) or self._by_action_of(request, candidates)
        if found is None and scope is not None:  # what is signed for another service is told for which it should be
            found = self._by_path(request, self._services) or self._by_action_of(request, self._services)
        found = found or self._by_query(request, candidates)
        if found is None:
            raise UnknownOperation(action_of(request) or f"{request.method} {request.path:.200}", scope)
        return found

    def _by_path(self, request: Request, candidates: Iterable[str]) -> str | None:
        for name in candidates:
            model = self._services[name]
            if _table(model).routes:
                try:
                    match_path(model, request)
                except UnknownOperation:
                    continue
                return name
        return None

    def _by_action_of(self, request: Request, candidates: Iterable[str]) -> str | None:
        """The service that has the request's Action."""
        action = action_of(request)
        if action is None:
            return None
        tables = ((name, _table(self._services[name])) for name in candidates)
        return next((name for name, table in tables if "query" in table.protocols and action in table.actions), None)

    def _by_query(self, request: Request, candidates: Iterable[str]) -> str | None:
        """One that could have it."""
        if action_of(request) is None:
            return None
        return next((name for name in candidates if "query" in _table(self._services[name]).protocols), None)
