"""The analyzer as a process of its runtime: baselines, violations, labels, and data that is none."""

from __future__ import annotations

import base64
import json
import random
import statistics
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

Analyze = Callable[..., "Ended"]
WINDOW = {"start_time": "2030-01-01T10:00:00Z", "end_time": "2030-01-01T11:00:00Z"}


class Ended:
    """How a run ended: exit code, ExitMessage, reports, metrics by name."""

    def __init__(self, code: int, folder: Path, log: str) -> None:
        self.code, self.log = code, log
        self.message = (folder / "ml/output/message").read_text()
        self.reports = {path.stem: json.loads(path.read_text()) for path in (folder / "out").glob("*.json")}
        metrics = folder / "ml/output/metrics/cloudwatch/monitor.jsonl"
        lines = [json.loads(line) for line in metrics.read_text().splitlines()] if metrics.exists() else []
        self.metrics = {line["MetricName"]: line for line in lines}

    @property
    def violations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.reports["constraint_violations"]["violations"]
        return found

    def checks(self) -> set[tuple[str, str]]:
        return {(each["feature_name"], each["constraint_check_type"]) for each in self.violations}


@pytest.fixture
def analyze(tmp_path: Path, library: str, interpreter: Callable[..., str]) -> Analyze:
    """`analyze(files, baseline)`: run the analyzer over files of these texts; `baseline` are the reports of a run before."""
    runs = iter(range(100))

    def run(files: dict[str, str], baseline: Ended | None = None, form: Any = None, **variables: str) -> Ended:
        folder = tmp_path / str(next(runs))
        for name, text in files.items():
            path = folder / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (folder / "in").mkdir(parents=True, exist_ok=True)
        if baseline is not None:
            for name in ("statistics", "constraints"):
                (folder / f"{name}.json").write_text(json.dumps(baseline.reports[name]))
                variables[f"baseline_{name}"] = str(folder / f"{name}.json")
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": library,
            "CLARY_ML": str(folder / "ml"),
            "CLARY_CPUS": "1",
            "dataset_source": str(folder / "in"),
            "output_path": str(folder / "out"),
            "dataset_format": json.dumps(form or {"csv": {"header": True}}),
            "sagemaker_monitoring_schedule_name": "watch",
            **variables,
        }
        command = [interpreter("monitor"), "-m", "clary.toolkit.monitor"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        return Ended(done.returncode, folder, done.stdout + done.stderr)

    return run


CAPTURE = {"sagemakerCaptureJson": {}}


def captured(
    data: str, answer: str = "0.5", id_: str = "x", at: str = "2030-01-01T10:30:00Z", encoding: str = "CSV"
) -> str:
    sides = {
        name: {"observedContentType": "text/csv", "mode": mode, "data": text, "encoding": encoding}
        for name, mode, text in (("endpointInput", "INPUT", data), ("endpointOutput", "OUTPUT", answer))
        if text
    }
    metadata = {"eventId": id_, "inferenceTime": at}
    return json.dumps({"captureData": sides, "eventMetadata": metadata, "eventVersion": "0"}) + "\n"


def table(rows: Iterable[Iterable[Any]], header: str) -> str:
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def draws(count: int, shift: float = 0.0, seed: int = 0) -> list[tuple[float, int, str]]:
    random.seed(seed)
    return [(round(random.gauss(5 + shift, 1), 4), random.randrange(7), random.choice("xy")) for _ in range(count)]


@pytest.fixture
def baseline(analyze: Analyze) -> Ended:
    rows = [(f"{0.5:.1f}", *row) for row in draws(1000)]
    return analyze({"b.csv": table(rows, "score,a,b,c")})


def lines(rows: Iterable[Iterable[Any]], **more: str) -> str:
    return "".join(captured(",".join(map(str, row)), **more) for row in rows)


def test_a_baseline_has_aws_formats_and_exact_moments(baseline: Ended) -> None:
    assert baseline.code == 0, baseline.log
    assert baseline.message == "Completed: Job completed successfully with no violations."
    features = {each["name"]: each for each in baseline.reports["statistics"]["features"]}
    numbers = [row[0] for row in draws(1000)]
    found = features["a"]["numerical_statistics"]
    assert baseline.reports["statistics"]["dataset"] == {"item_count": 1000}
    assert found["mean"] == pytest.approx(statistics.fmean(numbers), abs=1e-9)
    assert found["std_dev"] == pytest.approx(statistics.pstdev(numbers), rel=1e-9)
    assert (found["min"], found["max"]) == (min(numbers), max(numbers))
    buckets = found["distribution"]["kll"]["buckets"]
    assert len(buckets) == 10
    assert sum(bucket["count"] for bucket in buckets) == 1000
    assert features["b"]["inferred_type"] == "Integral"
    assert features["c"]["string_statistics"]["distinct_count"] == 2
    asked = {each["name"]: each for each in baseline.reports["constraints"]["features"]}
    assert asked["c"]["string_constraints"] == {"domains": ["x", "y"]}
    assert asked["a"]["num_constraints"] == {"is_non_negative": True}
    assert (
        baseline.reports["constraints"]["monitoring_config"]["distribution_constraints"]["comparison_method"]
        == "Robust"
    )


def test_the_same_distribution_has_no_violations(analyze: Analyze, baseline: Ended) -> None:
    done = analyze({"x.jsonl": lines(draws(300, seed=1))}, baseline, CAPTURE, **WINDOW)
    assert done.message == "Completed: Job completed successfully with no violations."
    assert done.violations == []
    assert done.metrics["feature_data_a"]["StatisticValues"]["SampleCount"] == 300
    assert done.metrics["no_data"]["Value"] == 0


def test_without_a_schedule_the_reports_are_a_new_baseline_of_the_rows_themselves(
    analyze: Analyze, baseline: Ended
) -> None:
    """As a pipeline's check asks: compared, and calculated anew with the columns that are there."""
    text = "".join(f"{a},{b},{c}\n" for a, b, c in draws(300, seed=3))
    found = {}
    for schedule in ("", "watch"):
        form = {"csv": {"header": False}}
        done = analyze({"x.csv": text}, baseline, form, sagemaker_monitoring_schedule_name=schedule)
        assert "missing_column_check" in {each["constraint_check_type"] for each in done.violations}
        found[schedule] = [each["name"] for each in done.reports["constraints"]["features"]]
    assert found == {"": ["_c0", "_c1", "_c2"], "watch": []}


def test_drift_new_categories_and_other_types_are_told_in_aws_words(analyze: Analyze, baseline: Ended) -> None:
    rows = [(a + 3, "z" if n == 0 else b, "new") for n, (a, b, _) in enumerate(draws(400, seed=2))]
    done = analyze({"x.jsonl": lines(rows)}, baseline, CAPTURE, **WINDOW)
    assert done.code == 0
    assert {("a", "baseline_drift_check"), ("b", "data_type_check"), ("c", "categorical_values_check")} <= done.checks()
    assert done.message.startswith(
        f"CompletedWithViolations: Job completed successfully with {len(done.violations)} violations."
    )
    words = {
        each["constraint_check_type"]: each["description"] for each in done.violations if each["feature_name"] != "c"
    }
    assert "distance: " in words["baseline_drift_check"]
    assert words["baseline_drift_check"].startswith("400 rows against 1000 of the baseline.")
    assert words["data_type_check"] == (
        "Data type match requirement is not met. Expected data type: Integral, Expected match: 100.0%. "
        "Observed: Only 99.75% of data is Integral."
    )


def test_a_baseline_of_the_features_alone_is_named_and_still_compared(analyze: Analyze) -> None:
    features = analyze({"b.csv": table(draws(1000), "a,b,c")})
    done = analyze({"x.jsonl": lines(draws(400, 3.0, seed=3))}, features, CAPTURE, **WINDOW)
    assert ("Extra columns", "extra_column_check") in done.checks()
    assert ("a", "baseline_drift_check") in done.checks()
    assert (
        "Number of columns in current dataset: 4, Number of columns in baseline constraints: 3"
        in done.violations[0]["description"]
    )
    assert "the baseline has 3 columns, as the input alone" in done.message


def test_a_baseline_in_the_other_order_is_named(analyze: Analyze) -> None:
    turned = analyze({"b.csv": table([(*row, 0.5) for row in draws(1000)], "a,b,c,score")})
    done = analyze({"x.jsonl": lines(draws(400, seed=4))}, turned, CAPTURE, **WINDOW)
    assert "input then output" in done.message
    assert done.checks() == {("Column order", "extra_column_check")}


def test_several_lines_in_a_request_are_several_rows(analyze: Analyze, baseline: Ended) -> None:
    rows = draws(300, seed=5)
    groups = ["\n".join(",".join(map(str, row)) for row in rows[place : place + 3]) for place in range(0, 300, 3)]
    text = "".join(captured(group, answer="0.5\n0.5\n0.5") for group in groups)
    done = analyze({"x.jsonl": text + captured("1,2,x\n1,2,y", answer="0.5\n0.5\n0.5")}, baseline, CAPTURE, **WINDOW)
    assert done.reports["statistics"]["dataset"]["item_count"] == 300
    assert done.violations == []


def test_what_is_torn_or_outside_the_window_is_left_out(analyze: Analyze, baseline: Ended) -> None:
    good = lines(draws(300, seed=6))
    late = lines(draws(5, 90.0), at="2030-01-01T11:00:00Z")
    data = base64.b64encode(b"\xff\xfe").decode()
    other = captured(data, encoding="BASE64") + '{"torn\n' + "[1]\n" + "\n"
    done = analyze({"a/x.jsonl": good + late + other}, baseline, CAPTURE, **WINDOW)
    assert done.reports["statistics"]["dataset"]["item_count"] == 300
    assert done.violations == []
    assert done.metrics["rows_captured"]["Value"] == 303


@pytest.mark.parametrize("text", ["", "{torn\n", captured("1,2,x", at="2029-01-01T00:00:00Z"), captured("", "")])
def test_no_rows_are_no_data_not_green(analyze: Analyze, baseline: Ended, text: str) -> None:
    done = analyze({"x.jsonl": text}, baseline, CAPTURE, **WINDOW)
    assert done.code == 1
    assert done.message.startswith("NO_DATA: the window holds no rows that can be used (rows: captured ")
    assert "used 0" in done.message
    assert done.metrics["no_data"]["Value"] == 1
    assert "constraint_violations" not in done.reports


def test_hard_columns_make_a_valid_baseline(analyze: Analyze) -> None:
    rows = [(1e300 if n % 2 else -1e300, "", 7, "NaN" if n % 3 else 1.5, f"id{n}") for n in range(6000)]
    done = analyze({"b.csv": table(rows, "huge,empty,constant,holes,id")})
    assert done.code == 0, done.log
    kinds = {each["name"]: each["inferred_type"] for each in done.reports["statistics"]["features"]}
    assert kinds == {
        "huge": "Fractional",
        "empty": "Unknown",
        "constant": "Integral",
        "holes": "Fractional",
        "id": "String",
    }
    asked = {each["name"]: each for each in done.reports["constraints"]["features"]}
    assert asked["empty"]["completeness"] == 0.0
    assert asked["holes"]["completeness"] == pytest.approx(1 / 3)
    assert "string_constraints" not in asked["id"]
    features = {each["name"]: each for each in done.reports["statistics"]["features"]}
    assert features["id"]["string_statistics"]["distinct_count"] == pytest.approx(6000, rel=0.06)
    again = analyze({"b.csv": table(rows, "huge,empty,constant,holes,id")}, done)
    assert again.violations == []


def test_a_baseline_without_rows_is_no_data(analyze: Analyze) -> None:
    done = analyze({"b.csv": "a,b\n"})
    assert done.code == 1
    assert done.message.startswith("NO_DATA: the dataset holds no rows")


def test_a_preprocessing_script_makes_the_rows(analyze: Analyze, tmp_path: Path) -> None:
    script = tmp_path / "pre.py"
    script.write_text(
        "def preprocess_handler(record, logger):\n"
        "    a, b, c = record.endpoint_input.data.split(',')\n"
        "    return [] if c == 'y' else {'a': float(a), 'c': c}\n"
    )
    rows = draws(500)
    known = analyze({"x.jsonl": lines(rows)}, None, CAPTURE, record_preprocessor_script=str(script))
    assert [each["name"] for each in known.reports["statistics"]["features"]] == ["a", "c"]
    assert known.reports["statistics"]["dataset"]["item_count"] == sum(row[2] == "x" for row in rows)
    broken = tmp_path / "broken.py"
    broken.write_text("def preprocess_handler(record):\n    raise KeyError('mine')\n")
    done = analyze({"x.jsonl": lines(rows)}, None, CAPTURE, record_preprocessor_script=str(broken))
    assert (done.code, done.message) == (1, "Error: KeyError: 'mine'")


# -- labels -----------------------------------------------------------------------------------------------------------------------


def label(id_: str, value: str) -> str:
    given = {
        "groundTruthData": {"data": value, "encoding": "CSV"},
        "eventMetadata": {"eventId": id_},
        "eventVersion": "0",
    }
    return json.dumps(given) + "\n"


def answers(count: int, wrong: int = 0) -> tuple[str, str]:
    """Captured scores and labels, of which so many are not what the scores say."""
    scored = [captured("1,2", answer=str(0.9 if n % 2 else 0.1), id_=str(n)) for n in range(count)]
    truth = [label(str(n), str((n % 2) ^ (n < wrong))) for n in range(count)]
    return "".join(scored), "".join(truth)


def merged(analyze: Analyze, tmp_path: Path, capture: str, labels: str) -> Ended:
    (tmp_path / "labels").mkdir(exist_ok=True)
    (tmp_path / "labels/x.jsonl").write_text(labels)
    return analyze(
        {"x.jsonl": capture}, None, CAPTURE, analysis_type="MERGE", ground_truth_source=str(tmp_path / "labels")
    )


MEASURE = {"analysis_type": "MODEL_QUALITY", "problem_type": "BinaryClassification", "probability_attribute": "0"}


def test_labels_join_and_quality_is_measured(analyze: Analyze, tmp_path: Path) -> None:
    capture, labels = answers(400)
    joined = merged(analyze, tmp_path, capture, labels + label("unknown", "1") + label("3", "1") + label("4", "1"))
    assert joined.code == 0, joined.log
    assert "captured 400, labels 403, joined 400, unknown 1, twice 1, conflicting 1" in joined.message
    text = (tmp_path / "0/out/merged.jsonl").read_text()
    good = analyze({"x.jsonl": text}, None, CAPTURE, **MEASURE)
    metrics = good.reports["statistics"]["binary_classification_metrics"]
    assert metrics["accuracy"]["value"] == pytest.approx(399 / 400)
    assert metrics["confusion_matrix"] == {"0": {"0": 199, "1": 0}, "1": {"0": 1, "1": 200}}
    assert metrics["auc"]["value"] == pytest.approx(0.5 * (1 + 200 / 201), abs=1e-9)
    assert isinstance(metrics["accuracy"]["standard_deviation"], float)
    asked = good.reports["constraints"]["binary_classification_constraints"]
    assert asked["recall"]["comparison_operator"] == "LessThanThreshold"
    assert asked["false_positive_rate"]["comparison_operator"] == "GreaterThanThreshold"
    capture, labels = answers(400, wrong=100)
    merged(analyze, tmp_path, capture, labels)
    bad = analyze({"x.jsonl": (tmp_path / "2/out/merged.jsonl").read_text()}, good, CAPTURE, **MEASURE)
    assert bad.message.startswith("CompletedWithViolations:")
    worse = {each["metric_name"]: each for each in bad.violations}
    assert worse["accuracy"]["constraint_check_type"] == "LessThanThreshold"
    assert worse["accuracy"]["description"].startswith("Metric accuracy with 0.75 +/- ")
    assert bad.metrics["accuracy"]["Value"] == 0.75


@pytest.mark.parametrize(("labels", "words"), [(0, "no labels have come"), (4, "only 4 rows have labels, of 10")])
def test_few_labels_are_no_data(analyze: Analyze, tmp_path: Path, labels: int, words: str) -> None:
    capture, all_labels = answers(100)
    done = merged(analyze, tmp_path, capture, "".join(all_labels.splitlines(keepends=True)[:labels]))
    assert done.code == 1
    assert done.message.startswith(f"NO_DATA: {words}")
    assert f"joined {labels}" in done.message


def test_a_regression_baseline_by_columns(analyze: Analyze) -> None:
    rows = [(n, n + (1 if n % 2 else -1)) for n in range(10)]
    named = {"analysis_type": "MODEL_QUALITY", "problem_type": "Regression", "inference_attribute": "p"}
    done = analyze({"b.csv": table(rows, "y,p")}, ground_truth_attribute="y", **named)
    metrics = done.reports["statistics"]["regression_metrics"]
    assert {name: each["value"] for name, each in metrics.items()} == pytest.approx(
        {"mae": 1.0, "mse": 1.0, "rmse": 1.0, "r2": 1 - 1 / 8.25}
    )
    assert metrics["mae"]["standard_deviation"] == "NaN"
    wrong = analyze({"b.csv": table(rows, "y,p")}, ground_truth_attribute="z", **named)
    assert wrong.message == "Error: ground_truth_attribute is 'z', which no row has. There are: y, p."
