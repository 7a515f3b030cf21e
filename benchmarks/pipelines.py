"""scripts/bench pipelines: graphs of steps that are processes, against Metaflow and Prefect; and a store full of executions.

Every side runs the same two graphs: 50 steps in a chain, and 50 at once of which two run at a time. A step is a process: a job in its
sandbox (Clary), a step (Metaflow), a process that a task starts (Prefect, whose server runs before the clock starts, as Clary does). The
executions in the store are records of the form that a real one has, which the benchmark makes and takes as the pattern.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import Row, arguments, finish, say
from benchmarks.peers import graphs
from benchmarks.peers.launch import HERE, Peer, environment, free_port
from benchmarks.start import BUCKET, PYTHON, ROLE, Bench, name, running
from clary.domain.pipelines import record
from clary.domain.resources import Query, Record
from clary.stores.sql import open_store

AT_ONCE = 2
BETWEEN_MS, LIST_MS = 100.0, 50.0
OVER = {("chain", "metaflow"): 0.5, ("chain", "prefect"): 1.0, ("fan", "metaflow"): 0.5, ("fan", "prefect"): 0.5}
WHAT = {"chain": "steps in a chain", "fan": f"steps at once, {AT_ONCE} at a time"}
EXECUTIONS, STEPS_EACH = 1000, 20
PATIENCE = 600.0  # seconds of one graph


# -- Clary ----------------------------------------------------------------------------------------------------------------------


def definition(graph: str, steps: int) -> str:
    """Processing steps: what a process needs, and no more."""

    def step(number: int) -> dict[str, Any]:
        return {
            "Name": f"S{number}",
            "Type": "Processing",
            **({"DependsOn": [f"S{number - 1}"]} if graph == "chain" and number else {}),
            "Arguments": {
                "RoleArn": ROLE,
                "AppSpecification": {"ImageUri": PYTHON, "ContainerEntrypoint": ["python3", "-c", "pass"]},
                "ProcessingResources": {
                    "ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
                },
            },
        }

    return json.dumps({"Version": "2020-12-01", "Steps": [step(number) for number in range(steps)]})


def executed(bench: Bench, graph: str, steps: int) -> tuple[str, float, str]:
    """The name of a new pipeline, seconds from its start to its end as a client sees it, and the execution's ARN."""
    sm, pipeline = bench.sagemaker, name(graph)
    sm.create_pipeline(PipelineName=pipeline, PipelineDefinition=definition(graph, steps), RoleArn=ROLE)
    began = time.perf_counter()
    arn = sm.start_pipeline_execution(
        PipelineName=pipeline, ParallelismConfiguration={"MaxParallelExecutionSteps": AT_ONCE}
    )["PipelineExecutionArn"]
    while (seen := sm.describe_pipeline_execution(PipelineExecutionArn=arn))["PipelineExecutionStatus"] == "Executing":
        if time.perf_counter() - began > PATIENCE:
            raise RuntimeError(f"{pipeline} has not ended after {PATIENCE:g} s")
        time.sleep(0.05)
    took = time.perf_counter() - began
    if seen["PipelineExecutionStatus"] != "Succeeded":
        raise RuntimeError(f"{pipeline}: {seen}")
    return pipeline, took, arn


def gaps(bench: Bench, arn: str) -> list[float]:
    """Milliseconds from the end of each step's process to the start of the next one's, of a chain."""
    sm, own = bench.sagemaker, arn.rpartition("/")[2]
    pages = sm.get_paginator("list_processing_jobs").paginate(NameContains=own)
    names = [each["ProcessingJobName"] for page in pages for each in page["ProcessingJobSummaries"]]
    names.sort(key=lambda job: int(job.split("-")[2][1:]))  # pipelines-EXECUTION-S7-CODE
    jobs = [sm.describe_processing_job(ProcessingJobName=job) for job in names]
    return [
        (after["ProcessingStartTime"] - before["ProcessingEndTime"]).total_seconds() * 1000
        for before, after in itertools.pairwise(jobs)
    ]


# -- peers ----------------------------------------------------------------------------------------------------------------------


def timed(command: list[str], variables: Mapping[str, str], folder: str) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **variables}, cwd=folder, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    return time.perf_counter() - began


def by_metaflow(python: str, folder: str, steps: int) -> dict[str, float]:
    """Its local mode: metadata and data in a folder."""
    found = {}
    variables = {"METAFLOW_DEFAULT_DATASTORE": "local", "METAFLOW_DEFAULT_METADATA": "local", "METAFLOW_HOME": folder}
    variables |= {"METAFLOW_USER": "bench", "METAFLOW_DATASTORE_SYSROOT_LOCAL": folder}
    for graph in WHAT:
        program = Path(folder) / f"{graph}_flow.py"
        program.write_text(graphs.metaflow(graph, steps))
        found[graph] = timed([python, str(program), "--quiet", "run", "--max-workers", str(AT_ONCE)], variables, folder)
    return found


def by_prefect(python: str, folder: str, steps: int) -> dict[str, float]:
    """A server that runs, with its own SQLite."""
    port = free_port()
    variables = {
        "PREFECT_HOME": folder,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
    }
    program = Path(folder) / "graphs_flow.py"
    program.write_text(graphs.PREFECT)
    serve = [str(Path(python).parent / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with Peer("prefect", serve, port, "", "/api/health", variables):
        return {
            graph: timed([python, str(program), graph, str(steps), str(AT_ONCE)], variables, folder) for graph in WHAT
        }


PEERS: Mapping[str, Callable[[str, str, int], dict[str, float]]] = {"metaflow": by_metaflow, "prefect": by_prefect}


def paces(bench: Bench, given: argparse.Namespace) -> list[Row]:
    executed(bench, "chain", 1)  # builds what is built on first use
    mine, rows = {}, []
    for graph in WHAT:
        say(f"{given.steps} {WHAT[graph]} ...")
        _, mine[graph], arn = executed(bench, graph, given.steps)
        if graph == "chain":
            middle = statistics.median(gaps(bench, arn))
            rows.append(most("from a step's end to the next one's start", middle, BETWEEN_MS, given))
        rows.append(Row(f"{given.steps} {WHAT[graph]}", mine[graph], "s"))
    for peer, by in {} if given.no_peers else PEERS.items():
        say(f"{peer} ...")
        python = environment(
            given.peers_dir, peer, ("--require-hashes", "-r", str(HERE / "requirements" / f"{peer}.txt"))
        )
        with tempfile.TemporaryDirectory(prefix="clary-bench-peer-", ignore_cleanup_errors=True) as folder:
            theirs = by(python, folder, given.steps)
        for graph, seconds in theirs.items():
            ratio, limit = mine[graph] / seconds, OVER[graph, peer]
            must = {} if given.tiny else {"must": f"<= {limit:g} x", "ok": ratio <= limit}
            rows.append(Row(f"the same {graph} by {peer}", seconds, "s", "Clary over it", ratio, **must))
    return rows


def most(what: str, value: float, limit: float, given: argparse.Namespace) -> Row:
    must = {} if given.tiny else {"must": f"<= {limit:g}", "ok": value <= limit}
    return Row(what, value, "ms", "bound", value / limit, **must)


# -- a full store ---------------------------------------------------------------------------------------------------------------


async def fill(bench: Bench, arn: str, count: int) -> None:
    """Copies of an execution that ran, in its pipeline, in the database of the Clary that runs."""
    store = open_store(bench.settings.database_url)
    try:
        pattern = await store.by_arn(arn)
        assert pattern is not None
        for start in range(0, count, 100):
            await asyncio.gather(*(store.add(copied(pattern, n)) for n in range(start, min(count, start + 100))))
        held = await store.page(Query(record.KIND, pattern.scope, limit=10))
        assert len(held) == min(10, count + 1)
    finally:
        await store.close()


def copied(pattern: Record, number: int) -> Record:
    own = f"{number:012x}"
    old = pattern.document["id"]
    return replace(
        pattern,
        name=pattern.name.replace(old, own),
        arn=pattern.arn.replace(old, own),
        created=pattern.created - number,
        modified=pattern.modified - number,
        document={**pattern.document, "id": own},
    )


def lists(bench: Bench, given: argparse.Namespace) -> list[Row]:
    say(f"{given.executions} executions of {STEPS_EACH} steps ...")
    pipeline, _, arn = executed(bench, "fan", 2 if given.tiny else STEPS_EACH)
    asyncio.run(fill(bench, arn, given.executions))
    sm = bench.sagemaker
    asked: Mapping[str, Callable[[], Any]] = {
        "ListPipelineExecutions of 100": lambda: sm.list_pipeline_executions(PipelineName=pipeline, MaxResults=100),
        "ListPipelineExecutions by time": lambda: sm.list_pipeline_executions(
            PipelineName=pipeline, CreatedBefore=time.time() - given.executions / 2, SortOrder="Ascending"
        ),
        "ListPipelineExecutionSteps": lambda: sm.list_pipeline_execution_steps(
            PipelineExecutionArn=arn, MaxResults=100
        ),
        "ListPipelines": lambda: sm.list_pipelines(MaxResults=100),
        "Search of PipelineExecution": lambda: sm.search(Resource="PipelineExecution", MaxResults=100),
    }
    assert len(sm.list_pipeline_executions(PipelineName=pipeline, MaxResults=100)["PipelineExecutionSummaries"]) == min(
        100, given.executions + 1
    )
    return [most(what, timed_calls(ask, given.rounds), LIST_MS, given) for what, ask in asked.items()]


def timed_calls(ask: Callable[[], Any], rounds: int) -> float:
    """Milliseconds of a call at the median, as a client sees it."""
    ask()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tiny", action="store_true", help="a smoke run: few steps and executions, and no must")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--executions", type=int, default=EXECUTIONS)
    parser.add_argument("--rounds", type=int, default=20, help="calls of each list")
    parser.add_argument(
        "--peers-dir", default=str(Path.home() / ".cache" / "clary-bench"), help="environments of the peers"
    )
    parser.add_argument("--environments", default="", help="folder of Clary's built runtimes; default: a fresh one")


def main() -> int:
    given = arguments("pipelines", options)
    if given.tiny:
        given.steps, given.executions, given.rounds = 4, 20, 2
    environments = given.environments or tempfile.mkdtemp(prefix="clary-bench-env-")
    try:
        with running(environments) as (bench, _):
            bench.s3.create_bucket(Bucket=BUCKET)
            rows = paces(bench, given)
            rows += lists(bench, given)
    finally:
        if not given.environments:
            shutil.rmtree(environments, ignore_errors=True)
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
