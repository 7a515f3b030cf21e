"""`clary tuning`: a tuning job's objective over its trials, which hyperparameters matter, and where the best trials are: in the terminal,
live while it runs, or as a picture. A client of the public API; importances are computed in the sampler's environment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live

from clary.app.cli.charts import LEAST, MOST, PIPE
from clary.app.cli.client import ApiFailure, Client
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, say, say_json
from clary.app.cli.runtimes import runtimes_of
from clary.app.cli.scaling import KINDS, png
from clary.app.cli.site import Site, here
from clary.app.cli.tuning_figure import Search, Told, lines, svg, title
from clary.backends.sampler import RUNTIME, OptunaSampler
from clary.domain.errors import Unavailable
from clary.domain.tuning import request as asked
from clary.domain.tuning.request import Definition

EVERY = 1.0  # seconds between looks at a job that runs
_ACTIVE = ("InProgress", "Stopping")


def tuning(directory: str | None, name: str, out: str, *, once: bool, as_json: bool) -> None:
    target = Path(out) if out else None
    if target is not None and target.suffix.lower() not in KINDS:
        raise CommandRefused(f"--out takes a file that ends in .svg or .png, not {out!r}", USAGE)
    site = here(directory)
    client = site.client()
    name = name.rpartition("/")[2]
    console = Console(highlight=False, soft_wrap=True)
    if target is None and not once and not as_json and console.is_terminal:
        _watch(site, client, name, console)
        return
    search = read(site, client, name)
    if target is not None:
        drawn = svg(search)
        if target.suffix.lower() == ".svg":
            target.write_text(drawn, encoding="utf-8")
        else:
            target.write_bytes(png(drawn))
    if as_json:
        say_json(document(search))
    elif target is not None:
        say(f"{target}: {title(search)}")
    else:
        _print(search, console)


def _width(console: Console) -> int:
    return max(LEAST, min(MOST, console.width if console.is_terminal else PIPE))


def _print(search: Search, console: Console) -> None:
    for line in lines(search, _width(console), utf8="utf" in console.encoding.lower()):
        console.print(line)


def _watch(site: Site, client: Client, name: str, console: Console) -> None:
    """Redrawn until the job has ended; what stays is the last picture."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            search = read(site, client, name)
            live.update(Group(*lines(search, _width(console), utf8="utf" in console.encoding.lower())), refresh=True)
            if search.status not in _ACTIVE:
                return
            time.sleep(EVERY)


def read(site: Site, client: Client, name: str) -> Search:
    """The job as it stands."""
    try:
        found = client.call("sagemaker", "DescribeHyperParameterTuningJob", {"HyperParameterTuningJobName": name})
    except ApiFailure as error:
        if error.code != NOT_FOUND:
            raise
        raise CommandRefused(f"there is no tuning job {name!r}", NOT_FOUND) from error
    listed = client.pages(
        "sagemaker",
        "ListTrainingJobsForHyperParameterTuningJob",
        "TrainingJobSummaries",
        {"HyperParameterTuningJobName": name, "MaxResults": 100, "SortBy": "Name", "SortOrder": "Ascending"},
    )
    trials = [_told(number, row) for number, row in enumerate(listed, 1)]
    of = asked.definitions(found)
    shares, why = importances(site, of, trials)
    axes = {each.name: each for definition in of for each in definition.ranges}
    return Search(
        name,
        found["HyperParameterTuningJobStatus"],
        of[0].metric,
        of[0].maximize,
        trials,
        tuple(axes.values()),
        shares,
        why,
        str(found.get("FailureReason") or ""),
    )


def _told(number: int, row: dict[str, Any]) -> Told:
    final = row.get("FinalHyperParameterTuningJobObjectiveMetric")
    return Told(
        number,
        row["TrainingJobName"],
        row["TrainingJobStatus"],
        float(final["Value"]) if final else None,
        row["TunedHyperParameters"],
        row.get("TrainingJobDefinitionName", ""),
    )


def importances(site: Site, of: Sequence[Definition], trials: Sequence[Told]) -> tuple[dict[str, float], str]:
    """The share of each hyperparameter in how the objective varies, or why nobody can tell."""
    if len(of) > 1:
        return {}, "not told of a job with several definitions"
    runtimes = runtimes_of(site, builds=False)
    runtime = next(each for each in runtimes.all() if each.name == RUNTIME)
    if runtimes.built(runtime) is None:
        return {}, f"`{site.typed('runtime build ' + RUNTIME)}` brings what tells it"
    try:
        found = asyncio.run(_asked(OptunaSampler(runtimes), study(of[0], trials)))
    except Unavailable as error:
        return {}, error.message
    return found, "" if found else "too few training jobs have told a value"


async def _asked(sampler: OptunaSampler, told: dict[str, Any]) -> dict[str, float]:
    try:
        return await sampler.importances(told)
    finally:
        await sampler.rest()


def study(of: Definition, trials: Sequence[Told]) -> dict[str, Any]:
    """The trials with a value, as the sampler takes them."""
    events: list[list[Any]] = []
    for trial in trials:
        raw = {each.name: each.raw(trial.params.get(each.name, "")) for each in of.ranges}
        if trial.value is not None and None not in raw.values():
            events += [["ask", raw], ["tell", len(events) // 2, "complete", trial.value, []]]
    direction = "maximize" if of.maximize else "minimize"
    space = [each.sampled() for each in of.ranges]
    return {"sampler": "tpe", "seed": 0, "direction": direction, "space": space, "prior": [], "events": events}


def document(search: Search) -> dict[str, Any]:
    """`--json`."""
    return {
        "name": search.name,
        "status": search.status,
        "metric": search.metric,
        "direction": "maximize" if search.maximize else "minimize",
        "importances": dict(search.importances),
        "trials": [
            {
                "number": trial.number,
                "name": trial.name,
                "status": trial.status,
                "value": trial.value,
                "params": dict(trial.params),
            }
            for trial in search.trials
        ],
    }
