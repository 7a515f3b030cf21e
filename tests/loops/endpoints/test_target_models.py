"""Archives for fronts that ask: the right object of the right account, among the right replica's archives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from clary.domain.endpoints.fleets import Plant, Replica, new_fleet
from clary.domain.endpoints.life import plant_of, with_plant
from clary.domain.endpoints.target_models import TargetQuestion
from clary.domain.errors import Unavailable
from clary.domain.machine.workload import Files, Objects, Workload
from clary.domain.models.containers import Container
from clary.domain.resources import Record, Scope
from clary.loops.endpoints.target_models import TargetModels
from clary.testing.backends import MemoryBackend
from clary.testing.clock import FakeClock
from clary.testing.memory_artifacts import MemoryArtifacts
from clary.testing.store import MemoryStore

ACCOUNT, REGION = "000000000000", "us-east-1"


class Shop:
    """A store with one multi-model endpoint `e` of one replica `i-1`, whose models lie below `s3://b/m/`."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock()
        self.artifacts = MemoryArtifacts({"b": {"m/a": b"archive", "m/a.more": b"x", "other": b"secret"}, "theirs": {}})
        self.artifacts.owners = {"b": ACCOUNT, "theirs": "111111111111"}
        self.backend = MemoryBackend()
        self.models = TargetModels(self.store, self.artifacts, self.backend, self.clock)

    async def create(self, prefix: str = "s3://b/m/", multi: bool = True) -> None:
        await self.backend.start(Workload("replica-i-1", ("x",), {}, files=(Files("archives", "/opt/clary/archives"),)))
        container = Container("m", "xgboost:1", prefix, multi_model=multi)
        row = {"VariantName": "A", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        now = self.clock.now()
        plant = Plant(seed="s", incoming=new_fleet("f", "c", [row], {"m": container}, now), changed=now)
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/e"
        record = Record(
            "endpoint", Scope(ACCOUNT, REGION), "e", arn, "Creating", now, now, {"plant": plant.to_json(), "tags": []}
        )
        fleet = plant_of(record).incoming
        assert fleet is not None
        [variant] = fleet.variants
        fleet = fleet.with_variant(replace(variant, replicas=(Replica("i-1"),)))
        await self.store.add(with_plant(record, replace(plant, incoming=fleet)))

    def question(self, model: str = "a", **changed: str) -> TargetQuestion:
        return TargetQuestion(
            **{"account": ACCOUNT, "region": REGION, "endpoint": "e", "replica": "i-1", "model": model, **changed}
        )


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def test_the_archive_is_put_where_the_replica_finds_it(shop: Shop) -> None:
    await shop.create()
    placed = await shop.models.place(shop.question())
    assert (placed.refused, placed.size) == ("", 7)
    archive = Objects(ACCOUNT, "b", {"m/a": "model.tar.gz"})
    assert shop.backend.placed == [("replica-i-1", "archives", placed.digest, archive)]
    assert (await shop.models.place(shop.question())).digest == placed.digest


async def test_a_changed_object_is_another_version(shop: Shop) -> None:
    await shop.create()
    before = await shop.models.place(shop.question())
    shop.artifacts.buckets["b"]["m/a"] = b"newer"
    after = await shop.models.place(shop.question())
    assert before.digest != after.digest


@pytest.mark.parametrize("model", ["b", "a.", "../other", "..", "."])
async def test_what_is_not_there_is_missing_in_awss_words(shop: Shop, model: str) -> None:
    await shop.create()
    placed = await shop.models.place(shop.question(model))
    assert placed.refused.startswith(f"Failed to download model data(bucket: b, key: m/{model}).")
    assert not placed.again
    assert shop.backend.placed == []


async def test_another_accounts_bucket_is_as_good_as_not_there(shop: Shop) -> None:
    shop.artifacts.buckets["theirs"]["m/a"] = b"secret"
    await shop.create("s3://theirs/m/")
    placed = await shop.models.place(shop.question())
    assert placed.refused.startswith("Failed to download model data(bucket: theirs, key: m/a).")


@pytest.mark.parametrize(
    "changed",
    [
        {"account": "111111111111"},
        {"region": "eu-west-1"},
        {"endpoint": "x"},
        {"replica": "i-2"},
        {"replica": "../i-1"},
    ],
)
async def test_a_replica_that_the_record_does_not_know_gets_nothing(shop: Shop, changed: Mapping[str, str]) -> None:
    await shop.create()
    placed = await shop.models.place(shop.question(**changed))
    assert placed.again
    assert "Try again" in placed.refused


async def test_a_single_model_endpoint_has_no_target_models(shop: Shop) -> None:
    await shop.create(multi=False)
    assert (await shop.models.place(shop.question())).refused


async def test_a_store_that_is_away_is_worth_another_try() -> None:
    class Away(MemoryArtifacts):
        def of(self, account: str) -> Away:
            return self

        async def find(self, bucket: str, prefix: str) -> list[object]:  # type: ignore[override]
            raise Unavailable("The object store does not answer.")

    shop = Shop()
    shop.models = TargetModels(shop.store, Away(), shop.backend, shop.clock)
    await shop.create()
    placed = await shop.models.place(shop.question())
    assert (placed.refused, placed.again) == ("The object store does not answer.", True)


async def test_a_replica_that_has_ended_is_worth_another_try(shop: Shop) -> None:
    await shop.create()
    shop.backend.finish("replica-i-1", 1)
    placed = await shop.models.place(shop.question())
    assert placed.again
    assert "Try again" in placed.refused
