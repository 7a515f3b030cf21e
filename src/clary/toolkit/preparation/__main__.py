"""`python -m clary.toolkit.preparation [--data FOLDER] [--recipe FILE] [--brief FILE] [--output FOLDER]`:
what a processing job of the image
clary-prepare runs. What went wrong is one text, in the log and in `/opt/ml/output/message`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import List

from clary.toolkit.documents import DocumentError
from clary.toolkit.environment import cpu_count, memory

BASE = "/opt/ml/processing"
MESSAGE = "/opt/ml/output/message"
RESOURCES = "/opt/ml/config/resourceconfig.json"


def main(arguments: List[str], message: str = MESSAGE, resources: str = RESOURCES) -> int:
    """0, or 1 for what the user can mend."""
    options = _options().parse_args(arguments)
    from clary.toolkit.preparation import job
    from clary.toolkit.preparation.sources import SourceError
    from clary.toolkit.preparation.values import BadValue

    try:
        hosts = _hosts(resources)
        if hosts > 1:
            raise SourceError(
                "Preparation runs on one host; this job has {}. It reads data of any size on one: set InstanceCount to 1.".format(
                    hosts
                )
            )
        if options.brief:
            from clary.toolkit.preparation import briefing

            told = briefing.check(
                options.data,
                job.the_file(options.brief),
                options.output + "/brief",
                cpu_count(os.environ),
                memory(os.environ) // 4,
            )
            _say(message, "{:,} rows: {}".format(told["facts"]["rows"], told["verdict"]))
            return 0
        told = job.prepare(options.data, options.recipe, options.output, cpu_count(os.environ), memory(os.environ) // 4)
    except (DocumentError, BadValue, SourceError) as error:
        _say(message, str(error))
        print(error, file=sys.stderr, flush=True)
        return 1
    parts = ", ".join("{} {:,}".format(name, each["rows"]) for name, each in told["parts"].items())
    said = "{:,} rows ({}) with {:,} features; see report.html.".format(told["rows"], parts, len(told["features"]))
    _say(message, said)
    print(said, flush=True)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clary-prepare")
    parser.add_argument("--data", default=BASE + "/input/data")
    parser.add_argument("--recipe", default=BASE + "/input/recipe")
    parser.add_argument("--brief", default="", help="check this brief against the data, and prepare nothing")
    parser.add_argument("--output", default=BASE + "/output")
    return parser


def _hosts(path: str) -> int:
    try:
        with open(path, encoding="utf-8") as file:
            return len(json.load(file)["hosts"])
    except FileNotFoundError:
        return 1


def _say(path: str, text: str) -> None:
    """Into the file of the processing contract, where there is one: ExitMessage has 1 KB."""
    if os.path.isdir(os.path.dirname(path)):
        with open(path, "wb") as file:
            file.write(text.encode("utf-8")[:1024].decode("utf-8", "ignore").encode("utf-8"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
