"""The background work of jobs: channels, code, environments, synced folders, results; and its end.

`JobWork` starts each piece under the key of (job, attempt, name), so that nothing is done twice at once, and every piece can be done
again from its beginning. `jobs.py` observes it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clary.domain.errors import Denied, Invalid, NotFound, Unavailable
from clary.domain.features import queries
from clary.domain.jobs import notebook, remote, requirements
from clary.domain.jobs.kinds import spec_of
from clary.domain.jobs.record import Begin, Discard, Work
from clary.domain.machine.workload import Environment, RunState
from clary.domain.resources import Record
from clary.guarded import until_first
from clary.loops.core.tasks import Done, Failed, Running, Tasks
from clary.loops.core.user_code import for_user_code
from clary.loops.jobs import code, figures, places
from clary.loops.jobs.code import code_files
from clary.loops.jobs.datasets import Datasets, executions
from clary.loops.jobs.kept import KeptJobs
from clary.loops.jobs.outputs import Outputs
from clary.loops.jobs.places import JobSettings
from clary.ports import Artifacts, LoopPorts, Runtime
from clary.short_runs import end, found_run

NAMES = ("datasets", "channels", "code", "environment", "syncs", "upload")
OWN_LINE = "[clary] "  # before every line of Clary's own in a job's log
_KILL_SECONDS = 30.0
_AGAIN, _LOOK = 3, 0.5  # times that work on a node is done again, and seconds between looks at one that is away


class JobWork:
    """See the module. One per process; call it from the event loop's thread only."""

    def __init__(self, ports: LoopPorts, settings: JobSettings) -> None:
        self._ports = ports
        self._settings = settings
        self._synced: dict[str, float] = {}  # ARN -> monotonic time of the last sync's begin
        self.tasks = Tasks()
        self._kept = KeptJobs(settings.folder, settings.kept, ports.backend)

    def state(self, record: Record) -> dict[str, Work]:
        """All that was begun for the record's attempt, by name."""
        return {name: work for name in NAMES if (work := self._state(record, name)) is not None}

    def _state(self, record: Record, name: str) -> Work | None:
        state = self.tasks.state(_key(record, name))
        if state is None:
            return None
        if isinstance(state, Done):
            return Work("done", state.result or {})
        if isinstance(state, Failed):
            return Work("failed", message=state.message, client=isinstance(state.error, (Invalid, NotFound, Denied)))
        return Work("running")

    def begin(self, command: Begin, record: Record) -> None:
        self.tasks.start(_key(record, command.name), lambda: self._patient(command, record), record.arn)

    async def lost(self, record: Record) -> str:
        """That the job's node is lost, in words; "" where it is there, or the job is on this machine. Unavailable while nobody can tell."""
        if not places.node(record):
            return ""
        seen = await self._ports.backend.observe(places.key(record, "data"))
        return seen.detail if seen is not None and seen.state is RunState.LOST else ""

    async def _patient(self, command: Begin, record: Record) -> Any:
        """What is done on a node that is away for a moment is done again when it is back: all of it may be repeated."""
        for _ in range(_AGAIN):
            try:
                return await self._coroutine(command, record)
            except Unavailable:
                if not places.node(record) or not await self._back(record):
                    raise
        return await self._coroutine(command, record)

    async def _back(self, record: Record) -> bool:
        """Wait until the job's node is there or lost; whether it is there."""
        while True:
            try:
                return not await self.lost(record)
            except Unavailable:
                await asyncio.sleep(_LOOK)

    def _coroutine(self, command: Begin, record: Record) -> Coroutine[Any, Any, Any]:
        match command.name:
            case "datasets":
                return Datasets(self._ports, self._settings, record, self._progress(record)).place()
            case "channels":
                return self._place_channels(record)
            case "code":
                return self._prepare_code(record)
            case "environment":
                return self._build(record, command.requirements)
            case "syncs":
                return self._outputs(record).restore()
            case "upload":
                return self._upload(record, command.succeeded)
        raise ValueError(f"unknown work: {command.name}")

    # -- what the log says --------------------------------------------------------------------------------------------------------

    def log(self, record: Record, host: str) -> str:
        """The path of the host's log file; the stream is made known."""
        stream = places.stream(record, host)
        return self._ports.logs.open(record.scope, spec_of(record).log_group, stream, self._ports.clock.now())

    def say(self, record: Record, lines: Sequence[str]) -> None:
        """Clary's own lines, in the first host's stream."""
        self.log(record, "algo-1")
        ms = int(self._ports.clock.now() * 1000)
        stream = places.stream(record, "algo-1")
        own = [(ms, OWN_LINE + line) for line in lines]
        self._ports.logs.append(record.scope, spec_of(record).log_group, stream, own)

    def _progress(self, record: Record) -> Callable[[str], None]:
        return lambda line: self.say(record, (line,))

    # -- before the run -----------------------------------------------------------------------------------------------------------

    async def _place_channels(self, record: Record) -> dict[str, Any]:
        """Its data in a run of its own, which is kept until the job has ended."""
        workload = places.data(record)
        if not workload.files:
            return {"copied": [], "objects": {}, "bytes": 0, "synced": True}
        run = await found_run(self._ports.backend, workload)
        if run.exit_code != 0:
            raise Unavailable("laying out the job's data was cut off")
        return places.placed_data(record, run.laid, workload.key)

    async def _prepare_code(self, record: Record) -> dict[str, Any]:
        """See that the user's code is there, opened; answers its requirements, and the folder of the node's that has it."""
        source = spec_of(record).code
        assert source is not None
        began = self._ports.clock.monotonic()
        files = await code_files(self._artifacts(record), record.scope.account, source)
        there = self._ports.backend.at(places.node(record))
        found = await there.model(files.digest)
        if found is None:
            opener = await self._ensured(record, "")
            found = await there.make_model(files, opener, code.SECONDS)
        seconds = round(self._ports.clock.monotonic() - began, 3)
        wanted = requirements.checked(str(found["requirements"]))
        return {"requirements": wanted, "built": seconds, "folder": f"{files.digest}/{code.NAME}"}

    async def see_to_code(self, record: Record) -> None:
        """That the folder which was found for this job is there still, or again: it may have waited long. Invalid where its archive is
        another one by now."""
        folder = record.document["work"].get("code", {}).get("folder", "")
        digest = folder.partition("/")[0]
        if digest and await self._ports.backend.at(places.node(record)).model(digest) is None:
            again = await self._prepare_code(record)
            if again["folder"] != folder:
                raise Invalid(f"{spec_of(record).code} was changed while the job was prepared")

    async def _build(self, record: Record, requirements: str) -> dict[str, Any]:
        return {"built": (await self._built(record, requirements))[1]}

    async def _built(self, record: Record, requirements: str) -> tuple[Environment, float]:
        """An environment of the job's runtime, and the seconds that it took to have it."""
        began = self._ports.clock.monotonic()
        built = await self._ensured(record, requirements)
        return built, round(self._ports.clock.monotonic() - began, 3)

    async def environment(self, record: Record) -> Environment:
        """The environment that was built for the job's attempt. Asked for again, not written down: a state folder may be moved, and
        environments be deleted, while Clary is down."""
        requirements = str(record.document["work"].get("code", {}).get("requirements", ""))
        return await self._ensured(record, requirements)

    async def _ensured(self, record: Record, requirements: str) -> Environment:
        """With what a remote function or a notebook needs besides."""
        runtime, client = self.runtime(record), remote.client_of(spec_of(record))
        if notebook.runs(spec_of(record)):
            requirements = notebook.REQUIREMENTS + requirements
        if client is not None:
            runtime, requirements = replace(runtime, python=client.python), client.requirements + requirements
        return await self._ports.runtimes.ensure(runtime, requirements, self._progress(record))

    def runtime(self, record: Record) -> Runtime:
        spec = spec_of(record)
        runtime = self._ports.runtimes.resolve(spec.image)
        if runtime is None:
            raise Invalid(f"Clary has no runtime for the image {spec.image}.")
        if spec.built_in:
            return runtime
        return for_user_code(self._ports.runtimes, runtime)

    # -- beside and after the run -----------------------------------------------------------------------------------------------

    def _outputs(self, record: Record) -> Outputs:
        return Outputs(self._ports.backend, self._artifacts(record), self._settings, record)

    def _artifacts(self, record: Record) -> Artifacts:
        """What the job's own account may reach."""
        return self._ports.artifacts.of(record.scope.account)

    async def _upload(self, record: Record, succeeded: bool) -> dict[str, Any]:
        key = _key(record, "sync-out")
        await self.tasks.settled(key)  # two syncs at once would mix up their notes
        self.tasks.forget(key)
        built = await self.environment(record) if "environment" in record.document["work"] else None
        stored = await self._outputs(record).upload(built, succeeded, self._ports.clock.now())
        await self._take_figures(record)
        return stored

    async def _take_figures(self, record: Record) -> None:
        """The metrics that a monitoring job's container left, after its reports are stored."""
        if not figures.is_monitoring(record):
            return
        schedule = await self._ports.store.by_arn(str(record.document["parent"]))
        if schedule is None:
            return
        said = await figures.take(
            record, schedule, self._ports.backend, self._ports.datapoints, self._ports.clock.now()
        )
        if said:
            self.say(record, said)

    def sync_due(self, record: Record) -> bool:
        if record.document["phase"] != "training" or not any(sync.running for sync in spec_of(record).syncs):
            return False
        last = self._synced.get(record.arn)
        return last is None or self._ports.clock.monotonic() - last >= self._settings.sync_seconds

    def sync(self, record: Record) -> None:
        """Begin a sync of the synced folders unless one is under way."""
        key = _key(record, "sync-out")
        state = self.tasks.state(key)
        if isinstance(state, Running):
            return
        if isinstance(state, Failed):
            self.say(record, (f"Warning: copying to S3 failed: {state.message}",))
        self.tasks.forget(key)
        self._synced[record.arn] = self._ports.clock.monotonic()
        now = self._ports.clock.now()
        self.tasks.start(key, lambda: self._outputs(record).sync_out(now), record.arn)

    # -- the end ------------------------------------------------------------------------------------------------------------------

    async def discard(self, command: Discard, record: Record) -> None:
        """End what runs of the attempt and remove its folders (`folder`: all of the job's), unless it is kept for a look."""
        prefix = f"{record.arn}#{command.attempt}/"
        self.tasks.forget_all(prefix)
        for name in executions(record, command.attempt):
            await self._cancel(record, name)
        asked = (f"dataset-{query.input}" for query in spec_of(record).queries)
        shorts = (places.key(record, what, command.attempt) for what in ("pack", *asked))
        for handle in shorts:
            await end(self._ports.backend, handle, _KILL_SECONDS)
        # An older Clary had a run of the job's own extract the code. The data is a run's too: the hosts' sandboxes have both as long as
        # they are there.
        run = str(record.document["work"].get("code", {}).get("run", ""))
        data = (places.key(record, "data", command.attempt),) if places.data(record).files else ()
        handles = (*command.handles, *((run,) if run else ()), *data)
        for handle in handles:
            await end(self._ports.backend, handle, _KILL_SECONDS, forget=not command.keep)
        job, at = places.places(self._settings, record).job, places.node(record, command.attempt)
        now = self._ports.clock.now()
        if not (command.keep and command.handles and not at and await self._kept.keep(Path(job), handles, now)):
            for handle in handles if command.keep else ():
                await end(self._ports.backend, handle, _KILL_SECONDS)
            await asyncio.to_thread(shutil.rmtree, str(job if command.folder else job / str(command.attempt)), True)
        if figures.is_monitoring(record):
            await asyncio.to_thread(self._ports.datapoints.unmark, [figures.mark(record)])
        if command.folder:
            self._synced.pop(record.arn, None)

    async def _cancel(self, record: Record, name: str) -> None:
        """A query execution that the job asked for, where it goes on."""

        async def attempt() -> None:
            found = await self._ports.store.get(queries.QUERY, record.scope, name)
            if found is None or found.status not in queries.ACTIVE:
                return
            now = self._ports.clock.now()
            document = {**found.document, "ended": now}
            await self._ports.store.save(replace(found, status=queries.CANCELLED, modified=now, document=document))

        await until_first(attempt, f"The query execution {name}")


def _key(record: Record, name: str) -> str:
    return f"{record.arn}#{record.document['attempt']}/{name}"
