"""Hugging Face pipelines over local files, in their runtime: a tiny BERT of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.toolkit.test_frameworks import PRELUDE

Run = Callable[..., Any]

pytestmark = pytest.mark.torch

SAVED = (
    PRELUDE
    + """
import tempfile
from clary.toolkit.frameworks import huggingface
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizerFast
SMALL = dict(vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
def saved(kind):
    folder = tempfile.mkdtemp(); words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]
    BertTokenizerFast(vocab={w: n for n, w in enumerate(words)}).save_pretrained(folder)
    kind(BertConfig(**SMALL)).save_pretrained(folder); return folder
"""
)


def run_it(run: Run, code: str, **environment: str) -> Any:
    return run("huggingface", code, warnings="ignore", **environment)


def test_the_task_follows_from_the_architecture(run: Run) -> None:
    code = (
        SAVED
        + """
h = load(framework="huggingface", model_dir=saved(BertForSequenceClassification))
def asked(*r): return ask(h, r)[0]
answer = [asked(b, k) for b, k in (('{"inputs": "good"}', JSON), ('{"inputs": ["good", "bad"], "parameters": {"top_k": 2}}', JSON),
          ("inputs\\ngood\\nbad\\n", CSV), ('{"text": "good"}', JSON), ("{", JSON), ("x", "image/png"))]
answer += [asked('{"inputs": "good"}', JSON, CSV), asked('{"texts": "good"}', JSON)]
"""
    )
    one, parameters, csv, keys, broken, kind, accept, wrong = run_it(run, code)
    assert [a[0] for a in (one, parameters, csv, keys, broken, kind, accept)] == [200, 200, 200, 200, 400, 415, 406]
    assert {"label", "score"} == set(json.loads(one[1])[0])
    assert [len(each) for each in json.loads(parameters[1])] == [2, 2]
    assert len(json.loads(csv[1])) == 2
    assert {"label", "score"} <= set(json.loads(keys[1]) if keys[1].startswith("{") else json.loads(keys[1])[0])
    assert wrong[0] == 400
    assert "it has the keys texts, and the pipeline says" in wrong[1]


def test_the_task_may_be_named(run: Run) -> None:
    code = (
        SAVED
        + """
h = load(framework="huggingface", model_dir=saved(BertForMaskedLM))
answer = ask(h, ('{"inputs": "good [MASK]"}', JSON))[0]
"""
    )
    status, body, _ = run_it(run, code, HF_TASK="fill-mask")
    assert status == 200
    assert {"token", "token_str"} <= set(json.loads(body)[0])


def test_names_of_the_hub_are_refused(run: Run, tmp_path: Path) -> None:
    code = (
        SAVED
        + f"""
try: load(framework="huggingface", model_dir={str(tmp_path)!r})
except inference.LoadError as error: answer = str(error)
"""
    )
    text = run_it(run, code, HF_MODEL_ID="distilbert-base-uncased")
    assert "HF_MODEL_ID names distilbert-base-uncased of the hub, and models are not fetched from there here." in text
    assert "config.json" in text
