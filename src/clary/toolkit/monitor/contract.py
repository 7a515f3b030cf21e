"""What the container is told, and how it says how it ended. AWS's contract ("Container Contract Inputs", "Outputs")."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

_ROOT = Path(os.environ.get("CLARY_ML", "/opt/ml"))  # another folder where there is no sandbox: in tests
MESSAGE = _ROOT / "output/message"
METRICS = _ROOT / "output/metrics/cloudwatch"
NO_DATA = "NO_DATA"
_LIMIT = 1000  # bytes of the message


class Unusable(Exception):
    """The job cannot be done: the message is for the user."""


class NoData(Unusable):
    """There is nothing to judge. The message gives the coverage, `coverage` its numbers."""

    def __init__(self, words: str, coverage: Mapping[str, int]) -> None:
        told = ", ".join(f"{name} {count}" for name, count in coverage.items())
        super().__init__(f"{NO_DATA}: {words} (rows: {told})")
        self.coverage = dict(coverage)


@dataclass(frozen=True)
class Contract:
    """The variables, parsed. Paths are in the container; `None` and "" where a variable is not set."""

    source: str
    output: str
    form: Mapping[str, Any]
    baseline_statistics: str
    baseline_constraints: str
    preprocessor: str
    postprocessor: str
    publishes: bool
    endpoint: str
    schedule: str
    start: str
    end: str
    analysis: str
    problem: str
    variables: Mapping[str, str]

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "Contract":
        """Unusable says which variable is missing, or what is wrong with one."""
        source, output = variables.get("dataset_source", ""), variables.get("output_path", "")
        if not source or not output:
            raise Unusable(
                "The environment variables dataset_source (a folder of rows) and output_path (a folder for reports) must be set."
            )
        text = variables.get("dataset_format") or '{"sagemakerCaptureJson": {}}'
        try:
            form = json.loads(text)
        except ValueError:
            form = None
        if not isinstance(form, dict) or len(form) != 1:
            raise Unusable(
                f"The environment variable dataset_format must be a JSON object with one key, csv, json, parquet or "
                f"sagemakerCaptureJson, not {text[:200]!r}."
            )
        return cls(
            source=source,
            output=output,
            form=form,
            baseline_statistics=variables.get("baseline_statistics", ""),
            baseline_constraints=variables.get("baseline_constraints", ""),
            preprocessor=variables.get("record_preprocessor_script", ""),
            postprocessor=variables.get("post_analytics_processor_script", ""),
            publishes=variables.get("publish_cloudwatch_metrics", "Enabled").lower() != "disabled",
            endpoint=variables.get("sagemaker_endpoint_name", ""),
            schedule=variables.get("sagemaker_monitoring_schedule_name", ""),
            start=variables.get("start_time", ""),
            end=variables.get("end_time", ""),
            analysis=variables.get("analysis_type", ""),
            problem=variables.get("problem_type", ""),
            variables=dict(variables),
        )


def document(path: str, what: str) -> Optional[Dict[str, Any]]:
    """A JSON object from a file, or from the only JSON file of a folder; None without a path."""
    if not path:
        return None
    found = Path(path)
    if found.is_dir():
        files = sorted(each for each in found.rglob("*") if each.is_file())
        if len(files) != 1:
            raise Unusable(f"{what} {path} holds {len(files)} files: it must be one JSON file.")
        found = files[0]
    try:
        value = json.loads(found.read_text())
    except (OSError, ValueError) as error:
        raise Unusable(f"{what} {path} cannot be read: {error}.") from None
    if not isinstance(value, dict):
        raise Unusable(f"{what} {path} is not a JSON object.")
    return value


def write(folder: str, name: str, value: Mapping[str, Any]) -> None:
    """A report: complete or not there."""
    os.makedirs(folder, exist_ok=True)
    target = Path(folder) / name
    part = target.with_name(f".{name}.part")
    part.write_text(json.dumps(value, allow_nan=False, indent=2))
    part.replace(target)


def say(words: str, message: Path = MESSAGE) -> None:
    """The ExitMessage, and a line of the log."""
    print(words, flush=True)
    cut = words.encode()[:_LIMIT].decode("utf-8", "ignore")
    message.parent.mkdir(parents=True, exist_ok=True)
    message.write_text(cut)


def publish(lines: List[Dict[str, Any]], folder: Path = METRICS) -> None:
    """Metrics for CloudWatch: a line each, which the platform takes over when the job has ended."""
    if not lines:
        return
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    (folder / "monitor.jsonl").write_text(text)
