"""What every front counts, as the control plane reads it each second to make datapoints of. Values with JSON forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Signals:
    """What scaling goes by, of a variant with a latency objective. `late`: answers since the front started that took longer than the
    objective. `service`: seconds of one worker a request, `spread` the squared coefficient of variation of that, both over the last
    200 completions (0: nobody knows yet). `working` workers may be busy now, the others up to `ceiling` are parked."""

    late: int = 0
    service: float = 0.0
    spread: float = 0.0
    working: int = 0
    ceiling: int = 0


@dataclass(frozen=True, slots=True)
class VariantCounts:
    """One fleet behind one variant. Counts are since the counters were `born`, and only grow; `concurrent` (requests being predicted
    or waiting, per replica that serves) and `serving` are of this moment. Latencies: sums in seconds, buckets in microseconds."""

    account: str
    region: str
    endpoint: str
    variant: str
    key: str = ""
    fleet: str = ""
    born: str = ""
    serving: int = 0  # replicas that take work
    concurrent: tuple[float, ...] = ()
    arrivals: int = 0
    refused: int = 0
    completed: int = 0
    unanswered: int = 0
    errors_4xx: int = 0
    errors_5xx: int = 0
    model_errors: int = 0
    model_seconds: float = 0.0
    overhead_seconds: float = 0.0
    model_buckets: tuple[tuple[int, float], ...] = ()
    overhead_buckets: tuple[tuple[int, float], ...] = ()
    models: tuple[
        tuple[str, float], ...
    ] = ()  # of many models: what `serving/copies.py` (`Loads`) counts; serverless: setups, spilled
    loaded: tuple[float, ...] = ()  # models that are loaded, per replica that serves
    asynchronous: bool = False  # predictions come from a queue, at whatever time suits
    queued: int = 0  # requests that wait, at this moment
    in_flight: int = 0  # requests that workers have
    signals: Signals | None = None  # of a variant with a latency objective
    warm: int = 0  # of a serverless variant: its provisioned concurrency
    latency_buckets: tuple[tuple[int, float], ...] = ()  # from arrival to answer
    allowed: int = 0  # workers that may be busy
    concurrency: int = 0  # of a serverless variant: its maximum

    @property
    def home(self) -> tuple[str, str, str]:
        """The endpoint: account, region, name."""
        return self.account, self.region, self.endpoint

    @property
    def invocations(self) -> int:
        return self.arrivals + self.refused

    @property
    def answered(self) -> int:
        """Requests that have an answer, of whatever kind."""
        return self.completed + self.unanswered + self.refused

    def to_json(self) -> dict[str, Any]:
        """Its values as they are: `asdict` would copy each bucket, and a front does this each second."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "signals": asdict(self.signals) if self.signals else None}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> VariantCounts:
        return VariantCounts(
            **{
                **data,
                "concurrent": tuple(data["concurrent"]),
                "model_buckets": _pairs(data["model_buckets"]),
                "overhead_buckets": _pairs(data["overhead_buckets"]),
                "latency_buckets": _pairs(data.get("latency_buckets", ())),
                "models": tuple((str(name), float(count)) for name, count in data.get("models", ())),
                "loaded": tuple(data.get("loaded", ())),
                "signals": Signals(**data["signals"]) if data.get("signals") else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Count:
    """All variants of the fronts that answered. `complete`: every front did, so what is missing is not there any more."""

    variants: tuple[VariantCounts, ...] = ()
    complete: bool = True


def _pairs(rows: Sequence[Sequence[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(number), float(count)) for number, count in rows)
