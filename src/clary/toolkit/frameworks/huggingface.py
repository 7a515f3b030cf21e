"""Hugging Face: a `transformers` pipeline over the files in the model's archive; json or csv in, json back.

Files are local: nothing is fetched from the hub, whose names (`HF_MODEL_ID`) are refused with the way to do it. `HF_TASK` names the
pipeline's task; without it the architecture in config.json does, as in AWS's toolkit. Importing this module imports torch and
transformers."""

from __future__ import annotations

import csv
import io
import json
import os
from typing import Any, Dict, Optional, Tuple

for _name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TRANSFORMERS_OFFLINE"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork

import torch  # noqa: E402
import transformers  # noqa: E402

from clary.toolkit import content  # noqa: E402
from clary.toolkit.frameworks.defaults import Defaults  # noqa: E402
from clary.toolkit.inference import LoadError  # noqa: E402

_TASKS = {  # end of an architecture's name -> task
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text2text-generation",
    "ForImageClassification": "image-classification",
    "ForAudioClassification": "audio-classification",
}


class HuggingFaceDefaults(Defaults):
    name = "huggingface"

    def model(self, model_dir: str) -> Any:
        task = os.environ.get("HF_TASK") or _task(_config(model_dir))
        device = 0 if torch.cuda.is_available() else -1
        return transformers.pipeline(task=task, model=model_dir, device=device)

    def read(self, body: Any, content_type: str) -> Any:
        kind = content.base(content_type)
        text = body if isinstance(body, str) else body.decode("utf-8", "replace")
        if kind == content.CSV:
            return _from_csv(text)
        if kind != content.JSON:
            raise content.UnsupportedFormat(content_type)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise content.BadContent("Unable to read the request as {}: {}".format(content_type, error)) from error

    def predict(self, data: Any, model: Any) -> Any:
        """A map without `inputs` is the input itself, as in AWS's toolkit: {"question": ..., "context": ...}."""
        rest = dict(data) if isinstance(data, dict) else {}
        parameters = rest.pop("parameters", None)
        inputs = rest.pop("inputs", rest) if isinstance(data, dict) else data
        try:
            with torch.no_grad():
                return model(inputs, **(parameters or {}))
        except (KeyError, TypeError, ValueError) as error:
            if inputs is not rest:
                raise
            raise content.BadContent(
                'the request must be {{"inputs": ..., "parameters": {{...}}}}, or what the pipeline takes; it has the keys {}, and '
                "the pipeline says: {}".format(", ".join(sorted(rest)) or "none", error)
            ) from error

    def write(self, prediction: Any, accept: str) -> Tuple[bytes, str]:
        if content.choose(accept, (content.JSON,), content.JSON) is None:
            raise content.UnsupportedFormat(accept)
        return content.encode(prediction, content.JSON)

    def set_threads(self, model: Any, count: int) -> None:
        torch.set_num_threads(count)


def _config(model_dir: str) -> Dict[str, Any]:
    path = os.path.join(model_dir, "config.json")
    if not os.path.isfile(path):
        named: Optional[str] = os.environ.get("HF_MODEL_ID")
        why = (
            "HF_MODEL_ID names {} of the hub, and models are not fetched from there here. ".format(named)
            if named
            else ""
        )
        raise LoadError(
            "{}There is no config.json at the top of the model's archive. Put the model's files there (what save_pretrained writes: "
            "config.json, model.safetensors, tokenizer.json ...), or provide a model_fn in code/inference.py.".format(
                why
            )
        )
    with open(path, encoding="utf-8") as file:
        found: Dict[str, Any] = json.load(file)
    return found


def _task(config: Dict[str, Any]) -> str:
    names = config.get("architectures") or []
    for name in names:
        for ending, task in _TASKS.items():
            if str(name).endswith(ending):
                return task
    raise LoadError(
        "The pipeline's task does not follow from config.json (architectures: {}). Name it: Environment HF_TASK, such as "
        "text-classification.".format(", ".join(map(str, names)) or "none")
    )


def _from_csv(text: str) -> Dict[str, Any]:
    """A header and rows: the column `inputs`, or columns that name one input's parts (question, context)."""
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows:
        raise content.BadContent("the CSV must have a header, such as inputs, and at least one row")
    return {"inputs": [row["inputs"] for row in rows] if "inputs" in rows[0] else rows}


DEFAULTS = HuggingFaceDefaults()
