"""`clary drift`: how far what an endpoint is asked, and what it answers, is from its reference: per column both distributions, the
distance over time, rows, since when it drifts. Reads `GET /drift`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from clary.app.cli.client import SOON
from clary.app.cli.drift_figure import order, shares, svg
from clary.app.cli.history import when
from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, age, plain, say, say_json, table
from clary.app.cli.scaling import KINDS, png
from clary.app.cli.site import endpoint_name, here

PAGE = "/drift"
_BLOCKS = " ▁▂▃▄▅▆▇█"
_SPAN = 20  # windows of the distance over time


def drift(directory: str | None, endpoint: str, variant: str, out: str, *, as_json: bool) -> None:
    target = Path(out) if out else None
    if target is not None and target.suffix.lower() not in KINDS:
        raise CommandRefused(f"--out takes a file that ends in .svg or .png, not {out!r}", USAGE)
    site = here(directory)
    client, name = site.client(SOON), endpoint_name(endpoint)
    asked = urlencode({"region": site.settings.region, "endpoint": name})
    variants = client.page(f"{PAGE}?{asked}")["variants"]
    if not variants:
        client.call("sagemaker", "DescribeEndpoint", {"EndpointName": name})  # its error is clearer where there is none
        raise CommandRefused(
            f"nothing of endpoint {name!r} is watched yet: its config needs a DataCaptureConfig, and it has to answer "
            "requests (docs/drift.md)",
            NOT_FOUND,
        )
    if variant:
        variants = [each for each in variants if each["variant"] == variant]
        if not variants:
            raise CommandRefused(f"no variant {variant!r} of endpoint {name!r} is watched", NOT_FOUND)
    if target is not None:
        if len(variants) > 1:
            raise CommandRefused(f"a picture is of one variant: --variant {variants[0]['variant']}", USAGE)
        drawn = svg(variants[0])
        if target.suffix.lower() == ".svg":
            target.write_text(drawn, encoding="utf-8")
        else:
            target.write_bytes(png(drawn))
    if as_json:
        say_json({"endpoint": name, "variants": variants})
    elif target is not None:
        say(f"{target}: {headline(variants[0])}")
    else:
        say("\n\n".join(text(each, time.time()) for each in variants))


def headline(shown: dict[str, Any]) -> str:
    """One sentence."""
    of = f"{shown['endpoint']}, {shown['variant']}: "
    since = (shown.get("labels") or {}).get("since")
    of += "" if since is None else f"worse by its labels since {when(since)}; "
    if shown["phase"]:
        return f"{of}{shown['phase']}"
    drifting = [each["name"] for each in order(shown) if each["since"] is not None]
    if not drifting:
        return f"{of}no drift in {len(shown['columns'])} columns"
    told = ", ".join(drifting[:5]) + (", ..." if len(drifting) > 5 else "")
    return f"{of}{len(drifting)} of {len(shown['columns'])} columns drift: {told}"


def text(shown: dict[str, Any], now: float) -> str:
    """For a terminal: what it is compared to, then a line for each column, those that drift first."""
    lines = [plain(headline(shown)), f"rule: {shown['rule']}: {shown['expected']}"]
    for name, span in (("reference", shown["reference"]), ("now", shown["current"])):
        if span:
            lines.append(f"{name}: {span['rows']:,} rows from {when(span['start'])} to {when(span['end'])}")
    if shown["unread"]:
        lines.append(plain(f"{shown['unread']:,} captured records are not watched; the last one: {shown['why']}"))
    if shown["unwatched"]:
        lines.append(f"{shown['unwatched']} columns more are not watched")
    lines += labels(shown.get("labels") or {}, now)
    if not shown["phase"] and shown["current"]:
        rows = (_row(shown, each, now) for each in order(shown))
        headings = ("column", "drift", "distance", "over time", "rows", "missing", "out of range", "reference", "now")
        lines += ["", table(headings, rows, ("over time", "reference"))]
    return "\n".join(lines)


def labels(told: dict[str, Any], now: float) -> list[str]:
    """How right the variant is, by the labels that came."""
    lines = estimated(told.get("estimate") or {})
    if not told.get("joined"):
        return lines
    for name in ("reference", "rolling"):
        each = told[name]
        if each:
            lines.append(f"labels, {name}: {figures(each)} of {each['rows']:,} rows until {when(each['end'])}")
    state = told["phase"] or ("not worse" if told["since"] is None else f"worse since {age(told['since'], now)}")
    counts = f"{told['joined']:,} labelled rows, {told['conflicts']:,} labels contradict an earlier one"
    return [*lines, f"labels: {state} ({told['expected']}); {counts}"]


def estimated(told: dict[str, Any]) -> list[str]:
    """How right the variant may be where no labels came yet: an estimate, and marked as one."""
    if not told.get("rolling"):
        return []
    each = told["rolling"]
    basis = {
        "DLE": f"DLE: a model of the errors of {told['learned']:,} labelled rows",
        "CBPE": "CBPE: the model's own probabilities, "
        + (f"calibrated by {told['learned']:,} labelled rows" if told["calibrated"] else "as they are"),
    }[told["method"]]
    return [f"estimate without labels: {figures(each)} of {each['rows']:,} rows until {when(each['end'])} ({basis})"]


def figures(each: dict[str, Any]) -> str:
    """A share or an error with its 95 % interval."""
    between = f"({each['lower']:.3g} to {each['upper']:.3g})"
    if "accuracy" in each:
        return f"accuracy {each['accuracy']:.3g} {between}"
    return f"mean absolute error {each['mae']:.4g} {between}, root mean squared error {each['rmse']:.4g}"


def _row(shown: dict[str, Any], each: dict[str, Any], now: float) -> tuple[object, ...]:
    history = [window["columns"].get(each["name"], [0.0])[0] for window in shown["windows"] if not window["size"]]
    since = each["since"]
    return (
        each["name"],
        "" if since is None else f"since {age(since, now)} ({each['test']})",
        f"{each['distance']:.3f}",
        bars(history[-_SPAN:], max([0.1, *history])),
        each["n"],
        f"{each['missing']:.1%}",
        f"{each['outside']:.1%}",
        bars(shares(each["reference"])),
        bars(shares(each["current"])),
    )


def bars(values: list[float], top: float = 0.0) -> str:
    """Values as blocks, the highest as high as `top`."""
    top = max([top, *values]) or 1.0
    return "".join(_BLOCKS[0 if value <= 0 else max(1, round(value / top * 8))] for value in values)
