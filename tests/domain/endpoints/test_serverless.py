"""What a ServerlessConfig may say, and when its replica sleeps and wakes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clary.domain.endpoints import serverless
from clary.domain.endpoints.commands import SeenEndpoint
from clary.domain.endpoints.fleets import READY, Fleet, Plant, Replica, new_fleet
from clary.domain.endpoints.routes import Boost, VariantView
from clary.domain.endpoints.routing import route_of
from clary.domain.endpoints.serverless import Rest
from clary.domain.endpoints.turn import places
from clary.domain.errors import Invalid
from clary.domain.machine import instances
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope

REST = Rest(workers=60, replica=900)


def row(**config: Any) -> dict[str, Any]:
    return {
        "VariantName": "A",
        "ModelName": "m",
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 5, **config},
    }


def fleet(**config: Any) -> Fleet:
    return new_fleet("f1", "config", [row(**config)], {"m": Container("m", "xgboost:1")}, 1000.0)


def instance_fleet() -> Fleet:
    asked = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    return new_fleet("f2", "instances", [asked], {"m": Container("m", "xgboost:1")}, 1000.0)


def asleep(one: Fleet) -> Fleet:
    return one.with_variant(replace(one.variants[0], count=0))


def seen(**more: Any) -> dict[str, VariantView]:
    return {"A@f1": VariantView("A", key="A@f1", **more)}


def count(one: Fleet) -> int:
    return one.variants[0].count


@pytest.mark.parametrize(
    ("rows", "request_", "words"),
    [
        (
            [row(MemorySizeInMB=1500)],
            {},
            "Value '1500' at 'productionVariants.1.member.serverlessConfig.memorySizeInMB'",
        ),
        ([row(ProvisionedConcurrency=6)], {}, r"ProvisionedConcurrency \(6\).*MaxConcurrency \(5\)"),
        ([{**row(), "InstanceType": "ml.m5.large"}], {}, "ServerlessConfig and InstanceType"),
        ([{**row(), "InitialInstanceCount": 1}], {}, "ServerlessConfig and InitialInstanceCount"),
        ([row(), {**row(), "VariantName": "B"}], {}, "exactly one production variant"),
        ([row()], {"DataCaptureConfig": {"EnableCapture": True}}, "DataCaptureConfig is not supported"),
        ([row()], {"AsyncInferenceConfig": {"OutputConfig": {}}}, "AsyncInferenceConfig is not supported"),
    ],
)
def test_what_contradicts_itself_is_refused(rows: Any, request_: Any, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        serverless.check(rows, request_)


def test_what_is_in_order_passes() -> None:
    serverless.check([row(ProvisionedConcurrency=5)], {})
    serverless.check([{"VariantName": "A", "InstanceType": "ml.m5.large"}] * 2, {"DataCaptureConfig": {"x": 1}})


def test_an_instance_variant_may_become_serverless_and_never_the_other_way() -> None:
    serverless.check_change(instance_fleet(), fleet())
    serverless.check_change(fleet(), fleet())
    with pytest.raises(Invalid, match="cannot be updated to an instance-based one"):
        serverless.check_change(fleet(), instance_fleet())


def test_concurrency_changes_in_place() -> None:
    variant = fleet().variants[0]
    new = serverless.changed(variant, {"ServerlessUpdateConfig": {"MaxConcurrency": 9, "ProvisionedConcurrency": 2}})
    assert (new.concurrency, new.warm, new.serverless["MemorySizeInMB"]) == (9, 2, 2048)
    with pytest.raises(Invalid, match="less than or equal to its MaxConcurrency"):
        serverless.changed(variant, {"ServerlessUpdateConfig": {"ProvisionedConcurrency": 6}})
    with pytest.raises(Invalid, match="DesiredInstanceCount is not supported"):
        serverless.changed(variant, {"DesiredInstanceCount": 2})
    with pytest.raises(Invalid, match="only allowed for serverless variants"):
        serverless.changed(instance_fleet().variants[0], {"ServerlessUpdateConfig": {"MaxConcurrency": 9}})
    assert serverless.changed(variant, {"DesiredWeight": 1.0}) is variant


def test_it_sleeps_after_a_long_rest_and_wakes_for_the_first_request() -> None:
    assert count(serverless.tended(fleet(), seen(idle=899.0), REST, True)) == 1
    assert count(serverless.tended(fleet(), seen(idle=900.0), REST, True)) == 0
    assert count(serverless.tended(asleep(fleet()), seen(idle=0.0, queued=1), REST, True)) == 1
    assert count(serverless.tended(asleep(fleet()), seen(idle=5000.0), REST, True)) == 0


def test_it_wakes_while_the_endpoint_is_updated_but_does_not_fall_asleep() -> None:
    assert count(serverless.tended(asleep(fleet()), seen(queued=1), REST, False)) == 1
    assert count(serverless.tended(fleet(), seen(idle=5000.0), REST, False)) == 1


def test_a_wake_of_a_variant_with_an_objective_is_told_a_serverless_ones_is_not() -> None:
    one = instance_fleet()
    asleep_ = one.with_variant(replace(one.variants[0], count=0, boost=Boost(5.0)))
    key = asleep_.variants[0].key
    views = {f"{key}@f2": VariantView("A", key=f"{key}@f2", queued=1)}
    woke = serverless.tended(asleep_, views, REST, True)
    assert serverless.woken(asleep_, woke) == ["A: 0 to 1, for a request that is held"]
    assert serverless.woken(woke, woke) == []
    assert serverless.woken(asleep(fleet()), serverless.tended(asleep(fleet()), seen(queued=1), REST, True)) == []


def test_what_nobody_sees_stays_as_it_is_and_provisioned_workers_never_sleep() -> None:
    assert count(serverless.tended(fleet(), {}, REST, True)) == 1
    assert count(serverless.tended(fleet(ProvisionedConcurrency=1), seen(idle=5000.0), REST, True)) == 1


def test_the_next_look_is_when_the_rest_is_over() -> None:
    assert serverless.waits(fleet(), seen(idle=890.0), REST) == [10.0]
    assert serverless.waits(fleet(), seen(idle=0.0), REST) == []
    assert serverless.waits(fleet(), seen(idle=901.0), REST) == []
    assert serverless.waits(asleep(fleet()), seen(idle=890.0), REST) == []


def test_the_front_learns_how_many_and_how_long() -> None:
    plant = Plant(seed="s", serving=fleet(ProvisionedConcurrency=2))
    record = Record("endpoint", Scope("000000000000", "eu-west-1"), "e", "arn:e", "InService", 0.0, 0.0, {})
    [variant] = route_of(record, plant, 1, 2, REST.workers).variants
    assert (variant.sleeps, variant.concurrency, variant.warm, variant.rest) == (True, 5, 2, 60)
    broken = replace(plant, serving=fleet().with_variant(replace(fleet().variants[0], deaths=3)))
    assert not route_of(record, broken, 1, 2, REST.workers).variants[0].sleeps


def test_more_provisioned_workers_are_told_when_there_is_room_for_them() -> None:
    """Their memory is part of the replica's size: until it has that, the front keeps as many as there were."""
    record = Record("endpoint", Scope("000000000000", "eu-west-1"), "e", "arn:e", "InService", 0.0, 0.0, {})
    for had, asked, told in ((1, 4, 1), (4, 1, 1), (0, 2, 0), (2, 2, 2)):
        one, old = fleet(ProvisionedConcurrency=asked), fleet(ProvisionedConcurrency=had).variants[0].size
        running = Replica("r", READY, handle="h", size=old)
        one = one.with_variant(replace(one.variants[0], replicas=(running,)))
        [variant] = route_of(record, Plant(seed="s", serving=one), 1, 2, REST.workers).variants
        assert variant.warm == told
        assert [place.size for place in places(one, SeenEndpoint())] == ([] if had == asked else [one.variants[0].size])


def test_its_size_is_that_of_all_it_may_run_at_once() -> None:
    size = instances.find(fleet().variants[0].instance_type)
    assert size is not None
    assert (size.name, size.memory, size.vcpu) == ("serverless 2048 MB x 5", 5 * 2048 << 20, 6)
    kept = instances.find(fleet(ProvisionedConcurrency=3).variants[0].instance_type)
    assert kept == replace(size, name="serverless 2048 MB x 5, 3 kept", kept=3 * instances.KEPT)


def test_a_variant_with_an_objective_sleeps_where_its_last_replica_went_and_wakes() -> None:
    made = instance_fleet()
    [variant] = made.variants
    awake = made.with_variant(replace(variant, boost=Boost(5.0)))
    sleeping = made.with_variant(replace(variant, boost=Boost(5.0), count=0))
    views = {"A@f2": VariantView("A", key="A@f2", queued=1, idle=9999.0)}
    assert (awake.variants[0].sleeps, sleeping.variants[0].sleeps) == (False, True)
    assert count(serverless.tended(sleeping, views, REST, True)) == 1
    assert count(serverless.tended(awake, views, REST, True)) == 1
    plain = made.with_variant(replace(variant, count=0))
    assert count(serverless.tended(plain, views, REST, True)) == 0
    record = Record("endpoint", Scope("0", "r"), "e", "arn:e", "InService", 0.0, 0.0, {})
    for fleet_, sleeps in ((awake, False), (sleeping, True), (plain, False)):
        [route] = route_of(record, Plant("s", serving=fleet_), 1, 2, 60.0).variants
        assert route.sleeps is sleeps
