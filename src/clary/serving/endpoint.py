"""An endpoint at its home front: its variants, their turns, and changes from one route to the next.

Owns applying an `EndpointRoute` to what runs: replicas come, drain and leave, queued requests of a variant that went away move to
another. Does not know HTTP, files and the control channel.
"""

from __future__ import annotations

from collections.abc import Callable

from clary.domain.endpoints.async_inference import LARGEST
from clary.domain.endpoints.routes import EndpointRoute, EndpointView, VariantRoute
from clary.domain.metrics.counts import VariantCounts
from clary.serving.answers import NO_SESSION, ModelErrors, error, not_found
from clary.serving.capture import Captures
from clary.serving.elastic import ElasticVariant
from clary.serving.invoke import Refusal
from clary.serving.pipelines import Passage
from clary.serving.questions import TargetQuestions
from clary.serving.queue import Around, Variant
from clary.serving.replicas import Replica
from clary.serving.routing import Shares
from clary.serving.shadow import Mirror
from clary.serving.sleeper import Sleeper
from clary.serving.targets import MultiVariant


class Endpoint:
    """One endpoint. `replicas` is the front's register of replicas by id, which this keeps true for its own."""

    def __init__(
        self,
        route: EndpointRoute,
        replicas: dict[str, Replica],
        around: Around,
        changed: Callable[[EndpointRoute], None],
        questions: TargetQuestions,
        captures: Captures,
    ) -> None:
        self.route = route
        self.key = (route.account, route.region, route.name)
        self.variants: dict[str, Variant] = {}
        self.leaving: list[Variant] = []
        self._replicas = replicas
        self._around = around
        self._changed = changed
        self._questions = questions
        self._captures = captures
        self._shares = Shares({})
        self._aims: dict[tuple[str, str], Shares] = {}
        self.containers: tuple[str, ...] = ()  # by name, where clients name the one they mean
        self.apply(route)

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def choose(self) -> Variant | None:
        """Whose turn the next request is, by weights and the fleets' shares; None when nobody has any."""
        key = self._shares.choose()
        return None if key is None else self.variants[key]

    def aimed(self, name: str, container: str = "") -> Variant | None:
        """The same for a request that names its variant (weights do not count then, the fleets' shares do), its container, or both.
        None: there is none."""
        shares = self._aims.get((name, container))
        key = None if shares is None else shares.choose()
        return None if key is None else self.variants[key]

    def bound(self, name: str, workers: int, lapses: float) -> None:
        """A ceiling of this variant (0: none) until then. Of two fleets that serve it each has its part by workers."""
        parked = [v.parking for v in self.variants.values() if v.route.name == name and v.parking is not None]
        supply = sum(parking.supply for parking in parked)
        for parking in parked:
            parking.bind(workers and max(1, round(workers * parking.supply / supply)), lapses)

    # -- routes -------------------------------------------------------------------------------------------------------------------

    def apply(self, route: EndpointRoute) -> None:
        """Make the route true. Nothing that was let in is refused because of it, except what has nowhere to go."""
        self.route = route
        self.ordinary = _ordinary(route)  # as nearly all are: a request needs no look at the route
        before = self.variants
        self.variants = {}
        for wanted in route.variants:
            variant = before.pop(wanted.key, None)
            if variant is None:
                variant = self._made(wanted)
            variant.route = wanted
            variant.capture = self._captures.of(variant.capture, wanted, self.key)
            self._bound_answers(variant)
            if not wanted.then:
                variant.passage = None
            elif variant.passage is None:
                variant.passage = Passage(variant, self._now, route.name, self._between)
            self.variants[wanted.key] = variant
            self._apply_replicas(variant)
        self._share(route)
        self._mirror()
        for variant in self.variants.values():
            variant.names_model = self._names_model(variant.route)
        for variant in before.values():
            for replica in list(variant.replicas.values()):
                self._retire(variant, replica)
            self.leaving.append(variant)
        self.leaving = [variant for variant in self.leaving if variant.busy()]
        for variant in (*before.values(), *(v for v in self.variants.values() if not v.route.share)):
            self._move(variant)

    def _bound_answers(self, variant: Variant) -> None:
        """How large an answer may be: of an asynchronous endpoint as large as its requests, since it goes to S3; between containers what
        their passage says."""
        route = self.route
        variant.most_answer, variant.answer_setting = self._around.max_answer, "max_answer"
        if route.asynchronous or route.caller:
            variant.most_answer, variant.answer_setting = LARGEST, ""
        elif variant.route.then:
            variant.most_answer, variant.answer_setting = max(self._between(), self._around.max_answer), "max_payload"

    def _between(self) -> int:
        """Bytes that may go from one container to the next: as many as the client's own request may have."""
        return self.route.max_payload if self.route.asynchronous or self.route.caller else self._around.max_payload

    def _made(self, wanted: VariantRoute) -> Variant:
        route = self.route
        errors = ModelErrors(route.account, route.region, route.name, wanted.container)
        if wanted.multi_model:
            return MultiVariant(wanted, errors, self._around, self.key, self._questions)
        if wanted.concurrency or (wanted.sleeps and wanted.boost is None):
            return ElasticVariant(wanted, errors, self._around, lambda: self._changed(self.route))
        return Sleeper(wanted, errors, self._around, lambda: self._changed(self.route))

    def _names_model(self, route: VariantRoute) -> bool:
        """Whether a request to this variant must name a model: for its own container, or for one behind it."""
        after = self.variants.get(route.then)
        return route.multi_model or (after is not None and self._names_model(after.route))

    def _share(self, route: EndpointRoute) -> None:
        entries = [variant for variant in route.variants if variant.entry and not variant.shadow_of]
        self._shares = self._shares.over({v.key: v.weight * v.share for v in entries if not v.direct})
        aims: dict[tuple[str, str], dict[str, float]] = {}
        for variant in entries:
            container = variant.container if variant.direct else ""
            aims.setdefault((variant.name, container), {})[variant.key] = variant.share
            if container:
                aims.setdefault(("", container), {})[variant.key] = variant.weight * variant.share
        self._aims = {aim: self._aims.get(aim, Shares({})).over(shares) for aim, shares in aims.items()}
        self.containers = tuple(dict.fromkeys(v.container for v in entries if v.direct))

    def _mirror(self) -> None:
        """Who copies to whom. A fleet's shadow follows its own variants, so it begins and ends with their share of the traffic."""
        for variant in self.variants.values():
            variant.mirror = None
        for shadow in self.variants.values():
            source = self.variants.get(shadow.route.shadow_of)
            if source is None:
                continue
            if shadow.copies is None:
                shadow.copies = Mirror(shadow, self._around.soon)
            shadow.copies.share = shadow.route.sample
            if shadow.route.sample:
                source.mirror = shadow.copies

    def _now(self, key: str) -> Variant | None:
        return self.variants.get(key)

    def _apply_replicas(self, variant: Variant) -> None:
        wanted = {replica.id: replica for replica in variant.route.replicas}
        for replica in list(variant.replicas.values()):
            if replica.route.id not in wanted:
                self._retire(variant, replica)
        for replica_route in wanted.values():
            known = variant.replicas.get(replica_route.id)
            if known is not None:
                known.update(replica_route)
            else:
                made = variant.replica(replica_route, self.tell)
                variant.replicas[replica_route.id] = made
                self._replicas[replica_route.id] = made
        variant.look()
        variant.pump()

    def _retire(self, variant: Variant, replica: Replica) -> None:
        variant.retire(replica)
        if self._replicas.get(replica.route.id) is replica:
            del self._replicas[replica.route.id]

    def _move(self, old: Variant) -> None:
        """What waits at a variant that takes no work any more goes to the fleet that took over, else to another variant. What a
        pipeline has begun is finished by the fleet that began it."""
        if not old.route.entry:
            if old.route.key not in self.variants:
                old.lost(old.empty())
            return
        container = old.route.container if old.route.direct else ""
        if old.route.shadow_of:
            for copy in old.empty():
                copy.settle(b"", False)
        for prediction in old.empty():
            if prediction.origin:
                prediction.meta, prediction.origin = prediction.origin, b""
            variant = self.aimed(old.route.name, container)
            if variant is None and not prediction.pinned:
                variant = self.aimed("", container) if container else self.choose()
            if variant is None:
                prediction.settle(self.gone(), False)
            elif variant.names_model != bool(prediction.model):
                refusal = self.mismatch(variant)
                prediction.settle(error(refusal.status, refusal.code, refusal.message, refusal.request_id), False)
            else:
                variant.accept(prediction)

    def close(self) -> None:
        """The endpoint was deleted: running predictions finish, queued ones learn that it is gone."""
        for variant in self.variants.values():
            for replica in list(variant.replicas.values()):
                self._retire(variant, replica)
            variant.look()
            for prediction in variant.empty():
                prediction.settle(self.gone(), False)

    def mismatch(self, variant: Variant) -> Refusal:
        """AWS's words for a request that names a model where there is one only, or none where there are many."""
        id_ = self._around.request_id()
        if variant.names_model:
            text = f"Request {id_.decode()} is missing a target model header."
        else:
            text = f"Endpoint {self.route.name} is not a multi-model endpoint and does not support target model header."
        return Refusal(400, "ValidationError", text, id_)

    def gone(self) -> bytes:
        """AWS's answer for an endpoint that is not there."""
        return not_found(self.route.name, self.route.account, self._around.request_id())

    def no_session(self, session: str) -> Refusal:
        """The session that a request names is over, or never was."""
        text = NO_SESSION.format(session=session, endpoint=self.route.name)
        return Refusal(400, "ValidationError", text)

    # -- views --------------------------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """A replica of this endpoint changed."""
        for variant in self.variants.values():
            variant.look()
        self._changed(self.route)

    def busy(self) -> bool:
        return any(v.queue or v.busy() for v in (*self.variants.values(), *self.leaving))

    def counts(self) -> list[VariantCounts]:
        """What each fleet counted, those that leave too."""
        asynchronous = self.route.asynchronous
        return [variant.counts(*self.key, asynchronous) for variant in (*self.variants.values(), *self.leaving)]

    def view(self) -> EndpointView:
        route = self.route
        views = tuple(variant.view() for variant in (*self.variants.values(), *self.leaving))
        return EndpointView(route.account, route.region, route.name, route.revision, views)


def _ordinary(route: EndpointRoute) -> bool:
    """Whether clients call the endpoint itself, and wait for its answers."""
    return not (route.caller or route.hosting or route.asynchronous)
