"""How sizes fit on the machine: what a job or a replica may use, and who holds what. Pure; figures are measured by the caller.

`fit`: a size is a ceiling and a weight. It is clamped to the machine, CPU is shared, and the machine is full when its memory is
(measured) or when as many hosts of jobs run as there are slots; GPUs alone are reserved. `strict`: a size is a reservation; what can
never be reserved is LimitExceeded, what cannot be now waits. Jobs are served first come, first served; endpoints come before jobs.

A `Book` is the one account; `rooms` answers from it whether there is room for more, `admission` whether a job may start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clary.domain.errors import LimitExceeded
from clary.domain.machine.instances import GIB, Size
from clary.domain.resources import Record

FLOOR = 256 << 20  # bytes that a new host of a job needs free, beyond what the young ones may still take
REPLICA_FLOOR = 128 << 20  # the same of a replica whose like was not seen yet
WISH_SECONDS = 90.0  # that a wish for a place is kept: a replica is tried again once a minute at least
YOUNG = 20.0  # seconds in which neither has shown yet what it needs
_ACCELERATORS = {"gpu": "GPU", "neuron": "Neuron device", "gaudi": "Gaudi device"}


READY, DRAINING = "Ready", "Draining"  # states of a machine: it takes more, or it keeps what it has and takes no more


@dataclass(frozen=True, slots=True)
class Machine:
    """A row of the book of machines (`machines.py`), with what is free of it now. `memory` and `available` in bytes, as the kernel tells
    them; `gpus` that the backend can hand out; `slots` is how many hosts of jobs may run at once (0: as many as there are cores); `name` is
    what grants call it; `zone` and `labels` (name, value) as its operator set them."""

    cpus: int
    memory: int
    available: int
    gpus: int = 0
    slots: int = 0
    name: str = ""
    zone: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    state: str = READY
    node: bool = False  # it joined: runs on it are called so (`nodes.py`)

    @property
    def closed(self) -> str:
        """Why nothing more may be placed on it; "" where it may."""
        return "" if self.state == READY else f"the machine {self.name} is {self.state.lower()}: it takes nothing more"

    @property
    def usable(self) -> int:
        """Memory that workloads may have: what is there, less a tenth (at most 2 GiB) for the system and Clary."""
        return self.memory - min(self.memory // 10, 2 * GIB)


@dataclass(frozen=True, slots=True)
class Fit:
    """What one host gets: vCPU as ceiling and weight, memory in bytes. `notes` say what was clamped, for record and log."""

    cpu: float
    memory: int
    gpus: int
    notes: tuple[str, ...] = ()
    burst: float = 0.0  # vCPU that it may borrow while they are idle; they are not reserved
    kept: int = 0  # bytes of its memory that it is sure to use


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a place is: `kind` and `name` as users know them, in the namespace of an account and region."""

    kind: str = ""  # training job | endpoint | inference component
    name: str = ""
    account: str = ""
    region: str = ""

    def told(self, account: str) -> str:
        """Its name, to whom it may be told: a namespace shows nothing of another one."""
        return f"{self.kind} {self.name}" if self.account == account else f"another account's {self.kind}"


def owner_of(record: Record) -> Owner:
    """Whose a place is that is held for this record."""
    return Owner(record.kind.replace("-", " "), record.name, record.scope.account, record.scope.region)


@dataclass(frozen=True, slots=True)
class Claim:
    """Hosts or a replica that hold a place, one fit each. `since` is when they got it (epoch seconds), `used` their measured bytes
    together, `cpu` their measured vCPU (None: not known yet). `ending`: a job that was asked to end, and has some time left for it."""

    key: str
    fits: tuple[Fit, ...]
    since: float
    used: int = 0
    owner: Owner = Owner()
    cpu: float | None = None
    ending: bool = False

    @property
    def hosts(self) -> int:
        """Places for hosts of jobs that it takes: what is ending takes none."""
        return 0 if self.ending else len(self.fits)

    @property
    def held(self) -> tuple[Fit, ...]:
        """What counts as taken: what was given; of what is ending, what it uses of that, and its GPUs, which are nobody else's until
        they are given back."""
        if not self.ending:
            return self.fits
        given = sum(fit.cpu for fit in self.fits)
        cpu = given if self.cpu is None else min(self.cpu, given)
        return (Fit(cpu, min(self.used, sum(fit.memory for fit in self.fits)), sum(fit.gpus for fit in self.fits)),)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is not there yet for want of room, and the reason as it was told."""

    key: str
    owner: Owner
    since: float
    why: str
    fits: tuple[Fit, ...] = ()  # what it needs; for an endpoint what is kept for it
    need: int = 0  # bytes that it is expected to use at first
    hold: float = WISH_SECONDS  # for which it is kept, unless it is asked for again


@dataclass(frozen=True, slots=True)
class Part:
    """What a variant of an endpoint has of a machine whose CPUs are all wanted: so many `workers` may be busy, of those `wanted`; each
    costs so many CPUs."""

    owner: Owner
    variant: str
    workers: int
    wanted: int
    cost: float


@dataclass(frozen=True, slots=True)
class Book:
    """The account of the machine at the moment `at`: who holds places on it, and who waits for one, first come first. `version` is that of
    its grants: what is taken by this account is refused when they have another one by then."""

    machine: Machine
    policy: str
    at: float
    jobs: tuple[Claim, ...] = ()
    replicas: tuple[Claim, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    parts: tuple[Part, ...] = ()  # of the CPUs, of those that get less than they want
    version: int = 0

    @property
    def claims(self) -> tuple[Claim, ...]:
        return (*self.replicas, *self.jobs)


def fit(size: Size, machine: Machine, policy: str, usage: str = "training job") -> Fit:
    """One host of that size on this machine. `strict` raises LimitExceeded (AWS's text) when it could never be reserved.
    `usage`: training job | endpoint."""
    if policy == "strict":
        lacking = size.accelerators > (machine.gpus if size.accelerator == "gpu" else 0)
        if size.vcpu > machine.cpus or size.memory > machine.memory or lacking:
            raise LimitExceeded(_limit_text(size, machine, usage))
        return Fit(float(size.cores or size.vcpu), size.memory, size.gpus, (), min(size.burst, machine.cpus), size.kept)
    notes: list[str] = []
    cores = size.cores or size.vcpu
    cpu, memory = min(cores, machine.cpus), min(size.memory, machine.usable)
    if cpu < cores or memory < size.memory:
        notes.append(
            f"{size.name} has {cores:g} vCPU and {_gib(size.memory)} GiB; this machine gives at most {cpu:g} vCPU and "
            f"{_gib(memory)} GiB"
        )
    gpus = min(size.gpus, machine.gpus)
    if size.accelerators and gpus < size.accelerators:
        kind = _ACCELERATORS[size.accelerator]
        have = f"{gpus} of its {size.accelerators} are" if gpus else "none is"
        notes.append(f"{size.name} has {size.accelerators} {kind}(s), {have} on this machine: it runs on CPU" if not gpus
                     else f"{size.name} has {size.accelerators} {kind}(s), {have} on this machine")  # fmt: skip
    return Fit(float(cpu), memory, gpus, tuple(notes), min(size.burst, machine.cpus), size.kept)


def fit_hosts(sizes: Sequence[Size], machine: Machine, policy: str, usage: str) -> list[Fit]:
    """As `fit`, of all hosts of one job. A GPU is never shared: under `fit` each host gets as many as all can have, and is told so."""
    fits = [fit(size, machine, policy, usage) for size in sizes]
    having = sum(1 for each in fits if each.gpus)
    if policy == "strict" or sum(each.gpus for each in fits) <= machine.gpus:
        return fits
    most = machine.gpus // having
    note = f"{having} hosts want this machine's {machine.gpus} GPU(s), and each gets {most or 'none: it runs on CPU'}"
    return [replace(each, gpus=min(each.gpus, most), notes=(*each.notes, note)) if each.gpus else each for each in fits]


def part(whole: Fit, of: int) -> Fit:
    """The share of one of so many containers on one instance: what is reserved for all together is the instance, once."""
    return replace(whole, cpu=whole.cpu / of, memory=whole.memory // of)


def _limit_text(size: Size, machine: Machine, usage: str) -> str:
    wanted = f" The type has {size.accelerators} {_ACCELERATORS[size.accelerator]}(s)." if size.accelerators else ""
    return (
        f"The account-level service limit '{size.name} for {usage} usage' is 0 Instances, with current utilization of 0 "
        f"Instances and a request delta of 1 Instances. This machine has {machine.cpus} vCPU, {_gib(machine.memory)} GiB and "
        f"{machine.gpus} GPU(s), and the capacity policy is 'strict'.{wanted} Choose a smaller type or set capacity to 'fit'."
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.4g}"
