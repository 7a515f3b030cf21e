"""A front: the data plane of the endpoints that are at home here, on one event loop.

Owns the passage of a request (caps, signature, endpoint, variant, queue) and of a route (file, endpoint, replicas), and the drain.
Refuses to know how it is started (`app/front.py`), sockets (`process.py`) and the control channel's bytes (`ctl.py`). A broad
`except` stands here, once: a fault of ours costs one request a 500, never the front.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Callable

from clary.domain.ids import uuid7
from clary.domain.routes import EndpointRoute, EndpointView
from clary.serving import answers, invoke
from clary.serving.endpoint import Endpoint
from clary.serving.http import Connection, Incoming
from clary.serving.joins import JoinKey, Joins
from clary.serving.keys import KeyCache, KeyQuestion, SigningKey
from clary.serving.prediction import Prediction
from clary.serving.queue import Variant
from clary.serving.replicas import Link, Replica
from clary.serving.routefiles import RouteFiles
from clary.wire import sigv4
from clary.wire.autherrors import auth_error
from clary.wire.errors import AuthError

log = logging.getLogger(__name__)

TICK = 0.05  # seconds between looks at deadlines, while anything is in flight
SLACK = 1 << 20  # bytes over a limit that are still read, so that the answer can name the real size

EndpointKey = tuple[str, str, str]


class Front:
    """The requests, endpoints and replicas of one process. `max_payload` bounds a body where no route says otherwise."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        files: RouteFiles,
        max_payload: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.loop = loop
        self.draining = False
        self.body_limit = max_payload + SLACK
        self.max_payload = max_payload
        self.connections: set[Connection] = set()
        self.links: set[Link] = set()
        self.endpoints: dict[EndpointKey, Endpoint] = {}
        self.replicas: dict[str, Replica] = {}
        self.keys = KeyCache(self._ask)
        self.joins = Joins()
        self.changed: Callable[[EndpointRoute], None] = lambda route: None
        self.ask: Callable[[KeyQuestion], None] = lambda question: None
        self._files = files
        self._wall = wall
        self._armed: set[Variant] = set()
        self._leaving: list[Endpoint] = []
        self._numbers = itertools.count(1)
        self._prefix = b""
        self._fresh_prefix()
        self._ticking = False

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def handle(self, connection: Connection, request: Incoming) -> None:
        """Take a whole request; its answer goes to the connection now or later."""
        try:
            name = invoke.endpoint_name(request.method, request.path)
            if request.oversize:
                raise self._oversize(
                    request.size, self.body_limit - SLACK if self.body_limit > SLACK else self.body_limit
                )
            claim = sigv4.inspect(request)
            if claim is None:
                raise auth_error("missing", "sagemaker", target=False)
            if claim.service != "sagemaker":
                raise auth_error("scope", "sagemaker", target=False, detail="correct service: 'sagemaker'")
            question = KeyQuestion(claim.key_id, claim.token or "", claim.date, claim.region)
            key = self.keys.find(question)
            if key is None:
                self._hold(connection, request, name, claim, question)
            else:
                self._verified(connection, request, name, claim, key)
        except Exception as error:
            self._refuse(connection, error)

    def _hold(
        self, connection: Connection, request: Incoming, name: str, claim: sigv4.Claim, question: KeyQuestion
    ) -> None:
        def held(key: SigningKey | None, answered: bool) -> None:
            try:
                if not answered:
                    raise invoke.Refusal(503, "ServiceUnavailable", "Clary's control plane is restarting. Try again.")
                if key is None:
                    raise auth_error("unknown key", "sagemaker", target=False)
                self._verified(connection, request, name, claim, key)
            except Exception as error:
                self._refuse(connection, error)

        self.keys.hold(question, held, time.monotonic())
        self._start_ticking()

    def _verified(
        self, connection: Connection, request: Incoming, name: str, claim: sigv4.Claim, key: SigningKey
    ) -> None:
        now = self._wall()
        sigv4.check(request, claim, key.key, now)
        if key.expires is not None and key.expires <= now:
            raise auth_error("expired token", "sagemaker", target=False)
        endpoint = self.endpoints.get((key.account, claim.region, name))
        if endpoint is None:
            connection.answer(answers.not_found(name, key.account, self.request_id()))
            return
        if request.size > endpoint.route.max_payload:
            raise self._oversize(request.size, endpoint.route.max_payload)
        wanted = invoke.target(name, request.headers)
        invocation = request.headers.get("amz-sdk-invocation-id")
        if invocation is None:
            self._offer(endpoint, wanted, Prediction(connection, wanted.meta, request.body, wanted.variant is not None))
            return
        join = JoinKey(endpoint.key, invocation.encode("latin-1"), request.size, hash(request.body))
        kept = self.joins.answer(join, time.monotonic())
        if kept is not None:
            connection.answer(kept)
            return
        running = self.joins.running.get(join)
        if running is not None:
            running.keep = invoke.may_retry(request.headers)
            running.waiters = [*(running.waiters or ()), connection]
            return
        prediction = Prediction(connection, wanted.meta, request.body, wanted.variant is not None)
        prediction.keep = invoke.may_retry(request.headers)
        prediction.settled = _Settled(self.joins, join)
        self.joins.running[join] = prediction
        self._offer(endpoint, wanted, prediction)

    def _offer(self, endpoint: Endpoint, wanted: invoke.Target, prediction: Prediction) -> None:
        if wanted.variant is None:
            variant = endpoint.choose()
        else:
            variant = endpoint.variants.get(wanted.variant)
            if variant is None:
                text = (
                    f"Variant {wanted.variant} of endpoint {wanted.name} of account {endpoint.route.account} not found."
                )
                prediction.settle(answers.error(400, "ValidationError", text, self.request_id()), False)
                return
        if variant is None or variant.hopeless():
            reason = "has no variant with traffic" if variant is None else "has no healthy replica at the moment"
        elif variant.offer(prediction):
            return
        else:
            reason = f"has {len(variant.queue)} requests waiting already, and takes no more"
        if variant is not None:
            variant.counters.errors_5xx += 1
        text = f"Endpoint {wanted.name} {reason}. Try again."
        prediction.settle(answers.error(503, "ServiceUnavailable", text, self.request_id()), False)

    def _oversize(self, size: int, limit: int) -> invoke.Refusal:
        text = f"Request {self.request_id().decode()} has oversize body: {size} bytes, and the limit is {limit} (setting max_payload)."
        return invoke.Refusal(400, "ValidationError", text)

    def _refuse(self, connection: Connection, error: Exception) -> None:
        request_id = self.request_id()
        if isinstance(error, invoke.Refusal | AuthError):
            connection.answer(answers.error(error.status or 400, error.code, error.message, request_id))
            return
        log.error("request %s failed", request_id.decode(), exc_info=error)
        connection.answer(
            answers.error(500, "InternalFailure", "The request failed because of an internal error.", request_id)
        )

    def request_id(self) -> bytes:
        """A UUID of version 7 shape: this second, random bits of this process, a count."""
        return b"%b%012x" % (self._prefix, next(self._numbers) & 0xFFFFFFFFFFFF)

    def _fresh_prefix(self) -> None:
        self._prefix = str(uuid7(int(self._wall() * 1000), os.urandom(10)))[:24].encode()

    # -- time ---------------------------------------------------------------------------------------------------------------------

    def arm(self, variant: Variant) -> None:
        """The variant has something that has a deadline."""
        self._armed.add(variant)
        self._start_ticking()

    def _start_ticking(self) -> None:
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        self._armed = {variant for variant in self._armed if variant.expire(now)}
        self.keys.tick(time.monotonic())
        self._fresh_prefix()
        self._leaving = [endpoint for endpoint in self._leaving if endpoint.busy()]
        self._ticking = bool(self._armed or self.keys.open)
        if self._ticking:
            self.loop.call_later(TICK, self._tick)

    # -- routes -------------------------------------------------------------------------------------------------------------------

    def load(self, here: Callable[[str], bool]) -> None:
        """Take up the routes on disk, as a front that starts does. `here` tells which names are at home."""
        for route in self._files.load():
            if here(route.name):
                self._apply(route)

    async def put(self, route: EndpointRoute) -> None:
        """Take a route, unless a newer one is here, and return when it is on disk."""
        key = (route.account, route.region, route.name)
        known = self.endpoints.get(key)
        if known is not None and known.route.revision > route.revision:
            return
        self._apply(route)
        await self.loop.run_in_executor(None, self._files.save, route)

    def _apply(self, route: EndpointRoute) -> None:
        key = (route.account, route.region, route.name)
        known = self.endpoints.get(key)
        if known is not None:
            known.apply(route)
        else:
            self.endpoints[key] = Endpoint(
                route, self.replicas, self.request_id, self.loop.call_soon, self.arm, self._tell
            )
        self._set_limit()

    async def drop(self, account: str, region: str, name: str) -> None:
        """Forget an endpoint: running predictions finish, everything later learns that it is not there."""
        endpoint = self.endpoints.pop((account, region, name), None)
        if endpoint is not None:
            endpoint.close()
            self._leaving.append(endpoint)
            self._set_limit()
        await self.loop.run_in_executor(None, self._files.remove, account, region, name)

    def view(self, account: str, region: str, name: str) -> EndpointView | None:
        endpoint = self.endpoints.get((account, region, name))
        return None if endpoint is None else endpoint.view()

    def _set_limit(self) -> None:
        largest = max((endpoint.route.max_payload for endpoint in self.endpoints.values()), default=self.max_payload)
        self.body_limit = max(largest, self.max_payload) + SLACK

    def _tell(self, route: EndpointRoute) -> None:
        self.changed(route)

    def _ask(self, question: KeyQuestion) -> None:
        self.ask(question)

    # -- replicas -----------------------------------------------------------------------------------------------------------------

    def link(self) -> Link:
        """The protocol of a new connection on the worker socket."""
        return Link(self.loop, self.replicas.get, self.links)

    def connection(self) -> Connection:
        """The protocol of a new connection on the HTTP socket."""
        return Connection(self)

    def greeted(self) -> bool:
        """Whether the zygote of every known replica has dialled."""
        return all(replica.zygote is not None for replica in self.replicas.values())

    def busy(self) -> bool:
        """Whether anything is unanswered."""
        return any(connection.busy for connection in self.connections)

    def redial(self) -> None:
        """Send everybody on the worker socket to the successor. Nothing is in flight."""
        for replica in self.replicas.values():
            replica.redial()


class _Settled:
    """Moves a prediction from the running ones to the kept answers."""

    __slots__ = ("_join", "_joins")

    def __init__(self, joins: Joins, join: JoinKey) -> None:
        self._joins = joins
        self._join = join

    def __call__(self, prediction: Prediction, response: bytes, modelled: bool) -> None:
        self._joins.running.pop(self._join, None)
        if modelled:
            self._joins.keep(self._join, response, time.monotonic())
