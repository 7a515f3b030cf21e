"""The job loop's hands: observes jobs and carries out what `domain/jobs/life.py` decides.

`JobSubject` plugs into `loop.Loop`. It owns the translation of commands into folders and workloads (`jobs/work.py` has the background
work); it decides nothing. `attach` wires the wake-ups.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clary import untrusted
from clary.domain.access.roles import assumed_arn, parse_role
from clary.domain.decisions import Decision
from clary.domain.errors import ClaryError, Invalid, NotFound, Unavailable
from clary.domain.grants import Grant
from clary.domain.jobs import life, log_metrics, training
from clary.domain.jobs import record as jobs
from clary.domain.jobs.hosts import Host
from clary.domain.jobs.kinds import JOB_KINDS, JobKind, kind_of, spec_of
from clary.domain.jobs.log_metrics import Definitions, Sample
from clary.domain.jobs.record import (
    Announce,
    Begin,
    Command,
    Discard,
    Report,
    Retain,
    Say,
    SeenJob,
    StartHost,
    StopHosts,
    SyncOut,
    Unstartable,
)
from clary.domain.jobs.spec import STOP_GRACE
from clary.domain.machine.capacity import Book, Fit
from clary.domain.machine.grants import of_hosts
from clary.domain.machine.machines import choose
from clary.domain.machine.workload import Observation
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.resources import Record
from clary.loops.core.ledger import Ledger
from clary.loops.core.loop import Loop
from clary.loops.jobs import places
from clary.loops.jobs.places import JobSettings
from clary.loops.jobs.pools import Pools
from clary.loops.jobs.usage import JobUsage
from clary.loops.jobs.work import OWN_LINE, JobWork
from clary.ports import LoopPorts

_READ = 4 << 20  # bytes of log per read
_CHUNKS = 4  # reads per turn of a running job
_SAMPLES = 10_000  # of one turn, beyond which they are thinned
_TAIL = 200  # lines of log that a failure is looked for in
_FAILURE = 4096  # bytes of output/failure that are read
_MESSAGE = 1024  # bytes of output/message that are shown
_LEASE = 30.0


class JobSubject:
    """`loop.Subject` of the jobs of one kind. Those of all kinds share the ledger."""

    statuses = jobs.ACTIVE

    def __init__(self, kind: JobKind, ports: LoopPorts, settings: JobSettings, ledger: Ledger) -> None:
        self.kind = kind.name
        self._ports = ports
        self._settings = settings
        self._ledger = ledger
        self._arns: dict[str, str] = {}  # job id -> ARN, of the active ones
        self._cpu: dict[
            str, tuple[float, float, float | None]
        ] = {}  # ARN -> (monotonic, seconds of CPU, vCPU) at the last look
        self._first = ("", "")  # kind and ARN of the job that waited longest when one was saved last
        self.work = JobWork(ports, settings)
        self._pools = Pools(ports, ledger)
        self.usage = JobUsage(ports.datapoints, ports.clock)

    # -- observe ------------------------------------------------------------------------------------------------------------------

    async def observe(self, record: Record) -> SeenJob:
        self._arns[str(record.document["id"])] = record.arn
        runs: dict[str, Observation | None] = {}
        samples: list[Sample] = []
        offsets: dict[str, int] = {}
        failures: dict[str, tuple[str, tuple[str, ...]]] = {}
        messages: dict[str, str | None] = {}
        lost = await self.work.lost(record)
        if record.document["phase"] == "training" and not lost:
            handles: Mapping[str, str] = record.document["handles"]
            for host, handle in handles.items():
                runs[host] = await self._ports.backend.observe(handle)
            self._weigh(record, [run for run in runs.values() if run is not None])
            self.usage.note(record, runs, places.volume(self._settings, spec_of(record)))
            definitions = self._definitions(record)
            for host in handles if definitions.any else ():
                run = runs[host]
                chunks = _CHUNKS if run is not None and not run.state.is_terminal else None
                found, offsets[host] = await asyncio.to_thread(self._read_log, record, host, definitions, chunks)
                samples += found
            for host, run in runs.items():
                if run is not None and run.state.is_terminal and run.exit_code:
                    failures[host] = await self._failure(record, host)
            messages = await self._messages(record, runs)
        else:
            self._weigh(record, [])
        if record.document["phase"] == "starting" and not self._ledger.ahead(record):
            await self._ledger.look_around()
        return SeenJob(
            book=self._placed(record),
            ahead=self._ledger.ahead(record),
            work=self.work.state(record),
            runs=runs,
            failures=failures,
            samples=tuple(samples),
            offsets=offsets,
            messages=messages,
            sync_due=self.work.sync_due(record),
            lost=lost,
        )

    def _placed(self, record: Record) -> Book:
        """The account of the machine that the job is on, or goes to by the book of machines."""
        policy = self._settings.policy
        offers = self._ledger.offers(self._ports.measure(), policy, self._ports.clock.now())
        if record.document["phase"] != "starting":
            node = places.node(record)
            return next((book for book in offers if book.machine.node and book.machine.name == node), offers[0])
        if not life.portable(record):
            return offers[0]
        chosen = choose(
            offers,
            lambda machine: life.fits_on(record, machine, policy),
            instead=(record.arn,),
            admits=lambda book: life.admits(record, book).granted,
        )
        return chosen or offers[0]

    def _weigh(self, record: Record, runs: Sequence[Observation]) -> None:
        """Tell the ledger what the job uses; CPU since the last look."""
        now, seconds = self._ports.clock.monotonic(), sum(run.cpu_seconds for run in runs)
        before = self._cpu.get(record.arn)
        rate = 0.0 if not runs else None
        if runs and before is not None:
            rate = max(0.0, seconds - before[1]) / (now - before[0]) if now > before[0] else before[2]
        self._cpu[record.arn] = (now, seconds, rate)
        self._ledger.weigh(record.arn, sum(run.memory_bytes for run in runs), rate)

    def decide(self, record: Record, observation: SeenJob, now: float) -> Decision[Command]:
        return life.decide(record, observation, now)

    def absorb(self, record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
        return jobs.absorb(record, outcomes)

    async def seed(self) -> None:
        """At the start, before any is granted a place: know every job that waits, and see that those which were granted one have it, also
        what a Clary started that stored none."""
        now, owned = self._ports.clock.now(), list[Grant]()
        for lease in await self._ports.store.claim(
            self.kind, self._settings.owner, now, _LEASE, self.statuses, 1_000_000
        ):
            self._ledger.note(lease.record)
            owned += self._owed(lease.record)
        await self._ledger.adopt(owned)

    def _owed(self, record: Record) -> tuple[Grant, ...]:
        """The grants that a job has from the end of its wait on."""
        document = record.document
        if document["phase"] == "starting" or "fits" not in document:
            return ()
        by_type = {
            kind: Fit(float(fit["cpu"]), int(fit["memory"]), int(fit["gpus"])) for kind, fit in document["fits"].items()
        }
        fits = [(host.name, by_type[host.instance_type]) for host in spec_of(record).hosts]
        since = float(document.get("run_started") or document.get("started") or record.created)
        return of_hosts(places.node(record) or self._ports.measure().name, record, fits, since)

    def saved(self, record: Record) -> Sequence[str]:
        """A record as it was saved or removed (Store.watch); answers the ARN of the job that may have a place now: the first that waits,
        when it has become that, or when somebody gives a place back."""
        if record.kind not in JOB_KINDS:
            return ()
        self._ledger.note(record)
        ended = record.status not in self.statuses
        if ended:
            self._cpu.pop(record.arn, None)
            self._arns.pop(str(record.document.get("id")), None)
        before, self._first = self._first, self._ledger.first()
        kind, arn = self._first
        return (arn,) if kind == self.kind and (ended or jobs.ending(record) or before != self._first) else ()

    def arn_of(self, handle: str) -> str | None:
        """Whose workload that is. None: none of an active job of this kind."""
        return next((arn for job, arn in self._arns.items() if handle.startswith(f"job-{job}-")), None)

    def _definitions(self, record: Record) -> Definitions:
        spec = spec_of(record)
        runtime = self._ports.runtimes.resolve(spec.image) if spec.built_in else None
        return log_metrics.compile_definitions(spec.metrics, runtime.algorithm if runtime is not None else "")

    def _read_log(
        self, record: Record, host: str, definitions: Definitions, chunks: int | None
    ) -> tuple[list[Sample], int]:
        """The samples that the log grew by, and how far it was read: to its end for a run that has ended, else at most so many
        chunks (a job may write faster than its expressions can be applied). In a thread: RE2 works without the GIL."""
        offset = int(record.document["offsets"].get(host, 0))
        samples: list[Sample] = []
        try:
            path = self._ports.logs.path(record.scope, spec_of(record).log_group, places.stream(record, host))
        except NotFound:  # somebody deleted the stream
            return samples, offset
        while chunks is None or chunks > 0:
            lines, following = self._ports.logs.read(path, offset, _READ)
            samples.extend(definitions.samples(lines))
            if following == offset:
                break
            offset = following
            chunks = None if chunks is None else chunks - 1
        return samples, offset

    async def _failure(self, record: Record, host: str) -> tuple[str, tuple[str, ...]]:
        handle = record.document["handles"][host]
        text = await self._ports.backend.read(handle, "ml", kind_of(record).told, _FAILURE)
        where = (record.scope, spec_of(record).log_group, places.stream(record, host))
        tail = await asyncio.to_thread(self._ports.logs.tail, *where, _TAIL)
        return text, tuple(line for line in tail if not line.startswith(OWN_LINE))

    async def _messages(self, record: Record, runs: Mapping[str, Observation | None]) -> dict[str, str | None]:
        """What the containers of a kind that shows it say of their end, once all of them have ended."""
        if not kind_of(record).exit_message or any(run and not run.state.is_terminal for run in runs.values()):
            return {}
        backend, handles, told = self._ports.backend, record.document["handles"], kind_of(record).told
        return {
            host: untrusted.utf8(await backend.content(handles[host], "ml", told, _MESSAGE), _MESSAGE) for host in runs
        }

    # -- run ----------------------------------------------------------------------------------------------------------------------

    async def run(self, command: Command, record: Record) -> Any:
        match command:
            case Announce():
                self._announce(command, record)
            case Say(lines):
                self.work.say(record, lines)
            case Report(samples):
                await asyncio.to_thread(self._report, record, samples)
            case Begin():
                self.work.begin(command, record)
            case StartHost():
                return await self._start(command, record)
            case StopHosts(handles):
                for handle in handles:
                    await self._ports.backend.stop(handle)
            case SyncOut():
                self.work.sync(record)
            case Retain():
                why = await self._pools.retain(record)
                if why:
                    self.work.say(record, (f"KeepAlivePeriodInSeconds keeps nothing of this job: {why}.",))
            case Discard():
                await self.work.discard(command, record)
        return None

    def _announce(self, command: Announce, record: Record) -> None:
        for host in spec_of(record).hosts:
            self.work.log(record, host.name)
        stream = places.stream(record, "algo-1")
        there = set(self._ports.logs.tail(record.scope, spec_of(record).log_group, stream, _TAIL))
        self.work.say(record, [line for line in command.lines if OWN_LINE + line not in there])

    def _report(self, record: Record, samples: Sequence[Sample]) -> None:
        where, namespace = {kind_of(record).dimension: record.name}, spec_of(record).log_group
        if len(samples) > _SAMPLES:  # a flood: the last of each second tells as much as any chart shows
            samples = list({(sample.name, int(sample.at)): sample for sample in samples}.values())
        self._ports.datapoints.put(
            record.scope,
            [
                Datapoint(Series.of(namespace, sample.name, where), sample.at, single(sample.value), fine=True)
                for sample in samples
            ],
        )

    async def _start(self, command: StartHost, record: Record) -> str | Unstartable:
        host = spec_of(record).host(command.host)
        try:
            await self.work.see_to_code(record)
            workload = places.host_workload(
                record,
                self._settings,
                host,
                self.work.runtime(record),
                await self.work.environment(record),
                await self._data(record, host),
                command.max_runtime,
            )
            if self.kind == training.KIND and not places.node(record) and self._pools.may_have(record):
                workload = replace(workload, standby=await self._pools.take(record))
            plan = self._ports.backend.plan(workload)
            return await self._ports.backend.start(plan, places.secrets(record, self._credentials(record)))
        except ClaryError as error:
            if isinstance(error, Unavailable):
                await self.work.lost(record)  # Unavailable again where its node is away: another turn asks again
            return Unstartable(error.message, client=isinstance(error, Invalid))

    def _credentials(self, record: Record) -> dict[str, str]:
        """Temporary keys of the job's role, for as long as it may run."""
        spec = spec_of(record)
        parsed = parse_role(spec.role)
        principal = assumed_arn(record.scope.account, parsed[2] if parsed else "job", "SageMaker")
        seconds = spec.max_runtime + STOP_GRACE + 3600.0
        issued = self._ports.keys.issue(record.scope.account, principal, seconds, self._ports.clock.now())
        return {
            "AWS_ACCESS_KEY_ID": issued.access_key_id,
            "AWS_SECRET_ACCESS_KEY": issued.secret,
            "AWS_SESSION_TOKEN": issued.session_token,
        }

    async def _data(self, record: Record, host: Host) -> dict[str, str]:
        """See that its synced folders are there; answers the lists of its channels' files, by name."""
        lists = await asyncio.to_thread(self._own_data, record, host)
        for name, files in places.lists_of(record, host).items():
            run = record.document["work"]["channels"]["run"]
            content = await self._ports.backend.content(run, files, "list", places.LIST_LIMIT)
            if len(content) == places.LIST_LIMIT:
                raise Invalid(f"The list of files {name} has more than {places.LIST_LIMIT} bytes.")
            lists[name] = content.decode()
        return lists

    def _own_data(self, record: Record, host: Host) -> dict[str, str]:
        """The same of folders that still are the job's own, and of data that an older Clary placed."""
        where = places.places(self._settings, record)
        for sync in () if places.synced_by_value(record) else spec_of(record).syncs:
            Path(where.sync(host.name, sync.name)).mkdir(parents=True, exist_ok=True)
        lists = Path(where.manifests(host.name))
        return {each.name: each.read_text() for each in (lists.iterdir() if lists.is_dir() else ())}


def attach(subject: JobSubject, loop: Loop[Command, SeenJob], ports: LoopPorts) -> Callable[[], None]:
    """Wire what wakes the job loop: ended processes, ended work, freed places. Answers the way to undo it."""

    def saved(record: Record) -> None:
        for arn in subject.saved(record):
            loop.wake(arn)

    def changed(handle: str) -> None:
        arn = subject.arn_of(handle)
        if arn is not None:
            loop.wake(arn)

    undo = (ports.store.watch(saved), ports.backend.watch(changed), subject.work.tasks.watch(loop.wake))

    def leave() -> None:
        for each in undo:
            each()
        subject.work.tasks.forget_all("")

    return leave
