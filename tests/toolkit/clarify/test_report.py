"""The report in its formats: what is in it, that names cannot break it, and that it is what it says."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

from clary.toolkit.clarify import rendering, report

METRICS = [
    {"name": "CDDL", "description": "Conditional", "value": None, "error": "Group variable is empty or not provided"},
    {"name": "DPL", "description": "Difference", "value": -0.25},
    {"name": "DI", "description": "Disparate Impact", "value": "Infinity"},
]
SECTION = {
    "label": "<b>y</b>",
    "label_value_or_threshold": "1",
    "facets": {"s\u4e2dx": [{"value_or_threshold": "0", "metrics": METRICS}]},
}
ANALYSIS: dict[str, Any] = {
    "version": "1.0",
    "pre_training_bias_metrics": SECTION,
    "model_performance": {
        "model_performance_metrics": [{"name": "Accuracy", "description": "Proportion", "value": 0.5}],
        "binary_confusion_matrix": [0.25, 0.25, 0.25, 0.25],
    },
    "explanations": {
        "kernel_shap": {"label0": {"expected_value": 0.5, "global_shap_values": {"a": 0.1, "b": 0.4, "c": 0.0}}},
        "pdp": [
            {"feature_name": "a", "data_type": "numerical", "feature_values": [0.0, 0.5, 2.0], "model_predictions": [[1.0, 2.0, 0.5]]},
            {"feature_name": "b", "data_type": "categorical", "feature_values": ["x"], "model_predictions": [[1.0], [1.0]]},
        ],
    },
}  # fmt: skip


def test_every_section_is_there() -> None:
    made = report.blocks("Title", ANALYSIS, 10, 3)
    headings = [each.text for each in made if isinstance(each, report.Heading)]
    assert headings == [
        "Title", "Pre-training Bias Metrics", "Facet s\u4e2dx: 0", "Model Performance", "SHAP Values",
        "label0: expected value 0.5", "Partial Dependence", "a", "b",
    ]  # fmt: skip
    bars = [each for each in made if isinstance(each, report.Bars)]
    assert bars[0].bars == [("DPL", -0.25)]
    assert [name for name, _ in bars[1].bars] == ["b", "a", "c"]


def test_the_page_is_well_formed_and_its_names_are_text() -> None:
    page = rendering.page(report.blocks("<script>", ANALYSIS, 10, 3))
    whole = ET.fromstring(page.removeprefix("<!doctype html>").replace('<meta charset="utf-8">', ""))
    assert whole.find("head/title").text == "<script>"  # type: ignore[union-attr]
    assert "<b>y" not in page
    assert "Group variable is empty" in page
    assert len(whole.findall("body/{http://www.w3.org/2000/svg}svg")) == 4
    assert not re.search(r"(src|href)=", page)


def test_the_notebook_is_one() -> None:
    found = json.loads(rendering.notebook(report.blocks("Title", ANALYSIS, 10, 3)))
    assert (found["nbformat"], found["cells"][0]["source"]) == (4, ["# Title"])
    assert all(set(each) >= {"cell_type", "metadata", "source"} for each in found["cells"])
    compile("".join(found["cells"][-1]["source"]), "cell", "exec")


def test_the_pdf_is_one(run: Callable[..., Any]) -> None:
    code = f"""
from clary.toolkit.clarify import rendering, report
analysis = {ANALYSIS!r}
analysis["explanations"]["kernel_shap"]["label0"]["global_shap_values"] = {{f"feature {{at}}": at / 7 for at in range(90)}}
made = rendering.pdf(report.blocks("Title", analysis, 10, 3))
answer = [made[:5].decode(), made.rstrip()[-5:].decode(), made.count(b"/Type /Page\\n") + made.count(b"/Type /Page ")]
"""
    begin, end, pages = run("clarify", code)
    assert (begin, end) == ("%PDF-", "%%EOF")
    assert pages >= 3
