"""One turn of an execution: which steps have ended, which may begin, and whether it is over. Pure.

`decide` is asked again while it names things that it has to know (`Needs`): a child's Describe answer, a JSON file, earlier executions.
A chain of steps that make nothing (Condition, Fail, cached ones) is one turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from clary.domain.decisions import Decision
from clary.domain.errors import Invalid
from clary.domain.lifecycle import EXECUTION, STEP, ExecutionFact, ExecutionStatus, StepFact, StepStatus, advance
from clary.domain.pipelines import caching, checks, conditions, expressions, parameters, paths, retries, steps
from clary.domain.pipelines.caching import Former
from clary.domain.pipelines.checks import Check
from clary.domain.pipelines.definition import PipelineDefinition, PipelineStep
from clary.domain.pipelines.expressions import ExpressionContext, Needed
from clary.domain.pipelines.record import (
    FAILED,
    NOT_CACHED,
    PARALLEL,
    RUNNING,
    TRIED_AGAIN,
    Described,
    ExecutionCommand,
    InvokeFunction,
    Launch,
    MakeExperiment,
    Needs,
    Note,
    RecordLineage,
    SeenExecution,
    SendCallback,
    StopStep,
    child_name,
    token,
)
from clary.domain.resources import Record

_NAME = 120  # characters of an experiment's or trial's name
_REASON = 1024  # characters of a step's FailureReason
_S, _SF = StepStatus, StepFact


def decide(record: Record, seen: SeenExecution) -> tuple[Decision[ExecutionCommand], Needs]:
    """The next state and commands, and what has to be known for a complete decision: empty, or the decision is to be made again."""
    if seen.definition is None:
        document = {
            **record.document,
            "failure": "The definition of the pipeline's version is gone: the pipeline was deleted.",
        }
        return Decision(replace(record, status=ExecutionStatus.FAILED, modified=seen.at, document=document)), Needs()
    return _Turn(record, seen, seen.definition, seen.at).decide()


class _Turn:
    """The state of one decision."""

    def __init__(self, record: Record, seen: SeenExecution, definition: PipelineDefinition, now: float) -> None:
        self.record, self.seen, self.definition, self.now = record, seen, definition, now
        self.document: dict[str, Any] = dict(record.document)
        self.states: dict[str, dict[str, Any]] = {name: dict(of) for name, of in record.document["steps"].items()}
        self.skipped: set[str] = set(record.document["skipped"])
        self.commands: list[ExecutionCommand] = []
        self.children: set[tuple[str, str]] = set()
        self.files: set[str] = set()
        self.groups: set[str] = set()
        self.formers = False
        self.again: float | None = None
        self.stopping = record.status == ExecutionStatus.STOPPING
        self.running = 0  # steps, once what became of them is taken in
        self.failed = False

    def decide(self) -> tuple[Decision[ExecutionCommand], Needs]:
        if self._experiment():
            return Decision(self._unmade(), tuple(self.commands)), Needs()
        for name, state in self.states.items():
            self._look(name, state)
            self._count(state)
        if self.stopping:
            self._stop()
        else:
            self._begin()
        record = self._ended()
        needs = Needs(frozenset(self.children), frozenset(self.files), self.formers, frozenset(self.groups))
        return Decision(record, tuple(self.commands), self.again), needs

    def _experiment(self) -> bool:
        """Whether the execution's experiment and trial come first: they are to be made, or could not be."""
        if self.stopping or not self.definition.experiment:
            return False
        made = self.document.get("experiment")
        if made is None:
            named = self._context("").experiment
            experiment = named.get("ExperimentName") or self.document["pipeline"]
            trial = named.get("TrialName") or self.document["id"]
            self.commands.append(
                MakeExperiment(*(expressions.text(each)[:_NAME].strip("-") for each in (experiment, trial)))
            )
        return made is None or "refused" in made

    def _unmade(self) -> Record:
        """The execution before its experiment is there; failed where that was refused."""
        refused = self.document.get("experiment", {}).get("refused")
        if not refused:
            return self.record
        failure = f"The experiment of PipelineExperimentConfig cannot be made: {refused}"
        document = {**self.document, "failure": failure, "ended": self.now}
        status = advance(EXECUTION, self.record.status, ExecutionFact.STEP_FAILED)
        return replace(self.record, status=status, modified=self.now, document=document)

    def _count(self, state: Mapping[str, Any]) -> None:
        self.running += state["status"] in RUNNING
        self.failed |= state["status"] == _S.FAILED

    # -- steps that run -----------------------------------------------------------------------------------------------------------

    def _look(self, name: str, state: dict[str, Any]) -> None:
        """Take in what became of a step's child."""
        if state["status"] not in RUNNING:
            return
        if "refused" in state:
            refused = state.pop("refused")
            self._failed(name, state, refused["message"], refused["exception"])
        elif state["type"] == steps.CALLBACK:
            self._look_at_callback(name, state)
        elif state["type"] == steps.LAMBDA:
            self._look_at_function(name, state)
        elif "recorded" in state:
            state["values"] = self._values(name, state["recorded"])
            self._end(state, _SF.SUCCEEDED)
        elif "arn" in state:
            row = steps.CHILDREN[state["type"]]
            answer = self._describe(row.name, state["child"] if not row.by_arn else state["arn"])
            if answer is None:
                return
            if answer.answer is None:
                self._failed(name, state, f"{state['arn']} is gone: it was deleted before the step ended.", "")
                return
            ended, reason = steps.outcome(row, state.get("serves", ""), answer.answer)
            if ended == "Succeeded" and "report" in state:
                self._look_at_report(name, state, answer.answer)
            elif ended == "Succeeded":
                state["values"] = self._values(name, {**answer.answer, **state.get("check", {})})
                self._end(state, _SF.SUCCEEDED)
            elif ended == "Failed":
                reason = reason or f"{state['arn']} failed."
                self._failed(name, state, reason, retries.reason_of(reason))
            elif ended == "Stopped" and self.stopping:
                self._end(state, _SF.STOPPED)
            elif ended == "Stopped":
                self._failed(name, state, f"{state['arn']} was stopped.", "")

    def _look_at_report(self, name: str, state: dict[str, Any], answer: Mapping[str, Any]) -> None:
        """Whether a check found violations."""
        uri = state["report"]
        content = self.seen.files.get(uri)
        if content is None:
            self.files.add(uri)
            return
        try:
            if isinstance(content, Exception):
                raise Invalid(f"The report of violations {uri} cannot be read: {content}")
            listed = checks.violations(content)
        except Invalid as error:
            self._failed(name, state, error.message, "")
            return
        if listed:
            state["check"] = {**state["check"], "ViolationReport": uri}
        if listed and state["fails"]:
            self._failed(name, state, checks.reason(state["check"]["CheckType"], uri, listed), "")
            return
        state["values"] = self._values(name, {**answer, **state["check"]})
        self._end(state, _SF.SUCCEEDED)

    def _look_at_callback(self, name: str, state: dict[str, Any]) -> None:
        """Whether somebody who has the token answered."""
        answer = state.get("answer")
        if answer is None:
            return
        if answer["ok"]:
            state["values"] = self._values(name, {"OutputParameters": answer["outputs"]})
            self._end(state, _SF.SUCCEEDED)
        else:
            self._failed(name, state, answer["reason"] or "The callback told a failure, without a reason.", "")

    def _look_at_function(self, name: str, state: dict[str, Any]) -> None:
        """What the function answered; it is invoked where nobody knows of it, as after a restart."""
        key = name, int(state["attempt"])
        if "sent" not in state:
            return
        done = self.seen.invoked.get(key)
        if key not in self.seen.invoked:
            self.commands.append(InvokeFunction(name, key[1], state["function"], state["given"].encode()))
        elif done is not None and done.failure:
            self._failed(name, state, done.failure, done.exception)
        elif done is not None:
            try:
                state["outputs"] = outputs_of(self.definition.steps[name].outputs, done.payload)
            except Invalid as error:
                self._failed(name, state, error.message, "")
                return
            state["values"] = self._values(name, {"OutputParameters": state["outputs"]})
            self._end(state, _SF.SUCCEEDED)

    def _describe(self, kind: str, child: str) -> Described | None:
        """None: to be looked up."""
        found = self.seen.children.get((kind, child))
        if found is None:
            self.children.add((kind, child))
        return found

    def _values(self, name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Of a child's properties those that others ask for."""
        found = {}
        for path in self.definition.wanted.get(name, ()):
            try:
                found[path] = paths.find(answer, path)
            except paths.Undefined:
                continue
        return found

    def _end(self, state: dict[str, Any], fact: StepFact, failure: str = "") -> None:
        state |= {"status": advance(STEP, state["status"], fact).value, "ended": self.now}
        if failure:
            state["failure"] = failure[:_REASON]

    def _failed(self, name: str, state: dict[str, Any], reason: str, exception: str) -> None:
        """Failed, or another attempt later."""
        if self.stopping:
            self._end(state, _SF.STOPPED)
            return
        met = {**state.get("met", {})}
        met[exception] = met.get(exception, 0) + 1
        state |= {"met": met, "first": state.get("first", self.now)}
        at = retries.again(self.definition.steps[name].retries, exception, met, state["first"], self.now)
        if at is None:
            self._end(state, _SF.FAILED, reason)
            return
        self.commands.append(Note(name, state["attempt"], TRIED_AGAIN, reason[:_REASON]))
        for left in ("arn", "child"):
            state.pop(left, None)
        state |= {"status": advance(STEP, state["status"], _SF.AGAIN).value, "at": at, "last": reason[:_REASON]}

    def _stop(self) -> None:
        for name, state in self.states.items():
            if state["status"] not in RUNNING:
                continue
            if "arn" not in state and "sent" not in state:
                self._end(state, _SF.STOPPED)
                continue
            before = state["status"]
            if before != _S.STOPPING:
                state["status"] = advance(STEP, before, _SF.STOP_ASKED).value
            if state["type"] == steps.CALLBACK and before != _S.STOPPING:
                self._send(name, state, "Stopping")
            if state["type"] not in steps.CHILDREN:
                continue  # its end is waited for
            self.commands.append(StopStep(name, state["type"], state["child"]))

    # -- steps that begin -----------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        most = int(self.document.get("parallelism") or PARALLEL)
        for name, step in self.definition.steps.items():
            if name in self.states:
                self._due(name, step)
                continue
            if name in self.skipped or self.failed or self.running >= most:
                continue
            match self._ready(step):
                case "skip":
                    self.skipped.add(name)
                case "take":
                    self._take(step)
                case "run":
                    self._run(step)

    def _due(self, name: str, step: PipelineStep) -> None:
        """A step that waits for its next attempt."""
        state = self.states[name]
        if state["status"] != _S.STARTING or "child" in state:
            return
        left = float(state.get("at", self.now)) - self.now
        if left > 0:
            self.again = left if self.again is None else min(self.again, left)
            return
        state["attempt"] += 1
        del state["at"]
        if step.type in steps.OUTPUTS:
            self._guarded(step, state, lambda: self._ask(step, state))
        elif step.type == steps.LINEAGE:
            self._guarded(step, state, lambda: self._record(step, state))
        else:
            self._guarded(step, state, lambda: self._launch(step, state, self._arguments(step, state)))

    def _ready(self, step: PipelineStep) -> str:
        """wait | skip | take (the outcome of the source execution) | run."""
        selected = self._selected()
        if selected is not None and step.name not in selected:
            asked = any(step.name in self.definition.steps[name].needs for name in selected)
            return "take" if asked and self.seen.source is not None else "skip"
        needs = set(step.needs) if selected is None or self.seen.source is not None else set(step.needs & selected)
        if step.branch is not None and (selected is None or step.branch[0] in selected):
            gate = self.states.get(step.branch[0])
            if step.branch[0] in self.skipped or (gate is not None and gate.get("outcome") != step.branch[1]):
                return "skip"
            needs = {*needs, step.branch[0]}
        if any(name in self.skipped for name in needs):
            return "skip"
        done = all(name in self.states and self.states[name]["status"] == _S.SUCCEEDED for name in needs)
        return "run" if done else "wait"

    def _selected(self) -> frozenset[str] | None:
        chosen = self.document.get("selective")
        return None if not chosen else frozenset(chosen["steps"])

    def _take(self, step: PipelineStep) -> None:
        """What the source execution of a selective one has of a step that is not run again."""
        source = self.seen.source
        assert source is not None
        state = dict(source.document["steps"].get(step.name) or {})
        values = dict(state.get("values") or {})
        if any(path not in values for path in self.definition.wanted.get(step.name, ())) and "arn" in state:
            row = steps.CHILDREN[state["type"]]
            answer = self._describe(row.name, state["arn"] if row.by_arn else state["child"])
            if answer is None:
                return
            values |= self._values(step.name, {**(answer.answer or {}), **state.get("check", {})})
        kept = {key: state[key] for key in ("arn", "child", "outcome", "attempt", "check", "recorded") if key in state}
        self.states[step.name] = {
            **kept,
            **_shown(step),
            "status": _S.SUCCEEDED.value,
            "selective": source.arn,
            "values": values,
            "started": self.now,
            "ended": self.now,
        }

    def _run(self, step: PipelineStep) -> None:
        attempt = int(self.document["tries"].get(step.name, 0)) + 1
        state = {**_shown(step), "status": _S.STARTING.value, "attempt": attempt, "started": self.now}
        if step.type == steps.CONDITION:
            began = self._guarded(step, state, lambda: self._decide_condition(step, state))
        elif step.type in steps.OUTPUTS:
            began = self._guarded(step, state, lambda: self._ask(step, state))
        elif step.type == steps.LINEAGE:
            began = self._guarded(step, state, lambda: self._record(step, state))
        elif step.type == steps.FAIL:
            began = self._guarded(step, state, lambda: self._fail(step, state))
        else:
            began = self._guarded(step, state, lambda: self._child(step, state))
        if began:
            self.states[step.name] = state
            self._count(state)

    def _guarded(self, step: PipelineStep, state: dict[str, Any], act: Any) -> bool:
        """False when something has to be known first. An expression without a result fails the step."""
        try:
            return bool(act())
        except Needed as needed:
            self.files.add(needed.uri)
            return False
        except Invalid as error:
            self._end(state, _SF.FAILED, error.message)
            return True

    def _decide_condition(self, step: PipelineStep, state: dict[str, Any]) -> bool:
        given = expressions.evaluate(step.arguments["Conditions"], self._context(""))
        state["outcome"] = conditions.hold(given)
        self._end(state, _SF.SUCCEEDED)
        return True

    def _fail(self, step: PipelineStep, state: dict[str, Any]) -> bool:
        message = expressions.text(expressions.evaluate(step.arguments["ErrorMessage"], self._context("")))
        state["message"] = message
        self._end(state, _SF.FAILED, message)
        return True

    def _ask(self, step: PipelineStep, state: dict[str, Any]) -> bool:
        """Begin a Callback or Lambda step."""
        given = expressions.evaluate(step.arguments, self._context(""))
        if step.type == steps.LAMBDA:
            state |= {"function": expressions.text(given["FunctionArn"]), "sent": True}
            state["given"] = orjson.dumps(given["Arguments"]).decode()
            state["status"] = advance(STEP, state["status"], _SF.LAUNCHED).value
            self.commands.append(
                InvokeFunction(step.name, state["attempt"], state["function"], state["given"].encode())
            )
            return True
        state |= {
            "token": token(self.record, step.name, state["attempt"]),
            "queue": expressions.text(given["SqsQueueUrl"]),
        }
        state["given"] = given["Arguments"]
        self._send(step.name, state, "Executing")
        return True

    def _send(self, name: str, state: Mapping[str, Any], status: str) -> None:
        """The message's form: reference/lifecycle.md 8.3."""
        body = {
            "token": state["token"],
            "pipelineExecutionArn": self.record.arn,
            "arguments": state["given"],
            "status": status,
        }
        key = f"{self.document['id']}-{name}-{state['attempt']}-{status}"
        self.commands.append(SendCallback(name, state["queue"], orjson.dumps(body).decode(), key))

    def _record(self, step: PipelineStep, state: dict[str, Any]) -> bool:
        """Begin a Lineage step. It has a `child` as others have, so that a turn that is repeated does not begin another attempt."""
        state["child"] = ""
        given = expressions.evaluate(step.arguments, self._context(""))
        self.commands.append(RecordLineage(step.name, state["attempt"], given))
        return True

    def _child(self, step: PipelineStep, state: dict[str, Any]) -> bool:
        arguments = self._arguments(step, state)
        if not step.cached:
            return self._launch(step, state, arguments)
        row = steps.CHILDREN[step.type]
        compared = {name: of for name, of in arguments.items() if name != row.named or row.named in step.arguments}
        if step.type in checks.MEMBERS:
            compared |= self._flags(step)
        state["key"] = caching.key_of(compared, row.key)  # a name that was made up differs each time
        return self._cached(step, state, arguments)

    def _cached(self, step: PipelineStep, state: dict[str, Any], arguments: Mapping[str, Any]) -> bool:
        """An earlier success that stands for this one, else a launch with the reason of the miss."""
        if self.seen.formers is None:
            self.formers = True
            return False
        formers = list(self._successes(step.name))
        gone = ""
        while True:
            found, why = caching.match(state["key"], formers, step.lifetime, self.now)
            if found is None:
                state["miss"] = gone or why
                self.commands.append(Note(step.name, state["attempt"], NOT_CACHED, state["miss"]))
                return self._launch(step, state, arguments)
            row = steps.CHILDREN[step.type]
            former = found.state
            answer = self._describe(row.name, former["arn"] if row.by_arn else former["child"])
            if answer is None:
                return False
            if answer.answer is None:
                gone = f"{former['arn']}, whose results would be used, was deleted"
            else:
                ended, gone = steps.outcome(row, former.get("serves", ""), answer.answer)
                if ended == "Succeeded":
                    break
                gone = gone or f"{former['arn']}, whose results would be used, is changing"
            formers.remove(found)
        state |= {
            "arn": former["arn"],
            "child": former["child"],
            "origin": {"execution": found.execution, "ended": found.ended},
            **{key: former[key] for key in ("serves", "check") if key in former},
        }
        state["values"] = self._values(step.name, {**answer.answer, **state.get("check", {})})
        self._end(state, _SF.SUCCEEDED)
        return True

    def _successes(self, name: str) -> list[Former]:
        """Newest first."""
        found = []
        for record in self.seen.formers or ():
            state = record.document["steps"].get(name)
            if (
                record.arn != self.record.arn
                and state
                and state["status"] == _S.SUCCEEDED
                and "key" in state
                and "arn" in state
            ):
                origin = state.get("origin") or {"execution": record.arn, "ended": state["ended"]}
                found.append(Former(origin["execution"], float(origin["ended"]), state["key"], state))
        return found

    def _arguments(self, step: PipelineStep, state: Mapping[str, Any]) -> dict[str, Any]:
        """The request, with its name and all expressions evaluated."""
        row = steps.CHILDREN[step.type]
        asked = _request(step)
        given = {key: value for key, value in asked.items() if key != row.named}
        prefix = asked.get(row.named)
        prefix = expressions.evaluate(prefix, self._context("")) if prefix is not None else ""
        name = (
            str(prefix)
            if row.keeps and prefix
            else child_name(self.record, step.name, state["attempt"], row.longest, str(prefix))
        )
        found: dict[str, Any] = with_texts(expressions.evaluate(given, self._context(name)))
        if row.name == "RegisterModel" and found.get("ModelPackageGroupName"):
            return found
        return {**found, row.named: name}

    def _flags(self, step: PipelineStep) -> dict[str, Any]:
        """What a check step says beside its job."""
        given = {name: of for name, of in step.arguments.items() if name != "Arguments"}
        found: dict[str, Any] = expressions.evaluate(given, self._context(""))
        return found

    def _launch(self, step: PipelineStep, state: dict[str, Any], arguments: Mapping[str, Any]) -> bool:
        row = steps.CHILDREN[step.type]
        params, group, tags = dict(arguments), "", ()
        if row.name in checks.MEMBERS:
            check = Check.of(step.name, {**self._flags(step), "Arguments": params})
            if check.asks_group and check.group not in self.seen.baselines:
                self.groups.add(check.group)
                return False
            previous = check.previous(self.seen.baselines.get(check.group))
            params = check.job(previous)
            state |= {"check": check.told(previous), "fails": check.fail}
            if check.report:
                state["report"] = check.report
        if row.name == "RegisterModel":
            group = str(params.get("ModelPackageGroupName") or "")
            tags = tuple(params.pop("Tags", ())) if group else ()
        if row.in_trials and self.document.get("experiment"):
            params["ExperimentConfig"] = {**self.document["experiment"], **params.get("ExperimentConfig", {})}
        state["child"] = str(params.get(row.named, ""))
        if row.serves:
            state["serves"] = str(params.get(row.serves, ""))
        self.commands.append(Launch(step.name, state["attempt"], row.name, params, group, tags))
        return True

    def _context(self, child: str) -> ExpressionContext:
        """What the expressions of a step may name. `child`: the name of the job that it makes."""
        document, record = self.document, self.record
        execution = {
            "StartDateTime": moment(record.created),
            "CurrentDateTime": moment(self.now),
            "PipelineName": document["pipeline"],
            "PipelineArn": record.arn.rpartition("/execution/")[0],
            "PipelineExecutionId": document["id"],
            "PipelineExecutionArn": record.arn,
            "TrainingJobName": child,
            "ProcessingJobName": child,
        }
        base = ExpressionContext(document["parameters"], execution)
        experiment = expressions.evaluate(dict(self.definition.experiment), base)
        values = {name: state.get("values", {}) for name, state in self.states.items()}
        return ExpressionContext(
            document["parameters"], execution, experiment, values, self.definition.property_files, self.seen.files
        )

    # -- the end --------------------------------------------------------------------------------------------------------------------

    def _ended(self) -> Record:
        document = {**self.document, "steps": self.states, "skipped": sorted(self.skipped)}
        record = replace(self.record, document=document)
        if any(state["status"] in RUNNING for state in self.states.values()):
            return _touched(record, self.record, self.now)
        failed = any(state["status"] == _S.FAILED for state in self.states.values())
        if self.stopping:
            fact = ExecutionFact.ALL_ENDED
        elif failed:
            fact = ExecutionFact.STEP_FAILED
            record = replace(record, document={**document, "failure": FAILED})
        elif all(name in self.states or name in self.skipped for name in self.definition.steps):
            fact = ExecutionFact.ALL_ENDED
        else:
            return _touched(record, self.record, self.now)
        ended = {**record.document, "ended": self.now}
        return replace(record, status=advance(EXECUTION, record.status, fact), modified=self.now, document=ended)


def _request(step: PipelineStep) -> Mapping[str, Any]:
    """What the child of a step is asked for."""
    found: Mapping[str, Any] = step.arguments["Arguments"] if step.type in checks.MEMBERS else step.arguments
    return found


def _shown(step: PipelineStep) -> dict[str, Any]:
    """What of a step's definition is shown with its state."""
    told = {"display": step.display, "description": step.description}
    return {"type": step.type, **{key: text for key, text in told.items() if text}}


def _touched(record: Record, before: Record, now: float) -> Record:
    return record if record.document == before.document else replace(record, modified=now)


def moment(seconds: float) -> str:
    """As AWS writes StartDateTime: ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_TEXTS = ("CustomerMetadataProperties", "Environment", "HyperParameters", "StaticHyperParameters")


def with_texts(value: Any) -> Any:
    """Arguments whose maps of texts have texts only: SDK v3 leaves a parameter that is a number as it is, v2 makes a Std:Join of it."""
    if isinstance(value, list):
        return [with_texts(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _text(each) for name, each in of.items()}
        if key in _TEXTS and isinstance(of, dict)
        else with_texts(of)
        for key, of in value.items()
    }


def _text(value: Any) -> Any:
    return expressions.text(value) if isinstance(value, int | float) else value


def outputs_of(declared: Mapping[str, str], payload: bytes) -> dict[str, Any]:
    """Output parameters of a Lambda step: keys at the top of the function's answer; what is nested is text. Invalid when one is of another
    type, or the answer is no object."""
    try:
        answer = orjson.loads(payload or b"{}")
    except orjson.JSONDecodeError:
        raise Invalid("The function's answer is not JSON.") from None
    if not isinstance(answer, dict):
        if declared:
            raise Invalid("The function's answer must be a JSON object: the step has output parameters.")
        return {}
    found: dict[str, Any] = {}
    for name, kind in declared.items():
        if name not in answer:
            continue
        value = answer[name]
        text = orjson.dumps(value).decode() if isinstance(value, dict | list) else expressions.text(value)
        try:
            found[name] = parameters.typed(kind, text)
        except ValueError:
            raise Invalid(f"The function answered {text[:80]!r} for '{name}', which must be of type {kind}.") from None
    return found


def metadata(state: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a step, as ListPipelineExecutionSteps shows it."""
    if state["type"] == steps.CONDITION:
        return {"Condition": {"Outcome": "True" if state["outcome"] else "False"}} if "outcome" in state else {}
    if state["type"] == steps.FAIL:
        return {"Fail": {"ErrorMessage": state["message"]}} if "message" in state else {}
    if state["type"] == steps.CALLBACK:
        outputs = (state.get("answer") or {}).get("outputs") or {}
        told = [{"Name": name, "Value": expressions.text(value)} for name, value in outputs.items()]
        shown = {"CallbackToken": state["token"], "SqsQueueUrl": state["queue"], "OutputParameters": told}
        return {"Callback": shown} if "token" in state else {}
    if state["type"] == steps.LAMBDA:
        told = [{"Name": name, "Value": expressions.text(value)} for name, value in state.get("outputs", {}).items()]
        return {"Lambda": {"Arn": state["function"], "OutputParameters": told}} if "function" in state else {}
    if state["type"] == steps.LINEAGE:
        return {"Lineage": dict(state["recorded"])} if "recorded" in state else {}
    if state["type"] in checks.MEMBERS:
        job = {"CheckJobArn": state["arn"]} if "arn" in state else {}
        return {state["type"]: {**state["check"], **job}} if "check" in state else {}
    row = steps.CHILDREN[state["type"]]
    return {row.metadata: {"Arn": state["arn"]}} if "arn" in state else {}
