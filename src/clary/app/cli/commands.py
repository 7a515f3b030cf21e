"""Every command's name, options and help. What a command does is in the module it imports when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

EPILOG = (
    "Settings come from clary.toml in the state folder, from CLARY_* variables and from flags; the later ones take precedence. "
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 Clary is not running, 4 not found, 5 doctor found a fault, "
    "130 interrupted."
)

app = typer.Typer(
    name="clary",
    help="Amazon SageMaker on your own machines: the same API, the whole path from data to predictions.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
runtime = typer.Typer(help="Environments in which images' code runs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(runtime, name="runtime")
objects = typer.Typer(
    help="Repair the object store while Clary is stopped.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(objects, name="objects")
registry = typer.Typer(
    help="Versions of models: list, compare, approve, alias.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(registry, name="registry")
brief = typer.Typer(
    help="What a model is for, before it is trained: write it down, check the data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(brief, name="brief")
privacy = typer.Typer(
    help="Personal data: find and erase a person's rows, point to columns.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(privacy, name="privacy")

data = typer.Typer(help="Data from elsewhere.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")
hub = typer.Typer(help="Ready models for JumpStart's clients.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(hub, name="hub")
node = typer.Typer(
    help="Machines that run jobs for this Clary: let one join, list, drain, let go.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(node, name="node")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"clary {version('clary')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def _forms() -> list[str]:
    return ["boto3", "cli", "terraform"]


def _shells() -> list[str]:
    return ["bash", "zsh"]


Dir = Annotated[str | None, typer.Option("--dir", help="State folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Answer as one JSON document.")]


@app.command()
def up(
    directory: Dir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; 0 picks a free one.", show_default="4600")
    ] = None,
    tls_cert: Annotated[str | None, typer.Option(help="PEM certificate chain; with --tls-key: HTTPS.")] = None,
    tls_key: Annotated[str | None, typer.Option(help="PEM private key of the certificate.")] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Run in the background; return when Clary is ready.")
    ] = False,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Delete the state folder when Clary stops (new folders only).")
    ] = False,
    other_stores: Annotated[
        bool,
        typer.Option("--other-stores", help="Start although this folder had another database or object store so far."),
    ] = False,
    new_records: Annotated[
        bool, typer.Option("--new-records", help="Start without records if records.db is lost.")
    ] = False,
    json: Json = False,
) -> None:
    """Start Clary, in the foreground or detached."""
    from clary.app.cli import start

    flags = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key, "ephemeral": ephemeral or None}
    flags["new_records"] = new_records or None
    start.up(directory, flags, detach=detach, other_stores=other_stores, as_json=json)


@app.command()
def down(
    directory: Dir = None,
    keep_jobs: Annotated[
        bool, typer.Option("--keep-jobs", help="Let jobs run on; the next `clary up` takes them over.")
    ] = False,
    json: Json = False,
) -> None:
    """Stop Clary; the data stays."""
    from clary.app.cli import start

    start.down(directory, keep_jobs=keep_jobs, as_json=json)


@app.command()
def status(directory: Dir = None, json: Json = False) -> None:
    """Show whether Clary runs, and what it does."""
    from clary.app.cli import listing

    listing.status(directory, as_json=json)


@app.command()
def env(
    directory: Dir = None,
    region: Annotated[str | None, typer.Option(help="Region to name.")] = None,
    ipython: Annotated[bool, typer.Option("--ipython", help="Print %env lines for a notebook.")] = False,
    account: Annotated[
        str | None, typer.Option(help="Use another account (12 digits); a new one gets a key pair.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Write an AWS profile of this name instead.")] = None,
    json: Json = False,
) -> None:
    """Point AWS clients here: eval "$(clary env)"."""
    from clary.app.cli import environment

    environment.env(directory, region, account, ipython=ipython, profile=profile, as_json=json)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def shell(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[JOB] [-- COMMAND...]", help="A failed job to enter; a command to run instead of a shell."
        ),
    ] = None,
    directory: Dir = None,
    region: Annotated[str | None, typer.Option(help="Region to name.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what would be run, as JSON.")] = False,
) -> None:
    """Open a shell for AWS clients, or a failed job's sandbox.

    Without JOB it is your own shell: AWS clients and official notebooks started in it use this Clary without a change.
    """
    import sys

    from clary.app.cli import shell as shells

    # Click takes a leading `--` away, and leaves every later one.
    said = words or []
    is_command = bool(said) and sys.argv[-len(said) - 1] == "--"
    raise typer.Exit(shells.shell(directory, region, said, is_command=is_command, as_json=json))


@app.command()
def doctor(directory: Dir = None, json: Json = False) -> None:
    """Check this machine, and say how to fix what is wrong."""
    from clary.app.cli import doctor as checks

    checks.doctor(directory, as_json=json)


@app.command()
def logs(
    resource: Annotated[str, typer.Argument(help="A job's or endpoint's name or ARN, or a log group.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines.")] = False,
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 1d; all.")] = "all",
    match: Annotated[str, typer.Option("--filter", help="A CloudWatch filter pattern.")] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Print the log of a job or an endpoint."""
    from clary.app.cli import logs as lines

    lines.logs(directory, resource, follow=follow, since=since, pattern=match, as_json=json)


@app.command()
def ps(
    directory: Dir = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Include jobs that have ended.")] = False,
    json: Json = False,
) -> None:
    """List Clary's own processes, endpoints and jobs."""
    from clary.app.cli import listing

    listing.ps(directory, everything=everything, as_json=json)


@app.command()
def top(
    directory: Dir = None,
    interval: Annotated[float, typer.Option(help="Seconds between updates.", min=0.2)] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    json: Json = False,
) -> None:
    """Watch what endpoints and jobs do and use."""
    from clary.app.cli import top as watching

    watching.top(directory, interval, once=once or json, as_json=json)


@app.command()
def shadow(
    endpoint: Annotated[str, typer.Argument(help="An endpoint with a shadow variant.")],
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Compare a shadow variant with production."""
    from clary.app.cli import shadow as comparing

    comparing.shadow(directory, endpoint, as_json=json)


@app.command()
def rollout(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name.")],
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Watch a change of an endpoint until it is done."""
    from clary.app.cli import rollout as watching

    watching.rollout(directory, endpoint, once=once, as_json=json)


@app.command()
def pipeline(
    name: Annotated[str, typer.Argument(help="The pipeline's name.")],
    execution: Annotated[str, typer.Argument(help="An execution's id or ARN.", show_default="the newest")] = "",
    step: Annotated[str, typer.Option(help="Print the log of this step's job instead.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="With --step: keep printing new lines.")] = False,
    out: Annotated[str, typer.Option(help="Write the graph as a picture instead: FILE.svg.")] = "",
    retry: Annotated[bool, typer.Option("--retry", help="Run again what failed or was not run.")] = False,
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Watch an execution of a pipeline: its steps, and why."""
    from clary.app.cli import pipeline as watching

    watching.pipeline(
        directory, name, execution, step=step, follow=follow, out=out, again=retry, once=once, as_json=json
    )


@app.command()
def lineage(
    resource: Annotated[str, typer.Argument(help="An endpoint, job, model or lineage entity: its name or ARN.")],
    down: Annotated[bool, typer.Option("--down", help="What came of it, instead of what led to it.")] = False,
    out: Annotated[str, typer.Option(help="Write the graph as a picture instead: FILE.svg.")] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Show what led to a resource, down to the objects that it was trained on."""
    from clary.app.cli import lineage as telling

    telling.lineage(directory, resource, down=down, out=out, as_json=json)


@app.command()
def parity(
    resource: Annotated[str, typer.Argument(help="An endpoint, endpoint config, model or job: its name or ARN.")],
    prices: Annotated[
        str, typer.Option(help="JSON file: the price of an hour on AWS by instance type.", show_default=False)
    ] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Show what would differ on AWS: fields, tags, images, limits, and what its instances would cost."""
    from clary.app.cli import parity as telling

    telling.parity_of(directory, resource, prices=prices, as_json=json)


@app.command()
def history(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name; a deleted one's history stays.")],
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Show an endpoint's changes, each step with its reason."""
    from clary.app.cli import history as telling

    telling.history(directory, endpoint, as_json=json)


@app.command()
def why(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name; a deleted one's decisions stay for 14 days.")],
    variant: Annotated[str, typer.Option(help="One of its variants.", show_default="all")] = "",
    since: Annotated[str, typer.Option(help="How far back: 30s, 10m, 2h, 1d; all.")] = "1h",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Explain an endpoint's size: each scaling decision."""
    from clary.app.cli import why as telling

    telling.why(directory, endpoint, variant, since, as_json=json)


@app.command()
def scaling(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name, or ENDPOINT/COMPONENT.")],
    variant: Annotated[str, typer.Option(help="One of its variants.", show_default="all")] = "",
    since: Annotated[str, typer.Option(help="How far back: 5m, 2h, 7d.", show_default="1h; 1d with --what-if")] = "",
    out: Annotated[str, typer.Option(help="Write a picture instead: FILE.svg, or FILE.png (needs clary[plots]).")] = "",
    what_if: Annotated[
        str, typer.Option("--what-if", help="Play the recorded load again under the policy in this JSON file.")
    ] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Plot an endpoint's load, capacity, latency and decisions."""
    from clary.app.cli import scaling as plotting

    plotting.scaling(directory, endpoint, variant, since, out, what_if, as_json=json)


@app.command()
def drift(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name.")],
    variant: Annotated[str, typer.Option(help="One of its variants.", show_default="all")] = "",
    out: Annotated[str, typer.Option(help="Write a picture instead: FILE.svg, or FILE.png (needs clary[plots]).")] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Show how far an endpoint's requests and answers drifted."""
    from clary.app.cli import drift as watching

    watching.drift(directory, endpoint, variant, out, as_json=json)


@app.command()
def label(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name.")],
    source: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Lines ID,LABEL, or JSON lines with id and label; - is standard input."),
    ],
    to: Annotated[
        str, typer.Option(help="s3://BUCKET/PREFIX instead of ground-truth/ENDPOINT beside the captured data.")
    ] = "",
    hour: Annotated[
        str, typer.Option(help="The hour (UTC) that they are for: 2026-12-31T09.", show_default="now")
    ] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Tell what was right: ground truth by inference or event id."""
    from clary.app.cli import label as labelling

    labelling.label(directory, endpoint, source, to, hour, as_json=json)


@app.command()
def retrain(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name.")],
    pipeline: Annotated[str, typer.Option(help="The pipeline that retrains it.", show_default="retrain-ENDPOINT")] = "",
    init: Annotated[bool, typer.Option("--init", help="Make the template pipeline, or make it anew.")] = False,
    gate: Annotated[str, typer.Option(help="The brief that the new model must meet: a file or s3://.")] = "",
    on: Annotated[
        str, typer.Option(help="What starts it: worse, drift, violation.", show_default="worse,violation")
    ] = "",
    alarms: Annotated[str, typer.Option(help="Alarms that start it.")] = "",
    every: Annotated[str, typer.Option(help="Start it so long after the last: 12h, 7d.")] = "",
    rows: Annotated[str, typer.Option(help="Start it after so many new labelled rows.")] = "",
    fresh: Annotated[str, typer.Option(help="The fewest new labelled rows.", show_default="200")] = "",
    cooldown: Annotated[str, typer.Option(help="Time between two.", show_default="1h")] = "",
    budget: Annotated[str, typer.Option(help="Trainings in 30 days.", show_default="30")] = "",
    topic: Annotated[str, typer.Option(help="The SNS topic that calls a person.")] = "",
    now: Annotated[bool, typer.Option("--now", help="Ask for one now.")] = False,
    off: Annotated[bool, typer.Option("--off", help="Do not retrain any more.")] = False,
    manual: Annotated[bool, typer.Option("--manual", help="With --init: a person approves new versions.")] = False,
    holdout: Annotated[str, typer.Option(help="With --init: s3://... of rows that every model is judged on.")] = "",
    metric: Annotated[str, typer.Option(help="With --init: what the gate judges by.")] = "",
    problem: Annotated[str, typer.Option(help="With --init: binary or regression.")] = "binary",
    facet: Annotated[str, typer.Option(help="With --init: COLUMN=VALUE whose bias is bounded.")] = "",
    window: Annotated[str, typer.Option(help="With --init: labelled rows at most.", show_default="5000")] = "",
    half_life: Annotated[str, typer.Option(help="With --init: rows after which one counts half.")] = "",
    hyperparameters: Annotated[str, typer.Option(help="With --init: of the training, as JSON.")] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Let an endpoint retrain itself, or show what it did."""
    from clary.app.cli import retrain as retraining

    asked = retraining.RetrainRequest(
        pipeline, gate, on, alarms, every, rows, fresh, cooldown, budget, topic, init, now, off, manual, holdout, metric, problem, facet,
        window, half_life, hyperparameters,
    )  # fmt: skip
    retraining.retrain(directory, endpoint, asked, as_json=json)


@app.command()
def replay(
    endpoint: Annotated[str, typer.Argument(help="An endpoint with data capture.")],
    against: Annotated[str, typer.Option(help="The endpoint config that is compared with the endpoint's own.")],
    limit: Annotated[int, typer.Option(help="The newest captured requests, at most so many.", min=1)] = 200,
    rate: Annotated[float, typer.Option(help="Requests a second, at most.")] = 10.0,
    since: Annotated[str, typer.Option(help="Only what was captured since: 1h, 2d, all.")] = "all",
    tolerance: Annotated[float, typer.Option(help="Numbers that differ by less are the same.", min=0.0)] = 1e-6,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Ask captured requests again of another endpoint config: compare answers, latency, cost."""
    from clary.app.cli import replay as replaying

    asked = replaying.ReplayRequest(against, limit, rate, since, tolerance)
    replaying.replay(directory, endpoint, asked, as_json=json)


@app.command()
def tuning(
    name: Annotated[str, typer.Argument(help="The tuning job's name.")],
    out: Annotated[str, typer.Option(help="Write a picture instead: FILE.svg, or FILE.png (needs clary[plots]).")] = "",
    once: Annotated[bool, typer.Option("--once", help="One look, then end.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Plot a tuning job: its trials, and which hyperparameters matter."""
    from clary.app.cli import tuning as drawing

    drawing.tuning(directory, name, out, once=once, as_json=json)


@app.command()
def evaluate(
    data: Annotated[str, typer.Argument(help="Rows with their targets: s3://..., or a local file or folder.")],
    target: Annotated[str, typer.Option(help="The column with what is true.", show_default="the brief's")] = "",
    model: Annotated[str, typer.Option(help="column:, columns:, endpoint:, model: or package:NAME.")] = "",
    incumbent: Annotated[str, typer.Option(help="What it must be better than, in the same form.")] = "",
    metric: Annotated[str, typer.Option(help="The metric that decides.", show_default="the brief's")] = "",
    slices: Annotated[str, typer.Option(help="Columns to look at value by value, with commas.")] = "",
    group: Annotated[str, typer.Option(help="A column whose rows belong together.")] = "",
    brief: Annotated[str, typer.Option(help="The brief's file.")] = "",
    config_file: Annotated[str, typer.Option("--config", help="A file of docs/schemas/evaluation.json.")] = "",
    out: Annotated[str, typer.Option(help="A folder for evaluation.json and report.html.")] = "",
    size: Annotated[str, typer.Option(help="The job's instance type.")] = "ml.m5.large",
    gate: Annotated[bool, typer.Option("--gate", help="Exit with 1 unless the gate is passed.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Evaluate a model: metrics, intervals, better or worse."""
    from clary.app.cli import evaluate as judging

    asked = judging.EvaluationRequest(
        data, target, model, incumbent, metric, slices, group, brief, config_file, out, size, gate=gate
    )
    raise typer.Exit(judging.evaluate(directory, asked, as_json=json))


@app.command()
def cost(
    by: Annotated[str, typer.Option(help="Group by name, kind, account or tag:KEY.")] = "name",
    since: Annotated[str, typer.Option(help="How far back, in whole UTC days: 12h, 7d; all.")] = "30d",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Show what jobs and endpoints used, and what that costs."""
    from clary.app.cli import cost as costs

    costs.cost(directory, by, since, as_json=json)


@app.command()
def config(directory: Dir = None, json: Json = False) -> None:
    """Show every setting, its value and its source."""
    from clary.app.cli import listing

    listing.config(directory, as_json=json)


@app.command()
def capacity(directory: Dir = None, json: Json = False) -> None:
    """Show who uses the machine, what is free, who waits."""
    from clary.app.cli import capacity as room

    room.capacity(directory, as_json=json)


@app.command()
def prometheus(
    directory: Dir = None,
    account: Annotated[str | None, typer.Option(help="Another account (12 digits).")] = None,
    json: Json = False,
) -> None:
    """Print the scrape configuration for Prometheus."""
    from clary.app.cli import prometheus as scrapes

    scrapes.prometheus(directory, account, as_json=json)


@app.command()
def demo(
    directory: Annotated[
        str | None, typer.Option("--dir", help="Use the Clary of this folder instead of a new one.")
    ] = None,
    json: Json = False,
) -> None:
    """Upload, train, deploy and predict, in seconds.

    Starts a Clary of its own and stops it afterwards.
    """
    from clary.app.cli import demo as showing

    showing.demo(directory, as_json=json)


@app.command()
def export(
    resource: Annotated[str, typer.Argument(help="An ARN, KIND/NAME or a name.")],
    form: Annotated[str, typer.Option("--as", help="boto3, cli or terraform.", autocompletion=_forms)] = "boto3",
    role: Annotated[
        str, typer.Option(help="Role ARN to use instead, such as another account's.", show_default="the resource's own")
    ] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Print calls that create a resource again, here or on AWS."""
    from clary.app.cli import export as exports

    exports.export(directory, resource, form, role, as_json=json)


@app.command()
def rerun(
    job: Annotated[str, typer.Argument(help="A training job's name or ARN.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="KEY=VALUE: a hyperparameter, or a member of the request such as ResourceConfig.InstanceType."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The new job's name.", show_default="the old one's and the time")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the job ends; exit with 1 unless it completed.")
    ] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Run a training job again, with changes."""
    from clary.app.cli import rerun as runs

    runs.rerun(directory, job, changes or [], name, wait=wait, as_json=json)


@app.command()
def completion(
    shell: Annotated[str, typer.Argument(help="bash or zsh.", autocompletion=_shells)],
    json: Json = False,
) -> None:
    """Print the completion script of bash or zsh."""
    from clary.app.cli import completion as scripts

    scripts.completion(shell, as_json=json)


@runtime.command("list")
def runtime_list(directory: Dir = None, json: Json = False) -> None:
    """List runtimes, their image names and what is built."""
    from clary.app.cli import runtimes

    runtimes.show(directory, as_json=json)


@runtime.command("build")
def runtime_build(
    names: Annotated[list[str] | None, typer.Argument(help="Runtimes or image URIs; all if none is given.")] = None,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Build environments now instead of on first use."""
    from clary.app.cli import runtimes

    runtimes.build(directory, names or [], as_json=json)


@runtime.command("add")
def runtime_add(
    image: Annotated[str, typer.Argument(help="An image's URI or repository; registry and tag do not matter.")],
    name: Annotated[str, typer.Argument(metavar="RUNTIME", help="The runtime that the image's code runs in.")],
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Run an image of your own in one of the runtimes."""
    from clary.app.cli import runtimes

    runtimes.add(directory, image, name, as_json=json)


@runtime.command("remove")
def runtime_remove(
    image: Annotated[str, typer.Argument(help="An image's URI or repository, as it was added.")],
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Undo `clary runtime add`."""
    from clary.app.cli import runtimes

    runtimes.remove(directory, image, as_json=json)


@app.command()
def backup(
    target: Annotated[str, typer.Argument(help="A folder, or s3://BUCKET/PREFIX in another S3.")],
    keep: Annotated[
        int | None, typer.Option(help="Keep that many backups there and remove older ones.", show_default=False)
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the backups that are there.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Back up a state folder, while Clary runs or stopped.

    Only what is new since the last backup there is copied. The backup holds secret keys: protect it as the state folder.
    """
    from clary.app.cli import backup as done

    if listed:
        done.listed(target, as_json=json)
    else:
        done.backup(target, directory, keep=keep, as_json=json)


@app.command()
def restore(
    target: Annotated[str, typer.Argument(help="Where the backups are: a folder, or s3://BUCKET/PREFIX.")],
    at: Annotated[
        str, typer.Option(help="Name of the backup, as `clary backup --list` shows it.", show_default="the newest")
    ] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Restore a backup into a new state folder."""
    from clary.app.cli import backup as done

    done.restore(target, directory, at=at, as_json=json)


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="URL of an empty PostgreSQL database, or `files`.")],
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Move records, features and the object index to PostgreSQL, or back into files, while Clary is stopped."""
    from clary.app.cli import backup as done

    done.migrate(to, directory, as_json=json)


@hub.command("sync")
def hub_sync(
    bucket: Annotated[str, typer.Option(help="Another bucket.", show_default="jumpstart-cache-prod-REGION")] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Put the hub's models into the bucket that JumpStart's clients read."""
    from clary.app.cli import hub as telling

    telling.sync(directory, bucket, as_json=json)


@objects.command("rebuild")
def objects_rebuild(
    damaged: Annotated[bool, typer.Option("--damaged", help="Use what is readable of a damaged journal.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Rebuild the object index from its journal.

    It has buckets, keys, versions, metadata, tags and open uploads.

    For an index that is missing, damaged or older than the objects. The one that is there is kept as index.db.replaced.
    """
    from clary.app.cli import objects

    objects.rebuild(directory, damaged=damaged, as_json=json)


@brief.command("init")
def brief_init(path: Annotated[str, typer.Argument(help="The file to write.")] = "brief.yaml") -> None:
    """Write a brief to fill in."""
    from clary.app.cli import brief as briefs

    briefs.init(path)


@brief.command("check")
def brief_check(
    path: Annotated[str, typer.Argument(help="The brief, YAML or JSON.")],
    data: Annotated[str, typer.Option(help="s3://BUCKET/PREFIX of CSV, JSON lines or Parquet.")],
    card: Annotated[bool, typer.Option("--card/--no-card", help="Keep brief and findings as a model card.")] = True,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Check a brief against its data, in a job.

    Target, classes, slices, duplicates, columns that leak the target, the trivial baseline, and whether there are rows enough to show the
    objective. Exit code 1 when something must be settled first.
    """
    from clary.app.cli import brief as briefs

    briefs.check(directory, path, data, kept=card, as_json=json)


@data.command("fetch")
def data_fetch(
    url: Annotated[str, typer.Argument(help="https://..., which the setting egress allows.")],
    target: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX.")],
    limit: Annotated[int, typer.Option(help="The most bytes that are fetched.")] = 10 << 30,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Fetch a URL into S3, in a job: under its hash, with where it came from, known to lineage."""
    from clary.app.cli import data as fetching

    fetching.fetch(directory, url, target, limit, as_json=json)


DataSets = Annotated[list[str] | None, typer.Argument(help="s3://BUCKET/PREFIX, one or more.", show_default=False)]
Condition = Annotated[str, typer.Option("--where", help="COLUMN=VALUE.")]
Captures = Annotated[
    list[str] | None, typer.Option("--endpoint", help="Also an endpoint's captured data.", show_default=False)
]
FeatureGroups = Annotated[list[str] | None, typer.Option("--group", help="Also a feature group.", show_default=False)]
Columns = Annotated[str, typer.Option(help="Names, with commas, for CSV without a header line.", show_default=False)]


@privacy.command("find")
def privacy_find(
    where: Condition,
    data: DataSets = None,
    endpoint: Captures = None,
    group: FeatureGroups = None,
    columns: Columns = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Find the rows of one person. Exit code 1 when something could not be searched."""
    _privacy("find", directory, data, where, endpoint, group, columns, json)


@privacy.command("erase")
def privacy_erase(
    where: Condition,
    data: DataSets = None,
    endpoint: Captures = None,
    group: FeatureGroups = None,
    columns: Columns = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Erase the rows of one person, also from old versions; prove it by a second search. Exit code 1 when it is not proven."""
    _privacy("erase", directory, data, where, endpoint, group, columns, json)


@privacy.command("scan")
def privacy_scan(
    data: DataSets = None,
    endpoint: Captures = None,
    columns: Columns = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Point to columns that look like personal data."""
    _privacy("scan", directory, data, "", endpoint, None, columns, json)


def _privacy(
    act: str,
    directory: str | None,
    data: list[str] | None,
    where: str,
    endpoints: list[str] | None,
    groups: list[str] | None,
    columns: str,
    as_json: bool,
) -> None:
    from clary.app.cli import privacy as private

    asked = private.PrivacyRequest(data or (), where, endpoints or (), groups or (), columns)
    raise typer.Exit(private.run(directory, act, asked, as_json=as_json))


Group = Annotated[str, typer.Argument(help="The model package group.")]
Version = Annotated[str, typer.Argument(help="The number of a version, or an alias.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="Why: the ApprovalDescription.", show_default=False)]


@registry.command("list")
def registry_list(
    group: Annotated[str, typer.Argument(help="Its versions, instead of all groups.", show_default=False)] = "",
    directory: Dir = None,
    json: Json = False,
) -> None:
    """List model package groups, or the versions of one."""
    from clary.app.cli import registry as telling

    if group:
        telling.versions(directory, group, as_json=json)
    else:
        telling.groups(directory, as_json=json)


@registry.command("compare")
def registry_compare(
    group: Group,
    one: Version,
    other: Version,
    everything: Annotated[bool, typer.Option("--all", help="Show also what is the same.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Compare two versions: metrics, data, parameters, code."""
    from clary.app.cli import registry as telling

    telling.compare(directory, group, one, other, everything=everything, as_json=json)


@registry.command("approve")
def registry_approve(
    group: Group, version: Version, comment: Comment = "", directory: Dir = None, json: Json = False
) -> None:
    """Approve a version."""
    from clary.app.cli import registry as telling

    telling.decide(directory, group, version, "Approved", comment, as_json=json)


@registry.command("reject")
def registry_reject(
    group: Group, version: Version, comment: Comment = "", directory: Dir = None, json: Json = False
) -> None:
    """Reject a version."""
    from clary.app.cli import registry as telling

    telling.decide(directory, group, version, "Rejected", comment, as_json=json)


@registry.command("alias")
def registry_alias(
    group: Group,
    version: Version,
    alias: Annotated[str, typer.Argument(help="Such as champion. It is taken from the version that had it.")],
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Give a version an alias; endpoints that follow it move."""
    from clary.app.cli import registry as telling

    telling.name(directory, group, version, alias, as_json=json)


@node.command("token")
def node_token(directory: Dir = None, json: Json = False) -> None:
    """Print the command with which one machine joins, within 15 minutes."""
    from clary.app.cli import nodes

    nodes.token(directory, as_json=json)


@node.command("join")
def node_join(
    address: Annotated[str, typer.Argument(metavar="[HOST:PORT]", help="Where a head listens for nodes.")] = "",
    token: Annotated[str, typer.Option(help="Join token; the first time only.")] = "",
    name: Annotated[str, typer.Option(help="The node's name.", show_default="the host's name")] = "",
    directory: Annotated[
        str | None, typer.Option("--dir", help="The node's folder.", show_default="~/.local/share/clary-node")
    ] = None,
) -> None:
    """Be a node: run jobs of a Clary elsewhere on this machine, until this command is ended."""
    from clary.app.cli import nodes

    nodes.join(directory, address, token, name)


@node.command("list")
def node_list(directory: Dir = None, json: Json = False) -> None:
    """Show the nodes: their state, size, and the jobs that they have."""
    from clary.app.cli import nodes

    nodes.show(directory, as_json=json)


@node.command("drain")
def node_drain(
    name: Annotated[str, typer.Argument(help="The node.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take jobs again.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Place nothing more on a node; what runs there goes on."""
    from clary.app.cli import nodes

    nodes.drain(directory, name, undo=undo, as_json=json)


@node.command("leave")
def node_leave(
    name: Annotated[str, typer.Argument(help="The node.")],
    force: Annotated[bool, typer.Option("--force", help="Although it has jobs: they are lost there.")] = False,
    directory: Dir = None,
    json: Json = False,
) -> None:
    """Let a node go: its certificate is good for nothing any more."""
    from clary.app.cli import nodes

    nodes.leave(directory, name, force=force, as_json=json)
