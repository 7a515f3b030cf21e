"""Records of pipelines and executions: their documents, the changes that users ask for, and what the execution's loop sees and does. Pure.

A pipeline's record lists its versions; their texts are records of their own (`pipeline-definition`), named by their content. An execution
is the parent of what its steps make. Of a step's child it keeps those properties that other steps ask for, as they were at its end.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import orjson

from clary.domain.ids import code
from clary.domain.lifecycle import EXECUTION, STEP, ExecutionFact, ExecutionStatus, StepFact, StepStatus, advance
from clary.domain.pipelines.definition import PipelineDefinition
from clary.domain.resources import Record

PIPELINE, DEFINITION, KIND = "pipeline", "pipeline-definition", "pipeline-execution"
ACTIVE = (ExecutionStatus.EXECUTING.value, ExecutionStatus.STOPPING.value)
ACTIVE_PIPELINE, DELETING = "Active", "Deleting"
PARALLEL = 50  # steps at once where nobody says otherwise, as on AWS
BETWEEN = "/execution/"  # stands between the pipeline's name and the execution's id in an execution's name
RUNNING = (StepStatus.STARTING, StepStatus.EXECUTING, StepStatus.STOPPING)
FAILED = "Step failure: One or multiple steps failed."
LOG_GROUP = "/aws/sagemaker/Pipelines"
NOT_CACHED, TRIED_AGAIN = "not cached", "tried again"
LATEST_FORMERS = 200  # executions that a cache looks back over


# -- commands -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Launch:
    """Make the child of a step's attempt, once. `group`: a model package group that has to be there before, with its tags. Answers the
    ARN, or `Refused`."""

    step: str
    attempt: int
    type: str
    params: Mapping[str, Any]
    group: str = ""
    tags: tuple[Mapping[str, str], ...] = ()
    together = True

    @property
    def key(self) -> str:
        return f"{self.step}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class StopStep:
    """Ask the child of a step to stop. One that has ended has nothing to stop."""

    step: str
    type: str
    child: str
    together = True


@dataclass(frozen=True, slots=True)
class SendCallback:
    """Send the message of a Callback step to its queue; `body` is its JSON text. Answers "", or `Refused`. A repeated turn sends it again,
    with the same token: only the first answer counts."""

    step: str
    queue: str
    body: str
    key: str


@dataclass(frozen=True, slots=True)
class MakeExperiment:
    """Make the execution's experiment and trial where they are not there. Answers "", or `Refused`."""

    experiment: str
    trial: str


@dataclass(frozen=True, slots=True)
class RecordLineage:
    """Record the entities of a Lineage step and their associations, each once. Answers their ARNs as `lineage.recorded` has them, or
    `Refused`."""

    step: str
    attempt: int
    given: Mapping[str, Any]

    @property
    def key(self) -> str:
        return f"{self.step}/{self.attempt}"


@dataclass(frozen=True, slots=True)
class Note:
    """Write a line of the execution's log: why a step was not taken from the cache, or is tried again. A repeated turn writes it again;
    who reads leaves out what step, attempt and `what` tell twice."""

    step: str
    attempt: int
    what: str
    why: str

    @property
    def text(self) -> str:
        told = {"step": self.step, "attempt": self.attempt, "what": self.what, "why": self.why}
        return orjson.dumps(told).decode()


@dataclass(frozen=True, slots=True)
class InvokeFunction:
    """Invoke the function of a Lambda step, beside the loop; its answer is seen by a later turn. After a crash it is invoked again: Lambda
    promises at least once."""

    step: str
    attempt: int
    function: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Returned:
    """A function's answer: its JSON text, or what went wrong. `exception`: what that is called in retry policies."""

    payload: bytes = b""
    failure: str = ""
    exception: str = ""


ExecutionCommand: TypeAlias = Launch | StopStep | SendCallback | InvokeFunction | MakeExperiment | RecordLineage | Note


@dataclass(frozen=True, slots=True)
class Refused:
    """What Launch answers instead of an ARN: AWS's message, and what it is called in retry policies."""

    message: str
    exception: str


# -- observations -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Described:
    """A child's Describe answer; None: it is gone."""

    answer: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SeenExecution:
    """What the world says at the time `at`. `children`: (type, child) -> its Describe answer. `formers`: executions of the pipeline before
    this one, newest first, where a cache asks for them. `source`: the execution that a selective one takes its inputs from. `files`: S3
    URI -> content, or the error of reading it. `invoked`: (step, attempt) -> the function's answer, None while it
    runs. `baselines`: model package group -> DriftCheckBaselines of its latest approved version. `definition` None: its text is gone."""

    definition: PipelineDefinition | None
    at: float
    children: Mapping[tuple[str, str], Described] = field(default_factory=dict)
    files: Mapping[str, bytes | Exception] = field(default_factory=dict)
    invoked: Mapping[tuple[str, int], Returned | None] = field(default_factory=dict)
    formers: Sequence[Record] | None = None
    source: Record | None = None
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a turn has to know besides: it is to be looked up, and the turn decided again."""

    children: frozenset[tuple[str, str]] = frozenset()
    files: frozenset[str] = frozenset()
    formers: bool = False
    groups: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.children or self.files or self.formers or self.groups)


# -- documents ----------------------------------------------------------------------------------------------------------------


def definition_name(pipeline: str, text: str) -> str:
    """The name of the record that keeps a definition's text."""
    return f"{pipeline}/{hashlib.sha256(text.encode()).hexdigest()}"


def execution_id(pipeline: str, token: str) -> str:
    """The id of the execution that a ClientRequestToken asks for: the same for the same token. `pipeline` is an ARN."""
    return code(hashlib.sha256(f"{pipeline}\n{token}".encode()).digest()[:12])


def child_name(record: Record, step: str, attempt: int, longest: int, prefix: str = "") -> str:
    """The name of what an attempt at a step makes: it follows from the record, so that a crash repeats nothing. Source:
    reference/lifecycle.md 8.3. `prefix`: the name that the definition gives, under use_custom_job_prefix."""
    id_ = str(record.document["id"])
    tail = code(hashlib.sha256(f"{record.arn}\n{step}\n{attempt}".encode()).digest()[:10])
    begin = prefix or ("pipelines" if longest > 40 else "")
    room = longest - len(id_) - len(tail) - 2
    words = [begin[: max(0, room)], id_] if prefix else [begin, id_, step.replace("_", "-")[: 20 if begin else 8]]
    return "-".join(word.strip("-") for word in (*words, tail) if word.strip("-"))


def version(record: Record, number: int | None = None, alias: str | None = None) -> Mapping[str, Any] | None:
    """The version of that number or alias, else the latest one; None: there is none such."""
    versions: Sequence[Mapping[str, Any]] = record.document["versions"]
    if alias is not None:
        return next((each for each in versions if alias in each["aliases"]), None)
    if number is None:
        return versions[-1]
    return next((each for each in versions if each["id"] == number), None)


# -- what users ask for ---------------------------------------------------------------------------------------------------------


def stop_asked(record: Record, now: float) -> Record:
    """StopPipelineExecution. IllegalTransition when it has ended."""
    return replace(record, status=advance(EXECUTION, record.status, ExecutionFact.STOP_ASKED), modified=now)


def retry_asked(record: Record, now: float, parallelism: int | None) -> Record:
    """RetryPipelineExecution: steps that did not succeed are forgotten, but for the number of their attempts. IllegalTransition unless it
    failed or was stopped."""
    status = advance(EXECUTION, record.status, ExecutionFact.RETRY_ASKED)
    document = dict(record.document)
    tries = dict(document["tries"])
    kept = {}
    for name, state in document["steps"].items():
        if state["status"] == StepStatus.SUCCEEDED:
            kept[name] = state
        else:
            tries[name] = state.get("attempt", 0)
    document |= {"steps": kept, "tries": tries, "failure": "", "skipped": []}
    if "refused" in document.get("experiment", {}):
        del document["experiment"]
    if parallelism is not None:
        document["parallelism"] = parallelism
    return replace(record, status=status, modified=now, document=document)


def log_stream(pipeline: str, id_: str) -> str:
    """The stream of `LOG_GROUP` that an execution's notes are in."""
    return f"{pipeline}/{id_}"


def token(record: Record, step: str, attempt: int) -> str:
    """The token of a Callback step: 10 letters and digits that nobody can guess who does not know the execution's secret."""
    given = f"{record.document['secret']}\n{record.arn}\n{step}\n{attempt}"
    return code(hashlib.sha256(given.encode()).digest()[:10])


def step_of(record: Record, given: str) -> str | None:
    """The Callback step of that token. None: there is none."""
    for name, state in record.document["steps"].items():
        if hmac.compare_digest(str(state.get("token", "")), given):
            return str(name)
    return None


def answered(record: Record, step: str, answer: Mapping[str, Any], now: float) -> Record:
    """SendPipelineExecutionStepSuccess or -Failure: the execution's next turn ends the step."""
    states = record.document["steps"]
    steps = {**states, step: {**states[step], "answer": dict(answer)}}
    return replace(record, modified=now, document={**record.document, "steps": steps})


def absorb(record: Record, outcomes: Sequence[tuple[ExecutionCommand, Any]]) -> Record:
    """The record with the ARNs that Launch answered, or why a child was refused."""
    steps = dict(record.document["steps"])
    more: dict[str, Any] = {}
    for command, answer in outcomes:
        if isinstance(command, MakeExperiment):
            made = {"ExperimentName": command.experiment, "TrialName": command.trial}
            more["experiment"] = {"refused": answer.message} if isinstance(answer, Refused) else made
            continue
        state = {**steps[command.step]}
        if isinstance(answer, Refused):
            state["refused"] = {"message": answer.message, "exception": answer.exception}
        elif isinstance(command, Launch):
            state |= {"status": advance(STEP, state["status"], StepFact.LAUNCHED).value, "arn": str(answer)}
        elif isinstance(command, RecordLineage):
            state |= {"status": advance(STEP, state["status"], StepFact.LAUNCHED).value, "recorded": answer}
        elif isinstance(command, SendCallback) and state["status"] == StepStatus.STARTING:
            state |= {"status": advance(STEP, state["status"], StepFact.LAUNCHED).value, "sent": True}
        else:
            continue
        steps[command.step] = state
    return replace(record, document={**record.document, "steps": steps, **more})
