"""Tuning jobs for the loop: what is seen of their training jobs and of the sampler, and what their commands do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clary.domain.decisions import Decision, Unable
from clary.domain.errors import AlreadyExists, ClaryError, Invalid, NotFound, Unavailable
from clary.domain.jobs import record as jobs
from clary.domain.jobs import training
from clary.domain.resources import Record
from clary.domain.tuning import record as tuning
from clary.domain.tuning import turn
from clary.domain.tuning.record import Command, Halt, Proposal, SeenTuning, Suggest, Tell, Train
from clary.loops.core.loop import Loop
from clary.loops.core.tasks import Done, Failed, Tasks
from clary.ports import ParentPorts, Sampler, Store


class TuningSubject:
    """`loop.Subject` of tuning jobs."""

    kind = tuning.KIND
    statuses = tuning.ACTIVE

    def __init__(self, ports: ParentPorts, sampler: Sampler) -> None:
        self._ports = ports
        self._sampler = sampler
        self._asked: dict[str, str] = {}  # ARN -> key of the point of the study that the sampler was asked at
        self.tasks = Tasks()

    @property
    def busy(self) -> bool:
        """Whether the sampler was asked for a job that goes on."""
        return bool(self._asked)

    async def observe(self, record: Record) -> SeenTuning:
        names = [trial["name"] for trial in tuning.open_trials(record.document)]
        children = {name: await self._child(record, name) for name in names}
        return SeenTuning(children, self._proposal(record.arn))

    async def _child(self, record: Record, name: str) -> Record | None:
        """The training job of that name, if it is this job's own."""
        found = await self._ports.store.get(training.KIND, record.scope, name)
        return found if found is not None and found.document.get("parent") == record.arn else None

    def _proposal(self, arn: str) -> Proposal | Unable | None:
        key = self._asked.get(arn)
        state = self.tasks.state(f"{arn} {key}") if key is not None else None
        if isinstance(state, Done):
            return Proposal(str(key), state.result)
        return Unable(state.message) if isinstance(state, Failed) else None

    def decide(self, record: Record, observation: SeenTuning, now: float) -> Decision[Command]:
        return turn.decide(record, observation, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return tuning.absorb(record, outcomes)

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case Suggest(key, study):
                self._suggest(record.arn, key, study)
            case Train(_, name, params):
                return await self._train(record, name, params)
            case Halt(name):
                await self._halt(record, name)
            case Tell(lines):
                self._tell(record, lines)
        return None

    def _suggest(self, arn: str, key: str, study: Mapping[str, Any]) -> None:
        if self._asked.get(arn) != key:
            self.forget(arn)
            self._asked[arn] = key
        self.tasks.start(f"{arn} {key}", lambda: self._sampler.suggest(study), arn)

    async def _train(self, record: Record, name: str, params: Mapping[str, Any]) -> Unable | None:
        try:
            await self._ports.operations.call("sagemaker", "CreateTrainingJob", params, parent=record, key=name)
        except Unavailable:
            raise  # a part of Clary restarts: the turn is repeated
        except AlreadyExists as error:
            return None if await self._child(record, name) is not None else Unable(error.message)
        except ClaryError as error:
            return Unable(error.message)
        return None

    async def _halt(self, record: Record, name: str) -> None:
        child = await self._child(record, name)
        if child is None or child.status not in jobs.ACTIVE:
            return
        with contextlib.suppress(Invalid, NotFound):  # it ended meanwhile, or was deleted
            await self._ports.operations.call("sagemaker", "StopTrainingJob", {"TrainingJobName": name}, parent=record)

    def _tell(self, record: Record, lines: Sequence[str]) -> None:
        now = self._ports.clock.now()
        self._ports.logs.open(record.scope, tuning.LOG_GROUP, record.name, now)
        self._ports.logs.append(
            record.scope, tuning.LOG_GROUP, record.name, [(int(now * 1000), line) for line in lines]
        )

    def forget(self, arn: str) -> None:
        """Drop what the sampler was asked for that job."""
        key = self._asked.pop(arn, None)
        if key is not None:
            self.tasks.forget(f"{arn} {key}")

    def saved(self, record: Record) -> str | None:
        """A record as it was saved (Store.watch); answers the ARN of the tuning job that has to look at it."""
        if record.kind == self.kind and record.status not in self.statuses:
            self.forget(record.arn)
        if record.kind != training.KIND:
            return None
        parent = str(record.document.get("parent") or "")
        return parent if f":{self.kind}/" in parent else None


def attach(subject: TuningSubject, loop: Loop[Command, SeenTuning], store: Store) -> Callable[[], None]:
    """Wire what wakes the loop: training jobs that changed, suggestions that came. Answers the way to undo it."""

    def saved(record: Record) -> None:
        arn = subject.saved(record)
        if arn is not None:
            loop.wake(arn)

    undo = (store.watch(saved), subject.tasks.watch(loop.wake))

    def leave() -> None:
        for each in undo:
            each()

    return leave
