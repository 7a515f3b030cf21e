"""Where models of a multi-model variant are loaded: a `Copy` is one model in one replica, a `MultiReplica` a replica of many copies.

Owns the way of a copy from the question for its archive to its processes and back (LOAD, UNLOAD and what the zygote says to them),
and what is unloaded when memory is short: the copy used least recently. Does not know queues and which replica a model goes to
(`targets.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

from clary.domain.endpoints.routes import ReplicaRoute, ReplicaView
from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.serving.questions import TargetQuestions
from clary.serving.replicas import Link, Owner, Replica, Worker
from clary.toolkit import frames

ASKING, LOADING, WAITING = "asking", "loading", "waiting"  # for its archive, for its process, for memory


class Loads:
    """A multi-model variant's loads since the front started: what CloudWatch's model loading metrics are made of, and what is under
    `VariantView.models` and `VariantCounts.models`. `hits` and `misses` (requests that found their model loaded, or not;
    ModelCacheHit), `loads`, `failures`, `unloads`, `waits` (requests that waited for a load that came) and sums of seconds: `waiting`
    (of these requests; ModelLoadingWaitTime), `downloading` (ModelDownloadingTime, of `downloads`), `loading` (ModelLoadingTime, of
    `loads`), `unloading` (ModelUnloadingTime, of `unloads`)."""

    __slots__ = (
        "downloading",
        "downloads",
        "failures",
        "hits",
        "loading",
        "loads",
        "misses",
        "unloading",
        "unloads",
        "waiting",
        "waits",
    )

    def __init__(self) -> None:
        self.hits = self.misses = self.loads = self.failures = self.unloads = self.downloads = self.waits = 0
        self.waiting = self.downloading = self.loading = self.unloading = 0.0

    def counts(self) -> tuple[tuple[str, float], ...]:
        return tuple((name, float(getattr(self, name))) for name in self.__slots__)


class ModelQueue(Owner, Protocol):
    """The queue of one model (`targets.TargetQueue`)."""

    model: str

    @property
    def asked(self) -> bool:
        """Whether anybody waits for this model."""
        ...

    @property
    def live(self) -> bool:
        """Whether some process serves it."""
        ...

    def joined(self, copy: Copy) -> None: ...
    def moved(self, copy: Copy) -> None: ...
    def not_placed(self, copy: Copy, placement: Placement) -> None: ...
    def failed(self, copy: Copy, status: int, text: str) -> None: ...


class Copy(Replica):
    """The processes of one model in one replica. `placing` is how far one more of them is on its way, "" when none is."""

    def __init__(self, home: MultiReplica, target: ModelQueue) -> None:
        super().__init__(home.route, target, self._changed)
        self.home = home
        self.target = target
        self.placing = ""
        self.held = 0  # bytes of one process
        self.leaving: dict[Worker, float] = {}
        self._placement = Placement()
        self._wanted = 1

    @property
    def count(self) -> int:
        """Processes that serve: those that were told to go do not."""
        return len(self.workers) - len(self.leaving)

    @property
    def usable(self) -> bool:
        return self.home.serves

    def speaker(self) -> Link | None:
        return self.home.zygote

    def place(self) -> None:
        """Get one more process: its archive first."""
        self.placing = ASKING
        self._wanted = self.count + 1
        self.home.questions.ask(self._question(), self._placed)

    def _question(self) -> TargetQuestion:
        account, region, endpoint = self.home.endpoint
        return TargetQuestion(account, region, endpoint, self.route.id, self.target.model)

    def _placed(self, placement: Placement) -> None:
        if self.placing != ASKING:
            return
        if placement.refused:
            self.placing = ""
            self.target.not_placed(self, placement)
            return
        self.home.loads.downloads += 1
        self.home.loads.downloading += placement.seconds
        self._placement = placement
        self.load()

    def load(self) -> None:
        """Ask the zygote; also again, after memory was made free or the zygote came back."""
        self.placing = LOADING
        asked = {
            "model": self.target.model,
            "digest": self._placement.digest,
            "size": self._placement.size,
            "copies": self._wanted,
        }
        if self.home.zygote is not None:
            self.home.zygote.send(frames.control(frames.LOAD, asked))

    def joins(self, hello: dict[str, object]) -> None:
        """A process of the model is loaded and greets (`Link` adds it to the workers next)."""
        self.batch = max(1, min(_whole(hello.get("batch")), frames.MAX_COUNT))
        self.held = max(_whole(hello.get("held")), 1)
        if self.placing == LOADING:
            self.home.loads.loads += 1
            seconds = hello.get("seconds")
            self.home.loads.loading += float(seconds) if isinstance(seconds, int | float) else 0.0
        self.placing = ""
        self.target.joined(self)

    def refused(self, status: int, text: str, over: int) -> None:
        """NOT_LOADED. Where memory is short the model waits for others to be unloaded, unless it has a place already."""
        if self.placing != LOADING:
            return
        if over > 0 and not self.target.live:
            self.placing = WAITING
            self.home.make_room(over)
            return
        self.placing = ""
        self.home.loads.failures += 1
        self.target.failed(self, status, text)

    def unload(self, worker: Worker) -> None:
        """Tell an idle process to go."""
        self.idle.remove(worker)
        worker.dismissed = True
        self.leaving[worker] = perf_counter()
        zygote = self.home.zygote
        if zygote is None:
            worker.link.close()
        else:
            zygote.send(frames.control(frames.UNLOAD, {"pid": worker.pid}))

    def given_up(self) -> None:
        """The replica leaves or its zygote is gone: nothing is on its way any more."""
        if self.placing == ASKING:
            self.home.questions.forget(self._question())
        self.placing = ""

    def _changed(self) -> None:
        for worker in [worker for worker in self.leaving if worker not in self.workers]:
            self.home.loads.unloads += 1
            self.home.loads.unloading += perf_counter() - self.leaving.pop(worker)
        if self.home.draining and not self.busy:
            self.home.changed()
        if not self.workers and not self.placing and self.home.copies.get(self.target.model) is self:
            del self.home.copies[self.target.model]
        self.target.moved(self)


class MultiReplica(Replica):
    """A replica whose processes each serve a model. `find` answers the queue of a model."""

    def __init__(
        self,
        route: ReplicaRoute,
        owner: Owner,
        changed: Callable[[], None],
        endpoint: tuple[str, str, str],
        find: Callable[[str], ModelQueue],
        questions: TargetQuestions,
        loads: Loads,
    ) -> None:
        self.copies: dict[str, Copy] = {}
        self.short = 0  # bytes that are still to be freed for those that wait
        super().__init__(route, owner, changed)
        self.endpoint = endpoint
        self.questions = questions
        self.loads = loads
        self._find = find

    @property
    def serves(self) -> bool:
        """Whether a model may be loaded here."""
        return self.loaded and self.zygote is not None and not self.draining and not self.failure

    def copy(self, target: ModelQueue) -> Copy:
        known = self.copies.get(target.model)
        if known is None:
            known = self.copies[target.model] = Copy(self, target)
        return known

    def seat(self, hello: dict[str, object]) -> Replica:
        model = hello.get("model")
        if hello.get("role") == "zygote" or not isinstance(model, str):
            return self
        copy = self.copy(self._find(model))
        copy.joins(hello)
        return copy

    def update(self, route: ReplicaRoute) -> None:
        super().update(route)
        for copy in self.copies.values():
            copy.update(route)

    def state(self) -> str:
        if self.failure:
            return "failed"
        if self.zygote is None:
            return "absent"
        return "ready" if self.loaded else "loading"

    def loaded_models(self) -> int:
        return sum(copy.count > 0 for copy in self.copies.values())

    def in_flight(self) -> int:
        return sum(len(worker.flight) for copy in self.copies.values() for worker in copy.workers)

    def retire(self) -> None:
        super().retire()
        for copy in list(self.copies.values()):
            copy.given_up()
            copy.retire()

    def redial(self) -> None:
        for copy in self.copies.values():
            copy.redial()
        super().redial()

    def view(self) -> ReplicaView:
        workers = [worker for copy in self.copies.values() for worker in copy.workers]
        return ReplicaView(
            id=self.route.id,
            state=self.state(),
            workers=len(workers),
            busy=sum(copy.busy for copy in self.copies.values()),
            in_flight=self.in_flight(),
            failure=self.failure,
            load_seconds=self.load_seconds,
            load_mode=self.load_mode,
        )

    # -- what the zygote says -----------------------------------------------------------------------------------------------------

    def on_zygote(self, kind: int, payload: bytes) -> None:
        said = frames.message(payload)
        if kind == frames.NOT_LOADED:
            copy = self.copies.get(str(said.get("model", "")))
            if copy is not None:
                copy.refused(_whole(said.get("status")), str(said.get("message", "")), _whole(said.get("over")))
        elif kind == frames.FULL:
            self.make_room(_whole(said.get("over")))
        elif kind == frames.EXITED:
            self.room_made()
        else:
            super().on_zygote(kind, payload)
            if kind == frames.READY:
                self._load_again()

    def _load_again(self) -> None:
        """The zygote is there (again): what was asked of it before may be lost. LOAD said twice is done once."""
        for copy in list(self.copies.values()):
            if copy.placing in (LOADING, WAITING):
                copy.load()
        self.owner.pump()

    def zygote_left(self, link: Link) -> None:
        if self.zygote is link:
            for copy in list(self.copies.values()):
                copy.given_up()
        super().zygote_left(link)

    # -- memory -------------------------------------------------------------------------------------------------------------------

    def make_room(self, over: int) -> None:
        """Unload what was used least recently and is asked for by nobody, until `over` bytes will be free. What is busy now goes
        when it is idle (`relieve`)."""
        idle = [(w.since, copy, w) for copy in self.copies.values() if not copy.target.asked for w in copy.idle]
        for _, copy, worker in sorted(idle, key=lambda entry: entry[0]):
            if over <= 0:
                break
            over -= copy.held
            copy.unload(worker)
        self.short = max(over, 0)

    @property
    def starved(self) -> bool:
        """Whether a model waits for memory here."""
        return any(copy.placing == WAITING for copy in self.copies.values())

    def relieve(self) -> None:
        """A process became idle: it may be what makes room."""
        if self.short and self.starved:
            self.make_room(self.short)

    def room_made(self) -> None:
        """A process ended: those that wait for memory ask again."""
        for copy in list(self.copies.values()):
            if copy.placing == WAITING:
                copy.load()


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
