"""What would be otherwise if a resource were on AWS: fields that are only recorded here, Clary's own tags and images, limits that are wider
here, and what its instances cost there by a table of prices that the user gives. Pure.

Owns the comparison. Where AWS's limits come from: "Amazon SageMaker endpoints and quotas", InvokeEndpoint (API reference).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clary.domain.errors import Invalid
from clary.domain.fields.table import OPERATIONS, Use, given
from clary.domain.images import repository
from clary.domain.machine import instances

OWN_TAGS = "clary:"
OWN_IMAGES = "clary-"
PAYLOAD = 25 << 20  # bytes of an InvokeEndpoint body
WALL = 60  # seconds of a prediction
LONGEST = 28 * 86400  # seconds of a training job
_TAGGED = "has no effect on AWS"


@dataclass(frozen=True, slots=True)
class Difference:
    """`what` of a resource is meant, and how AWS would do it. `kind`: field, tag, image, limit, instance."""

    kind: str
    what: str
    why: str


def fields(operation: str, request: Mapping[str, Any]) -> Iterator[Difference]:
    """What of a request, or of an answer in its shape, is kept here without effect. Empty for operations without a table."""
    table = OPERATIONS.get(operation, {})
    told: list[str] = []
    for path in dict.fromkeys(given(request, table)):
        field = table.get(path)
        if field is None or field.use not in (Use.RECORDED, Use.IGNORED):
            continue
        if not any(path.startswith((f"{above}.", f"{above}[]")) for above in told):
            told.append(path)
            yield Difference("field", path, f"acts on AWS; here it is only {field.use.value}: {field.why}")


def tags(given_tags: Sequence[Mapping[str, str]]) -> Iterator[Difference]:
    for tag in given_tags:
        if tag["Key"].startswith(OWN_TAGS):
            yield Difference("tag", f"{tag['Key']}={tag['Value']}", _TAGGED)


def images(found: Iterable[str], versions: Mapping[str, str]) -> Iterator[Difference]:
    """`versions`: by repository, what runs here for all tags of it ("scikit-learn 1.8")."""
    for image in dict.fromkeys(found):
        name = repository(image)
        tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
        if name.startswith(OWN_IMAGES):
            yield Difference("image", image, "is Clary's own: AWS has no such image")
        elif name in versions:
            here = f"here {versions[name]} runs for every tag"
            yield Difference("image", image, f"AWS runs what {tag or 'that image'} holds; {here}")


def serving(deadline: str, max_payload: int) -> Iterator[Difference]:
    """Limits of predictions: the settings of those names."""
    if deadline != "aws":
        why = f"AWS ends a prediction after {WALL} s; here the setting deadline is {deadline!r}"
        yield Difference("limit", "long predictions", why)
    if max_payload > PAYLOAD:
        why = f"AWS takes {PAYLOAD >> 20} MB; here the setting max_payload is {max_payload >> 20} MB"
        yield Difference("limit", "large requests", why)


def job(max_runtime: int | None) -> Iterator[Difference]:
    """`max_runtime`: seconds."""
    if max_runtime and max_runtime > LONGEST:
        why = f"AWS runs a training job for {LONGEST // 86400} days at most"
        yield Difference("limit", f"MaxRuntimeInSeconds={max_runtime}", why)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Instances that a resource has, and for how long (seconds; None: for as long as it is there)."""

    instance_type: str
    count: int
    seconds: float | None = None


def sizes(wanted: Iterable[Wanted], prices: Mapping[str, float]) -> Iterator[Difference]:
    """What the instances are on AWS, and what they cost there; `prices`: of an hour, by instance type."""
    for each in wanted:
        size = instances.find(each.instance_type)
        is_ = (
            f"{size.vcpu:g} vCPU and {size.memory / instances.GIB:g} GB each"
            if size
            else "of a family that is not known here"
        )
        yield Difference("instance", f"{each.count} x {each.instance_type}", f"on AWS {is_}; {_cost(each, prices)}")


def _cost(each: Wanted, prices: Mapping[str, float]) -> str:
    price = prices.get(each.instance_type)
    if price is None:
        return "no price is given for it (--prices)"
    hourly = price * each.count
    if each.seconds is None:
        return f"{hourly:.4g} an hour, {hourly * 24 * 30:.4g} in 30 days"
    return f"{hourly * each.seconds / 3600:.4g} for its {each.seconds:.0f} s"


def price_table(said: object, place: str) -> Mapping[str, float]:
    """Prices by instance type, as a JSON file has them. Invalid names what is no price."""
    if not isinstance(said, dict):
        raise Invalid(f"{place} must be a JSON object: the price of an hour by instance type")
    for name, price in said.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < 1e9:
            raise Invalid(f"{place}: the price of {name} is a number, 0 or more, not {price!r}")
    return {str(name): float(price) for name, price in said.items()}
