"""`clary pipeline`: an execution's graph with states and times, live or as SVG, why steps were cached or not, and a retry from the failed
step. A client of the public API."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from clary.app.cli import logs as lines
from clary.app.cli.client import SOON, ApiFailure, Client
from clary.app.cli.output import FAILED, NOT_FOUND, USAGE, CommandRefused, plain, say, say_json, table
from clary.app.cli.site import Site, here
from clary.domain.drawing import Arrow, Box, Graph, draw
from clary.domain.pipelines import definition
from clary.domain.pipelines.definition import PipelineDefinition
from clary.domain.pipelines.record import LOG_GROUP, NOT_CACHED, TRIED_AGAIN, log_stream

EVERY = 0.5
GOING = ("Executing", "Stopping")
RUNNING = ("Starting", "Executing", "Stopping")
_WIDE, _ACROSS, _DOWN = 190, 250, 110  # pixels of a step's box, and from one to the next


def pipeline(
    directory: str | None,
    name: str,
    execution: str,
    *,
    step: str,
    follow: bool,
    out: str,
    again: bool,
    once: bool,
    as_json: bool,
) -> None:
    site = here(directory)
    client = site.client(SOON)
    arn = _execution(site, client, name, execution)
    if step:
        _log(directory, client, arn, step, follow=follow, as_json=as_json)
        return
    if again:
        client.call(
            "sagemaker", "RetryPipelineExecution", {"PipelineExecutionArn": arn, "ClientRequestToken": uuid.uuid4().hex}
        )
    if out:
        if not out.endswith(".svg"):
            raise CommandRefused(f"--out takes the name of an .svg file, not {out!r}", USAGE)
        Path(out).write_text(picture(look(client, arn)))
        return
    _watch(client, arn, once=once or as_json, as_json=as_json)


def _execution(site: Site, client: Client, name: str, execution: str) -> str:
    """The ARN of an execution: the newest one where none is named."""
    try:
        if execution.startswith("arn:"):
            return execution
        if execution:
            arn = str(client.call("sagemaker", "DescribePipeline", {"PipelineName": name})["PipelineArn"])
            return f"{arn}/execution/{execution}"
        asked = {"PipelineName": name, "MaxResults": 1}
        newest = client.call("sagemaker", "ListPipelineExecutions", asked)["PipelineExecutionSummaries"]
    except ApiFailure as error:
        raise (
            CommandRefused(f"there is no pipeline {name!r}", NOT_FOUND) if error.code == NOT_FOUND else error
        ) from error
    if not newest:
        raise CommandRefused(f"the pipeline {name!r} was not started yet", NOT_FOUND)
    return str(newest[0]["PipelineExecutionArn"])


def _watch(client: Client, arn: str, *, once: bool, as_json: bool) -> None:
    """Until the execution has ended; where nobody looks on (a pipe), one block for each change of what is shown."""
    live: Any = None
    if sys.stdout.isatty() and not once:
        from rich.console import Console
        from rich.live import Live

        live = Live(console=Console(highlight=False), auto_refresh=False)
        live.start()
    said = ""
    try:
        while True:
            found = look(client, arn)
            mark = repr((found["status"], [(each["step"], each["status"]) for each in found["steps"]]))
            if as_json:
                say_json(found)
            elif live is not None:
                from rich.text import Text

                live.update(Text(words(found)), refresh=True)
            elif mark != said:
                said = mark
                say(words(found) + "\n")
            if once or found["status"] not in GOING:
                break
            time.sleep(EVERY)
    finally:
        if live is not None:
            live.stop()
    if found["status"] == "Failed":
        raise CommandRefused(f"{arn} failed: {found['reason']}", FAILED)


def look(client: Client, arn: str) -> dict[str, Any]:
    """All that is shown, as one document. Times are epoch seconds, lengths seconds."""
    told = client.call("sagemaker", "DescribePipelineExecution", {"PipelineExecutionArn": arn})
    asked = {"PipelineExecutionArn": arn}
    text = client.call("sagemaker", "DescribePipelineDefinitionForExecution", asked)["PipelineDefinition"]
    steps = client.pages(
        "sagemaker", "ListPipelineExecutionSteps", "PipelineExecutionSteps", {**asked, "MaxResults": 100}
    )
    notes = _notes(client, arn)
    return state(told, definition.parse(text, {}), {each["StepName"]: each for each in steps}, notes, time.time())


def _notes(client: Client, arn: str) -> dict[tuple[str, str], str]:
    """(step, what) -> why, of the latest attempt."""
    pipeline_arn, _, id_ = arn.partition("/execution/")
    found: dict[tuple[str, str], str] = {}
    name = client.call("sagemaker", "DescribePipeline", {"PipelineName": pipeline_arn})["PipelineName"]
    for event in client.stream(LOG_GROUP, log_stream(str(name), id_)):
        try:
            line = orjson.loads(event["message"])
            found[str(line["step"]), str(line["what"])] = str(line["why"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def state(
    told: Mapping[str, Any],
    parsed: PipelineDefinition,
    steps: Mapping[str, Mapping[str, Any]],
    notes: Mapping[tuple[str, str], str],
    now: float,
) -> dict[str, Any]:
    """The document of `look`. A step that has not begun is `waiting`, and `not run` once the execution has ended."""
    idle = "waiting" if told["PipelineExecutionStatus"] in GOING else "not run"
    shown = []
    for name, step in parsed.steps.items():
        row = steps.get(name, {})
        begun = row.get("StartTime")
        shown.append(
            {
                "step": name,
                "type": step.type,
                "status": row.get("StepStatus", idle),
                "started": begun,
                "seconds": None if begun is None else round(max(0.0, row.get("EndTime", now) - begun), 2),
                "attempt": row.get("AttemptCount"),
                "needs": sorted(step.needs),
                "branch": None if step.branch is None else {"of": step.branch[0], "outcome": step.branch[1]},
                "note": _note(name, row, notes),
            }
        )
    return {
        "pipeline": told["PipelineArn"].rpartition("/")[2],
        "execution": told["PipelineExecutionArn"],
        "status": told["PipelineExecutionStatus"],
        "reason": told.get("FailureReason", ""),
        "steps": shown,
    }


def _note(name: str, row: Mapping[str, Any], notes: Mapping[tuple[str, str], str]) -> str:
    """Why it is as it is: the failure, the outcome, the cache."""
    parts = [str(row["FailureReason"])] if row.get("FailureReason") else []
    outcome = (row.get("Metadata") or {}).get("Condition", {}).get("Outcome")
    if outcome:
        parts.append(outcome)
    for member, words_ in (("CacheHitResult", "cached from"), ("SelectiveExecutionResult", "taken from")):
        if row.get(member):
            parts.append(f"{words_} {row[member]['SourcePipelineExecutionArn'].rpartition('/')[2]}")
    parts += [f"{what}: {notes[name, what]}" for what in (NOT_CACHED, TRIED_AGAIN) if row and (name, what) in notes]
    return "; ".join(parts)


def words(found: Mapping[str, Any]) -> str:
    """For people: the steps in their order, each below what it needs."""
    rows = []
    for each in found["steps"]:
        begun = "-" if each["started"] is None else time.strftime("%H:%M:%S", time.localtime(each["started"]))
        branch = each["branch"]
        after = [*each["needs"], *([f"{branch['of']}={branch['outcome']}"] if branch else [])]
        took = "-" if each["seconds"] is None else f"{each['seconds']:.1f}s"
        rows.append((each["step"], each["type"], each["status"], begun, took, ", ".join(after) or "-", each["note"]))
    head = f"{plain(found['pipeline'])} {plain(found['execution'].rpartition('/')[2])} {found['status']}"
    body = table(("step", "type", "status", "began", "took", "after", "note"), rows, ("began", "type"))
    return f"{head}\n\n{body}" + (f"\n\nreason: {plain(found['reason'])}" if found["reason"] else "")


def picture(found: Mapping[str, Any]) -> str:
    """The graph as SVG: steps from left to right, each right of all that it needs. What a longer way tells already has no arrow."""
    columns: dict[str, int] = {}
    above: dict[str, set[str]] = {}  # all that a step comes after
    for each in found["steps"]:
        columns[each["step"]] = 1 + max((columns[name] for name in before(each)), default=-1)
        above[each["step"]] = {*before(each)}.union(*(above[name] for name in before(each)))
    rows: dict[int, int] = {}
    boxes, arrows = [], []
    for each in found["steps"]:
        column = columns[each["step"]]
        row = rows[column] = rows.get(column, -1) + 1
        took = "" if each["seconds"] is None else f" {each['seconds']:.1f} s"
        note = each["note"] if len(each["note"]) <= 32 else f"{each['note'][:31]}…"
        told = (each["type"], f"{each['status']}{took}", *([note] if note else []))
        at = (_WIDE / 2 + column * _ACROSS, 45 + row * _DOWN + (column % 2) * 12)
        boxes.append(Box(each["step"], at, told, _WIDE, dashed=each["status"] in ("waiting", "not run")))
        for name in before(each):
            if any(name in above[other] for other in before(each)):
                continue
            branch = each["branch"]
            outcome = str(branch["outcome"]) if branch and branch["of"] == name else ""
            arrows.append(Arrow(name, each["step"], outcome))
    title = f"{found['pipeline']}: {found['status']}"
    return draw([Graph(title, tuple(boxes), tuple(arrows))], f"The execution {found['execution']} of a pipeline")


def before(step: Mapping[str, Any]) -> Sequence[str]:
    """The steps that arrows come from."""
    branch = step["branch"]
    return list(dict.fromkeys([*step["needs"], *([branch["of"]] if branch else [])]))


def _log(directory: str | None, client: Client, arn: str, step: str, *, follow: bool, as_json: bool) -> None:
    """The lines of a step's job; with `follow`, a step that has not begun is waited for."""
    asked = {"PipelineExecutionArn": arn, "MaxResults": 100}
    while True:
        rows = {
            each["StepName"]: each
            for each in client.pages("sagemaker", "ListPipelineExecutionSteps", "PipelineExecutionSteps", asked)
        }
        jobs = [of["Arn"] for of in (rows.get(step, {}).get("Metadata") or {}).values() if "Arn" in of]
        if jobs:
            break
        status = client.call("sagemaker", "DescribePipelineExecution", {"PipelineExecutionArn": arn})[
            "PipelineExecutionStatus"
        ]
        if not follow or status not in GOING:
            known = ", ".join(rows) or "none"
            raise CommandRefused(f"step {step!r} has no job with a log. Steps that have begun: {known}", NOT_FOUND)
        time.sleep(EVERY)
    kind, _, name = jobs[0].rpartition(":")[2].partition("/")
    lines.logs(
        directory, f"{kind}/{_spelled(client, kind, name)}", follow=follow, since="all", pattern="", as_json=as_json
    )


_LISTS = {
    "training-job": ("ListTrainingJobs", "TrainingJobSummaries", "TrainingJobName"),
    "processing-job": ("ListProcessingJobs", "ProcessingJobSummaries", "ProcessingJobName"),
    "transform-job": ("ListTransformJobs", "TransformJobSummaries", "TransformJobName"),
}


def _spelled(client: Client, kind: str, name: str) -> str:
    """A job's name as it is written; ARNs have it in lower case."""
    if kind not in _LISTS:
        return name
    operation, key, member = _LISTS[kind]
    found = client.pages("sagemaker", operation, key, {"NameContains": name})
    return next((str(each[member]) for each in found if each[member].lower() == name), name)
