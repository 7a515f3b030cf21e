"""`python -m clary.toolkit.clarify`: what a processing job of the image `sagemaker-clarify-processing` runs.

Reads analysis_config.json (input "analysis_config") and the dataset (input "dataset"), and writes analysis.json, the report and
explanations into the output "analysis_result". Monitors say the places by environment variables instead, as they do to their own
analyzer: `dataset_source`, `output_path`, `baseline_constraints`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from typing import Any, Dict, List, Mapping, Optional

from clary.toolkit.clarify import answers, dataset, drift, explaining, facets, metrics, monitored, rendering, report
from clary.toolkit.clarify.columns import Column, column, distinct
from clary.toolkit.clarify.config import Analysis, CustomerError, analysis, document
from clary.toolkit.clarify.endpoint import Endpoint, fetched
from clary.toolkit.failure import exit_message

CONTRACT = "/opt/ml/config"
TOP = "/opt/ml/processing"


class JobPlaces:
    """Where the job's files are, by its contract and the variables of a monitor. `config` and `constraints` are files."""

    def __init__(self, job: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        inputs = {each["InputName"]: (each.get("S3Input") or {}) for each in job.get("ProcessingInputs") or ()}
        outputs = [
            each for each in (job.get("ProcessingOutputConfig") or {}).get("Outputs") or () if each.get("S3Output")
        ]
        named = next(
            (each for each in outputs if each["OutputName"] == "analysis_result"), outputs[0] if outputs else None
        )
        result = named["S3Output"]["LocalPath"] if named else TOP + "/output"
        self.config = _file(_local(inputs, "analysis_config", TOP + "/input/config"))
        self.dataset = variables.get("dataset_source") or _local(inputs, "dataset", TOP + "/input/data")
        self.output = variables.get("output_path") or result
        self.constraints = variables.get("baseline_constraints", "")
        self.metrics = variables.get("CLARY_ML", "/opt/ml") + "/output/metrics/cloudwatch"
        self.arn = str(job.get("ProcessingJobArn") or "")
        self.isolated = bool((job.get("NetworkConfig") or {}).get("EnableNetworkIsolation"))
        source = inputs.get("dataset") or {}
        self.sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"


def _local(inputs: Mapping[str, Any], name: str, default: str) -> str:
    return (inputs.get(name) or {}).get("LocalPath") or default


def _file(folder: str) -> str:
    """analysis_config.json in a folder, or the only file there is."""
    path = os.path.join(folder, "analysis_config.json")
    listed = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return path if os.path.exists(path) or len(listed) != 1 else os.path.join(folder, listed[0])


def main() -> int:
    signal.signal(signal.SIGTERM, _stopped)
    try:
        message = run(
            _json(CONTRACT + "/processingjobconfig.json"), _json(CONTRACT + "/resourceconfig.json"), os.environ
        )
    except CustomerError as error:
        text = str(error) if str(error).startswith("NO_DATA:") else "Customer Error: {}".format(error)
        exit_message(text)
        print(text, file=sys.stderr, flush=True)
        return 1
    exit_message(message)
    return 0


def _stopped(*_: Any) -> None:
    """End as after an error: an endpoint that was made is deleted on the way out."""
    raise SystemExit(143)


def _json(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found: Dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return found


def run(job: Mapping[str, Any], hosts: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    """The whole job on this host; answers the message about its end. Of several hosts the first one works."""
    places = JobPlaces(job, variables)
    if len(hosts.get("hosts") or ()) > 1:
        if places.sharded:
            raise CustomerError(
                "Several instances with ShardedByS3Key are not supported: use FullyReplicated, or one instance"
            )
        if hosts["current_host"] != sorted(hosts["hosts"])[0]:
            return ""
    try:
        with open(places.config, encoding="utf-8") as file:
            asked = analysis(monitored.completed(document(file.read()), variables))
    except (OSError, UnicodeDecodeError) as error:
        raise CustomerError("Unable to load analysis config: {}".format(error)) from None
    data = _read(asked, places, monitored.window(variables) if variables.get("dataset_source") else (None, None))
    if data.answers is not None and asked.post is not None:
        data = data._replace(answers=answers.captured(asked.predictor or monitored.predictor(variables), data.answers))
    print("{} rows, {} columns".format(data.rows, len(data.names)), flush=True)
    os.makedirs(places.output, exist_ok=True)
    found = _analysed(asked, data, places)
    _save(places.output, "analysis.json", found)
    metrics.publish(metrics.lines(found, variables), places.metrics)
    _report(asked, data, found, places.output)
    if places.constraints:
        return _compared(places, found)
    return "Completed: Job completed successfully."


def _read(asked: Analysis, places: JobPlaces, bounds: monitored.Window) -> dataset.Dataset:
    data = dataset.read(asked, places.dataset, bounds)
    for which, uri in (("facet", asked.facet_uri), ("predicted_label", asked.predicted_uri)):
        if uri:
            with tempfile.TemporaryDirectory() as folder:
                fetched(uri, folder)
                data = dataset.attached(asked, data, folder, which)
    return data


def _analysed(asked: Analysis, data: dataset.Dataset, places: JobPlaces) -> Dict[str, Any]:
    """analysis.json. The model is asked in here alone."""
    model = data.predicted is None and data.answers is None and asked.post is not None
    if asked.shap is None and asked.pdp is None and not model:
        return _sections(asked, data, _predicted(asked, data, data.answers))
    if places.isolated:
        raise CustomerError(
            "EnableNetworkIsolation does not go with a predictor: the job must reach the model's endpoint"
        )
    assert asked.predictor is not None
    names = [data.names[at] for at in data.model]
    features = explaining.Features(names, [data.cells[at] for at in data.model])
    with Endpoint(asked.predictor, names, places.arn) as endpoint:
        found_answers = endpoint.ask(features.rows) if model else data.answers
        found = _sections(asked, data, _predicted(asked, data, found_answers))
        explanations = _explained(asked, features, endpoint, places)
    return {**found, "explanations": explanations} if explanations else found


def _sections(asked: Analysis, data: dataset.Dataset, predicted: Optional[Column]) -> Dict[str, Any]:
    found: Dict[str, Any] = {"version": "1.0"}
    if asked.pre is not None or asked.post is not None:
        found.update(facets.sections(asked, data, predicted))
    return found


def _predicted(asked: Analysis, data: dataset.Dataset, found: Optional[List[Any]]) -> Optional[Column]:
    """The predicted labels as a column, of the dataset or of the model's answers."""
    if asked.post is None:
        return None
    assert data.label is not None
    observed = distinct(data.column(data.label))
    if data.predicted is not None:
        given = [answers.ModelAnswer(each, None) for each in data.cells[data.predicted]]
        if asked.threshold is not None:
            numbers = data.column(data.predicted)
            if numbers.kind != "text":
                given = [answers.ModelAnswer(None, [float(each)]) for each in numbers.values]
    else:
        given = list(found or ())
    return column("predicted label", answers.labels(asked.predictor, asked.threshold, observed, given))


def _explained(asked: Analysis, features: explaining.Features, endpoint: Endpoint, places: JobPlaces) -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    top: List[str] = []
    if asked.shap is not None:
        assert asked.predictor is not None
        rows = explaining.baseline(asked.shap, features, _baseline_text(asked.shap.baseline))
        found["kernel_shap"], _ = explaining.shap(
            asked.shap, asked.predictor, features, rows, endpoint.ask, places.output
        )
        first = next(iter(found["kernel_shap"].values()))["global_shap_values"]
        top = sorted(first, key=lambda each: -first[each])
    if asked.pdp is not None:
        found["pdp"] = explaining.dependence(asked.pdp, features, endpoint.ask, top)
    return found


def _baseline_text(given: Any) -> str:
    if not isinstance(given, str):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        fetched(given, folder)
        parts = []
        for path in dataset.files(folder):
            with open(path, encoding="utf-8") as file:
                parts.append(file.read().rstrip("\n"))
    return "\n".join(parts)


def _report(asked: Analysis, data: dataset.Dataset, found: Dict[str, Any], folder: str) -> None:
    """report.html, report.ipynb and report.pdf, where a report is asked for."""
    if asked.report is None:
        return
    name = str(asked.report.get("name") or "report")
    if os.path.basename(name) != name or name.startswith("."):
        raise CustomerError("Invalid analysis config: methods.report.name: {!r} is no name of a file".format(name))
    made = report.blocks(str(asked.report.get("title") or "Analysis Report"), found, data.rows, len(data.names))
    files = (
        ("html", rendering.page(made).encode()),
        ("ipynb", rendering.notebook(made).encode()),
        ("pdf", rendering.pdf(made)),
    )
    for kind, content in files:
        with open(os.path.join(folder, "{}.{}".format(name, kind)), "wb") as file:
            file.write(content)


def _compared(places: JobPlaces, found: Dict[str, Any]) -> str:
    """Compare with the baseline's analysis, as a monitor asks; answers the message about the end, in AWS's words."""
    path = places.constraints
    path = _only(path) if os.path.isdir(path) else path
    try:
        with open(path, encoding="utf-8") as file:
            baseline = json.load(file)
    except (OSError, ValueError) as error:
        raise CustomerError("Unable to load baseline constraints: {}".format(error)) from None
    if not isinstance(baseline, dict):
        raise CustomerError("Unable to load baseline constraints: {} is no analysis".format(os.path.basename(path)))
    listed = drift.violations(found, baseline)
    _save(places.output, "constraint_violations.json", {"version": "1.0", "violations": listed})
    if not listed:
        return "Completed: Job completed successfully with no violations."
    return "CompletedWithViolations: Job completed successfully with {} violations.".format(len(listed))


def _only(folder: str) -> str:
    listed = dataset.files(folder)
    return next((each for each in listed if each.endswith(".json")), listed[0])


def _save(folder: str, name: str, document: Any) -> None:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=4)


if __name__ == "__main__":
    sys.exit(main())
