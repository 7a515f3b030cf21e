"""An inference recommendations job's record: its document, the commands its life needs, what is observed of it.

The document has, beside `request`, `tags`, `by` (who created it) and `id`: `models` (CreateModel requests without a name, by
InferenceSpecificationName; with `taken`, the name of a model that is tried as it is), `load` (what the load test does), `payload` (the
URI of the archive), `model_name` and `package` (for lists), `tests`, `started`, `ended`, `failure`, `closing` (why no other test begins).

A test: `name` (of all that it makes), `candidate`, `phase`, `status`, `made` (its endpoint was), `loading` (its load test was made),
`outcome` (the status that it ends with once everything is removed), `failure`, `result` (what the load test measured), `metrics`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from clary.domain.decisions import Unable
from clary.domain.inference_recommendations.request import Candidate
from clary.domain.lifecycle import RECOMMENDATIONS, RecommendationsFact, RecommendationsStatus, advance
from clary.domain.resources import Record

KIND = "inference-recommendations-job"
ACTIVE = tuple(
    status.value
    for status in (RecommendationsStatus.PENDING, RecommendationsStatus.IN_PROGRESS, RecommendationsStatus.STOPPING)
)
ENDED = ("COMPLETED", "FAILED", "STOPPED")
LOG_GROUP = "/aws/sagemaker/InferenceRecommendationsJobs"
WAITING, DEPLOYING, LOADING, REMOVING, DONE = "waiting", "deploying", "loading", "removing", "done"

Test = Mapping[str, Any]
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make the endpoint of test `number`: a model where it needs its own, a config, and the endpoint; once, by its name."""

    number: int


@dataclass(frozen=True, slots=True)
class LoadTest:
    """Make the processing job that asks the endpoint of test `number`: once, by its name."""

    number: int


@dataclass(frozen=True, slots=True)
class Remove:
    """Take away one thing that test `number` made: stop or delete it. What is gone already is no error."""

    number: int
    operation: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WriteLines:
    """Write lines to the job's log."""

    lines: tuple[str, ...]


Command: TypeAlias = Deploy | LoadTest | Remove | WriteLines


@dataclass(frozen=True, slots=True)
class SeenTest:
    """What there is of the test that is under way, by kind; only what this job made. `cost`: of an hour of one instance."""

    endpoint: Record | None = None
    config: Record | None = None
    model: Record | None = None
    load: Record | None = None
    cost: float = 0.0


def document(
    request: Mapping[str, Any],
    tags: Sequence[Mapping[str, str]],
    by: str,
    job_id: str,
    candidates: Sequence[Candidate],
    **more: Any,
) -> dict[str, Any]:
    """A new job's document. `more`: `models`, `load`, `payload`."""
    given = request["InputConfig"]
    return {
        "request": dict(request),
        "tags": [dict(tag) for tag in tags],
        "by": by,
        "id": job_id,
        "model_name": given.get("ModelName", ""),
        "package": given.get("ModelPackageVersionArn", ""),
        "tests": [
            {
                "name": test_name(request["JobName"], job_id, number),
                "candidate": asdict(each),
                "phase": WAITING,
                "status": RecommendationsStatus.PENDING.value,
            }
            for number, each in enumerate(candidates)
        ],
        **more,
    }


def test_name(job: str, job_id: str, number: int) -> str:
    """`<job>-NN-<8 hex>`, at most 63 characters: a command that is repeated names the same things."""
    digits = hashlib.sha256(f"{job_id}:{number}".encode()).hexdigest()[:8]
    return f"{job[:50].rstrip('-')}-{number + 1:02d}-{digits}"


def current(document: Document) -> int | None:
    """The number of the first test that is not done."""
    return next((number for number, test in enumerate(document["tests"]) if test["phase"] != DONE), None)


def candidate(test: Test) -> Candidate:
    return Candidate(**test["candidate"])


def endpoint_of(test: Test) -> str:
    """The endpoint that the test asks."""
    return str(test["candidate"]["endpoint"] or test["name"])


def own_model(document: Document, test: Test) -> dict[str, Any] | None:
    """The CreateModel request of a test that needs a model of its own: of a package, or with other environment variables. None: it tries
    the model as it is."""
    each = candidate(test)
    model = dict(document["models"][each.specification])
    if model.pop("taken", None) and not each.environment:
        return None
    many = model.get("Containers")
    first = {**(many[0] if many else model["PrimaryContainer"])}
    if each.environment:
        first["Environment"] = {**(first.get("Environment") or {}), **each.environment}
    rest = {name: value for name, value in model.items() if name not in ("PrimaryContainer", "Containers", "ModelName")}
    containers = {"Containers": [first, *many[1:]]} if many and len(many) > 1 else {"PrimaryContainer": first}
    return {**rest, **containers, "ModelName": test["name"]}


def model_of(document: Document, test: Test) -> str:
    """The name of the model that the test's endpoint serves."""
    own = own_model(document, test)
    return str(test["name"] if own is not None else document["models"][candidate(test).specification]["taken"])


def stop_asked(record: Record, now: float) -> Record:
    """StopInferenceRecommendationsJob. IllegalTransition when it has ended."""
    status = advance(RECOMMENDATIONS, record.status, RecommendationsFact.STOP_ASKED)
    return replace(record, status=status, modified=now)


def absorb(record: Record, outcomes: Sequence[tuple[Command, Any]]) -> Record:
    """What was made, or why it could not be."""
    tests = [dict(test) for test in record.document["tests"]]
    for command, answer in outcomes:
        if not isinstance(command, Deploy | LoadTest):
            continue
        test = tests[command.number]
        if isinstance(answer, Unable):
            test |= {"phase": REMOVING, "outcome": "FAILED", "failure": answer.why[:1024]}
        else:
            test["made" if isinstance(command, Deploy) else "loading"] = True
    changed = {**record.document, "tests": tests}
    return record if changed == record.document else replace(record, document=changed)
