"""The endpoint decision against a small world: commands change it, and the next turn sees what they did."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from clary.domain.decisions import Decision
from clary.domain.endpoints import life
from clary.domain.endpoints.commands import (
    Command,
    DropRoute,
    EnsureEnvironment,
    ForgetReplica,
    ForgetWork,
    LogDeath,
    Outcome,
    PrepareModel,
    PutRoute,
    Resized,
    ResizeReplica,
    SeenEndpoint,
    Started,
    StartReplica,
    StopReplica,
    WriteHistory,
)
from clary.domain.endpoints.fleets import Fleet, Plant, new_fleet
from clary.domain.endpoints.life import absorb, asked_capacity, asked_delete, asked_update, decide, plant_of
from clary.domain.endpoints.replicas import longest_answer
from clary.domain.endpoints.routes import EndpointRoute, EndpointView, ReplicaView, VariantView
from clary.domain.machine.workload import Observation, RunState
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope

SCOPE = Scope("000000000000", "eu-west-1")
PREPARED = {"model": "/m", "code": "", "code_dir": "", "program": "", "requirements": ""}


def fleet(
    name: str = "f1",
    count: int = 1,
    at: float = 1000.0,
    variants: Any = (("A", 1.0),),
    kind: str = "ml.m5.large",
    **environment: str,
) -> Fleet:
    rows = [
        {
            "VariantName": variant,
            "ModelName": "m",
            "InstanceType": kind,
            "InitialInstanceCount": count,
            "InitialVariantWeight": weight,
        }
        for variant, weight in variants
    ]
    container = Container("m", "xgboost:1", "s3://b/m.tar.gz", environment=environment)
    return new_fleet(name, f"config-{name}", rows, {"m": container}, at)


class World:
    """Replicas that start become ready at the next look, unless `broken` says how they fail to."""

    def __init__(self, first: Fleet) -> None:
        self.now = 1000.0
        plant = Plant(seed="s", incoming=first, changed=self.now)
        document = {"request": {"EndpointConfigName": first.config}, "plant": plant.to_json()}
        self.record = Record("endpoint", SCOPE, "e", "arn:e", "Creating", self.now, self.now, document)
        self.runs: dict[str, Observation] = {}
        self.views: dict[str, ReplicaView] = {}
        self.route: EndpointRoute | None = None
        self.routes: list[EndpointRoute] = []
        self.prepared: dict[str, Outcome] = {}
        self.environments: dict[str, Outcome] = {}
        self.broken: dict[
            str, str
        ] = {}  # variant -> "traceback", "exit", "refused", "crowded", "model", "silent", "swept"
        self.log: list[Command] = []
        self.removed = False
        self.front_away = False
        self.alarms: dict[str, str | None] = {}
        self.counted: dict[str, tuple[int, int, int]] = {}  # endpoint config -> answered, failed, slow
        self.sizes: dict[str, str] = {}  # replica -> instance type
        self.no_resize = ""
        self.resizes = True
        self.models: dict[str, str] = {}  # fleet's id -> where its model lies, if not where all do

    @property
    def plant(self) -> Plant:
        return plant_of(self.record)

    def seen(self) -> SeenEndpoint:
        view = None
        if self.route is not None and not self.front_away:
            replicas = tuple(self.views.values())
            counts = tuple(
                VariantView(v.name, completed=n, errors_5xx=bad, faults=bad, slow=slow, key=v.key, p99=0.1)
                for v in self.route.variants
                for n, bad, slow in [self.counted.get(v.fleet, (0, 0, 0))]
            )
            view = EndpointView("", "", "e", self.route.revision, (VariantView("A", replicas, key="-"), *counts))
        runs = {r.id: self.runs.get(r.id) for r in self.plant.replicas if r.handle}
        return SeenEndpoint(
            runs,
            view,
            dict(self.prepared),
            dict(self.environments),
            cpus=2,
            alarms=dict(self.alarms),
            resizes=self.resizes,
        )

    def turn(self, save: bool = True) -> Decision[Command]:
        decision = decide(self.record, self.seen(), self.now)
        outcomes = [(command, self.run(command)) for command in decision.commands]
        self.log += decision.commands
        if save:
            decided = absorb(decision.record, outcomes, self.now)
            self.record = replace(decided, document=json.loads(json.dumps(decided.document)))
            assert decided == self.record, "a record that a store gives back differs from what was saved"
            self.removed = decision.remove
        return decision

    def settle(self, turns: int = 40) -> None:
        """Turns until nothing changes."""
        for _ in range(turns):
            before = self.record
            decision = self.turn()
            if self.removed or (self.record == before and not decision.commands):
                return
        raise AssertionError("never settled")

    def run(self, command: Command) -> Any:
        match command:
            case PrepareModel(key=key):
                bad = self.broken.get("A") == "model"
                path = next((path for fleet, path in self.models.items() if f" {fleet}/" in key), "/m")
                done = Outcome("done", {**PREPARED, "model": path})
                self.prepared[key] = Outcome("failed", message="no such object") if bad else done
            case EnsureEnvironment(key=key):
                self.environments[key] = Outcome("done")
            case ForgetWork(keys):
                for key in keys:
                    self.prepared.pop(key, None)
                    self.environments.pop(key, None)
            case ResizeReplica(id=id_, instance_type=size):
                if not self.no_resize:
                    self.sizes[id_] = size
                return Resized(self.no_resize)
            case StartReplica(id=id_, variant=variant, instance_type=size):
                self.sizes[id_] = size
                return self.start(id_, self.broken.get(variant, ""))
            case StopReplica(id=id_):
                if id_ in self.runs:
                    self.end(id_, exit_code=0, stopped=True)
            case ForgetReplica(id=id_):
                self.runs.pop(id_, None)
                self.views.pop(id_, None)
            case PutRoute(route):
                self.route = route
                self.routes.append(route)
            case DropRoute():
                self.route = None
        return None

    def start(self, id_: str, how: str) -> Started:
        if how == "crowded":
            return Started(refused=f"CapacityError: no place, {self.now:g} MiB are free")
        if how == "swept":
            self.prepared.clear()
            return Started(unprepared=True)
        if how == "refused":
            return Started(refused="Unschedulable: no room")
        if id_ in self.runs:
            return Started(id_)
        self.runs[id_] = Observation(RunState.RUNNING, started_at=self.now)
        if how == "exit":
            self.end(id_, exit_code=1)
        elif how == "traceback":
            self.views[id_] = ReplicaView(id_, "failed", failure="Traceback\nValueError: bad model")
        elif how != "silent":
            self.views[id_] = ReplicaView(id_, "ready", workers=2)
        return Started(id_)

    def end(self, id_: str, **how: Any) -> None:
        self.runs[id_] = replace(self.runs[id_], state=RunState.EXITED, ended_at=self.now, **how)
        self.views.pop(id_, None)

    def ready(self) -> list[str]:
        return [r.id for r in self.plant.replicas if r.phase == "ready"]

    def of(self, kind: type[Any]) -> list[Any]:
        return [c for c in self.log if isinstance(c, kind)]


def test_create() -> None:
    world = World(fleet(count=2))
    world.settle()
    assert world.record.status == "InService"
    assert len(world.ready()) == 2
    kinds = [type(c).__name__ for c in world.log]
    assert kinds.index("PrepareModel") < kinds.index("EnsureEnvironment") < kinds.index("StartReplica")
    assert kinds.index("PutRoute") < kinds.index("StartReplica"), "the front must know a replica before it dials"
    assert len(world.of(StartReplica)) == 2
    assert world.plant.serving is not None
    assert world.plant.serving.variants[0].routed == 1.0
    assert world.plant.incoming is None
    assert world.route is not None
    assert [(r.draining, r.allowance) for r in world.route.variants[0].replicas] == [(False, 2)] * 2


def test_it_is_in_service_in_few_turns() -> None:
    """Each turn is a wake-up and a commit: prepare, environment, start, ready."""
    world = World(fleet())
    turns = 0
    while world.record.status != "InService":
        world.turn()
        turns += 1
    assert turns <= 4


def test_a_lost_save_starts_nothing_twice() -> None:
    world = World(fleet(count=2))
    for _ in range(8):
        world.turn(save=False)
        world.turn()
    ids = {c.id for c in world.of(StartReplica)}
    tokens = {c.token for c in world.of(StartReplica)}
    assert len(ids) == len(tokens) == 2
    assert world.record.status == "InService"


def test_a_model_that_does_not_load_fails_at_once_with_its_traceback() -> None:
    world = World(fleet())
    world.broken["A"] = "traceback"
    world.settle()
    assert world.record.status == "Failed"
    reason = world.plant.failure
    assert reason.startswith(
        "The primary container for production variant A did not pass the ping health check. Please check CloudWatch logs for this "
        "endpoint."
    )
    assert "ValueError: bad model" in reason
    assert f"A/{world.of(StartReplica)[0].id} in /aws/sagemaker/Endpoints/e" in reason
    assert len(reason) <= 1024
    assert len(world.of(StartReplica)) == 1
    assert world.runs == {}
    assert world.route is None
    assert world.turn().again is None


def test_what_failed_stays_in_sight_without_replicas() -> None:
    world = World(fleet())
    world.broken["A"] = "traceback"
    world.settle()
    shown = world.plant.shown
    assert shown is not None
    assert (shown.config, [v.name for v in shown.variants], shown.replicas) == ("config-f1", ["A"], ())
    before = world.record
    assert world.turn().again is None
    assert world.record == before


def test_a_long_traceback_keeps_its_end() -> None:
    world = World(fleet())
    world.broken["A"] = "silent"
    world.turn(), world.turn(), world.turn()
    (started,) = world.of(StartReplica)
    world.views[started.id] = ReplicaView(started.id, "failed", failure="x" * 5000 + "\nKeyError: 'last line'")
    world.settle()
    assert len(world.plant.failure) <= 1024
    assert world.plant.failure.endswith("KeyError: 'last line'")


def test_a_process_that_dies_is_tried_three_times() -> None:
    world = World(fleet())
    world.broken["A"] = "exit"
    for _ in range(40):
        world.turn()
        world.now += 1
    assert world.record.status == "Failed"
    assert "ended with exit code 1" in world.plant.failure
    assert len(world.of(StartReplica)) == 3


@pytest.mark.parametrize(("how", "words"), [("refused", "no room"), ("model", "no such object")])
def test_what_cannot_start_fails_with_its_reason(how: str, words: str) -> None:
    world = World(fleet())
    world.broken["A"] = how
    world.settle()
    assert world.record.status == "Failed"
    assert words in world.plant.failure


def test_a_start_that_hangs_ends_at_its_timeout() -> None:
    first = fleet()
    variant = replace(
        first.variants[0], config={**first.variants[0].config, "ContainerStartupHealthCheckTimeoutInSeconds": 60}
    )
    world = World(first.with_variant(variant))
    world.broken["A"] = "silent"
    for _ in range(59):
        world.turn()
        world.now += 1
    assert world.record.status == "Creating"
    for _ in range(6):
        world.now += 1
        world.turn()
    assert world.record.status == "Failed"
    assert "not loaded within 60 s" in world.plant.failure


@pytest.fixture
def world() -> World:
    """In service with two replicas."""
    world = World(fleet(count=2))
    world.settle()
    world.log.clear()
    world.routes.clear()
    return world


def test_at_rest_nothing_is_done(world: World) -> None:
    before = world.record
    decision = world.turn()
    assert decision.commands == ()
    assert world.record == before
    assert decision.again == life.LOOK_AGAIN


def test_a_dead_replica_is_replaced(world: World) -> None:
    gone, kept = world.ready()
    world.end(gone, exit_code=137)
    world.settle()
    assert world.of(LogDeath) == [LogDeath("A", gone, "its process was ended by signal 9")]
    assert world.record.status == "InService"
    assert kept in world.ready()
    assert len(world.ready()) == 2
    assert gone not in world.ready()
    assert world.route is not None
    assert gone not in [r.id for r in world.route.variants[0].replicas]


def test_starts_back_off_when_replicas_keep_dying(world: World) -> None:
    world.broken["A"] = "exit"
    for id_ in world.ready():
        world.end(id_, exit_code=1)
    starts = []
    for _ in range(3000):
        world.turn()
        starts.append(len(world.of(StartReplica)))
        world.now += 0.1
    assert starts[-1] <= 30, "5 minutes of doubling from half a second to a minute"
    assert world.record.status == "OutOfService"
    assert "exit code 1" in world.plant.failure
    world.broken.clear()
    world.now += 61
    world.settle()
    assert world.record.status == "InService"
    assert world.plant.failure == ""


def test_a_replica_that_the_front_does_not_see_is_replaced_but_not_when_the_front_is_away(world: World) -> None:
    silent = world.ready()[0]
    world.front_away = True
    for _ in range(10):
        world.now += 10
        world.turn()
    assert world.of(StopReplica) == []
    world.front_away = False
    del world.views[silent]
    for _ in range(5):
        world.now += 10
        world.turn()
    assert [c.id for c in world.of(StopReplica)] == [silent]


def test_update_is_blue_green_and_drains(world: World) -> None:
    old = set(world.ready())
    for id_ in old:
        world.views[id_] = replace(world.views[id_], in_flight=1)
    world.record = asked_update(world.record, fleet("f2", 3, VERSION="2"), {}, world.now)
    assert world.record.status == "Updating"
    world.settle()
    for route in world.routes:
        taking = [r.id for v in route.variants for r in v.replicas if not r.draining]
        assert taking, "at every moment somebody takes new work"
        assert set(taking) <= old or not set(taking) & old
    assert world.record.status == "Updating", "requests are still running on the old fleet"
    assert world.of(StopReplica) == []
    for id_ in old:
        world.views[id_] = replace(world.views[id_], in_flight=0)
    world.settle()
    assert world.record.status == "InService"
    assert {c.id for c in world.of(StopReplica)} == old
    assert len(world.ready()) == 3
    assert world.plant.serving is not None
    assert world.plant.serving.config == "config-f2"


def test_nothing_is_stopped_before_the_front_knows(world: World) -> None:
    world.record = asked_update(world.record, fleet("f2", 1, VERSION="2"), {}, world.now)
    while not any(r.phase == "draining" for r in world.plant.replicas):
        world.turn()
    assert world.route is not None
    world.route = replace(world.route, revision=1)  # a front that has not heard of it yet
    world.turn()
    assert world.of(StopReplica) == []


@pytest.mark.parametrize(
    ("environment", "asynchronous", "longest"),
    [
        ({}, {}, 480.0),  # a stream's
        ({"SAGEMAKER_MODEL_SERVER_TIMEOUT": "1000"}, {}, 1000.0),
        ({}, {"OutputConfig": {}}, 3600.0),
    ],
)
def test_a_drain_lasts_as_long_as_an_answer_may(
    world: World, environment: dict[str, str], asynchronous: dict[str, Any], longest: float
) -> None:
    old = replace(fleet("f2", 1, **environment), asynchronous=asynchronous)
    world.record = asked_update(world.record, old, {}, world.now)
    world.settle()
    [stuck] = world.ready()
    world.views[stuck] = replace(world.views[stuck], in_flight=1)
    world.record = asked_update(world.record, fleet("f3", 1, VERSION="3"), {}, world.now)
    world.settle()
    assert world.record.status == "Updating"
    world.now += 71
    world.settle()
    assert world.record.status == "InService", "nobody waits so long for the next change"
    world.record = asked_update(world.record, fleet("f4", 1, VERSION="4"), {}, world.now)
    world.now += longest - 71
    world.settle()
    assert world.record.status == "InService"
    assert stuck not in [c.id for c in world.of(StopReplica)]
    world.now += 11
    world.settle()
    assert stuck in [c.id for c in world.of(StopReplica)]
    assert world.record.status == "InService"


def test_a_pipelines_first_container_drains_as_long_as_its_last_may_take() -> None:
    slow = {"SAGEMAKER_MODEL_SERVER_TIMEOUT": "900"}
    [row] = fleet("f", 1).variants
    pipeline = replace(fleet("f", 1), variants=(row, replace(row, container=replace(row.container, environment=slow))))
    assert longest_answer(pipeline, row) == 900.0


def test_a_failed_update_rolls_back_and_says_why(world: World) -> None:
    old = world.ready()
    world.broken["A"] = "traceback"
    world.record = asked_update(world.record, fleet("f2", 1, VERSION="2"), {}, world.now)
    statuses = {world.record.status}
    for _ in range(30):
        world.turn()
        statuses.add(world.record.status)
    assert statuses == {"Updating", "RollingBack", "InService"}
    assert world.ready() == old
    assert "ValueError: bad model" in world.plant.failure
    assert world.plant.serving is not None
    assert world.plant.serving.config == "config-f1"
    for route in world.routes:
        assert {r.id for v in route.variants for r in v.replicas if not r.draining} == set(old)


def test_the_old_fleet_bakes_and_takes_over_again_when_the_new_one_dies(world: World) -> None:
    policy = {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60}}
    }
    old = world.ready()
    world.record = asked_update(world.record, fleet("f2", 1), policy, world.now)
    world.settle()
    assert world.record.status == "Updating"
    assert world.of(StopReplica) == []
    world.broken["A"] = "exit"
    for id_ in set(world.ready()) - set(old):
        world.end(id_, exit_code=1)
    for _ in range(40):
        world.turn()
        world.now += 0.5
    assert world.record.status == "InService"
    assert sorted(world.ready()) == sorted(old)


def test_an_update_that_takes_too_long_rolls_back(world: World) -> None:
    policy = {"BlueGreenUpdatePolicy": {"MaximumExecutionTimeoutInSeconds": 600}}
    world.broken["A"] = "silent"
    slow = fleet("f2", 1)
    config = {**slow.variants[0].config, "ContainerStartupHealthCheckTimeoutInSeconds": 3600}
    world.record = asked_update(
        world.record, slow.with_variant(replace(slow.variants[0], config=config)), policy, world.now
    )
    world.settle()
    world.now += 601
    world.settle()
    assert world.record.status == "InService"
    assert "MaximumExecutionTimeoutInSeconds" in world.plant.failure


def test_variants_come_and_go_with_the_config(world: World) -> None:
    world.record = asked_update(world.record, fleet("f2", 1, variants=(("B", 2.0), ("C", 1.0))), {}, world.now)
    world.settle()
    assert world.route is not None
    assert [(v.name, v.weight) for v in world.route.variants] == [("B", 2.0), ("C", 1.0)]
    assert [(v.name, v.share) for v in world.routes[0].variants] == [("A", 1), ("B", 0), ("C", 0)]


def test_weights_change_without_a_restart(world: World) -> None:
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredWeight": 0.25}], world.now)
    assert world.record.status == "Updating"
    world.settle()
    assert world.record.status == "InService"
    assert {type(c) for c in world.log} == {PutRoute, WriteHistory}
    assert world.route is not None
    assert world.route.variants[0].weight == 0.25
    assert world.plant.serving is not None
    assert world.plant.serving.variants[0].routed == 0.25


def test_counts_grow_and_shrink(world: World) -> None:
    old = set(world.ready())
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredInstanceCount": 4}], world.now)
    world.settle()
    assert old < set(world.ready())
    assert len(world.ready()) == 4
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredInstanceCount": 1}], world.now)
    world.settle()
    assert len(world.ready()) == 1
    assert world.record.status == "InService"


def test_a_growth_that_fails_goes_back(world: World) -> None:
    old = world.ready()
    world.broken["A"] = "refused"
    wanted = {"VariantName": "A", "DesiredInstanceCount": 3, "DesiredWeight": 9.0}
    world.record = asked_capacity(world.record, [wanted], world.now)
    for _ in range(30):
        world.turn()
        world.now += 1
    assert world.record.status == "InService"
    assert world.ready() == old
    assert "no room" in world.plant.failure
    assert world.plant.serving is not None
    assert (world.plant.serving.variants[0].count, world.plant.serving.variants[0].weight) == (2, 1.0)


def test_delete_stops_everything_and_then_the_record_goes(world: World) -> None:
    world.record = asked_delete(world.record, world.now)
    world.settle()
    assert world.removed
    assert world.runs == {}
    assert world.route is None
    assert type(world.log[0]) is DropRoute


def test_delete_of_a_failed_one() -> None:
    world = World(fleet())
    world.broken["A"] = "model"
    world.settle()
    world.record = asked_delete(world.record, world.now)
    world.settle()
    assert world.removed


def test_revisions_only_grow_even_when_saves_are_lost(world: World) -> None:
    world.record = asked_update(world.record, fleet("f2", 2), {}, world.now)
    for _ in range(12):
        world.turn(save=False)
        world.now += 0.01
        world.turn()
    revisions = [route.revision for route in world.routes]
    assert revisions == sorted(revisions)


def test_the_front_is_told_again_when_it_is_behind(world: World) -> None:
    assert world.route is not None
    current = world.route
    world.route = replace(current, revision=3)
    world.turn()
    assert world.route == current


def test_workers_follow_the_size_or_the_users_wish() -> None:
    world = World(fleet(SAGEMAKER_MODEL_SERVER_WORKERS="5", SAGEMAKER_MODEL_SERVER_TIMEOUT="300"))
    world.settle()
    (start,) = world.of(StartReplica)
    assert (start.workers, start.timeout) == (5, 300.0)
    assert world.route is not None
    assert (world.route.variants[0].replicas[0].allowance, world.route.variants[0].timeout) == (5, 300.0)


def test_a_clock_that_is_set_back_delays_nothing(world: World) -> None:
    world.end(world.ready()[0], exit_code=1)
    world.turn()
    world.now -= 3600
    world.settle()
    assert len(world.ready()) == 2


def test_a_replica_that_dies_whenever_it_is_ready_is_not_started_without_end(world: World) -> None:
    for _ in range(3000):
        world.turn()
        for id_ in world.ready()[:1]:
            world.end(id_, exit_code=1)
        world.now += 0.1
    assert len(world.of(StartReplica)) <= 2 * 300 / 10 + 15, "two replicas, tried every 10 s where nobody serves"
    world.now += 61
    world.settle()
    world.now += 61
    world.settle()
    assert world.plant.serving is not None
    assert world.plant.serving.variants[0].deaths == 0


def test_a_model_whose_folder_is_never_there_fails_the_endpoint_and_says_so() -> None:
    world = World(fleet())
    world.broken["A"] = "swept"
    for _ in range(40):
        world.turn()
        world.now += 1
    assert world.record.status == "Failed"
    assert "folder of the unpacked model was not there" in world.plant.failure
    assert len(world.of(StartReplica)) == 3


def test_a_model_that_was_swept_is_unpacked_again_at_once() -> None:
    world = World(fleet())
    world.broken["A"] = "swept"
    while not world.of(StartReplica):
        world.turn()
    world.broken.clear()
    world.settle()
    assert world.record.status == "InService"
    assert len(world.of(PrepareModel)) == 2


def test_the_history_tells_that_replicas_in_service_fail_one_after_another() -> None:
    world = World(fleet())
    world.settle()
    world.broken["A"] = "swept"
    world.end(world.ready()[0], exit_code=1)
    for _ in range(30):
        world.turn()
        world.now += 1
    told = [c.note for c in world.of(WriteHistory) if c.note.what == "replicas fail"]
    assert [note.why for note in told] == [f"A: {life.MODEL_GONE}"]
    assert world.record.status == "OutOfService"
    assert "folder of the unpacked model was not there" in world.plant.failure


def away(world: World) -> float:
    """Seconds until as many replicas are ready as are wanted."""
    began = world.now
    while len(world.ready()) < 2:
        world.turn()
        world.now += 0.1
        assert world.record.status == "InService"
    return world.now - began


def test_a_replica_that_served_for_a_while_comes_back_at_once_however_often_it_is_killed(world: World) -> None:
    for number in range(12):
        world.now += 5.0
        world.turn()
        world.end(world.ready()[number % 2], exit_code=137)
        world.turn()
        assert away(world) < 0.5, number


def test_service_forgives_even_when_both_are_killed_together(world: World) -> None:
    for _ in range(12):
        world.now += 5.0
        world.turn()
        for id_ in world.ready():
            world.end(id_, exit_code=137)
        assert away(world) < 0.5
        assert world.route is not None
        assert world.route.variants[0].replicas, "the front knows none, and refuses requests"


def test_the_last_replica_is_started_again_at_once_even_when_it_served_nobody() -> None:
    world = World(fleet(count=1))
    world.settle()
    for _ in range(4):
        world.end(world.ready()[0], exit_code=137)
        world.turn()
        world.turn()
        assert len(world.ready()) == 1


def test_one_that_dies_beside_a_ready_one_waits_ever_longer_and_takes_nothing_from_it(world: World) -> None:
    healthy = world.ready()[0]
    world.broken["A"] = "exit"
    world.end(world.ready()[1], exit_code=1)
    for _ in range(600):
        world.turn()
        world.now += 0.1
    assert len(world.of(StartReplica)) < 15
    assert world.ready() == [healthy]
    assert world.record.status == "InService"
    world.broken.clear()
    world.end(healthy, exit_code=137)  # after a minute of service: now none is left, and the wait of the other is over
    world.turn()
    assert away(world) < 0.5


def test_an_endpoint_is_in_service_again_with_its_first_replica(world: World) -> None:
    world.broken["A"] = "exit"
    for id_ in world.ready():
        world.end(id_, exit_code=1)
    for _ in range(100):
        world.turn()
        world.now += 0.1
    assert world.record.status == "OutOfService"
    world.broken["A"] = "silent"
    for _ in range(100):
        world.turn()
        world.now += 1.0
    first = world.plant.replicas[0].id
    world.views[first] = ReplicaView(first, "ready", workers=2)
    world.turn()
    assert world.ready() == [first]
    assert world.record.status == "InService"


def test_a_fleet_that_comes_in_is_not_forgiven_so_soon(world: World) -> None:
    """It is being judged: its model dies again and again while the other variant's still loads."""
    world.broken["B"] = "silent"
    world.record = asked_update(world.record, fleet("f2", 1, variants=(("A", 1.0), ("B", 1.0))), {}, world.now)
    for _ in range(300):
        world.turn()
        incoming = world.plant.incoming
        for replica in incoming.replicas if incoming is not None else ():
            if replica.phase == "ready" and world.now - replica.since > 5.0:
                world.end(replica.id, exit_code=139)
        world.now += 0.1
    assert world.record.status == "InService"
    assert world.plant.serving is not None
    assert world.plant.serving.id == "f1"
    assert "signal 11" in world.plant.failure
