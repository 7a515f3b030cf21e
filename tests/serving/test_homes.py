"""Inference components at a front: an endpoint of a name in two parts, found by a header."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.serving.fakes import Answer, Bench, replica, route, variant
from tests.serving.test_front import code, message
from tests.serving.test_pipelines import saying

from clary.serving.homes import home


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path) as bench:
        await bench.put(replace(route(variant("A", 1)), hosting=True))
        await bench.put(route(variant("A", 1, replica("one")), name="iris/one"))
        await bench.put(route(variant("A", 1, replica("two")), name="iris/two"))
        await bench.put(route(variant("A", 1), name="iris/none"))
        yield bench


async def ask(bench: Bench, component: str, name: str = "iris") -> Answer:
    return await bench.invoke(b"x", name, X_Amzn_SageMaker_Inference_Component=component)


async def test_a_request_goes_to_the_component_that_it_names(bench: Bench) -> None:
    for name in ("one", "two"):
        await bench.replica(name, saying(f"-{name}".encode()))
    for name in ("one", "two", "one"):
        answer = await ask(bench, name)
        assert (answer.status, answer.body) == (200, f"x-{name}".encode())
        assert answer.headers["x-amzn-invoked-production-variant"] == "A"


async def test_a_model_error_names_the_components_log(bench: Bench) -> None:
    await bench.replica("one", saying(b"", status=500))
    assert "group=/aws/sagemaker/InferenceComponents/one in account" in message(await ask(bench, "one"))


@pytest.mark.parametrize(
    ("component", "endpoint", "words"),
    [
        ("three", "iris", "Inference Component three of endpoint iris of account 000000000000 not found."),
        ("one", "rose", "Endpoint rose of account 000000000000 not found."),
        ("one/one", "iris", "Inference Component one/one of endpoint iris"),
        ("none", "iris", "Inference Component has no capacity to process this request. ApplicationAutoScaling may be"),
    ],
)
async def test_what_cannot_answer_says_why(bench: Bench, component: str, endpoint: str, words: str) -> None:
    answer = await ask(bench, component, endpoint)
    assert (answer.status, code(answer)) == (400, "ValidationError")
    assert message(answer).startswith(words)


async def test_a_component_must_be_named_where_there_are_some_and_only_there(bench: Bench) -> None:
    answer = await bench.invoke(b"x")
    assert (answer.status, code(answer)) == (400, "ValidationError")
    assert message(answer).startswith(
        "Inference Component Name header is required for endpoints to which you plan to deploy"
    )
    await bench.put(route(variant("A", 1, replica("m")), name="plain"))
    answer = await ask(bench, "one", "plain")
    assert (
        "header is not allowed for endpoints to which no inference component was deployed, such as plain."
        in message(answer)
    )


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_component_is_at_home_where_its_endpoint_is(count: int) -> None:
    for name in ("iris", "rose", "a-b-c"):
        assert home(f"{name}/one", count) == home(name, count) == home(f"{name}/two", count)
