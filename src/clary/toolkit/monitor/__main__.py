"""`python -m clary.toolkit.monitor`: the process of the analyzer's image. Exit code 0: the reports are written, violations or none."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import time
import traceback
from typing import Any, Callable, Dict, List, Mapping, Optional

from clary.toolkit.monitor import merge, model_quality, quality, statistics
from clary.toolkit.monitor.contract import Contract, NoData, Unusable, document, publish, say, write
from clary.toolkit.monitor.reading import read

log = logging.getLogger("model-monitor")


def main() -> int:
    """Do what the variables ask for, and say how it ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    contract: Optional[Contract] = None
    try:
        contract = Contract.of(os.environ)
        words = run(contract)
    except NoData as error:
        say(str(error))
        if contract is not None:
            _publish(contract, _coverage(error.coverage, no_data=True))
        return 1
    except Unusable as error:
        say(f"Error: {error}")
        return 1
    except Exception as error:  # what a user's script raised, or a mistake of ours: the log has the traceback
        traceback.print_exc()
        say(f"Error: {type(error).__name__}: {error}")
        return 1
    say(words)
    return 0


def run(contract: Contract) -> str:
    """The analysis that is asked for; answers the ExitMessage."""
    analyses = {"MERGE": _merge, "MODEL_QUALITY": _model_quality, "DATA_QUALITY": _data_quality, "": _data_quality}
    if contract.analysis not in analyses:
        raise Unusable(
            f"analysis_type {contract.analysis!r} is not what this image does: it is DATA_QUALITY or MODEL_QUALITY. Bias and attributions "
            "are analysed by the image sagemaker-clarify-processing."
        )
    return analyses[contract.analysis](contract)


def _merge(contract: Contract) -> str:
    coverage = merge.merge(contract)
    told = ", ".join(f"{name} {count}" for name, count in coverage.items())
    return f"Completed: Job completed successfully. Merged labels with captured records ({told})."


def _model_quality(contract: Contract) -> str:
    found = model_quality.measure(contract)
    asked = document(contract.baseline_constraints, "baseline_constraints")
    broken = [] if asked is None else model_quality.violations(contract, found, asked)
    write(contract.output, "statistics.json", model_quality.statistics(contract, found))
    write(contract.output, "constraints.json", model_quality.constraints(contract, found))
    if asked is not None:
        write(contract.output, "constraint_violations.json", {"violations": broken})
    _publish(contract, [*model_quality.figures(found, len(broken)), *_coverage({**found.counts, "used": found.rows})])
    _post(contract)
    return ending(len(broken), [])


def _data_quality(contract: Contract) -> str:
    handler = _script(contract.preprocessor, "preprocess_handler")
    dataset = read(contract.form, contract.source, (contract.start, contract.end), handler, log)
    quality.require_rows(dataset, "the window" if contract.start else "the dataset")
    _, profile = dataset.main()
    method = contract.variables.get("categorical_drift_method", "")
    constraints = document(contract.baseline_constraints, "baseline_constraints")
    known = document(contract.baseline_statistics, "baseline_statistics")
    if constraints is None:
        if len(dataset.shapes) > 1 or dataset.counts["of other shapes"]:
            shapes = "; ".join(f"{each.rows} rows with {len(each.names)}" for each in dataset.shapes.values())
            raise Unusable(f"A baseline needs rows of the same columns, but there are {shapes} columns.")
        write(contract.output, "statistics.json", statistics.statistics(profile))
        write(contract.output, "constraints.json", statistics.constraints(profile, method))
        _post(contract)
        return "Completed: Job completed successfully with no violations."
    judged = quality.judge(dataset, constraints, known)
    # A pipeline's check, which has no schedule, makes a new baseline of its own; what a schedule reports has the baseline's names.
    reported = judged.profile if contract.schedule else profile
    write(contract.output, "statistics.json", statistics.statistics(reported))
    write(contract.output, "constraints.json", statistics.constraints(reported, method))
    write(contract.output, "constraint_violations.json", {"violations": judged.violations})
    figures = quality.figures(judged, constraints, known)
    _publish(contract, [*figures, *_coverage(quality.coverage(dataset, judged.profile.rows))])
    _post(contract)
    return ending(len(judged.violations), judged.notes)


def ending(violations: int, notes: List[str]) -> str:
    """The ExitMessage in AWS's words, then what the user should know."""
    words = "Completed: Job completed successfully with no violations."
    if violations:
        words = f"CompletedWithViolations: Job completed successfully with {violations} violations."
    return " ".join([words, *(f"Note: {note}." for note in notes)])


def _coverage(found: Mapping[str, int], no_data: bool = False) -> List[Dict[str, Any]]:
    """Metrics of the run itself."""
    lines = [{"MetricName": "rows_captured", "Value": found.get("captured", 0)}]
    lines += [{"MetricName": f"rows_{name}", "Value": found[name]} for name in ("joined", "used") if name in found]
    return [*lines, {"MetricName": "no_data", "Value": 1 if no_data else 0}]


def _publish(contract: Contract, lines: List[Dict[str, Any]]) -> None:
    """With the time of the window's end, and the dimensions of the schedule."""
    if not contract.publishes or not contract.schedule:
        return
    from clary.toolkit.monitor.captured import moment

    at = moment(contract.end) or time.time()
    names = [("Endpoint", contract.endpoint), ("MonitoringSchedule", contract.schedule)]
    dimensions = [{"Name": name, "Value": value} for name, value in names if value]
    publish([{"Dimensions": dimensions, **line, "Timestamp": at} for line in lines])


def _post(contract: Contract) -> None:
    """The user's own step after the reports."""
    handler = _script(contract.postprocessor, "postprocess_handler")
    if handler is not None:
        handler()


def _script(path: str, name: str) -> Optional[Callable[..., Any]]:
    """A function of a user's script; None without a path."""
    if not path:
        return None
    if os.path.isdir(path):
        files = [each for each in sorted(os.listdir(path)) if each.endswith(".py")]
        if len(files) != 1:
            raise Unusable(f"{path} holds {len(files)} Python files: it must be the script of {name}.")
        path = os.path.join(path, files[0])
    if not os.path.exists(path):
        raise Unusable(f"The script {path} of {name} does not exist.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Unusable(f"The script {path} of {name} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(path))
    spec.loader.exec_module(module)
    handler = getattr(module, name, None)
    if not callable(handler):
        raise Unusable(f"The script {os.path.basename(path)} has no function {name}.")
    found: Callable[..., Any] = handler
    return found


if __name__ == "__main__":
    sys.exit(main())
