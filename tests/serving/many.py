"""A multi-model replica as tasks: a zygote that obeys LOAD and UNLOAD, and a worker for each model that it was asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.serving.fakes import Bench, FakeReplica, read_frame, until

from clary.domain.endpoints.target_models import Placement, TargetQuestion
from clary.toolkit import frames

HELD = 1000  # bytes that each model is said to hold


@dataclass
class ManyReplica(FakeReplica):
    """Models named `broken...` fail, `slow...` never finish loading. `room` is how many may be loaded at once."""

    room: int = 1000
    loads: list[str] = field(default_factory=list)
    models: dict[int, str] = field(default_factory=dict)
    writer: Any = None

    async def _zygote(self, load: float) -> None:
        while True:
            reader, self.writer = await self._dial("zygote", 1)
            self.say(frames.READY, seconds=load, mode="multi-model", batch=1)
            try:
                while True:
                    kind, _, payload = await read_frame(reader)
                    self.obey(kind, frames.message(payload))
            except (asyncio.IncompleteReadError, ConnectionError):
                self.writer.close()

    def say(self, kind: int, **message: Any) -> None:
        self.writer.write(frames.control(kind, message))

    def obey(self, kind: int, said: dict[str, Any]) -> None:
        if kind == frames.LOAD:
            self.load(str(said["model"]), int(said["copies"]))
        elif kind == frames.UNLOAD:
            self.gone(int(said["pid"]), 0)
        elif kind == frames.KILL:
            self.killed.append(int(said["pid"]))
            self.gone(int(said["pid"]), -9)
        elif kind == frames.DRAIN:
            self.drained.set()

    def load(self, model: str, copies: int) -> None:
        self.loads.append(model)
        if list(self.models.values()).count(model) >= copies:
            return
        if model.startswith("broken"):
            self.say(frames.NOT_LOADED, model=model, status=500, message="ValueError: no weights", over=0)
        elif len(self.models) >= self.room:
            self.say(frames.NOT_LOADED, model=model, status=507, message="no room", over=HELD)
        elif not model.startswith("slow"):
            self.serve(model)

    def serve(self, model: str) -> int:
        pid, self.next_pid = self.next_pid, self.next_pid + 1
        self.models[pid] = model
        self.running[pid] = asyncio.create_task(self._worker(pid))
        return pid

    def gone(self, pid: int, status: int) -> None:
        if self.models.pop(pid, None) is not None:
            self.end(pid)
            self.say(frames.EXITED, pid=pid, status=status)

    def hello(self, role: str, pid: int) -> dict[str, Any]:
        more = {"model": self.models.get(pid, ""), "batch": self.batch, "held": HELD, "seconds": 0.25}
        return {**super().hello(role, pid), **(more if role == "worker" else {})}


class ManyBench(Bench):
    """A front whose control plane has every model but those named `missing...`; while `away` it answers nothing."""

    away = False

    async def __aenter__(self) -> ManyBench:
        await super().__aenter__()
        self.asked: list[TargetQuestion] = []
        self.front.questions.send = self._asked
        return self

    def _asked(self, question: TargetQuestion) -> None:
        self.asked.append(question)
        if not self.away:
            self.front.loop.call_soon(self.front.questions.answer, question, self.placement(question))

    def placement(self, question: TargetQuestion) -> Placement:
        if question.model.startswith("missing"):
            return Placement(refused="Failed to download model data(bucket: b, key: k).")
        return Placement(question.model, 10, 0.5)

    async def many(self, name: str, **more: Any) -> ManyReplica:
        made = ManyReplica(self.workers, name, **more)
        await made.start()
        self.replicas.append(made)
        await until(lambda: self.state(name) == "ready")
        return made

    async def ask(self, model: str, body: bytes = b"1,2", **headers: str) -> Any:
        return await self.invoke(body, **{"X-Amzn-SageMaker-Target-Model": model, **headers})
