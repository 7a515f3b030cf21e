"""The template pipeline: it is one that Clary's own parser takes, and each option is where it acts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from clary.app.cli.retrain_template import Template, definition
from clary.domain.pipelines import definition as pipelines

TEMPLATE = Template(
    endpoint="shop",
    model="shop-1",
    image="xgboost:1.7-1",
    group="shop",
    alias="champion",
    role="arn:aws:iam::000000000000:role/R",
    capture="s3://b/captured/shop",
    labels="s3://b/captured/ground-truth/shop",
    folder="s3://b/retraining/shop",
)


def steps(template: Template = TEMPLATE) -> dict[str, dict[str, Any]]:
    return {step["Name"]: step for step in definition(template)["Steps"]}


def words(step: dict[str, Any]) -> list[Any]:
    return list(step["Arguments"]["AppSpecification"]["ContainerArguments"])


def inputs(step: dict[str, Any]) -> dict[str, Any]:
    return {each["InputName"]: each["S3Input"]["S3Uri"] for each in step["Arguments"]["ProcessingInputs"]}


def test_the_parser_takes_it_and_its_parameters_have_defaults() -> None:
    document = definition(TEMPLATE)
    pipelines.parse(json.dumps(document), {})
    given = {each["Name"]: each["DefaultValue"] for each in document["Parameters"]}
    assert given == {
        "EndpointName": "shop",
        "IncumbentModel": "shop-1",
        "CaptureUri": "s3://b/captured/shop",
        "LabelsUri": "s3://b/captured/ground-truth/shop",
        "Since": "0",
        "Reason": "started by hand",
    }


def test_what_is_trained_is_judged_and_only_then_registered_under_the_alias() -> None:
    found = steps()
    assert list(found) == ["Collect", "Train", "Gate", "Decide"]
    assert found["Train"]["Arguments"]["HyperParameters"]["objective"] == "binary:logistic"
    assert {"Get": "Parameters.IncumbentModel"} in words(found["Gate"])
    assert {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"} in words(found["Gate"])
    decide = found["Decide"]["Arguments"]
    [register], [keep] = decide["IfSteps"], decide["ElseSteps"]
    assert (register["Type"], keep["Type"]) == ("RegisterModel", "Fail")
    assert register["Arguments"]["ModelApprovalStatus"] == "Approved"
    assert register["Arguments"]["CustomerMetadataProperties"] == {"clary:alias": "champion"}


def test_without_options_there_is_neither_holdout_nor_brief() -> None:
    found = steps()
    assert set(inputs(found["Collect"])) == {"capture", "labels"}
    assert set(inputs(found["Gate"])) == {"dataset"}


def test_each_option_is_where_it_acts() -> None:
    found = steps(
        replace(
            TEMPLATE,
            problem="regression",
            hyperparameters={"num_round": "9"},
            collect={"window": "700"},
            gate={"facet": "f1=2"},
            pinned="s3://b/pinned",
            brief="s3://b/brief.yaml",
            manual=True,
        )
    )
    assert words(found["Collect"])[-2:] == ["--window", "700"]
    assert inputs(found["Collect"])["pinned"] == "s3://b/pinned"
    assert inputs(found["Gate"])["brief"] == "s3://b/brief.yaml"
    assert words(found["Gate"])[-2:] == ["--facet", "f1=2"]
    trained = found["Train"]["Arguments"]["HyperParameters"]
    assert (trained["objective"], trained["num_round"]) == ("reg:squarederror", "9")
    [register] = found["Decide"]["Arguments"]["IfSteps"]
    assert register["Arguments"]["ModelApprovalStatus"] == "PendingManualApproval"
