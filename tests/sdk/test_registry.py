"""The model registry through unmodified boto3: versions, decisions, aliases, and an endpoint that follows one."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.sdk.acts import PYTHON, XGBOOST, User, channel, targz, unique, until
from tests.sdk.conftest import ROLE
from tests.sdk.test_serving import refused

pytestmark = [pytest.mark.live, pytest.mark.slow]

SAYS = (
    "def model_fn(folder):\n    {load}\n\ndef transform_fn(model, body, content_type, accept):\n    return {answer!r}\n"
)
QUICK = {
    "BlueGreenUpdatePolicy": {
        "TrafficRoutingConfiguration": {
            "Type": "CANARY",
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
            "WaitIntervalInSeconds": 1,
        },
        "TerminationWaitInSeconds": 0,
    }
}


@pytest.fixture(scope="module")
def group(user: User) -> str:
    """A group whose versions 1 and 2 answer their number, whose third cannot be loaded."""
    name = unique("Churn")
    user.sm.create_model_package_group(ModelPackageGroupName=name)
    for answer in ("one", "two", "three"):
        load = "raise RuntimeError('broken')" if answer == "three" else "return 0"
        code = SAYS.format(load=load, answer=answer)
        data = user.put(f"{name}/{answer}/model.tar.gz", targz({"code/inference.py": code}))
        user.sm.create_model_package(
            ModelPackageGroupName=name,
            InferenceSpecification={
                "Containers": [{"Image": PYTHON, "ModelDataUrl": data}],
                "SupportedContentTypes": ["text/csv"],
            },
            CustomerMetadataProperties={"answer": answer},
        )
    return name


def arn(user: User, group: str, version: int | str) -> str:
    whole = user.sm.describe_model_package_group(ModelPackageGroupName=group)["ModelPackageGroupArn"]
    mark = "/" if isinstance(version, int) else "@"
    return f"{str(whole).replace(':model-package-group/', ':model-package/')}{mark}{version}"


def alias(user: User, group: str, version: int, value: str) -> None:
    user.sm.add_tags(ResourceArn=arn(user, group, version), Tags=[{"Key": "clary:alias", "Value": value}])


def tags(user: User, which: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in user.sm.list_tags(ResourceArn=which)["Tags"]}


def approve(user: User, group: str, version: int) -> None:
    user.sm.update_model_package(
        ModelPackageArn=arn(user, group, version), ModelApprovalStatus="Approved", ApprovalDescription="good"
    )


def test_versions_in_a_batch_and_by_status(user: User, group: str) -> None:
    arns = [arn(user, group, version) for version in (1, 2, 9)]
    seen = user.sm.batch_describe_model_package(ModelPackageArnList=arns)
    assert [each["ModelPackageVersion"] for each in seen["ModelPackageSummaries"].values()] == [1, 2]
    assert list(seen["BatchDescribeModelPackageErrorMap"]) == [arns[2]]
    approve(user, group, 1)
    listed = user.sm.list_model_packages(ModelPackageGroupName=group, ModelApprovalStatus="Approved")
    assert [each["ModelPackageVersion"] for each in listed["ModelPackageSummaryList"]] == [1]
    assert tags(user, arns[0])["aws:clary:approval"].endswith(": good")
    user.sm.update_model_package(ModelPackageArn=arns[1], CustomerMetadataProperties={"b": "c"})
    user.sm.update_model_package(ModelPackageArn=arns[1], CustomerMetadataPropertiesToRemove=["b"])
    assert user.sm.describe_model_package(ModelPackageName=arns[1])["CustomerMetadataProperties"] == {"answer": "two"}


def test_what_is_refused(user: User, group: str) -> None:
    both = refused(user.sm.create_model_package, ModelPackageName="p", ModelPackageGroupName=group)
    assert both["Error"] == {
        "Code": "ValidationException",
        "Message": "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one to use.",
    }
    nobody = refused(user.sm.describe_model_package, ModelPackageName=f"{group}@nobody")
    assert "has no alias 'nobody'" in nobody["Error"]["Message"]
    assert (
        refused(user.sm.delete_model_package_group, ModelPackageGroupName=group)["Error"]["Code"] == "ConflictException"
    )
    odd = refused(user.sm.add_tags, ResourceArn=arn(user, group, 1), Tags=[{"Key": "clary:alias", "Value": "7 a/b"}])
    assert "must be one alias or several" in odd["Error"]["Message"]


def model(user: User, name: str) -> str:
    made = unique("model")
    user.sm.create_model(ModelName=made, ExecutionRoleArn=ROLE, PrimaryContainer={"ModelPackageName": name})
    return made


def test_an_endpoint_follows_an_alias(user: User, group: str) -> None:
    approve(user, group, 1)
    alias(user, group, 1, "champion stable")
    assert tags(user, arn(user, group, 1))["clary:alias"] == "champion stable"
    assert user.sm.describe_model_package(ModelPackageName=f"{group}@champion")["ModelPackageVersion"] == 1
    name = unique("follows")
    user.sm.create_endpoint(
        EndpointName=name,
        EndpointConfigName=user.config({"ModelName": model(user, arn(user, group, "champion"))}),
        DeploymentConfig=QUICK,
        Tags=[{"Key": "clary:follow", "Value": f"{group}@champion"}],
    )
    user.settled(name, "InService")
    assert user.ask(name) == b"one"

    alias(user, group, 2, "champion")  # which nobody approved yet
    assert tags(user, arn(user, group, 1))["clary:alias"] == "stable"
    assert user.status(name) == "InService"
    approve(user, group, 2)
    until(lambda: user.ask(name), lambda answer: answer == b"two")
    seen = user.settled(name, "InService")
    assert seen["EndpointConfigName"].startswith(f"{name}-v2-")
    config = user.sm.describe_endpoint_config(EndpointConfigName=seen["EndpointConfigName"])
    assert tags(user, config["EndpointConfigArn"])["clary:rollback-on-regression"] == "0.01"

    approve(user, group, 3)  # it cannot be loaded: the update is turned back, and not asked for again
    alias(user, group, 3, "champion")
    rolled = until(lambda: history(user, name), lambda lines: any("-v3-" in line for line in lines))
    assert rolled
    user.settled(name, "InService")
    assert user.ask(name) == b"two"
    whole = arn(user, group, 1).rpartition("/")[0].replace(":model-package/", ":model-package-group/")
    told = until(lambda: tags(user, whole)["aws:clary:followers"], lambda text: "turned" in text)
    assert told.startswith(f"{name}: turned the update to version 3 back")
    alias(user, group, 1, "champion")
    until(lambda: user.ask(name), lambda answer: answer == b"one")
    stays = refused(user.sm.delete_model_package, ModelPackageName=arn(user, group, 1))
    assert (stays["Error"]["Code"], "has the alias champion" in stays["Error"]["Message"]) == (
        "ConflictException",
        True,
    )
    user.settled(name, "InService")
    user.sm.delete_endpoint(EndpointName=name)


def history(user: User, endpoint: str) -> list[str]:
    pages: list[Any] = user.logs.filter_log_events(logGroupName=f"/clary/Endpoints/{endpoint}", filterPattern='"-v3-"')[
        "events"
    ]
    return [each["message"] for each in pages]


# -- clary registry -----------------------------------------------------------------------------------------------------------------


def clary(user: User, *words: str) -> str:
    done = user.server.run(
        [sys.executable, "-m", "clary.app.cli", "registry", *words, "--dir", user.server.settings.dir]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_clary_registry_lists_compares_decides_and_names(user: User) -> None:
    name, table = unique("compared"), "\n".join(f"{row % 2},{row % 2 + row % 5 / 10},{row % 7}" for row in range(60))
    data = user.put(f"{name}/train.csv", table)
    user.sm.create_model_package_group(ModelPackageGroupName=name)
    for eta in ("0.1", "0.9"):
        done = user.train(
            XGBOOST,
            HyperParameters={"objective": "binary:logistic", "num_round": "3", "eta": eta, "eval_metric": "logloss"},
            InputDataConfig=[channel("train", data, ContentType="text/csv")],
        )
        report = user.put(f"{name}/{eta}.json", json.dumps({"quality": {"auc": {"value": float(eta)}}}))
        source = {"ContentType": "application/json", "S3Uri": report}
        user.sm.create_model_package(
            ModelPackageGroupName=name,
            InferenceSpecification={
                "Containers": [{"Image": XGBOOST, "ModelDataUrl": done["ModelArtifacts"]["S3ModelArtifacts"]}],
                "SupportedContentTypes": ["text/csv"],
            },
            ModelMetrics={"ModelQuality": {"Statistics": source}},
        )
    shown = json.loads(clary(user, "compare", name, "1", "2", "--json"))
    unlike = shown["differences"]
    assert unlike["parameters"] == {"eta": ["0.1", "0.9"]}
    assert unlike["metrics"]["ModelQuality Statistics quality.auc"] == ["0.1", "0.9"]
    assert "training train:logloss" in unlike["metrics"]
    assert "data" not in unlike
    assert shown["facts"][0]["data"] == {"train": data}
    assert list(unlike["serving"]) == ["model data"]
    lines = clary(user, "compare", name, "1", "2").splitlines()
    assert any(line.split() == ["parameters", "eta", "0.1", "0.9"] for line in lines), lines
    assert data in clary(user, "compare", name, "1", "2", "--all")

    assert clary(user, "alias", name, "2", "champion") == f"version 2 of {name} has the aliases champion\n"
    assert "Rejected by clary at " in clary(user, "reject", name, "champion", "-m", "too <slow>")
    assert json.loads(clary(user, "approve", name, "2", "--json"))["approval"] == "Approved"
    [one, two] = json.loads(clary(user, "list", name, "--json"))["versions"]
    assert (one["approval"], two["approval"], two["aliases"]) == ("PendingManualApproval", "Approved", ["champion"])
    assert clary(user, "list", name).splitlines()[2].split()[:3] == ["2", "Approved", "champion"]
    [group] = [row for row in json.loads(clary(user, "list", "--json")) if row["group"] == name]
    assert (group["versions"], group["approved"], group["aliases"]) == (2, 2, {"champion": 2})
    assert any(line.startswith(name) and "champion=2" in line for line in clary(user, "list").splitlines())


def test_clary_registry_says_what_is_not_there(user: User, group: str) -> None:
    where = ("--dir", user.server.settings.dir)
    for words, code in (
        (("list", "nobody"), 4),
        (("approve", group, "99"), 4),
        (("approve", group, "nobody"), 4),
        (("alias", group, "1", "7"), 1),
        (("compare", group), 2),
    ):
        done = user.server.run([sys.executable, "-m", "clary.app.cli", "registry", *words, *where])
        assert done.returncode == code, (words, done.returncode, done.stderr)
        assert code == 2 or done.stderr.count("\n") == 1, done.stderr
