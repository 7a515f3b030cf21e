"""What a monitor gives: a configuration as SDK v2 writes it, environment variables, captured and merged requests; a whole run of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clary.toolkit.clarify import config, monitored
from clary.toolkit.clarify.__main__ import run

CAPTURED = '{"sagemakerCaptureJson": {"captureIndexNames": ["endpointInput", "endpointOutput"]}}'
BIAS = {
    "label_values_or_threshold": [1],
    "facet": [{"name_or_index": "sex", "value_or_threshold": [1]}],
    "headers": ["sex", "x"],
}


def merged(at: int, label: Any, hour: int = 10) -> str:
    def part(data: str, mode: str) -> dict[str, str]:
        return {"data": data, "encoding": "CSV", "mode": mode, "observedContentType": "text/csv"}

    score = 0.9 if at % 4 == 0 else 0.2
    data = {"endpointInput": part(f"{at % 2},{at / 7}", "INPUT"), "endpointOutput": part(f"{score}", "OUTPUT")}
    truth = {} if label is None else {"groundTruthData": {"data": str(label), "encoding": "CSV"}}
    metadata = {"eventId": str(at), "inferenceTime": f"2026-05-01T{hour:02}:00:00Z"}
    return json.dumps({"captureData": data, "eventMetadata": metadata, **truth}) + "\n"


@pytest.fixture
def monitor(tmp_path: Path) -> Any:
    """Run the image as a monitor does; answers the message and what it wrote."""

    def start(lines: list[str], baseline: Any = None, **variables: str) -> tuple[str, dict[str, Any]]:
        for name in ("config", "data"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "config" / "analysis_config.json").write_text(json.dumps(BIAS))
        (tmp_path / "data" / "1.jsonl").write_text("".join(lines))
        job = {
            "ProcessingInputs": [{"InputName": "analysis_config", "S3Input": {"LocalPath": str(tmp_path / "config")}}]
        }
        told = {
            "dataset_source": str(tmp_path / "data"),
            "output_path": str(tmp_path / "out"),
            "dataset_format": CAPTURED,
            "analysis_type": "MODEL_BIAS",
            "inference_attribute": "0",
            "CLARY_ML": str(tmp_path / "ml"),
            "start_time": "2026-05-01T10:00:00Z",
            "end_time": "2026-05-01T11:00:00Z",
            **variables,
        }
        if baseline is not None:
            (tmp_path / "analysis.json").write_text(json.dumps(baseline))
            told["baseline_constraints"] = str(tmp_path / "analysis.json")
        message = run(job, {"current_host": "algo-1", "hosts": ["algo-1"]}, told)
        return message, {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}

    return start


def values(analysis: dict[str, Any], section: str) -> dict[str, Any]:
    return {each["name"]: each["value"] for each in analysis[section]["facets"]["sex"][0]["metrics"]}


def test_bias_of_captured_requests_with_labels(monitor: Any) -> None:
    lines = [merged(at, int(at % 3 == 0)) for at in range(120)]
    outside = [merged(at, 1, hour=9) for at in range(60)]
    message, written = monitor([*outside, *lines])
    assert message == "Completed: Job completed successfully."
    found = written["analysis.json"]
    assert values(found, "pre_training_bias_metrics")["CI"] == 0
    assert values(found, "post_training_bias_metrics")["DPPL"] == pytest.approx(0.5)
    assert found["post_training_bias_metrics"]["label"] == "Label"


def test_a_worse_metric_than_the_baselines(monitor: Any) -> None:
    lines = [merged(at, int(at % 3 == 0)) for at in range(120)]
    _, written = monitor(lines)
    baseline = written["analysis.json"]
    assert monitor(lines, baseline)[0].startswith("Completed: ")
    for each in baseline["post_training_bias_metrics"]["facets"]["sex"][0]["metrics"]:
        each["value"] = 0.1 if each["name"] == "DPPL" else each["value"]
    message, written = monitor(lines, baseline)
    assert message == "CompletedWithViolations: Job completed successfully with 1 violations."
    violation = written["constraint_violations.json"]["violations"][0]
    assert (violation["metric_name"], violation["facet_value"]) == ("DPPL", "1")


def test_no_labels_and_no_rows_are_no_data(monitor: Any) -> None:
    with pytest.raises(
        config.CustomerError, match=r"^NO_DATA: no record has a label \(rows: captured 9, joined 0, used 0\)"
    ):
        monitor([merged(at, None) for at in range(9)])
    with pytest.raises(config.CustomerError, match=r"^NO_DATA: no record can be used"):
        monitor([merged(at, 1, hour=8) for at in range(9)])


def test_answers_that_do_not_say_the_label(monitor: Any) -> None:
    with pytest.raises(config.CustomerError, match="Captured answers cannot be used"):
        monitor([merged(at, 1) for at in range(60)], inference_attribute="5")


def test_what_the_variables_add() -> None:
    variables = {
        "dataset_source": "/d",
        "dataset_format": '{"csv": {"header": true}}',
        "probability_threshold_attribute": "0.7",
    }
    assert monitored.completed({"methods": {}}, variables) == {
        "methods": {},
        "dataset_type": "text/csv",
        "probability_threshold": 0.7,
    }
    assert monitored.completed({"label": 0}, {}) == {"label": 0}
    given = {"predictor": {"endpoint_name": "e", "label": "None"}}
    assert monitored.completed(given, {"dataset_source": "/d"})["predictor"] == {"endpoint_name": "e"}
    with pytest.raises(config.CustomerError, match="is no number"):
        monitored.completed({}, {**variables, "probability_threshold_attribute": "high"})


def test_the_model_of_a_pipelines_check() -> None:
    told = {"clary_model_name": "m"}
    assert monitored.completed({"predictor": {"accept_type": "text/csv"}}, told)["predictor"]["model_name"] == "m"
    assert monitored.completed({"predictor": {"endpoint_name": "e"}}, told) == {"predictor": {"endpoint_name": "e"}}
    assert monitored.completed({"label": "y"}, told) == {"label": "y"}


def test_places_in_answers() -> None:
    found = monitored.predictor({"inference_attribute": "None", "probability_attribute": "1"})
    assert (found.label, found.probability) == (None, 1)
    assert monitored.predictor({"inference_attribute": "a.b"}).label == "a.b"
