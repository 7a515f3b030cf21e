from __future__ import annotations

from typing import Any

import pytest
from tests.domain.endpoints.test_life import SCOPE, World

from clary.domain.endpoints import components
from clary.domain.endpoints.commands import DropRoute, ResizeReplica, StartReplica
from clary.domain.endpoints.components import Need
from clary.domain.endpoints.fleets import LIVE, Fleet, Variant, new_fleet
from clary.domain.endpoints.life import asked_capacity, asked_delete, asked_update
from clary.domain.errors import IllegalTransition, Invalid, LimitExceeded
from clary.domain.lifecycle import EndpointStatus
from clary.domain.machine import instances
from clary.domain.machine.capacity import Machine, fit
from clary.domain.machine.instances import GIB
from clary.domain.models.containers import Container
from clary.domain.names import COMPONENT, log_group, resource_of, route_name
from clary.domain.resources import Record

LARGE = "ml.m5.large"  # 2 vCPU, 8 GiB
SPECIFICATION: dict[str, Any] = {
    "Container": {"Image": "xgboost:1", "ArtifactUrl": "s3://b/m.tar.gz"},
    "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 0.5, "MinMemoryRequiredInMb": 1024},
    "StartupParameters": {"ContainerStartupHealthCheckTimeoutInSeconds": 60},
}


def host(count: int = 1, **scaling: Any) -> Variant:
    row = {"VariantName": "A", "InstanceType": LARGE, "InitialInstanceCount": count}
    if scaling:
        row["ManagedInstanceScaling"] = {"Status": "ENABLED", **scaling}
    base = Container("", "", role="arn:r", isolated=True)
    return new_fleet("f", "c", [row], {"": (base,)}, 1000.0).variants[0]


def copies(count: int = 1, id_: str = "f1", specification: dict[str, Any] = SPECIFICATION) -> Fleet:
    where = host()
    container = components.container_of(where, "comp", specification["Container"])
    return components.fleet_of(id_, where, container, specification, count, 1000.0)


class Placed(World):
    """A component on endpoint `e`."""

    def __init__(self, first: Fleet) -> None:
        super().__init__(first)
        document = {**self.record.document, "endpoint": "e", "variant": "A"}
        self.record = Record(COMPONENT, SCOPE, "comp", "arn:comp", "Creating", 1000.0, 1000.0, document)


# -- names ------------------------------------------------------------------------------------------------------------------------


def test_a_component_has_a_name_of_two_parts() -> None:
    world = Placed(copies())
    assert route_name(world.record) == "e/comp"
    assert resource_of("e/comp") == (COMPONENT, "comp")
    assert resource_of("e") == ("endpoint", "e")
    assert log_group("e/comp") == "/aws/sagemaker/InferenceComponents/comp"
    assert log_group("e") == "/aws/sagemaker/Endpoints/e"


def test_a_copys_size_is_what_it_requires() -> None:
    [variant] = copies().variants
    size = instances.find(variant.instance_type)
    assert size is not None
    assert (size.cores, size.vcpu, size.memory) == (0.5, 1, 8 * GIB), (
        "memory up to the instance's, when no most is given"
    )
    assert fit(size, Machine(2, 16 * GIB, 8 * GIB), "fit").cpu == 0.5
    most = {**SPECIFICATION["ComputeResourceRequirements"], "MaxMemoryRequiredInMb": 2048}
    [variant] = copies(specification={**SPECIFICATION, "ComputeResourceRequirements": most}).variants
    size = instances.find(variant.instance_type)
    assert size is not None
    assert size.memory == 2 * GIB


# -- placement --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needs", "wanted"),
    [
        ([], 0),
        ([Need(1, 1024, 0, 2)], 1),
        ([Need(1, 1024, 0, 3)], 2),
        ([Need(0.25, 5000, 0, 2)], 2),  # by memory
        ([Need(1.5, 100, 0, 1), Need(0.5, 100, 0, 1), Need(1, 100, 0, 2)], 2),
        ([Need(0.5, 100, 0, 1), Need(1.5, 100, 0, 1), Need(0.5, 100, 0, 1), Need(1.5, 100, 0, 1)], 2),
        ([Need(3, 100, 0, 1)], None),
        ([Need(1, 100, 1, 1)], None),
    ],
)
def test_copies_are_packed(needs: list[Need], wanted: int | None) -> None:
    size = instances.find(LARGE)
    assert size is not None
    assert components.bins(needs, size) == wanted


def test_what_no_instance_holds_is_invalid_and_what_these_do_not_is_a_limit() -> None:
    with pytest.raises(Invalid, match=r"A copy requires 4 CPU cores.*an instance of ml.m5.large has 2"):
        components.check_room(host(), Need(4, 1024, 0, 1), [])
    components.check_room(host(2), Need(2, 1024, 0, 1), [Need(1, 1024, 0, 2)])
    with pytest.raises(
        LimitExceeded, match=r"Insufficient capacity: variant 'A' has 1 instance\(s\) of ml.m5.large, and 1 copies"
    ):
        components.check_room(host(), Need(2, 1024, 0, 1), [Need(1, 1024, 0, 1)])
    components.check_room(host(MinInstanceCount=1, MaxInstanceCount=2), Need(2, 1024, 0, 1), [Need(1, 1024, 0, 1)])
    with pytest.raises(LimitExceeded, match="1000000000 are asked for"):
        components.check_room(host(MaxInstanceCount=10**9), Need(0.25, 128, 0, 10**9), [])


def test_managed_instances_follow_what_is_placed() -> None:
    assert components.instances_of(host(3), []) == 3
    managed = host(1, MinInstanceCount=0, MaxInstanceCount=4)
    assert components.instances_of(managed, []) == 0
    assert components.instances_of(managed, [Need(2, 100, 0, 3)]) == 3
    assert components.instances_of(host(1, MaxInstanceCount=4), []) == 1
    assert components.instances_of(components.sized(host(1), 5), []) == 5


# -- a variant without a model ----------------------------------------------------------------------------------------------------


def hosting() -> Fleet:
    row = {"VariantName": "A", "InstanceType": LARGE, "InitialInstanceCount": 2}
    return new_fleet("f", "c", [row], {"": (Container("", "", role="arn:r"),)}, 1000.0)


def test_an_endpoint_for_components_is_in_service_at_once_and_its_front_knows() -> None:
    world = World(hosting())
    world.settle()
    assert world.record.status == "InService"
    assert world.of(StartReplica) == []
    assert world.route is not None
    assert world.route.hosting


def test_its_instances_change_without_replicas() -> None:
    world = World(hosting())
    world.settle()
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredInstanceCount": 5}], world.now)
    world.settle()
    assert world.record.status == "InService"
    assert world.plant.serving is not None
    assert components.instances_of(world.plant.serving.variants[0], []) == 5
    world.record = asked_update(world.record, hosting(), {}, world.now)
    world.settle()
    assert (world.record.status, world.of(StartReplica)) == ("InService", [])


def test_which_variant_hosts() -> None:
    assert components.host_of(hosting(), "e", "").name == "A"
    assert components.host_of(hosting(), "e", "A").name == "A"
    with pytest.raises(Invalid, match=r"Variant B of endpoint e hosts no inference components\. Variants that do: A"):
        components.host_of(hosting(), "e", "B")
    with pytest.raises(Invalid, match="Endpoint e cannot host inference components"):
        components.host_of(copies(), "e", "")


# -- a component's life -----------------------------------------------------------------------------------------------------------


def test_a_component_comes_up_and_its_route_is_its_endpoints() -> None:
    world = Placed(copies(2))
    world.settle()
    assert world.record.status == "InService"
    starts = world.of(StartReplica)
    assert {(c.endpoint, c.variant, c.container.role, c.container.isolated) for c in starts} == {
        ("e/comp", "A", "arn:r", True)
    }
    assert len(starts) == 2
    assert world.route is not None
    assert (world.route.name, world.route.hosting) == ("e/comp", False)
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredInstanceCount": 0}], world.now)
    world.settle()
    assert (world.record.status, world.ready()) == ("InService", [])
    assert world.route.variants[0].replicas == ()


def test_a_component_may_begin_without_a_copy() -> None:
    world = Placed(copies(0))
    world.settle()
    assert world.record.status == "InService"
    assert world.route is not None, "its front says that it has no capacity"


def test_a_component_that_does_not_load_says_why_and_where() -> None:
    world = Placed(copies())
    world.broken["A"] = "traceback"
    world.settle()
    assert (world.record.status, components.status_of(world.record)) == ("Failed", "Failed")
    assert "in /aws/sagemaker/InferenceComponents/comp" in world.plant.failure


def test_other_compute_resizes_in_place_and_another_image_brings_new_copies() -> None:
    world = Placed(copies(2))
    world.settle()
    before = set(world.ready())
    more = {
        **SPECIFICATION,
        "ComputeResourceRequirements": {"NumberOfCpuCoresRequired": 1, "MinMemoryRequiredInMb": 2048},
    }
    world.record = asked_update(world.record, copies(2, "f2", more), {}, world.now)
    world.settle()
    assert set(world.ready()) == before
    assert [c.instance_type for c in world.of(ResizeReplica)][-1] == instances.component(1, 8192, 0)
    other = {**more, "Container": {"Image": "sagemaker-scikit-learn:1"}}
    world.record = asked_update(world.record, copies(2, "f3", other), {}, world.now)
    world.settle()
    assert world.record.status == "InService"
    assert not set(world.ready()) & before


def test_a_rolling_update_takes_copies() -> None:
    given = {
        "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 0}
    }
    assert components.deployment_of(given)["RollingUpdatePolicy"]["MaximumBatchSize"]["Type"] == "INSTANCE_COUNT"
    assert given["RollingUpdatePolicy"]["MaximumBatchSize"]["Type"] == "COPY_COUNT"
    world = Placed(copies(4))
    world.settle()
    other = {**SPECIFICATION, "Container": {"Image": "sagemaker-scikit-learn:1"}}
    world.record = asked_update(world.record, copies(4, "f2", other), components.deployment_of(given), world.now)
    most = 0
    for _ in range(200):
        world.turn()
        world.now += 1
        most = max(most, sum(r.phase in LIVE for r in world.plant.replicas))
        if world.record.status == "InService":
            break
    assert world.record.status == "InService"
    assert most <= 5, "one at a time"


def required(cores: float) -> dict[str, Any]:
    compute = {"NumberOfCpuCoresRequired": cores, "MinMemoryRequiredInMb": 1024}
    return {**SPECIFICATION, "ComputeResourceRequirements": compute}


def test_the_record_tells_what_serves_while_a_change_comes_in_and_after_it_failed() -> None:
    world = Placed(copies(2, specification=required(1)))
    world.settle()
    serving = {"Specification": required(1), "RuntimeConfig": {"CopyCount": 2}}
    other = {**required(2), "Container": {"Image": "sagemaker-scikit-learn:1"}}
    world.record = asked_update(world.record, copies(3, "f2", other), {}, world.now)
    world.broken["A"] = "traceback"
    assert components.request_of(world.record) == serving
    needs = components.needs_of(world.record)
    assert needs == [Need(2, 1024, 0, 2), Need(2, 1024, 0, 1)], "room for what serves, and for what comes"
    world.settle()
    assert (world.record.status, bool(world.plant.failure)) == ("InService", True)
    assert components.request_of(world.record) == serving
    assert components.needs_of(world.record) == [Need(1, 1024, 0, 2)]
    world.broken.clear()
    world.record = asked_update(world.record, copies(3, "f3", other), {}, world.now)
    world.settle()
    assert components.request_of(world.record) == {"Specification": other, "RuntimeConfig": {"CopyCount": 3}}


def test_a_size_that_is_not_given_is_not_told() -> None:
    world = Placed(copies(1, specification=required(1)))
    world.settle()
    world.no_resize = "the machine is full"
    world.record = asked_update(world.record, copies(1, "f2", required(2)), {}, world.now)
    world.settle()
    assert "the machine is full" in world.plant.failure
    serving = {"Specification": required(1), "RuntimeConfig": {"CopyCount": 1}}
    assert components.request_of(world.record) == serving
    world.broken["A"] = "traceback"
    world.record = asked_capacity(world.record, [{"VariantName": "A", "DesiredInstanceCount": 4}], world.now)
    assert components.needs_of(world.record) == [Need(1, 1024, 0, 1), Need(1, 1024, 0, 3)]
    world.settle()
    assert components.request_of(world.record) == serving
    assert components.needs_of(world.record) == [Need(1, 1024, 0, 1)]


def test_a_failed_creation_tells_what_was_asked() -> None:
    world = Placed(copies(2))
    world.broken["A"] = "traceback"
    world.settle()
    assert world.record.status == "Failed"
    assert components.request_of(world.record) == {"Specification": SPECIFICATION, "RuntimeConfig": {"CopyCount": 2}}


def test_a_change_needs_room_for_either_outcome_copy_by_copy() -> None:
    world = Placed(copies(4, specification=required(1)))
    world.settle()
    world.record = asked_update(world.record, copies(1, "f2", required(4)), {}, world.now)
    assert components.needs_of(world.record) == [Need(4, 1024, 0, 1), Need(1, 1024, 0, 3)]


def test_records_from_before_fleets_had_a_specification() -> None:
    old = copies(2)
    plant = {**Placed(old).record.document["plant"], "incoming": None}
    fleet = dict(Placed(old).record.document["plant"]["incoming"])
    del fleet["specification"]
    request = {"Specification": SPECIFICATION, "RuntimeConfig": {"CopyCount": 2}}
    document = {"request": request, "endpoint": "e", "variant": "A", "plant": {**plant, "serving": fleet}}
    record = Record(COMPONENT, SCOPE, "comp", "arn:comp", "InService", 1000.0, 1000.0, document)
    assert components.request_of(record) == request
    assert components.needs_of(record) == [Need(0.5, 1024, 0, 2)]


def test_deletion_leaves_nothing_and_waits_for_changes() -> None:
    world = Placed(copies())
    with pytest.raises(IllegalTransition, match='Cannot update in-progress inference component "arn:comp"'):
        asked_delete(world.record, world.now)
    world.settle()
    world.record = asked_delete(world.record, world.now)
    world.settle()
    assert world.removed
    assert world.of(DropRoute)[-1].name == "e/comp"


def test_statuses_are_aws_five() -> None:
    shown = {
        status: components.status_of(Record(COMPONENT, SCOPE, "c", "a", status, 0, 0, {})) for status in EndpointStatus
    }
    assert set(shown.values()) == {"InService", "Creating", "Updating", "Failed", "Deleting"}
    for status, said in shown.items():
        assert status in components.statuses_of(said)


def test_an_update_keeps_what_it_does_not_name() -> None:
    request = {"Specification": SPECIFICATION, "RuntimeConfig": {"CopyCount": 2}}
    more = components.updated(request, {"Specification": {"Container": {"Environment": {"A": "1"}}}})
    assert more["Specification"]["Container"] == {**SPECIFICATION["Container"], "Environment": {"A": "1"}}
    assert more["RuntimeConfig"] == {"CopyCount": 2}
    model = components.updated(request, {"Specification": {"ModelName": "m"}, "RuntimeConfig": {"CopyCount": 1}})
    assert "Container" not in model["Specification"]
    assert model["RuntimeConfig"] == {"CopyCount": 1}
