"""Rollouts of a small world (test_endpoints.World): what is started, routed and stopped at each step, and every way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.domain.endpoints.test_deployment import blue_green, rolling, size
from tests.domain.endpoints.test_life import World, fleet

from clary.domain.endpoints.commands import ResizeReplica, StartReplica, StopReplica, WriteHistory
from clary.domain.endpoints.fleets import Note
from clary.domain.endpoints.life import asked_capacity, asked_delete, asked_update
from clary.domain.endpoints.routes import EndpointRoute
from clary.domain.endpoints.turn import LAST_CHANGE, last_change
from clary.domain.errors import IllegalTransition

CANARY = blue_green("CANARY", wait=10, keep=5, CanarySize=size(1))


@pytest.fixture
def world() -> World:
    """In service with four replicas of f1."""
    world = World(fleet(count=4))
    world.settle()
    world.log.clear()
    world.routes.clear()
    return world


def update(world: World, config: Any = None, count: int = 4, regression: float = 0.0, **more: Any) -> None:
    new = fleet("f2", count, **{"VERSION": "2", **more})
    world.record = asked_update(world.record, new, config or {}, world.now, regression)


def share(route: EndpointRoute | None, config: str = "config-f2") -> float:
    assert route is not None
    return next((round(v.share, 4) for v in route.variants if v.fleet == config), 0.0)


def shares(world: World) -> list[float]:
    """The new fleet's shares as the front was told them, one after another."""
    told = [share(route) for route in world.routes]
    return [s for at, s in enumerate(told) if at == 0 or told[at - 1] != s]


def told(world: World) -> list[str]:
    return [c.note.what for c in world.of(WriteHistory)]


def run_to(world: World, status: str = "InService", step: float = 1.0, most: int = 400) -> None:
    for _ in range(most):
        world.settle()
        check_traffic(world)
        if world.record.status == status:
            return
        world.now += step
    raise AssertionError(f"still {world.record.status}: {told(world)}")


def check_traffic(world: World) -> None:
    """At every moment each variant's shares are one together, and whoever has a share has a replica that takes work."""
    for route in world.routes:
        for name in {v.name for v in route.variants}:
            having = [v for v in route.variants if v.name == name and v.share]
            assert sum(v.share for v in having) == pytest.approx(1.0)
            assert all(any(not r.draining for r in v.replicas) for v in having), route
    world.routes[:-1] = []


def test_a_canary_moves_bakes_and_takes_over(world: World) -> None:
    old = set(world.ready())
    update(world, CANARY)
    world.settle()
    assert shares(world) == [0.0, 0.25]
    assert len(world.ready()) == 8, "the whole new fleet is there before any traffic moves"
    assert world.plant.serving is not None
    assert world.plant.serving.variants[0].routed == 0.75
    began = world.now
    assert world.turn().again == pytest.approx(1.0)
    world.now = began + 9.6
    assert world.turn().again == pytest.approx(0.4), "the loop wakes exactly at the end of the bake"
    world.now = began + 10
    world.settle()
    assert shares(world) == [0.0, 0.25, 1.0]
    world.now = began + 20
    world.settle()
    assert world.plant.incoming is not None, "the old fleet is kept for its termination wait"
    assert old <= set(world.ready())
    world.now = began + 25
    world.settle()
    assert world.record.status == "InService"
    assert world.plant.serving is not None
    assert world.plant.serving.config == "config-f2"
    assert {c.id for c in world.of(StopReplica)} == old
    assert told(world) == [
        "update asked",
        "traffic moved",
        "baking",
        "baked",
        "traffic moved",
        "baking",
        "baked",
        "old fleet kept",
        "taken over",
        "in service",
    ]


def test_linear_moves_in_equal_steps(world: World) -> None:
    update(world, blue_green("LINEAR", wait=10, LinearStepSize=size(40, "CAPACITY_PERCENT")))
    seen: list[float] = []
    for _ in range(60):
        world.settle()
        seen.append(share(world.route))
        world.now += 1
    assert list(dict.fromkeys(seen)) == [0.4, 0.8, 1.0]
    assert seen.count(0.4) == 10
    assert world.record.status == "InService"


def test_rolling_never_has_more_than_a_batch_too_many(world: World) -> None:
    update(world, rolling(size(1), 5))
    most = 0
    for _ in range(60):
        world.settle()
        most = max(most, len(world.ready()))
        world.now += 1
    assert most == 5
    assert world.record.status == "InService"
    assert len(world.ready()) == 4
    assert {c.id for c in world.of(StartReplica)} == set(world.ready())
    assert shares(world) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_an_update_without_waits_is_done_in_as_many_turns_as_before(world: World) -> None:
    update(world)
    turns = 0
    while world.record.status != "InService":
        world.turn()
        turns += 1
    assert turns <= 8


@pytest.mark.parametrize("moment", [0, 1, 2, 3])
def test_an_alarm_takes_all_traffic_back(world: World, moment: int) -> None:
    """While the new fleet comes up it says nothing yet; before the first traffic moves, in either bake, and while the old fleet is
    kept, it does."""
    old = set(world.ready())
    world.alarms = {"bad": "OK"}
    config = {**CANARY, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}}
    update(world, config)
    if moment == 0:
        world.alarms = {"bad": "ALARM"}
        while world.record.status == "Updating":
            assert len(world.ready()) < 8
            world.turn()
        assert shares(world) == [0.0], "the new fleet never got a request"
        assert len(world.ready()) >= 4
    else:
        world.settle()
        for _ in range(moment - 1):
            world.now += 10
            world.settle()
        assert share(world.route) == (0.25 if moment == 1 else 1.0)
        world.alarms = {"bad": "ALARM"}
    world.turn()
    assert world.record.status in ("RollingBack", "InService")
    assert share(world.route) == 0.0, "in the turn that sees it"
    world.settle()
    assert world.record.status == "InService"
    assert set(world.ready()) == old
    assert world.plant.failure == "The CloudWatch alarm bad is in state ALARM."
    assert told(world)[-2:] == ["rolling back", "rolled back"]
    assert world.plant.rollout is None


def test_a_rollback_does_not_wait_for_what_the_new_fleet_is_long_at(world: World) -> None:
    old = set(world.ready())
    world.alarms = {"bad": "OK"}
    update(world, {**CANARY, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}})
    world.settle()
    busy = next(id_ for id_ in world.ready() if id_ not in old)
    world.views[busy] = replace(world.views[busy], in_flight=1)
    world.alarms = {"bad": "ALARM"}
    world.settle()
    assert world.record.status == "RollingBack"
    world.now += 71
    world.settle()
    assert world.record.status == "InService"
    assert busy not in [c.id for c in world.of(StopReplica)]
    world.views[busy] = replace(world.views[busy], in_flight=0)
    world.settle()
    assert busy in [c.id for c in world.of(StopReplica)]


def test_an_alarm_counts_also_where_nothing_bakes(world: World) -> None:
    old = set(world.ready())
    world.alarms = {"bad": "ALARM"}
    update(world, {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}})
    run_to(world)
    assert set(world.ready()) == old
    assert shares(world) == [0.0]
    assert world.plant.failure == "The CloudWatch alarm bad is in state ALARM."


def test_no_data_is_no_alarm_but_a_deleted_alarm_is_a_reason(world: World) -> None:
    world.alarms = {"bad": "INSUFFICIENT_DATA"}
    update(world, {**CANARY, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}})
    world.settle()
    assert world.record.status == "Updating"
    world.alarms = {"bad": None}
    run_to(world)
    assert world.plant.failure == "The CloudWatch alarm bad, which guards this deployment, was deleted."


@pytest.mark.parametrize("batch", [None, 25])
def test_a_rolling_update_rolls_back_by_batches(world: World, batch: int | None) -> None:
    more = {"RollbackMaximumBatchSize": size(batch, "CAPACITY_PERCENT")} if batch else {}
    config = {**rolling(size(1), 5, **more), "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}}
    world.alarms = {"bad": "OK"}
    update(world, config)
    while share(world.route) < 0.75:
        world.settle()
        world.now += 1
    assert len(world.of(StopReplica)) == 2, "two old ones have gone"
    world.alarms = {"bad": "ALARM"}
    world.log.clear()
    run_to(world)
    assert world.plant.serving is not None
    assert world.plant.serving.config == "config-f1"
    assert len(world.ready()) == 4
    assert len(world.of(StartReplica)) == 2, "the two came back"
    assert told(world).count("traffic moved back") == (2 if batch else 1)


def test_what_was_on_its_way_up_is_not_waited_for_on_the_way_back(world: World) -> None:
    world.alarms = {"bad": "OK"}
    update(world, {**rolling(size(1), 5), "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}})
    world.settle()
    assert share(world.route) == 0.25
    world.broken["A"] = "silent"
    world.now += 5
    world.settle()
    second = world.of(StartReplica)[-1].id
    assert second not in world.ready()
    world.broken.clear()
    world.alarms = {"bad": "ALARM"}
    world.turn()
    world.turn()
    assert second in [c.id for c in world.of(StopReplica)]
    run_to(world)
    assert len(world.ready()) == 4


def test_a_rolling_update_whose_replicas_do_not_come_up_goes_back_at_once(world: World) -> None:
    old = set(world.ready())
    world.broken["A"] = "traceback"
    update(world, rolling(size(1), 5))
    run_to(world)
    assert set(world.ready()) == old
    assert "ValueError: bad model" in world.plant.failure
    assert world.of(StopReplica) == [c for c in world.of(StopReplica) if c.id not in old]


@pytest.mark.parametrize("ask", ["update", "weights", "delete"])
def test_a_rollback_that_cannot_be_reached_says_so_and_lets_change_and_delete(world: World, ask: str) -> None:
    world.alarms = {"bad": "OK"}
    update(world, {**rolling(size(1), 5), "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "bad"}]}})
    while share(world.route) < 0.75:
        world.settle()
        world.now += 1
    world.broken["A"] = "exit"
    world.alarms = {"bad": "ALARM"}
    run_to(world, "UpdateRollbackFailed")
    assert told(world)[-1] == "rollback failed"
    assert len(world.ready()) >= 4, "what serves goes on serving"
    world.broken.clear()
    if ask == "delete":
        world.record = asked_delete(world.record, world.now)
        world.settle()
        assert world.removed
        return
    if ask == "update":
        world.record = asked_update(world.record, fleet("f3", 4, VERSION="3"), {}, world.now)
    else:
        wanted = [{"VariantName": "A", "DesiredInstanceCount": 3}]
        world.record = asked_capacity(world.record, wanted, world.now)
    run_to(world)
    assert world.plant.serving is not None
    assert world.plant.serving.config == ("config-f3" if ask == "update" else "config-f2"), (
        "the stronger of the two went on"
    )
    assert len(world.ready()) == (4 if ask == "update" else 3)
    assert world.plant.incoming is None


def test_the_time_limit_counts_in_every_phase(world: World) -> None:
    update(world, blue_green("ALL_AT_ONCE", wait=3600, limit=4000))
    world.settle()
    assert share(world.route) == 1.0
    world.alarms = {}
    world.record.document["plant"]["rollout"]["limit"] = 600.0
    world.now += 599
    assert world.turn().again == pytest.approx(1.0)
    world.now += 2
    run_to(world)
    assert "MaximumExecutionTimeoutInSeconds (600 s)" in world.plant.failure
    assert share(world.route) == 0.0


def test_a_regression_rolls_back_and_equal_fleets_do_not(world: World) -> None:
    update(world, CANARY, regression=0.01)
    world.settle()
    for look in range(1, 9):
        world.counted = {"config-f1": (600 * look, look, look), "config-f2": (200 * look, 0, 0)}
        world.settle()
        assert world.record.status == "Updating"
    world.counted["config-f2"] = (1800, 100, 0)
    world.settle()
    world.counted["config-f2"] = (2000, 300, 0)
    world.counted["config-f1"] = (6000, 10, 10)
    world.turn()
    assert world.record.status == "RollingBack"
    assert "requests to the new fleet failed" in world.plant.failure


def test_slow_answers_are_counted_by_both_fleets_from_the_first_step_on(world: World) -> None:
    update(world, CANARY, regression=0.01)
    world.settle()
    assert world.route is not None
    assert [v.slow for v in world.route.variants] == [pytest.approx(0.12)] * 2, "1.2 times the old fleet's p99"
    assert {v.slow for v in world.routes[0].variants} == {0.0}
    run_to(world)
    assert world.route is not None
    assert [v.slow for v in world.route.variants] == [0.0]


# -- in place ---------------------------------------------------------------------------------------------------------------------


def same(count: int = 4, kind: str = "ml.m5.large", name: str = "f2") -> Any:
    return fleet(name, count, kind=kind)


@pytest.mark.parametrize(("count", "kind", "starts", "stops", "resizes"), [
    (4, "ml.m5.xlarge", 0, 0, 4),
    (6, "ml.m5.large", 2, 0, 0),
    (1, "ml.m5.large", 0, 3, 0),
    (5, "ml.m5.xlarge", 1, 0, 4),
])  # fmt: skip
def test_sizes_and_counts_change_in_place(
    world: World, count: int, kind: str, starts: int, stops: int, resizes: int
) -> None:
    old = set(world.ready())
    world.record = asked_update(world.record, same(count, kind), {}, world.now)
    assert world.record.status == "Updating"
    run_to(world)
    found = tuple(len(world.of(c)) for c in (StartReplica, StopReplica, ResizeReplica))
    assert found == (starts, stops, resizes)
    assert len(set(world.ready()) & old) == min(4, count), "those that serve go on"
    assert {world.sizes[r] for r in world.ready()} == {kind}
    assert world.plant.serving is not None
    assert world.plant.serving.config == "config-f2"
    assert "changed in place" in told(world)


@pytest.mark.parametrize(
    "what",
    [
        "nothing differs",
        "another artifact",
        "another environment",
        "a policy is given",
        "other accelerators",
        "a backend that cannot",
    ],
)
def test_what_is_not_changed_in_place(world: World, what: str) -> None:
    old = set(world.ready())
    new = same(4 if what == "nothing differs" else 3)
    if what == "another artifact":
        world.models["f2"] = "/other"
    if what == "another environment":
        new = fleet("f2", 3, X="1")
    if what == "other accelerators":
        new = same(4, "ml.g4dn.xlarge")
    if what == "a backend that cannot":
        new, world.resizes = same(4, "ml.m5.xlarge"), False
    config = blue_green("ALL_AT_ONCE") if what == "a policy is given" else {}
    world.record = asked_update(world.record, new, config, world.now)
    run_to(world)
    assert not set(world.ready()) & old
    assert ("not in place" in told(world)) == (what in ("another artifact", "a backend that cannot"))


def test_a_resize_that_is_refused_goes_back(world: World) -> None:
    old = world.ready()
    world.no_resize = "ml.t2.medium has 4096 MiB of memory here, and the model uses 5000 MiB"
    world.record = asked_update(world.record, same(4, "ml.t2.medium"), {}, world.now)
    run_to(world)
    assert world.ready() == old
    assert world.plant.serving is not None
    assert (world.plant.serving.config, world.plant.serving.variants[0].instance_type) == ("config-f1", "ml.m5.large")
    assert world.plant.failure.startswith("The instance type could not be changed in place: ml.t2.medium has 4096 MiB")
    assert {world.sizes[r] for r in world.ready()} == {"ml.m5.large"}


def test_growth_in_place_that_fails_goes_back_with_its_sizes(world: World) -> None:
    old = world.ready()
    world.broken["A"] = "refused"
    world.record = asked_update(world.record, same(6, "ml.m5.xlarge"), {}, world.now)
    run_to(world)
    assert world.ready() == old
    assert {world.sizes[r] for r in world.ready()} == {"ml.m5.large"}
    assert "no room" in world.plant.failure


# -- the crash, the history, what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [CANARY, rolling(size(1), 5), None])
def test_a_lost_save_changes_nothing(world: World, config: Any) -> None:
    update(world, config)
    for _ in range(400):
        world.turn(save=False)
        world.turn()
        check_traffic(world)
        if world.record.status == "InService":
            break
        world.now += 0.3
    assert world.record.status == "InService"
    assert len({c.id for c in world.of(StartReplica)}) == 4
    numbers = [(c.number, c.note.what) for c in world.of(WriteHistory)]
    assert len({n for n, _ in numbers}) == len(set(numbers)), "the same number is always the same step"


def test_a_clock_that_is_set_back_makes_no_bake_longer(world: World) -> None:
    update(world, CANARY)
    world.settle()
    world.now -= 3600
    for _ in range(26):
        world.settle()
        world.now += 1
    assert world.record.status == "InService"
    assert share(world.route, "config-f2") == 1.0


def test_dead_replicas_of_the_old_fleet_are_replaced_meanwhile(world: World) -> None:
    update(world, CANARY)
    world.settle()
    world.end(world.ready()[0], exit_code=1)
    world.settle()
    assert len(world.ready()) == 8
    assert world.record.status == "Updating"


def test_a_fleet_without_any_replica_loses_its_share_at_once(world: World) -> None:
    update(world, blue_green("CANARY", wait=60, CanarySize=size(1)))
    world.settle()
    new = [r.id for r in world.plant.incoming.replicas] if world.plant.incoming else []
    world.broken["A"] = "silent"
    for id_ in new:
        world.end(id_, exit_code=1)
    world.turn()
    assert world.record.status in ("Updating", "RollingBack")
    assert share(world.route) == 0.0


@pytest.mark.parametrize("status", ["Creating", "Updating", "RollingBack"])
def test_while_it_changes_nothing_else_may_be_asked(status: str) -> None:
    world = World(fleet(count=1))
    if status != "Creating":
        world.settle()
        update(world, CANARY, count=2)
        world.settle()
    if status == "RollingBack":
        world.alarms = {"x": "ALARM"}
        world.record.document["plant"]["rollout"]["alarms"] = ["x"]
        world.turn()
    assert world.record.status == status
    for ask in (
        lambda: asked_update(world.record, fleet("f3"), {}, world.now),
        lambda: asked_delete(world.record, world.now),
        lambda: asked_capacity(world.record, [], world.now),
    ):
        with pytest.raises(IllegalTransition, match=r'^Cannot update in-progress endpoint "arn:e".$'):
            ask()


def test_the_last_step_is_a_tag_of_the_systems_own(world: World) -> None:
    update(world)
    run_to(world)
    tag = world.record.document["system_tags"][LAST_CHANGE]
    assert tag.startswith("1970-01-01T00:16:40Z in service: A: 4 x ml.m5.large".replace(",", " "))


def test_a_tag_keeps_to_the_characters_and_length_of_tags() -> None:
    text = last_change(Note("failed", "Traceback\n<b>'x'</b> " + "é" * 500, 0.0))
    assert len(text) == 256
    assert "\n" not in text
    assert "<" not in text


def test_weights_of_two_fleets_are_brought_to_one_sum(world: World) -> None:
    """Else a canary of 25 % of a config whose weights add up to 10 would get far more."""
    update(world, CANARY, variants=(("A", 10.0),))
    world.settle()
    assert world.route is not None
    parts = {v.fleet: v.weight * v.share for v in world.route.variants}
    assert parts["config-f2"] / sum(parts.values()) == pytest.approx(0.25)


def test_every_step_of_the_history_names_a_config() -> None:
    world = World(fleet(count=1))
    world.broken["A"] = "traceback"
    world.settle()
    assert world.record.status == "Failed"
    world.record = asked_delete(world.record, world.now)
    world.settle()
    assert [(c.note.what, c.note.config) for c in world.of(WriteHistory)] == [
        ("failed", "config-f1"),
        ("delete asked", "config-f1"),
    ]
