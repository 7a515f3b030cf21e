"""A front: the data plane of the endpoints that are at home here, on one event loop.

Owns the path of a request as one list of steps (`Front.STEPS`), the shape of every refusal on it, the passage of a route (file,
endpoint, replicas), and the drain. Does not know how it is started (`app/front.py`), sockets (`process.py`) and the control channel's
bytes (`ctl.py`). A broad `except` stands here, once: a fault of ours costs one request a 500, never the front.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import itertools
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence

from clary.domain.endpoints.routes import EndpointRoute, EndpointView
from clary.domain.ids import uuid7
from clary.domain.metrics.counts import VariantCounts
from clary.serving import answers, invoke
from clary.serving.asynchronous import TIMEOUT_HEADER, timeout_of
from clary.serving.capture import Captures
from clary.serving.endpoint import Endpoint
from clary.serving.gathered import GatherRoom
from clary.serving.heads import Heads
from clary.serving.http import Connection
from clary.serving.joins import JoinKey, Joins
from clary.serving.keys import KeyCache, KeyQuestion, SigningKey
from clary.serving.overload import TurnedAway
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


class InvokeCall:
    """One request on its way through the steps; each step fills in what it finds."""

    __slots__ = ("aim", "claim", "connection", "endpoint", "key", "name", "now", "prediction", "region", "request")

    name: str
    claim: sigv4.ClaimedIdentity  # of one that no seal knows
    key: SigningKey
    region: str
    endpoint: Endpoint
    aim: invoke.Aim | None

    def __init__(self, connection: Connection, request: Incoming, now: float) -> None:
        self.connection = connection
        self.request = request
        self.now = now
        self.prediction: Prediction | None = None


Steps = Sequence[Callable[["Front", InvokeCall], bool]]  # each says whether the request is answered, or waits


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
        self._room = GatherRoom()
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
        # `now` is when the request came, not when its key did: a client's clock is not at fault for a held key
        self._run(
            InvokeCall(connection, request, self._wall()), self.STEPS if connection.caller is None else self.CALLED
        )

    def _run(self, call: InvokeCall, steps: Steps) -> None:
        """Take the request through these steps, until one answers it or has it wait."""
        try:
            for step in steps:
                if step(self, call):
                    return
        except Exception as error:
            self._refuse(call, error)

    def admit(self, call: InvokeCall) -> bool:
        """Refuse what is no invocation and what is too large; have a large body hashed in a thread first."""
        request = call.request
        call.name = invoke.endpoint_name(request.method, request.path)
        if request.oversize:
            raise self._oversize(request.size, self.body_limit - SLACK if self.body_limit > SLACK else self.body_limit)
        if request.size >= LARGE and not request.digest:
            self._background(self._digest(call))
            return True
        return False

    def identify(self, call: InvokeCall) -> bool:
        """Find the key that signed the request. A client, a day or a mistake seen for the first time goes the long way."""
        found = self.seals.verify(call.request, call.now)
        if found is not None:
            call.key, call.region = found
            return False
        claim = sigv4.inspect(call.request)
        if claim is None:
            raise auth_error("missing", "sagemaker", target=False)
        if claim.service != "sagemaker":
            raise auth_error("scope", "sagemaker", target=False, detail="correct service: 'sagemaker'")
        call.claim = claim
        question = KeyQuestion(claim.key_id, claim.token or "", claim.date, claim.region)
        key = self.keys.find(question)
        if key is None:
            self.keys.hold(question, functools.partial(self._told_key, call), time.monotonic())
            self._start_ticking()
            return True
        call.key = key
        return self.verify(call)

    def verify(self, call: InvokeCall) -> bool:
        """Check the signature, where no seal did."""
        request, claim = call.request, call.claim
        request.digest = request.digest or hashlib.sha256(request.body).hexdigest()
        sigv4.check(request, claim, call.key.key, call.now, body_hash=request.digest)
        self.seals.remember(request, claim, call.key)
        call.region = claim.region
        return False

    def find_endpoint(self, call: InvokeCall) -> bool:
        """Find the endpoint of the key's account, or the component of it, that the request names; the key must be good still."""
        name, key, region = call.name, call.key, call.region
        if key.expires is not None and key.expires <= call.now:
            raise auth_error("expired token", "sagemaker", target=False)
        component = call.request.headers.get("x-amzn-sagemaker-inference-component")
        route = name if component is None else f"{name}/{component}"
        endpoint = self.endpoints.get((key.account, region, route))
        limit = self.max_payload
        if endpoint is None or not endpoint.ordinary:
            if endpoint is None or endpoint.route.caller:
                base = None if component is None else self.endpoints.get((key.account, region, name))
                raise invoke.nowhere(name, component or "", key.account, None if base is None else base.route.hosting)
            if endpoint.route.hosting:
                raise invoke.component_needed()
            limit = endpoint.route.max_payload
        if call.request.size > limit:
            raise self._oversize(call.request.size, limit)
        call.endpoint = endpoint
        return False

    def read(self, call: InvokeCall) -> bool:
        """Read from the headers what the model gets and what the request aims at: now it is a prediction."""
        endpoint, request, connection = call.endpoint, call.request, call.connection
        headers, body = request.headers, request.body
        timeout = timeout_of(call.name, not endpoint.ordinary, call.key, headers)
        streamed = request.path.endswith(invoke.STREAMED)
        if streamed:
            meta, aim = invoke.passed_streamed(call.name, headers, endpoint.route.explains)
        else:
            meta, aim = invoke.passed(call.name, headers, endpoint.route.explains)
        call.aim = aim
        if aim is not None or endpoint.containers:
            invoke.check_container(call.name, endpoint.containers, aim)
        session, pinned = ("", False) if aim is None else (aim.session, aim.variant != "")
        model = headers.get(invoke.TARGET_MODEL)
        prediction: Prediction
        if model is not None and not streamed:
            prediction = TargetPrediction(connection, meta, body, pinned, model.lstrip("/"))
        elif streamed or session:
            prediction = single = (Stream if streamed else Single)(connection, meta, body, pinned)
            if session:
                single.session = session
                single.heard = functools.partial(self.sessions.told, endpoint.key, session)
        else:
            prediction = Prediction(connection, meta, body, pinned)
        prediction.timeout = timeout
        call.prediction = prediction
        return False

    def join(self, call: InvokeCall) -> bool:
        """Give a client's retry the answer of its earlier attempt; any other request is a first attempt, and is remembered."""
        request, connection, prediction = call.request, call.connection, call.prediction
        invocation = request.headers.get("amz-sdk-invocation-id")
        if invocation is None:
            return False
        assert prediction is not None
        join = JoinKey(call.endpoint.key, request.path, invocation, request.digest)
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

    def queue(self, call: InvokeCall) -> bool:
        """Queue the prediction at the variant whose turn it is, or that it aims at; the variant has it answered."""
        endpoint, aim, prediction = call.endpoint, call.aim, call.prediction
        assert prediction is not None
        if aim is None:
            variant = endpoint.choose()
        elif aim.session and aim.session != invoke.NEW_SESSION:
            return self._return(call, aim)
        else:
            variant = self._aimed(endpoint, aim)
        if variant is None:
            raise self._unavailable(endpoint, TurnedAway(503, "ServiceUnavailable", "has no variant with traffic"))
        if variant.names_model != bool(prediction.model):
            raise endpoint.mismatch(variant)
        if aim is not None and aim.session:
            self._check_session(endpoint, variant)
        if not (variant.hope and variant.offer(prediction)):
            raise self._full(endpoint, variant)
        if variant.mirror is not None and not prediction.single:
            variant.mirror.take(prediction)
        return True

    def gather(self, call: InvokeCall) -> bool:
        """Take a request for a private route: see that it is not too large, and have a large body put together in a thread."""
        request, key = call.request, call.connection.caller
        endpoint = None if key is None else self.endpoints.get(key)
        if endpoint is None:
            raise invoke.Refusal(503, "ServiceUnavailable", "The job has no route here at the moment. Try again.")
        if request.oversize or request.size > endpoint.route.max_payload:
            raise self._oversize(request.size, endpoint.route.max_payload)
        call.endpoint = endpoint
        if request.chunks:
            self._background(self._gather(call))
            return True
        return False

    def read_called(self, call: InvokeCall) -> bool:
        """Read what the model gets, and the deadline, from the headers of a request for a private route."""
        headers = call.request.headers
        meta, call.aim = invoke.passed(call.endpoint.route.name, headers)
        call.prediction = Prediction(call.connection, meta, call.request.body, False)
        call.prediction.timeout = float(headers.get(TIMEOUT_HEADER, "0"))
        return False

    STEPS = (admit, identify, find_endpoint, read, join, queue)
    CALLED = (gather, read_called, queue)  # by the process of a job, which proved itself when it greeted
    ONCE_KEY_IS_TOLD = (verify, find_endpoint, read, join, queue)

    # -- what steps need ----------------------------------------------------------------------------------------------------------

    def _background(self, work: Coroutine[None, None, None]) -> None:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _digest(self, call: InvokeCall) -> None:
        """Hash a large body in a thread: here it would hold everybody else up for milliseconds."""
        await self.loop.run_in_executor(None, call.request.settle)
        call.now = self._wall()
        self._run(call, self.STEPS)

    async def _gather(self, call: InvokeCall) -> None:
        await self.loop.run_in_executor(None, call.request.gather)
        self._run(call, self.CALLED)

    def _told_key(self, call: InvokeCall, key: SigningKey | None, answered: bool) -> None:
        """The control plane said which key it is (None: there is no such key), or said nothing for a minute."""
        if not answered:
            text = "Clary's control plane is restarting. Try again."
            self._refuse(call, invoke.Refusal(503, "ServiceUnavailable", text))
        elif key is None:
            self._refuse(call, auth_error("unknown key", "sagemaker", target=False))
        else:
            call.key = key
            self._run(call, self.ONCE_KEY_IS_TOLD)

    @staticmethod
    def _aimed(endpoint: Endpoint, aim: invoke.Aim) -> Variant | None:
        """The variant for a request that says more than most; None: nobody's turn."""
        if not (aim.variant or aim.container):
            return endpoint.choose()
        variant = endpoint.aimed(aim.variant, aim.container)
        if variant is None and aim.variant:
            text = f"Variant {aim.variant} of endpoint {endpoint.route.name} of account {endpoint.route.account} not found."
            raise invoke.Refusal(400, "ValidationError", text)
        return variant

    @staticmethod
    def _check_session(endpoint: Endpoint, variant: Variant) -> None:
        if variant.passage or variant.names_model:
            what = "its model has several containers" if variant.passage is not None else "it has many models"
            text = f"SessionId is not allowed for endpoint {endpoint.route.name}: {what}, of which none could keep a session."
            raise invoke.Refusal(400, "ValidationError", text)

    def _return(self, call: InvokeCall, aim: invoke.Aim) -> bool:
        """Send a request of a session that was begun before to the worker that holds it, and to no other."""
        endpoint, prediction = call.endpoint, call.prediction
        assert isinstance(prediction, Single)
        place = self.sessions.find(endpoint.key, aim.session)
        variant = None if place is None else endpoint.variants.get(place.variant)
        if place is not None and variant is not None and aim.variant in ("", variant.route.name):
            worker = variant.seat(place.replica, place.pid)
            if worker is not None:
                if not variant.offer_to(worker, prediction):
                    raise self._full(endpoint, variant)
                return True
            if place.replica in variant.replicas and time.monotonic() < self._gathered:
                self.loop.call_later(TICK, self._run, call, (Front.queue,))  # it may not have dialled again yet
                return True
            self.sessions.close(endpoint.key, aim.session)
        raise endpoint.no_session(aim.session)

    def _full(self, endpoint: Endpoint, variant: Variant) -> invoke.Refusal:
        """The variant takes no more. It counts that."""
        if "/" in endpoint.route.name and not variant.replicas and not endpoint.route.caller:
            variant.counters.refuse(400)
            return invoke.Refusal(400, "ValidationError", answers.NO_COPIES)
        return self._unavailable(endpoint, variant.turn_away(endpoint.route.name))

    @staticmethod
    def _unavailable(endpoint: Endpoint, refused: TurnedAway) -> invoke.Refusal:
        text = f"Endpoint {endpoint.route.name} {refused.reason}. Try again."
        return invoke.Refusal(refused.status, refused.code, text)

    def _oversize(self, size: int, limit: int) -> invoke.Refusal:
        id_ = self.request_id()
        text = (
            f"Request {id_.decode()} has oversize body: {size} bytes, and the limit is {limit} (setting max_payload)."
        )
        return invoke.Refusal(400, "ValidationError", text, id_)

    def _refuse(self, call: InvokeCall, error: Exception) -> None:
        """The one way to refuse: answer what a step raised to all who wait. What nobody foresaw is logged in full and told to no one."""
        if isinstance(error, invoke.Refusal | AuthError):
            id_ = error.request_id if isinstance(error, invoke.Refusal) else b""
            answer = answers.error(error.status or 400, error.code, error.message, id_ or self.request_id())
        else:
            request_id = self.request_id()
            log.error("request %s failed", request_id.decode(), exc_info=error)
            text = "The request failed because of an internal error."
            answer = answers.error(500, "InternalFailure", text, request_id)
        if call.prediction is None:
            call.connection.answer(answer)
        else:
            call.prediction.settle(answer, False)  # a retry may have joined it

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
        public = (
            endpoint for endpoint in endpoints if not endpoint.route.caller
        )  # a job's requests are none of clients
        return [counts for endpoint in public for counts in endpoint.counts()]

    def _set_limit(self) -> None:
        largest = max((endpoint.route.max_payload for endpoint in self.endpoints.values()), default=self.max_payload)
        self.body_limit = max(largest, self.max_payload) + SLACK

    def _tell(self, route: EndpointRoute) -> None:
        self.changed(route)

    # -- replicas -----------------------------------------------------------------------------------------------------------------

    def link(self) -> Link:
        """The protocol of a new connection on the worker socket."""
        return Link(self.loop, self.replicas.get, self.links, self.called)

    def called(self, hello: dict[str, object]) -> Connection | None:
        """A connection for the process that greets as the caller of a private route; None where it proves nothing."""
        match hello.get("endpoint"):
            case [str(account), str(region), str(name)]:
                endpoint = self.endpoints.get((account, region, name))
            case _:
                return None
        told = hashlib.sha256(str(hello.get("token", "")).encode()).hexdigest()
        if endpoint is None or not endpoint.route.caller or not hmac.compare_digest(told, endpoint.route.caller):
            return None
        return Connection(self, endpoint.key)

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
