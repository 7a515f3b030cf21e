"""A front: the data plane of the endpoints that are at home here, on one event loop.

Owns the passage of a request (caps, signature, endpoint, variant, queue) and of a route (file, endpoint, replicas), and the drain.
Does not know how it is started (`app/front.py`), sockets (`process.py`) and the control channel's bytes (`ctl.py`). A broad
`except` stands here, once: a fault of ours costs one request a 500, never the front.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import logging
import os
import time
from collections.abc import Callable, Coroutine

from clary.domain.endpoints.routes import EndpointRoute, EndpointView
from clary.domain.ids import uuid7
from clary.domain.metrics.counts import VariantCounts
from clary.serving import answers, invoke
from clary.serving.asynchronous import timeout_of
from clary.serving.capture import Captures
from clary.serving.endpoint import Endpoint
from clary.serving.gathered import Room
from clary.serving.heads import Heads
from clary.serving.http import Connection
from clary.serving.joins import JoinKey, Joins
from clary.serving.keys import KeyCache, KeyQuestion, SigningKey
from clary.serving.overload import Refused
from clary.serving.prediction import Prediction, Single, TargetPrediction
from clary.serving.questions import TargetQuestions
from clary.serving.queue import Around, Variant
from clary.serving.replicas import Link, Replica
from clary.serving.request import LARGE, Incoming
from clary.serving.routefiles import RouteFiles
from clary.serving.seals import Seals
from clary.serving.sessions import Sessions
from clary.serving.streams import Stream
from clary.wire import sigv4
from clary.wire.autherrors import auth_error
from clary.wire.errors import AuthError

log = logging.getLogger(__name__)

TICK = 0.05  # seconds between looks at deadlines, while anything is in flight
GATHERING = 3.0  # seconds after the start in which workers of the predecessor dial again
SLACK = 1 << 20  # bytes over a limit that are still read, so that the answer can name the real size

EndpointKey = tuple[str, str, str]


class Front:
    """The requests, endpoints and replicas of one process. `max_payload` bounds a body, and `max_answer` an answer that is not streamed,
    where no route says otherwise."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        files: RouteFiles,
        max_payload: int,
        wall: Callable[[], float] = time.time,
        max_answer: int = 25 << 20,
    ) -> None:
        self.loop = loop
        self.draining = False
        self.body_limit = max_payload + SLACK
        self.max_payload = max_payload
        self.max_answer = max_answer
        self._room = Room()
        self.connections: set[Connection] = set()
        self.heads = Heads()
        self.links: set[Link] = set()
        self.endpoints: dict[EndpointKey, Endpoint] = {}
        self.replicas: dict[str, Replica] = {}
        self.keys = KeyCache(lambda question: self.ask(question))
        self.seals = Seals(self.keys)
        self.joins = Joins()
        self.sessions = Sessions(files.folder / "sessions.jsonl", wall)
        self._gathered = time.monotonic() + GATHERING
        self.questions = TargetQuestions()
        self.captures = Captures(files.folder / "captures", loop, wall)
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
        self._tasks: set[asyncio.Task[None]] = set()

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def handle(self, connection: Connection, request: Incoming) -> None:
        """Take a whole request; its answer goes to the connection now or later."""
        try:
            name = invoke.endpoint_name(request.method, request.path)
            if request.oversize:
                raise self._oversize(
                    request.size, self.body_limit - SLACK if self.body_limit > SLACK else self.body_limit
                )
            now = self._wall()
            if request.size >= LARGE and not request.digest:
                self._background(self._digest(connection, request))
                return
            found = self.seals.verify(request, now)
            if found is not None:
                key, region = found
                self._invoke(connection, request, name, region, key, now)
            else:
                self._check(connection, request, name, now)
        except Exception as error:
            self._refuse(connection, error)

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _digest(self, connection: Connection, request: Incoming) -> None:
        """Hash a large body in a thread: here it would hold everybody else up for milliseconds."""
        await self.loop.run_in_executor(None, request.settle)
        self.handle(connection, request)

    def _check(self, connection: Connection, request: Incoming, name: str, now: float) -> None:
        """The long way: a client, a day or a mistake seen for the first time."""
        claim = sigv4.inspect(request)
        if claim is None:
            raise auth_error("missing", "sagemaker", target=False)
        if claim.service != "sagemaker":
            raise auth_error("scope", "sagemaker", target=False, detail="correct service: 'sagemaker'")
        question = KeyQuestion(claim.key_id, claim.token or "", claim.date, claim.region)
        key = self.keys.find(question)
        if key is not None:
            self._verified(connection, request, name, claim, key, now)
            return

        def held(key: SigningKey | None, answered: bool) -> None:
            try:
                if not answered:
                    raise invoke.Refusal(503, "ServiceUnavailable", "Clary's control plane is restarting. Try again.")
                if key is None:
                    raise auth_error("unknown key", "sagemaker", target=False)
                self._verified(connection, request, name, claim, key, now)
            except Exception as error:
                self._refuse(connection, error)

        self.keys.hold(question, held, time.monotonic())
        self._start_ticking()

    def _verified(
        self, connection: Connection, request: Incoming, name: str, claim: sigv4.Claim, key: SigningKey, now: float
    ) -> None:
        # `now` is when the request came, not when its key did: a client's clock is not at fault for a held key
        request.digest = request.digest or hashlib.sha256(request.body).hexdigest()
        sigv4.check(request, claim, key.key, now, body_hash=request.digest)
        self.seals.remember(request, claim, key)
        self._invoke(connection, request, name, claim.region, key, now)

    def _invoke(
        self, connection: Connection, request: Incoming, name: str, region: str, key: SigningKey, now: float
    ) -> None:
        if key.expires is not None and key.expires <= now:
            raise auth_error("expired token", "sagemaker", target=False)
        component = request.headers.get("x-amzn-sagemaker-inference-component")
        route = name if component is None else f"{name}/{component}"
        endpoint = self.endpoints.get((key.account, region, route))
        if endpoint is None:
            base = None if component is None else self.endpoints.get((key.account, region, name))
            raise invoke.nowhere(name, component or "", key.account, None if base is None else base.route.hosting)
        if endpoint.route.hosting:
            raise invoke.component_needed()
        limit = endpoint.route.max_payload if endpoint.route.asynchronous else self.max_payload
        if request.size > limit:
            raise self._oversize(request.size, limit)
        headers = request.headers
        timeout = timeout_of(name, endpoint.route.asynchronous, key, headers)
        read = invoke.passed_streamed if request.path.endswith(invoke.STREAMED) else invoke.passed
        meta, aim = read(name, headers)
        if aim is not None or endpoint.containers:
            invoke.check_container(name, endpoint.containers, aim)
        session = "" if aim is None else aim.session
        pinned = aim is not None and aim.variant != ""
        model = headers.get(invoke.TARGET_MODEL)
        if model is not None and read is invoke.passed:
            prediction: Prediction = TargetPrediction(connection, meta, request.body, pinned, model.lstrip("/"))
        else:
            kind = Stream if read is invoke.passed_streamed else Single if session else Prediction
            prediction = kind(connection, meta, request.body, pinned)
        prediction.timeout = timeout
        if session and isinstance(prediction, Single):
            prediction.session = session
            prediction.heard = functools.partial(self.sessions.told, endpoint.key, session)
        invocation = headers.get("amz-sdk-invocation-id")
        if invocation is not None and self._joined(connection, request, endpoint, invocation, prediction):
            return
        self._offer(endpoint, aim, prediction)

    def _joined(
        self, connection: Connection, request: Incoming, endpoint: Endpoint, invocation: str, prediction: Prediction
    ) -> bool:
        """Whether this is a client's retry, which gets the answer of its earlier attempt; else it becomes the first attempt."""
        join = JoinKey(endpoint.key, request.path, invocation, request.digest)
        kept = self.joins.answer(join, time.monotonic())
        if kept is not None:
            connection.stream = None
            connection.answer(kept)
            return True
        running = self.joins.running.get(join)
        if running is not None:
            running.join(connection, invoke.may_retry(request.headers))
            return True
        prediction.keep = invoke.may_retry(request.headers)
        prediction.settled = self.joins.settled(join)
        self.joins.running[join] = prediction
        return False

    def _offer(self, endpoint: Endpoint, aim: invoke.Aim | None, prediction: Prediction) -> None:
        name = endpoint.route.name
        if aim is not None and aim.session and aim.session != invoke.NEW_SESSION:
            assert isinstance(prediction, Single)
            self._return(endpoint, aim, prediction)
            return
        if aim is None or not (aim.variant or aim.container):
            variant = endpoint.choose()
        else:
            variant = endpoint.aimed(aim.variant, aim.container)
            if variant is None and aim.variant:
                text = f"Variant {aim.variant} of endpoint {name} of account {endpoint.route.account} not found."
                prediction.settle(answers.error(400, "ValidationError", text, self.request_id()), False)
                return
        if variant is not None and variant.names_model != bool(prediction.model):
            prediction.settle(endpoint.mismatch(variant, prediction) or b"", False)
            return
        if variant is not None and aim is not None and aim.session and (variant.passage or variant.names_model):
            what = "its model has several containers" if variant.passage is not None else "it has many models"
            text = f"SessionId is not allowed for endpoint {name}: {what}, of which none could keep a session."
            prediction.settle(answers.error(400, "ValidationError", text, self.request_id()), False)
            return
        if variant is not None and variant.hope and variant.offer(prediction):
            if variant.mirror is not None and not prediction.single:
                variant.mirror.take(prediction)
            return
        self._full(name, variant, prediction)

    def _return(self, endpoint: Endpoint, aim: invoke.Aim, prediction: Single) -> None:
        """A request of a session that was begun before: to the worker that holds it, and to no other."""
        place = self.sessions.find(endpoint.key, aim.session)
        variant = None if place is None else endpoint.variants.get(place.variant)
        if place is not None and variant is not None and aim.variant in ("", variant.route.name):
            worker = variant.seat(place.replica, place.pid)
            if worker is not None:
                if not variant.offer_to(worker, prediction):
                    self._full(endpoint.route.name, variant, prediction)
                return
            if place.replica in variant.replicas and time.monotonic() < self._gathered:
                self.loop.call_later(TICK, self._return, endpoint, aim, prediction)  # it may not have dialled again yet
                return
            self.sessions.close(endpoint.key, aim.session)
        prediction.settle(endpoint.no_session(aim.session), False)

    def _full(self, name: str, variant: Variant | None, prediction: Prediction) -> None:
        if variant is None:
            refused = Refused(503, "ServiceUnavailable", "has no variant with traffic")
        elif "/" in name and not variant.replicas:
            variant.counters.refuse(400)
            prediction.settle(answers.no_copies(self.request_id()), False)
            return
        else:
            refused = variant.turn_away(name)
        text = f"Endpoint {name} {refused.reason}. Try again."
        prediction.settle(answers.error(refused.status, refused.code, text, self.request_id()), False)

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
        self._ticking = bool(self._armed or self.keys.open)
        if self._ticking:
            self.loop.call_later(TICK, self._tick)

    # -- routes -------------------------------------------------------------------------------------------------------------------

    def load(self, here: Callable[[str], bool]) -> None:
        """Take up the routes on disk, as a front that starts does. `here` tells which names are at home."""
        self.sessions.load()
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
                route,
                self.replicas,
                Around(
                    self.request_id,
                    self.loop.call_soon,
                    self.loop.call_later,
                    self.arm,
                    self.max_answer,
                    self.max_payload,
                    self._room,
                ),
                self._tell,
                self.questions,
                self.captures,
            )
        self._set_limit()

    async def drop(self, account: str, region: str, name: str) -> None:
        """Forget an endpoint: running predictions finish, everything later learns that it is not there."""
        endpoint = self.endpoints.pop((account, region, name), None)
        if endpoint is not None:
            endpoint.close()
            self.sessions.drop(endpoint.key)
            self._leaving.append(endpoint)
            self._set_limit()
        await self.loop.run_in_executor(None, self._files.remove, account, region, name)

    def view(self, account: str, region: str, name: str) -> EndpointView | None:
        endpoint = self.endpoints.get((account, region, name))
        return None if endpoint is None else endpoint.view()

    def counts(self) -> list[VariantCounts]:
        """What every variant counted; an endpoint that was dropped is in it until it is idle, and at least once."""
        endpoints = (*self.endpoints.values(), *self._leaving)
        self._leaving = [endpoint for endpoint in self._leaving if endpoint.busy()]
        return [counts for endpoint in endpoints for counts in endpoint.counts()]

    def _set_limit(self) -> None:
        largest = max((endpoint.route.max_payload for endpoint in self.endpoints.values()), default=self.max_payload)
        self.body_limit = max(largest, self.max_payload) + SLACK

    def _tell(self, route: EndpointRoute) -> None:
        self.changed(route)

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
