"""When an endpoint moves to another version, and what is asked for then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clary.domain.decisions import Unable
from clary.domain.registry import following
from clary.domain.registry.following import Follower, Move, Seen
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
HERE = "arn:aws:sagemaker:eu-west-1:000000000000"
TWO = f"{HERE}:model-package/churn/2"


def record(kind: str, name: str, status: str = "", **document: Any) -> Record:
    return Record(kind, SCOPE, name, f"{HERE}:{kind}/{name.lower()}", status, 0.0, 0.0, document)


GROUP = record("model-package-group", "Churn", "Completed", aliases={"champion": 2})
MODEL = record(
    "model",
    "m",
    request={
        "ModelName": "m",
        "ExecutionRoleArn": "role",
        "PrimaryContainer": {"ModelPackageName": "Churn@champion", "Environment": {"A": "b"}},
    },
    made_of={"Churn@champion": f"{HERE}:model-package/churn/1"},
)
CONFIG = record(
    "endpoint-config",
    "c",
    request={
        "EndpointConfigName": "c",
        "ProductionVariants": [
            {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
        ],
    },
    tags=[{"Key": "team", "Value": "blue"}],
)
ENDPOINT = record("endpoint", "live", "InService", plant={})


def package(number: int, approval: str = "Approved") -> Record:
    return record("model-package", f"churn/{number}", version=number, approval=approval)


def seen(endpoint: Record = ENDPOINT, config: Record | None = CONFIG, model: Record = MODEL, **more: Any) -> Seen:
    follower = Follower(endpoint, "champion", config, {"v": model})
    return Seen((follower,), more.get("versions", {2: package(2)}))


def the_move(of: Seen, group: Record = GROUP) -> Move:
    [move] = following.decide(group, of).commands
    return move


def note(of: Seen, group: Record = GROUP) -> Any:
    decision = following.decide(group, of)
    assert decision.commands == ()
    return decision.record.document.get("followed", {}).get("live")


def test_a_move_keeps_all_but_the_version() -> None:
    move = the_move(seen())
    [(key, model)] = move.models
    name = model["ModelName"]
    assert key == f"follow {name}"
    assert model == {
        "ModelName": name,
        "ExecutionRoleArn": "role",
        "PrimaryContainer": {"ModelPackageName": TWO, "Environment": {"A": "b"}},
    }
    assert move.request == {
        "EndpointConfigName": move.config,
        "ProductionVariants": [
            {"VariantName": "v", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}
        ],
        "Tags": [{"Key": "team", "Value": "blue"}, {"Key": "clary:rollback-on-regression", "Value": "0.01"}],
    }
    assert move.update == {
        "EndpointName": "live",
        "EndpointConfigName": move.config,
        "RetainAllVariantProperties": True,
        "DeploymentConfig": following.CANARY,
    }
    assert (move.config[:9], the_move(seen())) == ("live-v2-" + move.config[8], move)
    assert the_move(seen(config=replace(CONFIG, arn="other"))).config != move.config


def test_names_are_short_enough() -> None:
    long = replace(ENDPOINT, name="e" * 63)
    assert len(the_move(seen(long), GROUP).config) <= 63


def test_an_endpoints_own_way_to_deploy_is_kept() -> None:
    own = replace(ENDPOINT, document={"plant": {"deployment": {"RollingUpdatePolicy": {}}}})
    update = the_move(seen(own)).update
    assert update["RetainDeploymentConfig"] is True
    assert "DeploymentConfig" not in update


def test_a_guard_of_its_own_is_kept() -> None:
    tags = [{"Key": "clary:rollback-on-regression", "Value": "0.2"}]
    assert the_move(seen(config=replace(CONFIG, document={**CONFIG.document, "tags": tags}))).request["Tags"] == tags


def test_who_waits_says_for_what() -> None:
    assert note(seen(versions={2: package(2, "PendingManualApproval")})) == {"waits": "version 2 is not approved"}
    assert note(seen(versions={})) == {"waits": "alias champion names no version"}
    assert note(seen(config=None))["waits"].startswith("its endpoint config was deleted")
    other = replace(MODEL, document={"request": MODEL.document["request"]})
    assert note(seen(model=other))["waits"].startswith("no variant has a model of Churn")
    assert note(seen(replace(ENDPOINT, status="Updating"))) is None


def test_who_serves_the_version_stays() -> None:
    there = replace(MODEL, document={**MODEL.document, "made_of": {"x": TWO}})
    assert note(seen(model=there)) == {"version": 2, "config": "c"}
    settled = following.decide(GROUP, seen(model=there)).record
    assert following.decide(settled, seen(model=there)).record == settled


def test_an_update_that_was_turned_back_is_not_asked_for_again_until_the_alias_moves() -> None:
    move = the_move(seen())
    after = following.moved(GROUP, move, None, 5.0)
    assert after.document["followed"] == {"live": {"version": 2, "at": 5.0, "config": move.config}}
    turned = following.decide(after, seen())
    assert turned.commands == ()
    told = turned.record.document["system_tags"][following.FOLLOWERS]
    assert told == "live: turned the update to version 2 back; it is tried again when the alias has moved"
    assert following.decide(turned.record, seen()).record == turned.record
    moved = replace(after, document={**after.document, "aliases": {"champion": 3}})
    three = {3: package(3), 2: package(2)}
    assert the_move(seen(versions=three), moved).version == 3


def test_what_was_refused_is_tried_again_later() -> None:
    after = following.moved(GROUP, the_move(seen()), Unable("no room"), 5.0)
    assert after.document["followed"]["live"]["why"] == "no room"
    decision = following.decide(after, seen())
    assert (len(decision.commands), decision.again) == (1, following.AGAIN)


def test_who_follows_no_more_is_forgotten() -> None:
    after = following.moved(GROUP, the_move(seen()), None, 5.0)
    assert following.decide(after, Seen()).record.document["followed"] == {}


def test_only_containers_of_the_group_change() -> None:
    request = {
        "ModelName": "m",
        "Containers": [{"Image": "i"}, {"ModelPackageName": "Churn@champion"}, {"ModelPackageName": "other"}],
    }
    made_of = {**MODEL.document["made_of"], "other": f"{HERE}:model-package/other"}
    two = replace(MODEL, document={"request": request, "made_of": made_of})
    [(_, model)] = the_move(seen(model=two)).models
    assert model["Containers"] == [{"Image": "i"}, {"ModelPackageName": TWO}, {"ModelPackageName": "other"}]


def test_alarms_of_its_own_guard_the_move_beside_those_of_the_deployment_config() -> None:
    guards = ("clary-accuracy-live-v",)
    of = seen()
    guarded = replace(of, followers=(replace(of.followers[0], guards=guards),))
    config = the_move(guarded).update["DeploymentConfig"]
    assert config == {**following.CANARY, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": guards[0]}]}}
    own = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]}, "BlueGreenUpdatePolicy": {}}
    endpoint = of.followers[0].endpoint
    document = {**endpoint.document, "plant": {**endpoint.document["plant"], "deployment": own}}
    follower = replace(of.followers[0], endpoint=replace(endpoint, document=document), guards=guards)
    update = the_move(replace(of, followers=(follower,))).update
    names = [each["AlarmName"] for each in update["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]]
    assert (names, "RetainDeploymentConfig" in update) == (["errors", guards[0]], False)
