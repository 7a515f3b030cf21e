"""The doors between the control plane and the world: Protocols only. Every port has one conformance class in `clary.testing`
that each implementation's test inherits. The object store's own, `Index`, is in `object_ports.py`, that of
asynchronous endpoints, `Predictor`, in `prediction_ports.py`.

`Store` records, `Grants` what they have of machines, `Backend` processes, `Fronts` the data plane, `Artifacts` files between the object
store and workloads, `Runtimes` environments behind image names, `Logs` lines, `Datapoints` metrics, `Keys` credentials, `Clock`
time, `Topics` notifications, `Functions` where Lambda functions run, `Operations` the API itself, for records whose loops make children,
`Sampler` hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from clary.domain.endpoints.routes import Ceiling, EndpointRoute, EndpointView
from clary.domain.functions.outcomes import Invoked
from clary.domain.grants import GrantChange, Granted
from clary.domain.logs.lines import PLAIN, LogGroup, LogMatches, LogPage, LogSettings, LogStream
from clary.domain.machine.addresses import Address
from clary.domain.machine.capacity import Machine
from clary.domain.machine.workload import (
    Collected,
    Environment,
    EnvironmentPlace,
    Feature,
    ModelFiles,
    Objects,
    Observation,
    SmallFile,
    Workload,
)
from clary.domain.metrics.counts import Count
from clary.domain.metrics.datapoints import Datapoint, Series, Summary
from clary.domain.resources import Lease, Query, Record, Scope

R = TypeVar("R")


class Clock(Protocol):
    """`now` for records and answers (wall, epoch seconds); `monotonic` for deadlines and intervals."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


class Operations(Protocol):
    """The API as a parent's loop asks it: children are made, described and stopped by the handlers that a client's calls reach."""

    async def call(
        self, service: str, operation: str, params: Mapping[str, Any], *, parent: Record, key: str = ""
    ) -> dict[str, Any]:
        """What the operation answers in the parent's account and region. `params` are JSON values, as a client would send them.

        A Create with a `key` makes its child once: a second call of this parent with the same key is answered as the first was, whatever
        died in between and however long ago. The child's document tells whose it is (`parent`, an ARN). ClaryError for all that a client
        would be told; its message is AWS's."""
        ...


class Sampler(Protocol):
    """Suggests hyperparameters. It keeps nothing that matters: a study carries its seed, its ranges and all that happened
    (`domain/tuning/record.study`), and the same study gets the same suggestion, also after the sampler was killed."""

    async def suggest(self, study: Mapping[str, Any]) -> dict[str, float | int | str]:
        """The next trial's parameters by name. Unavailable when the sampler cannot be built or does not stay alive."""
        ...

    async def importances(self, study: Mapping[str, Any]) -> dict[str, float]:
        """The share of each parameter in how the objective varies, the largest first; {} where too few trials have ended."""
        ...

    async def rest(self) -> None:
        """End the sampler's process, if there is one; the next suggestion starts another."""
        ...


class Store(Protocol):
    """Records. Answered means durable. Reads see every write answered before."""

    async def get(self, kind: str, scope: Scope, name: str) -> Record | None: ...
    async def by_arn(self, arn: str) -> Record | None: ...
    async def made(self, by: str) -> Record | None:
        """The record that was added with this `made_by`."""
        ...

    async def add(self, record: Record, made_by: str = "", alone: str = "") -> Record:
        """Store a new record (version becomes 1). AlreadyExists when (kind, scope, name) is taken, or another record of that kind and scope
        has this value `alone`. Both it and `made_by` are kept as long as the record; the same write makes all durable."""
        ...

    async def save(self, record: Record, lease: Lease | None = None, change: GrantChange | None = None) -> Record:
        """Replace the record when its stored version equals `record.version` (and, if given, the lease is still held);
        answers it with the next version. Stale otherwise. With `change` that is written too, or neither is (see `Grants`)."""
        ...

    async def remove(self, record: Record, lease: Lease | None = None) -> None:
        """Delete under the same guard as `save`."""
        ...

    async def page(self, query: Query) -> list[Record]: ...
    async def count(self, query: Query) -> int: ...
    async def scopes(self, kind: str) -> list[Scope]:
        """Every account and region that has records of the kind."""
        ...

    async def claim(
        self,
        kind: str,
        owner: str,
        now: float,
        lease_seconds: float,
        statuses: Sequence[str],
        limit: int,
        arns: Sequence[str] = (),
    ) -> list[Lease]:
        """Lease up to `limit` records of the kind in any scope and one of these statuses that no other owner holds; with
        `arns`, only those. Longest unclaimed first. Claiming does not change a record's version; an owner's own leases are
        renewed."""
        ...

    async def release(self, lease: Lease) -> None: ...
    def watch(self, listener: Callable[[Record], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after every add, save and remove, with the record as it was written (a removed one: as it was
        last, its version one higher); answers the way to stop. What other stores on the same database wrote is heard within 0.5 s, with
        the record as it is by then: of several writes at least the last one, and after a lost connection every record once."""
        ...

    async def close(self) -> None: ...


class Grants(Protocol):
    """What was given of each machine, for all control planes on one database. Answered means durable. Kept beside the records, so that a
    record and what it takes or gives back are one write (`Store.save`)."""

    async def granted(self, machine: str) -> Granted:
        """All grants of the machine and its version, as of one moment; the oldest first."""
        ...

    async def write(self, change: GrantChange) -> None:
        """All of it in one transaction. Stale, and nothing is written, when it takes something and the machine's version is another one
        by now: read and decide again."""
        ...

    def watch_grants(self, listener: Callable[[GrantChange], None]) -> Callable[[], None]:
        """Call `listener` on the event loop after every write of this store, by itself or with a record; answers the way to stop. What
        other stores wrote is read by `granted`."""
        ...


class Backend(Protocol[R]):
    """Runs workloads. Pure `plan`, idempotent `start` and `stop`, `None` for what it never heard of."""

    name: str
    features: frozenset[Feature]

    def at(self, node: str) -> Backend[Any]:
        """The same on that node alone ("": on the control plane's own machine), for models, which no handle names. Where there is but one
        machine it is the backend itself. Unavailable where there is no such node."""
        ...

    def plan(self, workload: Workload) -> R:
        """The backend's own frozen, printable request. Unschedulable says what is missing."""
        ...

    def address(self, listener: int | str) -> Address:
        """Where a workload dials the front of that number (with `fronts`), or the control plane's own listener of that name (which it
        `dials`). Unschedulable where its sandboxes reach none such."""
        ...

    async def start(self, request: R, secrets: Mapping[str, str] = MappingProxyType({})) -> str:
        """Start it, or find it: the same workload key gives the same handle. The handle is a string that can be stored. `secrets`, which
        no plan shows, are the content of the files that name them; the others are further variables of its environment. Of a workload by
        value it answers at once: `observe` tells the rest. Invalid where its files name a secret that was not given."""
        ...

    async def observe(self, handle: str) -> Observation | None: ...
    async def stop(self, handle: str, grace: float | None = None) -> None:
        """SIGTERM, `grace` (default: the workload's), SIGKILL. Returns at once; observe tells. Idempotent; unknown is fine."""
        ...

    async def resize(self, handle: str, cpu: float, memory: int, burst: float = 0.0) -> None: ...
    async def forget(self, handle: str) -> None:
        """Remove what the backend keeps of an ended run, its files too. Idempotent."""
        ...

    async def read(self, handle: str, files: str, path: str, limit: int) -> str:
        """At most `limit` bytes of a text that a run by value left in its files of that name, invalid UTF-8 replaced; '' when it is not
        there or no regular file. The last lines of its output, without their times, where `files` is ''."""
        ...

    async def write(self, handle: str, files: str, texts: Mapping[str, str]) -> bool:
        """Replace texts (path -> content) in the files of that name of a run that goes on: who reads one there sees the old or the new
        one, whole. A run that is being started gets them then. False for a run that is not there or has ended."""
        ...

    async def place(self, handle: str, files: str, folder: str, objects: Objects, keep: float) -> bool:
        """Put objects into a running run, as a folder of that name in those files: whole, or not at all. Where it is, it stays as it is,
        for `keep` more seconds; others that were put there longer ago are removed. False for a run that does not run. The object store's
        own errors; Unavailable where the disk is at fault."""
        ...

    async def model(self, digest: str) -> Mapping[str, Any] | None:
        """What is in the model of that digest (`domain.models.contents`); None where it is not there whole. It stays ten minutes more."""
        ...

    async def make_model(self, model: ModelFiles, opener: Environment | None, seconds: float) -> Mapping[str, Any]:
        """See that a model is there, for all whose files name it, and answer what is in it; asked again, or at once, it is made once. Its
        archives are opened in a sandbox with the interpreter of `opener`, within `seconds`. Invalid, in words for the user, for what cannot
        be opened; the object store's own errors; Unavailable where we are at fault."""
        ...

    async def keep_models(self, digests: Collection[str]) -> None:
        """Remove all models but these, those of runs that were not forgotten, and those that were asked for in the last ten minutes."""
        ...

    async def content(self, handle: str, files: str, path: str, limit: int) -> bytes:
        """The same of a file, as it is."""
        ...

    async def names(self, handle: str, files: str, path: str) -> tuple[str, ...]:
        """Paths (from `path` on, in order) of the regular files that a run left below that folder. No link is followed."""
        ...

    async def small(self, handle: str, files: str, path: str) -> tuple[SmallFile, ...] | None:
        """All that an ended run left below that folder, by path from there on; () where there is no such folder. None where it may be more
        than a few small files: it holds links or anything else that is neither file nor folder, has more than `SMALL_COUNT` entries or
        `SMALL_BYTES`, cannot be read, or its run goes on or is not known."""
        ...

    async def collect(self, handle: str) -> Mapping[str, Collected]:
        """Store the results of an ended run by value; answers URI -> object of those that it left. It may be repeated. Of a run that goes
        on only those that are `running`; of synced ones what is new or changed. NotFound for a run that was forgotten; the object store's
        own errors."""
        ...

    async def handles(self) -> list[str]:
        """Every run that it knows of, ended ones too: how a successor finds orphans."""
        ...

    def watch(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener(handle)` when a run's state changes (best effort: loops also look by themselves)."""
        ...


class Fronts(Protocol):
    """The data plane as the control plane sees it. All calls are idempotent; unreachable fronts get the news when they are back."""

    async def put(self, route: EndpointRoute) -> None: ...
    async def drop(self, account: str, region: str, name: str) -> None: ...
    async def observe(self, account: str, region: str, name: str) -> EndpointView | None:
        """None: the home front is not reachable, or never heard of it."""
        ...

    async def counts(self) -> Count:
        """What every variant of every front that is reachable has counted so far."""
        ...

    async def bound(self, ceilings: Sequence[Ceiling], seconds: float) -> None:
        """These variants (those with an objective; others have no ceiling) keep to it for so long, unless they are told another one.
        A front that is away is told nothing later: say it again before it lapses."""
        ...

    async def revoke(self, access_key_id: str) -> None: ...
    def watch(self, listener: Callable[[str, str, str], None]) -> Callable[[], None]:
        """Call `listener(account, region, name)` when a replica of that endpoint dialled, became ready, failed or left."""
        ...


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as listed: key, size in bytes, ETag without quotes, Content-Type (may be '' in listings)."""

    key: str
    size: int
    etag: str
    content_type: str = ""


class Artifacts(Protocol):
    """Files between the object store and workload folders. Paths are host paths; never given to user code by name.

    URIs are `s3://bucket/key` (domain code normalises https forms first). Errors: NotFound (bucket or object), Invalid (a key
    that cannot be a file name), Denied (another account's bucket), all in words for the user."""

    def of(self, account: str) -> Artifacts:
        """The same store as that account may use it: a job or model never reaches the buckets of others."""
        ...

    async def find(self, bucket: str, prefix: str, limit: int | None = None) -> list[StoredObject]:
        """Objects whose keys begin so, in the order of their keys' bytes; with `limit` at most so many of them, whichever."""
        ...

    async def exists(self, bucket: str) -> bool: ...
    async def make(self, bucket: str, region: str) -> None:
        """See that the account has the bucket. Denied when it is another's."""
        ...

    async def place(self, bucket: str, keys: Mapping[str, str], folder: str) -> None:
        """Put objects (key -> path relative to `folder`) as read-only files: hard links of blobs when the store is ours on this
        filesystem, copies otherwise. All or nothing."""
        ...

    async def head(self, bucket: str, key: str) -> StoredObject:
        """An object without its content."""
        ...

    async def read(self, bucket: str, key: str, limit: int) -> bytes:
        """A small object's content; Invalid when it is larger than `limit` bytes."""
        ...

    async def store_file(self, path: str, bucket: str, key: str, content_type: str = "", move: bool = False) -> str:
        """Store a file (ETag back). `move` lets the store take the file itself instead of a copy."""
        ...

    async def delete(self, bucket: str, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Runtime:
    """What stands behind an image name. `name` such as "xgboost", "sklearn", "python", "pytorch"; `framework` picks toolkit
    defaults; `requirements` is the pinned requirement text its environment is built from."""

    name: str
    framework: str  # xgboost | sklearn | pytorch | python
    algorithm: str = ""  # built-in algorithm that runs when no user code is given ("xgboost")
    repositories: tuple[str, ...] = ()  # image repository names that map here
    requirements: str = ""
    version: str = ""
    download: int = 0  # MB that its packages have, where none of them is cached
    image: str = ""  # a real image, which the host's container engine runs
    serving: bool = (
        False  # by a built-in algorithm alone: its environment may be made with a newer Python than Clary's own
    )
    process: str = (
        ""  # module of the toolkit that a processing job runs which names no entrypoint; "": it must name one
    )
    python: str = ""  # the release that its environment must be made with ("3.10"); "": Clary chooses


class Environments(Protocol):
    """The environments of one machine: its node asks for those that its workloads name."""

    def place(self, environment: Environment) -> EnvironmentPlace:
        """Where it lies, or will when it is made. Unavailable where this machine would make another one of that name."""
        ...

    async def have(self, environment: Environment, log: Callable[[str], None] | None = None) -> None:
        """See that it is there: it is built where it is not. Invalid carries the builder's words; Unavailable as above."""
        ...


class Runtimes(Environments, Protocol):
    def resolve(self, image: str) -> Runtime | None:
        """By the image URI's repository name and tag; registry account and region never matter. None: unknown."""
        ...

    def digest(self, image: str) -> str:
        """`sha256:` and the hash of all that decides what runs behind the image: the same until that changes. "" of an image that stands
        for nothing, and of a real one that was never on this machine."""
        ...

    def all(self) -> Sequence[Runtime]: ...
    def built(self, runtime: Runtime, extra: str = "") -> Environment | None: ...
    async def ensure(self, runtime: Runtime, extra: str = "", log: Callable[[str], None] | None = None) -> Environment:
        """Build (once, cached by content hash) the runtime plus the user's requirement text. Invalid carries uv's own words."""
        ...


class Logs(Protocol):
    """CloudWatch-like groups and streams over plain files. Lines: `<epoch ms>\\t<text>\\n`, times never falling within a file.

    NotFound names a missing group or stream, AlreadyExists a taken name."""

    def open(self, scope: Scope, group: str, stream: str, now: float) -> str:
        """Make the stream (and group) known and answer the host path of its file, which a shim appends to."""
        ...

    def path(self, scope: Scope, group: str, stream: str) -> str:
        """The host path of the file of a stream that is known."""
        ...

    def append(self, scope: Scope, group: str, stream: str, lines: Sequence[tuple[int, str]]) -> int:
        """Add events (ms, text) to a stream, which must be known. Answers how many leading ones were refused because the stream
        already holds later events and a workload is writing it (its file cannot be reordered)."""
        ...

    def tail(self, scope: Scope, group: str, stream: str, lines: int) -> list[str]: ...
    def read(self, path: str, offset: int, limit: int) -> tuple[list[tuple[int, str]], int]:
        """Whole lines from a byte offset: ([(ms, text)], next offset). For metric regexes as lines arrive."""
        ...

    def add_group(
        self, scope: Scope, group: str, now: float, tags: Mapping[str, str], settings: LogSettings = PLAIN
    ) -> None: ...
    def add_stream(self, scope: Scope, group: str, stream: str, now: float) -> None: ...
    def drop_group(self, scope: Scope, group: str) -> None: ...
    def drop_stream(self, scope: Scope, group: str, stream: str) -> None: ...
    def groups(self, scope: Scope, prefix: str = "") -> list[LogGroup]:
        """By name. `group` is the same for one of exactly that name."""
        ...

    def group(self, scope: Scope, group: str) -> LogGroup: ...
    def set_group(
        self,
        scope: Scope,
        group: str,
        retention: int | None,
        tags: Mapping[str, str],
        settings: LogSettings | None = None,
    ) -> None:
        """`settings` None leaves them as they are."""
        ...

    def streams(self, scope: Scope, group: str, prefix: str = "") -> list[LogStream]:
        """By name."""
        ...

    def page(
        self,
        scope: Scope,
        group: str,
        stream: str,
        *,
        limit: int,
        position: int | None = None,
        backward: bool = False,
        start: int = 0,
        end: int | None = None,
    ) -> LogPage:
        """Up to `limit` events, and up to 1 MiB, with start <= ms < end: those from byte `position` on, or, `backward`, the last
        ones before it. No position: from the first (backward: from the last) event."""
        ...

    def search(
        self,
        scope: Scope,
        group: str,
        streams: Sequence[str],
        *,
        matches: Callable[[str], bool],
        limit: int,
        after: tuple[int, str, int] | None = None,
        start: int = 0,
        end: int | None = None,
    ) -> LogMatches:
        """Events of these streams that match, merged by time. Stops at `limit`, at 1 MiB of answer, or after looking through a
        bounded part of the files."""
        ...

    def sweep(self, now: float) -> None:
        """Give back the space of events that are past their group's retention or beyond a stream's largest size."""
        ...


class Datapoints(Protocol):
    """Metric samples, summed up by the second (for three hours), the minute and the hour. Use it from a thread: a put waits for
    the disk. Unavailable when the disk does not take or give."""

    def put(
        self, scope: Scope, datapoints: Sequence[Datapoint], marks: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Keep all of these, or nothing; answered means durable. `marks` are kept with them, for a reader that must know up to where
        it has told."""
        ...

    def marks(self, prefix: str = "") -> dict[str, str]:
        """Marks whose names begin so."""
        ...

    def unmark(self, names: Sequence[str]) -> None: ...
    def get(
        self, scope: Scope, series: Series, start: float, end: float, period: int, spread: bool = False
    ) -> list[tuple[float, Summary]]:
        """(begin, summary) of the windows [start + n * period, ...) below `end` that hold anything, in order of time. A series
        with unit "" is that of every unit. `spread`: with their distributions, as percentiles need them."""
        ...

    def regions(self, account: str) -> list[str]: ...
    def find(self, scope: Scope, namespace: str = "", metric: str = "", since: float = 0.0) -> list[Series]:
        """Series with these names ("" for any) that had a datapoint since then; by namespace, metric, dimensions and unit."""
        ...

    def sweep(self, now: float) -> None:
        """Give back the space of what is too old, or beyond the bound."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Credential:
    """A key pair and whom it speaks for. `session_token` and `expires` (epoch seconds) belong to temporary ones; the tag `created`
    (epoch seconds, as text) to permanent ones."""

    access_key_id: str
    secret: str
    account: str
    principal: str  # ARN of the caller: arn:aws:iam::ACCOUNT:user/clary or an assumed role's
    session_token: str = ""
    expires: float | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


class Keys(Protocol):
    """Credentials. Permanent ones are files in `keys/`; temporary ones are self-contained (sealed in the session token), so every
    process that can read `keys/` verifies them alone."""

    def find(self, access_key_id: str, session_token: str = "") -> Credential | None: ...
    def issue(self, account: str, principal: str, seconds: float, now: float) -> Credential: ...
    def create(self, account: str, name: str) -> Credential: ...
    def revoke(self, access_key_id: str) -> None: ...
    def all(self) -> Sequence[Credential]: ...


class Functions(Protocol):
    """Where Lambda functions run."""

    async def invoke(
        self, function: Record, payload: bytes, *, id_: str, client_context: str = "", tail: bool = False
    ) -> Invoked:
        """Run the function once with this event (JSON), in a sandbox that it may have had before; `tail`: with the end of its log. What
        the function does wrong is told in the answer. LimitExceeded when as many run as may; Unavailable when none can."""
        ...


class Topics(Protocol):
    """SNS topics as others publish to them: an alarm, a finished inference."""

    async def publish(
        self,
        topic: str,
        message: str,
        now: float,
        *,
        account: str,
        id_: str,
        subject: str = "",
        attributes: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    ) -> int:
        """Have the message delivered to every subscription of the topic (an ARN of that account): durable once answered, delivered
        soon. The same `id_` (any words) twice is one message. The number of subscriptions back. NotFound: no such topic of this account."""
        ...


@dataclass(frozen=True, slots=True)
class LoopPorts:
    """The world of loops: one bundle per process, made in app/. `measure` tells the machine as it is now.

    What watches every second (alarms, scaling, sharing, telemetry, asynchronous endpoints) has a bundle of its own, which are no ports
    alone: they call each other there."""

    store: Store
    backend: Backend[Any]
    fronts: Fronts
    artifacts: Artifacts
    runtimes: Runtimes
    logs: Logs
    datapoints: Datapoints
    keys: Keys
    clock: Clock
    measure: Callable[[], Machine]


@dataclass(frozen=True, slots=True)
class ParentPorts(LoopPorts):
    """The world of loops whose records make children: the API is part of it."""

    operations: Operations
