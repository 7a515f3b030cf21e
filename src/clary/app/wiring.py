"""The control plane put together: one function builds its ports, its loops and its application from the settings.

No other module creates these objects; this one decides nothing.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from clary.api import dispatch, handlers
from clary.api.call import ApiSettings, Ports
from clary.api.errors import translate
from clary.api.identity import Identity
from clary.app import folders, mlflow, proxies, reach, rooms, workloads
from clary.app.capacity_page import CapacityPage
from clary.app.clock import Steps, SystemClock, boot_id
from clary.app.costs import CostsPage
from clary.app.drift import FOLDER as DRIFT
from clary.app.drift import DriftPage
from clary.app.given import Given
from clary.app.jobs import JobLoops
from clary.app.keys import open_keys, tell_fronts
from clary.app.machine import Momentary, measure
from clary.app.metrics_page import MetricsPage
from clary.app.mlflow_door import MlflowDoor
from clary.app.nodes import HeadGate, HeadPorts, keep_door, nodes_page, open_gate, placeable
from clary.app.queues import Queues, World
from clary.app.settings import Settings
from clary.app.watch import Watch
from clary.backends import containers, runtimes
from clary.backends.choice import Members
from clary.backends.node.layout import NodePorts
from clary.domain import extensions
from clary.domain.access.roles import default_role
from clary.domain.attempts import attempt_of
from clary.domain.costs.report import prices
from clary.domain.endpoints import regression
from clary.domain.endpoints.commands import Command as EndpointCommand
from clary.domain.endpoints.commands import SeenEndpoint as EndpointSeen
from clary.domain.endpoints.serverless import Rest
from clary.domain.endpoints.topics import Allowed
from clary.domain.errors import AlreadyExists, ClaryError, NoRoom
from clary.domain.machine.capacity import Book, Machine, fit
from clary.domain.machine.instances import find as find_size
from clary.domain.machine.machines import MachineRow, parse_labels
from clary.loops.core import orphans, upkeep
from clary.loops.core.ledger import Ledger, Places
from clary.loops.core.loop import Loop
from clary.loops.core.machines import Machines
from clary.loops.endpoints import components
from clary.loops.endpoints import subject as endpoints
from clary.loops.endpoints.captures import CapturedFiles
from clary.loops.endpoints.replica_places import ServingSettings
from clary.loops.endpoints.target_models import TargetModels
from clary.loops.endpoints.telemetry import Telemetry, TelemetryPorts
from clary.loops.jobs.places import JobSettings
from clary.objects.client import OwnArtifacts
from clary.objects.external import ExternalArtifacts
from clary.ports import Artifacts, Backend, Clock, Grants, LoopPorts, Store
from clary.serving.client import FrontClient, PlaceModel
from clary.serving.homes import home
from clary.stores import sql
from clary.stores.datapoints import FileDatapoints
from clary.stores.features import open_features
from clary.stores.keys import Keyring
from clary.stores.logs import FileLogs
from clary.wire.asgi import Application, Invocation, Limits
from clary.wire.errors import ServiceError

# Services whose requests are understood; what of them is answered, docs/operations.md says.
SERVICES = (
    "sagemaker",
    "sagemaker-runtime",
    "sagemaker-featurestore-runtime",
    "sagemaker-metrics",
    "application-autoscaling",
    "athena",
    "cloudwatch",
    "ecr",
    "events",
    "glue",
    "iam",
    "lambda",
    "logs",
    "scheduler",
    "sns",
    "sqs",
    "sts",
)


def pages(
    settings: Settings, ports: Ports, book: Callable[[], Book], rows: Callable[[], Sequence[MachineRow]]
) -> DriftPage:
    """The API behind the pages that are read with a key."""
    metrics = MetricsPage(application(settings, ports), ports, settings.metrics_series)
    costs = CostsPage(metrics, ports.store, ports.keys, ports.clock, prices(settings.prices))
    return DriftPage(CapacityPage(costs, ports.keys, book, rows), ports.keys, settings.root / DRIFT)


@dataclass(frozen=True, slots=True)
class Control:
    """A control plane that runs: its ASGI application and the tasks that must not end."""

    application: MlflowDoor
    tasks: tuple[asyncio.Task[Any], ...]


@asynccontextmanager
async def control(settings: Settings, listener: socket.socket | None = None) -> AsyncIterator[Control]:
    """Everything started; ended in the opposite order on the way out. `listener` is where nodes come, where there can be some."""
    clock = SystemClock()
    keys, store = open_keys(settings), records(settings)
    secret = keys.derive(b"asynchronous").hex()
    logs, artifacts = FileLogs(settings.root / "logs"), make_artifacts(settings, keys)
    built = built_runtimes(settings)
    backend = workloads.backend(settings, NodePorts(artifacts, logs, built))
    built.build_in(backend)
    runs: Backend[Any] = backend
    datapoints = FileDatapoints(settings.root / "datapoints", settings.datapoint_disk)
    fronts = front_client(settings, keys, TargetModels(store, artifacts, runs, clock).place, secret)
    await first_role(store, settings.account, clock.now())
    machines = book_of_machines(settings, store, clock, backend.gpus)
    measured = machines.here
    outside = LoopPorts(store, runs, fronts, artifacts, built, logs, datapoints, keys, clock, measured)
    places = Ledger(store, machine_name(), placeable(machines, backend.members))
    owner, served = owner_of(settings), serving_settings(settings)
    all_jobs = JobLoops(outside, job_settings(settings), places)
    endpoint_subject = endpoints.EndpointSubject(outside, served, places)
    component_subject = components.ComponentSubject(outside, served, places, endpoint_subject.models)
    world = World(store, artifacts, datapoints, logs, clock)
    account = Places(places, measured, clock, settings.capacity)
    queues = Queues(settings, world, secret, owner, measured)
    watch = Watch(settings, world, owner, account, fronts, queues.tell)
    sizes = memory_of(settings, measured)
    telemetry = Telemetry(TelemetryPorts(store, fronts, runs, datapoints, clock, sizes, watch.hear, watch.sharing.use))
    steps = Steps(settings.root / "clock.json", clock, boot_id())
    endpoint_loop: Loop[EndpointCommand, EndpointSeen] = Loop(endpoint_subject, store, clock, owner, away=steps.away)
    component_loop: Loop[EndpointCommand, EndpointSeen] = Loop(component_subject, store, clock, owner, away=steps.away)
    living = [*all_jobs.living(), *((each.kind, each.statuses) for each in (endpoint_subject, component_subject))]
    await asyncio.gather(machines.enter(), fronts.start(), backend.take_up(), endpoint_subject.seed(), all_jobs.seed())
    tell_fronts(keys, fronts)
    await orphans.sweep(store, runs, owner, clock.now(), (*living, *rooms.LIVING), places.grants())
    serves = ((endpoint_subject, endpoint_loop), (component_subject, component_loop))
    attached = (*all_jobs.attach(), *(endpoints.attach(subject, loop, outside) for subject, loop in serves))
    undo = (*attached, watch.close, queues.close)
    captured = CapturedFiles(settings.root / "fronts", artifacts, logs, clock, settings.root / DRIFT / "inbox").run()
    chores = (*(upkeep.keep(each, clock) for each in (logs, datapoints)), telemetry.run())
    serving = (endpoint_loop.run(), component_loop.run(), endpoint_subject.models.run())
    loops = (*all_jobs.run(), *serving, steps.keep(), orphans.Leftovers(store, places, living).run(), machines.run())
    handlers.load()
    features = open_features(settings.features_url)
    told = api_settings(settings, keys, measured())
    ports = Ports(store, artifacts, built, logs, datapoints, keys, fronts, clock, queues.topics, features, told)
    given = Given(settings, owner, ports, runs, measured, places, served, endpoint_subject.models)
    gate = node_gate(settings, ports, store, machines, backend.members, keys)
    more = (*rooms.work(given), *node_doors(gate, listener))
    tasks = tuple(asyncio.create_task(work) for work in (*loops, *queues.run(), *watch.run(), *chores, captured, *more))
    try:
        shown = nodes_page(pages(settings, ports, account.book, machines.rows), keys, gate)
        yield Control(mlflow.door(shown, settings, ports), tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in undo:
            each()
        await asyncio.gather(fronts.close(), store.close(), features.close())
        datapoints.close()


def front_client(settings: Settings, keys: Keyring, place: PlaceModel, secret: str) -> FrontClient:
    """This head's fronts."""
    sockets = [str(settings.front_ctl(index)) for index in range(settings.front_count)]
    return FrontClient(sockets, keys, place, secret)


def built_runtimes(settings: Settings) -> runtimes.UvRuntimes:
    """The environments behind image names, built where they are first asked for. They want to be told of the backend that builds."""
    folder, given = str(settings.environments_folder), settings.build_environment()
    engine = containers.find(settings.container_engine)
    return runtimes.create(folder, None, environment=given, names=settings.image_names, engine=engine)


def records(settings: Settings) -> sql.SqlStore:
    """The record store; it does not start again where the folder tells of records."""
    store = sql.open_store(settings.database_url, folders.refusal(settings))
    folders.have_records(settings)
    return store


def memory_of(settings: Settings, measured: Callable[[], Machine]) -> Callable[[str], int]:
    """Bytes that a replica of an instance type gets here; 0 for a type that is not known."""

    def limit(name: str) -> int:
        size = find_size(name)
        return 0 if size is None else fit(size, measured(), settings.capacity).memory

    return limit


def application(settings: Settings, ports: Ports, services: Sequence[str] = SERVICES) -> Application:
    """The API of these services as an ASGI application."""

    async def invoke(invocation: Invocation) -> Mapping[str, Any]:
        return await dispatch.answer(
            ports,
            invocation.service,
            invocation.operation,
            invocation.params,
            account=invocation.principal.account,
            region=invocation.region,
            principal=invocation.principal.principal,
            request_id=invocation.request_id,
            user_agent=invocation.user_agent,
            retry_token=str(invocation.headers.get("amz-sdk-invocation-id", ""))[:128],
            attempt=attempt_of(str(invocation.headers.get("amz-sdk-request", ""))),
        )

    def explain(error: Exception, invocation: Invocation) -> ServiceError | None:
        if isinstance(error, NoRoom) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
            error = no_room(settings)
        if not isinstance(error, ClaryError):
            return None
        code, message, status, members = translate(invocation.service, invocation.operation, error)
        return ServiceError(code, message, status, members)

    return Application(
        tuple(services),
        authenticate=Identity(ports.keys, ports.clock),
        dispatch=invoke,
        translate=explain,
        limits=Limits(),
        extra_values=extensions.VALUES,
    )


def no_room(settings: Settings) -> NoRoom:
    """The error for a client when the disk is full."""
    free = shutil.disk_usage(settings.root).free
    return NoRoom(
        f"There is no room on the disk of {settings.root}: {free >> 20} MiB are free. Nothing was stored; free some space and try again. "
        f"(Objects can be deleted meanwhile. The setting low_water, {settings.low_water >> 20} MiB, is how much objects leave free.)"
    )


def make_artifacts(settings: Settings, keys: Keyring) -> Artifacts:
    """Files from our own object store, or from the S3 that the user named."""
    if settings.s3_endpoint:
        return ExternalArtifacts(
            settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key, settings.s3_region
        )
    return OwnArtifacts(str(settings.objects_socket), keys.derive(b"objects"), settings.account)


def book_of_machines(settings: Settings, store: Store, clock: Clock, gpus: int) -> Machines:
    """The machines that there are, with this one as the operator labelled it."""
    labels = parse_labels(settings.machine_labels)
    measured = partial(measure, gpus, settings.max_jobs, machine_name(), settings.machine_zone, labels)
    return Machines(store, clock, Momentary(measured, clock.monotonic))


def node_doors(gate: HeadGate | None, listener: socket.socket | None) -> tuple[Coroutine[Any, Any, None], ...]:
    """The work of letting nodes in, where there can be some."""
    return () if gate is None or listener is None else (keep_door(gate, listener),)


def node_gate(
    settings: Settings, ports: Ports, grants: Grants, machines: Machines, members: Members | None, keys: Keyring
) -> HeadGate | None:
    """Who lets nodes in; None for a backend that has none."""
    if members is None:
        return None
    head = HeadPorts(ports.store, grants, ports.keys, ports.logs, ports.clock, machines, members)
    return open_gate(settings, head, keys, machine_name())


def machine_name() -> str:
    """What grants call this machine: control planes on it, whatever their folders, give of the same memory."""
    return os.uname().nodename


def owner_of(settings: Settings) -> str:
    """The name in leases: a successor on the same state folder has the same, and goes on at once."""
    return f"{machine_name()}:{settings.root}"


def api_settings(settings: Settings, keys: Keyring, machine: Machine | None) -> ApiSettings:
    return ApiSettings(
        page_key=keys.derive(b"pages"),
        hold_seconds=20.0 if settings.hold_describes else 0.0,
        strict_fields=settings.strict_fields,
        capacity=settings.capacity,
        deadline=settings.deadline,
        rollback_on_regression=regression.rate_of(
            settings.rollback_on_regression, "The setting rollback_on_regression"
        ),
        machine=machine,
        latency_objective=extensions.milliseconds(settings.latency_objective_ms, "The setting latency_objective_ms")
        / 1000,
        scaling_timing=settings.scaling_timing,
        address=settings.public_url or settings.endpoint,
        subscribers=Allowed(settings.subscribers),
        sources=tuple(sorted(settings.sources)),
    )


def job_settings(settings: Settings) -> JobSettings:
    return JobSettings(
        folder=str(settings.root / "jobs"),
        owner=owner_of(settings),
        endpoint=reach.inside(settings),
        policy=settings.capacity,
        slots=settings.max_jobs,
        disk=settings.job_disk,
        kept=settings.kept_jobs,
        sources={name: source["url"] for name, source in settings.sources.items()},
        egress=settings.egress,
        passed=proxies.passed(settings),
        ca_bundle=reach.bundle_text(settings, reach.inside(settings)),
    )


def serving_settings(settings: Settings) -> ServingSettings:
    return ServingSettings(
        home=lambda name: home(name, settings.front_count),
        endpoint=reach.inside(settings),
        ca_bundle=reach.bundle_text(settings, reach.inside(settings)),
        policy=settings.capacity,
        owner=owner_of(settings),
        passed=proxies.passed(settings),
        rest=Rest(settings.serverless_rest, settings.serverless_stop),
    )


async def first_role(store: Store, account: str, now: float) -> None:
    """The role that `clary env` names exists from the first start on."""
    try:
        await store.add(default_role(account, now))
    except AlreadyExists:
        return
