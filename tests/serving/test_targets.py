"""A multi-model variant at its front: models are loaded when they are asked for, apart from each other, and go when others need room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from tests.serving.fakes import Answer, echo, replica, route, until, variant
from tests.serving.many import ManyBench, ManyReplica

from clary.domain.endpoints.routes import EndpointRoute
from clary.domain.endpoints.target_models import Placement
from clary.serving.targets import MultiVariant, TargetQueue
from clary.toolkit import frames


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ManyBench]:
    async with ManyBench(tmp_path) as made:
        yield made


def many(*names: str, revision: int = 1, allowance: int = 1, **more: Any) -> EndpointRoute:
    replicas = [replica(name, allowance) for name in names]
    return route(variant("AllTraffic", 1.0, *replicas, multi_model=True, **more), revision=revision)


def parent(bench: ManyBench) -> MultiVariant:
    [endpoint] = bench.front.endpoints.values()
    [found] = endpoint.variants.values()
    assert isinstance(found, MultiVariant)
    return found


def error(answer: Answer) -> tuple[int, str, str]:
    return answer.status, answer.headers["x-amzn-errortype"], json.loads(answer.body)["Message"]


class Gate:
    """A model that answers when the test says so; each body that came is noted."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[bytes] = []

    async def predict(self, batch: list[frames.Request]) -> list[tuple[int, int, bytes, bytes]]:
        self.begun += [request.body for request in batch]
        await self.open.wait()
        return await echo(batch)


class TestRequests:
    async def test_a_model_is_loaded_by_its_first_request_and_found_by_the_next(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        for body in (b"1", b"2"):
            answer = await bench.ask("a.tar.gz", body)
            assert (answer.status, answer.body) == (200, body)
        assert fake.loads == ["a.tar.gz"]
        assert len(bench.asked) == 1
        assert fake.seen[0][0].headers["x-amzn-sagemaker-target-model"] == "a.tar.gz"
        seen = parent(bench).view()
        assert (seen.completed, seen.arrivals) == (2, 2)
        models = seen.models
        assert (models["hits"], models["misses"], models["loads"], models["loaded"]) == (1, 1, 1, 1)
        assert (models["downloading"], models["loading"]) == (0.5, 0.25)
        assert models["waiting"] > 0
        [counts] = bench.front.counts()
        assert dict(counts.models)["waits"] == 1
        assert (counts.loaded, counts.concurrent) == ((1.0,), (0.0,))

    async def test_a_request_must_name_a_model(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        await bench.many("r1")
        status, code, text = error(await bench.invoke())
        assert (status, code) == (400, "ValidationError")
        assert text.endswith("is missing a target model header.")

    async def test_where_there_is_one_model_none_may_be_named(self, bench: ManyBench) -> None:
        await bench.put(route(variant("AllTraffic", 1.0, replica("r1"))))
        await bench.replica("r1")
        assert error(await bench.ask("a")) == (
            400,
            "ValidationError",
            "Endpoint iris is not a multi-model endpoint and does not support target model header.",
        )

    @pytest.mark.parametrize("name", ["", "/", "x" * 1025])
    async def test_names_that_the_service_model_refuses(self, bench: ManyBench, name: str) -> None:
        await bench.put(many("r1"))
        status, code, text = error(await bench.ask(name))
        assert (status, code) == (400, "ValidationError")
        assert "'targetModel' failed to satisfy constraint" in text

    async def test_a_missing_model_is_told_in_awss_words_and_asked_for_anew(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        await bench.many("r1")
        for _ in range(2):
            status, code, text = error(await bench.ask("missing"))
            assert (status, code) == (400, "ValidationError")
            assert text.startswith("Failed to download model data(")
        assert len(bench.asked) == 2
        assert not parent(bench).targets

    async def test_who_waits_for_the_same_model_waits_for_one_load(self, bench: ManyBench) -> None:
        bench.away = True
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        asks = [asyncio.create_task(bench.ask("a", b"%d" % i)) for i in range(5)]
        await until(lambda: parent(bench).waiting() == 5)
        bench.front.questions.answer(bench.asked[0], bench.placement(bench.asked[0]))
        answers = await asyncio.gather(*asks)
        assert sorted(answer.body for answer in answers) == [b"%d" % i for i in range(5)]
        assert fake.loads == ["a"]
        assert len(fake.seen) == 1  # they came together, they went together

    async def test_a_batch_holds_requests_of_one_model(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        names = [f"m{i % 3}" for i in range(60)]
        answers = await asyncio.gather(*(bench.ask(name, name.encode()) for name in names))
        assert [answer.body.decode() for answer in answers] == names
        assert all(len({request.body for request in batch}) == 1 for batch in fake.seen)

    async def test_a_retry_joins_the_load(self, bench: ManyBench) -> None:
        bench.away = True
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        more = {"amz_sdk_invocation_id": "i-1", "amz_sdk_request": "attempt=1; max=3"}
        asks = [asyncio.create_task(bench.ask("a", **more)) for _ in range(2)]
        await until(lambda: bool(bench.asked))
        bench.front.questions.answer(bench.asked[0], bench.placement(bench.asked[0]))
        assert [answer.status for answer in await asyncio.gather(*asks)] == [200, 200]
        assert sum(len(batch) for batch in fake.seen) == 1


class TestBroken:
    async def test_a_broken_model_hurts_only_itself(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        await bench.ask("a")
        status, code, text = error(await bench.ask("broken"))
        assert (status, code) == (424, "ModelError")
        assert "Received server error (500) from primary" in text
        assert "Failed to load model broken: ValueError: no weights" in text
        assert (await bench.ask("a")).status == 200
        assert (await bench.ask("broken")).status == 424
        assert fake.loads == ["a", "broken"]  # not tried again at once

    async def test_it_is_tried_again_after_a_moment(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        await bench.ask("broken")
        target = parent(bench).targets["broken"]
        target.broken = (perf_counter() - 0.001, *target.broken[1:])
        await bench.ask("broken")
        assert fake.loads == ["broken", "broken"]

    async def test_a_process_that_dies_takes_its_own_requests_only(self, bench: ManyBench) -> None:
        gate = Gate()
        await bench.put(many("r1", batch=1))
        fake = await bench.many("r1", predict=gate.predict, batch=1)
        asks = [asyncio.create_task(bench.ask(name)) for name in ("a", "a", "b")]
        await until(lambda: len(gate.begun) == 2 and len(parent(bench).targets["a"].queue) == 1)
        fake.gone(next(pid for pid, model in fake.models.items() if model == "a"), -11)
        await until(lambda: fake.loads.count("a") == 2)
        gate.open.set()
        assert sorted(answer.status for answer in await asyncio.gather(*asks)) == [200, 200, 424]

    async def test_a_hanging_model_is_killed_at_its_deadline_alone(self, bench: ManyBench) -> None:
        async def predict(batch: list[frames.Request]) -> Any:
            return None if batch[0].body == b"hang" else await echo(batch)

        await bench.put(many("r1", timeout=0.2))
        fake = await bench.many("r1", predict=predict)
        await bench.ask("b")
        status, _, text = error(await bench.ask("a", b"hang"))
        assert status == 424
        assert "timed out" in text
        await until(lambda: len(fake.killed) == 1)
        assert (await bench.ask("b")).status == 200
        assert (await bench.ask("a")).status == 200
        assert fake.loads == ["b", "a", "a"]

    async def test_a_load_that_takes_long_is_not_ready_yet_and_goes_on(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        asked = asyncio.create_task(bench.ask("slow"))
        await until(lambda: fake.loads == ["slow"])
        parent(bench).targets["slow"].expire(perf_counter() + 60)
        status, code, text = error(await asked)
        assert (status, code) == (429, "ModelNotReadyException")
        assert text == "Model slow is still being loaded. Try again."
        again = asyncio.create_task(bench.ask("slow"))
        await until(lambda: parent(bench).waiting() == 1)
        assert fake.loads == ["slow"]
        fake.serve("slow")
        assert (await again).status == 200

    async def test_its_patience_ends_before_a_longer_deadline(self, bench: ManyBench) -> None:
        await bench.put(many("r1", timeout=600.0))
        fake = await bench.many("r1")
        asked = asyncio.create_task(bench.ask("slow"))
        await until(lambda: fake.loads == ["slow"])
        parent(bench).targets["slow"].expire(perf_counter() + 61)
        assert (await asked).status == 429

    async def test_while_the_control_plane_is_away_requests_are_held(self, bench: ManyBench) -> None:
        bench.away = True
        await bench.put(many("r1"))
        await bench.many("r1")
        held = asyncio.create_task(bench.ask("a"))
        lost = asyncio.create_task(bench.ask("b"))
        await until(lambda: len(bench.asked) == 2)
        parent(bench).targets["b"].expire(perf_counter() + 60)
        assert error(await lost)[:2] == (503, "ServiceUnavailable")
        bench.away = False
        bench.front.questions.ask_again()
        assert (await held).status == 200

    async def test_what_may_succeed_in_a_moment_is_a_503(self, bench: ManyBench) -> None:
        bench.away = True
        await bench.put(many("r1"))
        await bench.many("r1")
        asked = asyncio.create_task(bench.ask("a"))
        await until(lambda: bool(bench.asked))
        bench.front.questions.answer(bench.asked[0], Placement(refused="The object store does not answer.", again=True))
        assert error(await asked) == (503, "ServiceUnavailable", "The object store does not answer.")


class TestMemory:
    async def test_the_model_used_least_recently_makes_room(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1", room=2)
        for name in ("a", "b", "a", "c"):
            assert (await bench.ask(name)).status == 200
        assert sorted(fake.models.values()) == ["a", "c"]
        await until(lambda: parent(bench).loads.unloads == 1)
        assert parent(bench).loads.unloading > 0
        assert set(parent(bench).targets) == {"a", "c"}

    async def test_what_is_busy_stays_until_it_is_idle(self, bench: ManyBench) -> None:
        gate = Gate()
        await bench.put(many("r1"))
        fake = await bench.many("r1", predict=gate.predict, room=1)
        first = asyncio.create_task(bench.ask("a", b"a"))
        await until(lambda: gate.begun == [b"a"])
        second = asyncio.create_task(bench.ask("b", b"b"))
        await until(lambda: fake.loads == ["a", "b"])
        gate.open.set()
        assert (await first).status == (await second).status == 200
        assert list(fake.models.values()) == ["b"]

    async def test_room_that_others_take_is_waited_for(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        await bench.many("r1", room=1)
        answers = await asyncio.gather(*(bench.ask(f"m{i % 4}") for i in range(40)))
        assert {answer.status for answer in answers} == {200}

    async def test_a_replica_that_is_full_lets_something_go(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        for name in ("a", "b", "c"):
            await bench.ask(name)
        fake.say(frames.FULL, over=1500)
        await until(lambda: list(fake.models.values()) == ["c"])

    async def test_a_model_that_is_too_large_by_itself_is_an_error(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        asked = asyncio.create_task(bench.ask("slow"))
        await until(lambda: fake.loads == ["slow"])
        fake.say(frames.NOT_LOADED, model="slow", status=507, message="It needs more memory.", over=0)
        status, code, text = error(await asked)
        assert (status, code) == (424, "ModelError")
        assert "(507)" in text

    async def test_without_a_cache_a_model_goes_after_each_call(self, bench: ManyBench) -> None:
        await bench.put(many("r1", cached=False))
        fake = await bench.many("r1")
        for _ in range(2):
            assert (await bench.ask("a")).status == 200
            await until(lambda: not fake.models)
        assert fake.loads == ["a", "a"]
        await until(lambda: not parent(bench).targets)


class TestPlaces:
    async def test_a_model_lives_in_one_replica_and_models_are_spread(self, bench: ManyBench) -> None:
        await bench.put(many("r1", "r2"))
        fakes = [await bench.many("r1"), await bench.many("r2")]
        for _ in range(2):
            for i in range(40):
                assert (await bench.ask(f"m{i}")).status == 200
        assert sum(len(fake.models) for fake in fakes) == 40
        assert all(len(fake.models) > 8 for fake in fakes)

    async def test_a_hot_model_gets_a_further_replica_then_further_processes(self, bench: ManyBench) -> None:
        gate = Gate()
        await bench.put(many("r1", "r2", allowance=2, batch=1))
        fakes = [await bench.many(name, predict=gate.predict, batch=1) for name in ("r1", "r2")]
        asks = [asyncio.create_task(bench.ask("hot", b"%d" % i)) for i in range(8)]
        await until(lambda: all("hot" in fake.models.values() for fake in fakes), 30)
        await until(lambda: sum(list(fake.models.values()).count("hot") for fake in fakes) == 4, 30)
        gate.open.set()
        assert {answer.status for answer in await asyncio.gather(*asks)} == {200}

    async def test_a_hot_model_takes_no_memory_from_others(self, bench: ManyBench) -> None:
        gate = Gate()

        async def predict(batch: list[frames.Request]) -> Any:
            return await (gate.predict(batch) if batch[0].body == b"hot" else echo(batch))

        await bench.put(many("r1", allowance=4, batch=1))
        fake = await bench.many("r1", predict=predict, batch=1, room=2)
        await bench.ask("cold")
        asks = [asyncio.create_task(bench.ask("hot", b"hot")) for _ in range(3)]
        await until(lambda: fake.loads.count("hot") == 2, 30)
        gate.open.set()
        assert {answer.status for answer in await asyncio.gather(*asks)} == {200}
        assert sorted(fake.models.values()) == ["cold", "hot"]

    async def test_a_replica_that_leaves_gives_its_models_to_the_others(self, bench: ManyBench) -> None:
        gate = Gate()
        await bench.put(many("r1"))
        old = await bench.many("r1", predict=gate.predict)
        running = asyncio.create_task(bench.ask("a", b"running"))
        await until(lambda: gate.begun == [b"running"])
        waiting = asyncio.create_task(bench.ask("slow"))
        await until(lambda: "slow" in old.loads)
        await bench.put(many("r2", revision=2))
        new = await bench.many("r2")
        assert old.drained.is_set()
        assert (await bench.ask("a")).status == 200
        new.serve("slow")
        assert (await waiting).status == 200
        gate.open.set()
        assert (await running).body == b"running"

    async def test_a_draining_replica_gets_nothing_new(self, bench: ManyBench) -> None:
        await bench.put(many("r1", "r2"))
        fakes = {name: await bench.many(name) for name in ("r1", "r2")}
        await bench.ask("a")
        [home] = [name for name, fake in fakes.items() if fake.models]
        replicas = [replica(name, 1, name == home) for name in fakes]
        await bench.put(route(variant("AllTraffic", 1.0, *replicas, multi_model=True), revision=2))
        other = next(fake for name, fake in fakes.items() if name != home)
        assert (await bench.ask("a")).status == 200
        assert list(other.models.values()) == ["a"]

    async def test_an_update_moves_who_waits_to_the_fleet_that_took_over(self, bench: ManyBench) -> None:
        await bench.put(many("r1", key="AllTraffic@1"))
        old = await bench.many("r1")
        waiting = asyncio.create_task(bench.ask("slow"))
        await until(lambda: old.loads == ["slow"])
        await bench.put(many("r2", key="AllTraffic@2", revision=2))
        new = await bench.many("r2")
        await until(lambda: new.loads == ["slow"])
        new.serve("slow")
        assert (await waiting).status == 200

    async def test_an_update_to_a_single_model_refuses_who_named_one(self, bench: ManyBench) -> None:
        await bench.put(many("r1", key="AllTraffic@1"))
        old = await bench.many("r1")
        waiting = asyncio.create_task(bench.ask("slow"))
        await until(lambda: old.loads == ["slow"])
        await bench.put(route(variant("AllTraffic", 1.0, replica("r2"), key="AllTraffic@2"), revision=2))
        assert "is not a multi-model endpoint" in error(await waiting)[2]

    async def test_a_zygote_that_comes_back_is_asked_again(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        waiting = asyncio.create_task(bench.ask("slow"))
        await until(lambda: fake.loads == ["slow"])
        fake.writer.close()
        await until(lambda: fake.loads == ["slow", "slow"])
        fake.serve("slow")
        assert (await waiting).status == 200

    async def test_models_that_are_loaded_already_are_found_by_a_new_front(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        fake.serve("a")
        await until(lambda: "a" in parent(bench).targets and parent(bench).targets["a"].live)
        assert (await bench.ask("a")).status == 200
        assert not bench.asked
        assert parent(bench).loads.hits == 1

    async def test_the_view_shows_a_replica_ready_without_a_model(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        await bench.many("r1")
        [seen] = parent(bench).view().replicas
        assert (seen.state, seen.workers, seen.load_mode) == ("ready", 0, "multi-model")

    async def test_too_much_in_all_queues_together_is_refused(self, bench: ManyBench) -> None:
        bench.away = True
        await bench.put(many("r1", queue_bytes=1000))
        await bench.many("r1")
        held = [asyncio.create_task(bench.ask(name, b"x" * 600)) for name in ("a", "b")]
        await until(lambda: parent(bench).waiting() == 2)
        status, code, text = error(await bench.ask("c"))
        assert (status, code) == (503, "ServiceUnavailable")
        assert "has 2 requests waiting already" in text
        bench.away = False
        bench.front.questions.ask_again()
        assert {answer.status for answer in await asyncio.gather(*held)} == {200}
        assert parent(bench).queued_bytes == 0

    async def test_deleting_the_endpoint_answers_who_waits(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        fake = await bench.many("r1")
        waiting = asyncio.create_task(bench.ask("slow"))
        await until(lambda: fake.loads == ["slow"])
        await bench.front.drop("000000000000", "us-east-1", "iris")
        assert "not found" in error(await waiting)[2]


class TestHousekeeping:
    async def test_broken_models_are_not_remembered_without_bound(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        await bench.many("r1")
        variant_ = parent(bench)
        for i in range(1000):
            made = variant_.target(f"x{i}")
            made.broken = (perf_counter() + 60, 500, "")
        assert (await bench.ask("broken")).status == 424
        assert "broken" not in variant_.targets

    async def test_a_target_is_a_variant_of_its_own(self, bench: ManyBench) -> None:
        await bench.put(many("r1"))
        await bench.many("r1")
        await bench.ask("a")
        target = parent(bench).targets["a"]
        assert isinstance(target, TargetQueue)
        assert target.counters is parent(bench).counters
        assert isinstance(bench.replicas[0], ManyReplica)


class TestPipelines:
    """A multi-model container behind another one: the client names the model all the same."""

    def route(self) -> EndpointRoute:
        return route(
            variant("AllTraffic", 1.0, replica("r1"), container="c1", key="first", then="second"),
            variant("AllTraffic", 1.0, replica("r2"), container="c2", key="second", entry=False, multi_model=True),
        )

    async def test_the_second_container_serves_the_named_model(self, bench: ManyBench) -> None:
        async def first(batch: list[frames.Request]) -> Any:
            return [(r.id, 200, frames.result_meta("text/csv"), b"first " + r.body) for r in batch]

        await bench.put(self.route())
        await bench.replica("r1", first)
        fake = await bench.many("r2")
        answer = await bench.ask("a", b"x")
        assert (answer.status, answer.body) == (200, b"first x")
        assert list(fake.models.values()) == ["a"]
        assert "(500) from c2" in error(await bench.ask("broken"))[2]
        assert error(await bench.ask("missing"))[1] == "ValidationError"
        assert error(await bench.invoke())[2].endswith("is missing a target model header.")
