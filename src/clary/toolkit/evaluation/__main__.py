"""`python -m clary.toolkit.evaluation [--NAME VALUE ...]`: the program of the image `clary-evaluate`.

Reads, below /opt/ml/processing/input: `config/evaluation_config.json` (the arguments stand over it; see `settings`), `brief/` (one file,
YAML or JSON), and the data at the LocalPath of the input `dataset`, by default `data`. Writes into the folder of the first output (by
default /opt/ml/processing/output) `evaluation.json` and `report.html`, and what came out into /opt/ml/output/message. What was asked
wrongly ends with exit code 1 and its sentence as the message.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from typing import Any, Dict, List, Mapping, Optional, Sequence

from clary.toolkit import brief as briefs
from clary.toolkit.brief import Brief
from clary.toolkit.documents import DocumentError, read
from clary.toolkit.evaluation import settings
from clary.toolkit.failure import UserError, exit_message, log

ML = "/opt/ml"
STOPPED = 143
_MAKING = threading.Lock()  # boto3's default session makes one client at a time


def main(argv: Sequence[str], base: str = ML) -> int:
    signal.signal(signal.SIGTERM, _stopped)
    try:
        words = run(argv, base)
    except (UserError, DocumentError) as error:
        print(error, file=sys.stderr, flush=True)
        exit_message(str(error), base)
        return 1
    log(words)
    exit_message(words, base)
    return 0


def run(argv: Sequence[str], base: str = ML) -> str:
    """The evaluation; answers what came out, as a sentence."""
    job = Job(base)
    given: Dict[str, Any] = {}
    path = os.path.join(job.folder("config"), "evaluation_config.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            given = read(file.read(), "evaluation_config.json")
    asked = settings.parse(settings.merged(given, settings.arguments(argv)), _brief(job.folder("brief")))
    # numpy, pandas and scikit-learn take a second: what is asked wrongly is told before.
    from clary.toolkit.evaluation import crossing, judgement, predictions, report
    from clary.toolkit.evaluation import data as rows

    data = rows.prepared(rows.read(job.dataset(), asked.headers), asked)
    context = predictions.PredictionContext(_client, job.name, job.role, job.results)
    whole, crossed = data, None
    if asked.model.kind == "training":
        crossed = crossing.crossed(data, asked, context)
        data, model = data.only(crossed.rows), crossed.predicted
    else:
        model = predictions.predict(asked.model, "model", data, asked, context)
    incumbent = None
    if asked.incumbent is not None:
        incumbent = predictions.predict(asked.incumbent, "incumbent", data, asked, context)
    document = judgement.judged(data, asked, model, incumbent)
    if crossed is not None:
        document["cross_validation"] = crossing.told(crossed, whole, document["metric"]["name"])
    folder = job.output()
    os.makedirs(folder, exist_ok=True)
    _write(os.path.join(folder, "evaluation.json"), json.dumps(document, indent=1, allow_nan=False))
    _write(os.path.join(folder, "report.html"), report.page(document, data, model))
    return judgement.sentence(document)


class Job:
    """What the container's contract says of this job: names, and where its data are."""

    def __init__(self, base: str) -> None:
        self._base = base
        path = os.path.join(base, "config", "processingjobconfig.json")
        self._config: Mapping[str, Any] = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self._config = json.load(file)

    @property
    def name(self) -> str:
        return str(self._config.get("ProcessingJobName", "evaluation"))

    @property
    def role(self) -> str:
        return str(self._config.get("RoleArn", ""))

    @property
    def results(self) -> str:
        """The folder in S3 where the results go."""
        first = next(iter(self._outputs()), {})
        return str((first.get("S3Output") or {}).get("S3Uri", ""))

    def folder(self, name: str) -> str:
        return os.path.join(self._base, "processing", "input", name)

    def dataset(self) -> str:
        """The LocalPath of the input that is called dataset or data."""
        inputs = {
            each["InputName"]: (each.get("S3Input") or {}).get("LocalPath")
            for each in self._config.get("ProcessingInputs") or ()
        }
        path = inputs.get("dataset") or inputs.get("data")
        if path is None and not os.path.isdir(self.folder("data")):
            raise UserError(
                "There is no input 'dataset': name the one with the data so. The inputs are {}.".format(
                    ", ".join(inputs) or "none"
                )
            )
        return str(path or self.folder("data"))

    def output(self) -> str:
        first = next(iter(self._outputs()), {})
        return str((first.get("S3Output") or {}).get("LocalPath") or os.path.join(self._base, "processing", "output"))

    def _outputs(self) -> List[Mapping[str, Any]]:
        return list((self._config.get("ProcessingOutputConfig") or {}).get("Outputs") or ())


def _brief(folder: str) -> Optional[Brief]:
    names = sorted(name for name in os.listdir(folder) if not name.startswith(".")) if os.path.isdir(folder) else []
    if len(names) > 1:
        raise UserError("The input of the brief has several files ({}): give one.".format(", ".join(names)))
    return briefs.load(os.path.join(folder, names[0])) if names else None


def _client(service: str) -> Any:
    import boto3

    with _MAKING:
        return boto3.client(service)


def _stopped(*_: Any) -> None:
    raise SystemExit(STOPPED)


def _write(path: str, text: str) -> None:
    """Whole, or not at all: an output may be uploaded at any moment."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=os.path.dirname(path), prefix=".", delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
