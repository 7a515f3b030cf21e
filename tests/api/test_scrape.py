"""/metrics: who may read it, and that each account has its own."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any, cast

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read

from clary.api import scrape
from clary.api.call import Ports
from clary.domain.access.scrape_tokens import token_of
from clary.domain.metrics.counts import VariantCounts
from clary.domain.metrics.datapoints import Datapoint, Series, single
from clary.domain.resources import Scope
from clary.ports import Credential, Keys
from clary.testing.clock import FakeClock
from clary.testing.datapoints import MemoryDatapoints
from clary.testing.fronts import ACCOUNT, REGION, MemoryFronts, route
from clary.testing.keys import MemoryKeys

OTHER = "111111111111"


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.fixture
def keys() -> Keys:
    return MemoryKeys()


@pytest.fixture
def pair(keys: Keys) -> Credential:
    return keys.create(ACCOUNT, "clary")


def test_who_may_read(keys: Keys, pair: Credential) -> None:
    name, secret = pair.access_key_id, pair.secret
    token = token_of(name, secret)
    for header in (f"Bearer {token}", f"bearer  {token}", basic(name, secret)):
        assert scrape.reader(keys, header) == pair


def test_who_may_not(keys: Keys, pair: Credential) -> None:
    name, secret = pair.access_key_id, pair.secret
    token = token_of(name, secret)
    temporary = keys.issue(ACCOUNT, "arn:aws:iam::0:role/r", 3600.0, 0.0)
    refused = [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {token[:-1]}0" if token[-1] != "0" else f"Bearer {token[:-1]}1",
        f"Bearer {name}.",
        f"Bearer {secret}",
        f"Bearer {token_of(name, 'guess')}",
        f"Bearer {token_of('AKIA0000000000000000', secret)}",
        f"Basic {token}",
        "Basic ####",
        basic(name, ""),
        basic(name, secret + "x"),
        basic(name, token),
        basic("", ""),
        basic(temporary.access_key_id, temporary.secret),
        f"Bearer {token_of(temporary.access_key_id, temporary.secret)}",
        f"Digest {token}",
    ]
    assert [header for header in refused if scrape.reader(keys, header) is not None] == []
    keys.revoke(name)
    assert scrape.reader(keys, f"Bearer {token}") is None


@pytest.fixture
async def world(ports: Ports, clock: FakeClock) -> Ports:
    fronts, datapoints = MemoryFronts(), MemoryDatapoints()
    await fronts.put(route("r1"))
    where = (ACCOUNT, REGION, "iris", "AllTraffic")
    fronts.counted[where] = VariantCounts(*where, "AllTraffic", "c", "born", serving=1, arrivals=7, completed=7)
    minute = clock.now() // 60 * 60 - 60
    for account, region in ((ACCOUNT, "us-east-1"), (ACCOUNT, "eu-west-1"), (OTHER, "us-east-1")):
        points = [
            Datapoint(Series.of("N", "now", {"of": account}), minute + 30, single(2.0)),
            Datapoint(Series.of("N", "before", {"of": account}), minute - 30, single(2.0)),
            Datapoint(Series.of("AWS/SageMaker", "Invocations", {"of": account}), minute + 30, single(2.0)),
        ]
        datapoints.put(Scope(account, region), points)
    return replace(ports, fronts=fronts, datapoints=datapoints)


async def samples(
    world: Ports, account: str, page: scrape.Exposition | None = None
) -> list[tuple[str, dict[str, str], float]]:
    text = await (page or scrape.Exposition(world, 100)).page(account, world.clock.now())
    return [(sample.name, sample.labels, sample.value) for family in read(text) for sample in family.samples]


async def test_an_account_sees_its_own_in_all_regions(world: Ports) -> None:
    found = await samples(world, ACCOUNT)
    sums = [labels for name, labels, _ in found if name == "clary_metric_sum"]
    assert [(labels["region"], labels["metric"], labels["dimension_of"]) for labels in sums] == [
        ("eu-west-1", "now", ACCOUNT),
        ("us-east-1", "now", ACCOUNT),
    ]
    assert [value for name, _, value in found if name == "clary_invocations_total"] == [7]
    others = await samples(world, OTHER)
    assert [value for name, _, value in others if name == "clary_invocations_total"] == []
    assert {labels["dimension_of"] for name, labels, _ in others if name == "clary_metric_sum"} == {OTHER}


async def test_a_front_that_is_away_is_told(world: Ports) -> None:
    assert ("clary_fronts_complete", {}, 1) in await samples(world, ACCOUNT)
    cast("MemoryFronts", world.fronts).away = True
    found = await samples(world, ACCOUNT)
    assert ("clary_fronts_complete", {}, 0) in found
    assert not any(name == "clary_invocations_total" for name, _, _ in found)


async def test_what_is_left_out_is_told_in_the_answer_and_in_the_log(
    world: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    whole, short = scrape.Exposition(world, 2), scrape.Exposition(world, 1)
    assert ("clary_metrics_left_out", {}, 0) in await samples(world, ACCOUNT, whole)
    assert caplog.messages == []
    found: Any = await samples(world, ACCOUNT, short)
    assert ("clary_metrics_left_out", {}, 1) in found
    assert sum(name == "clary_metric_sum" for name, _, _ in found) == 1
    told = f"/metrics of account {ACCOUNT} leaves out 1 series: an answer has at most 1 (the setting metrics_series)"
    assert caplog.messages == [told]


async def test_the_log_says_so_once_an_hour(world: Ports, caplog: pytest.LogCaptureFixture) -> None:
    short, counts = scrape.Exposition(world, 1), []
    for later in (0.0, scrape.SAY_AGAIN - 1, scrape.SAY_AGAIN):
        now = world.clock.now() + later
        for region in ("us-east-1", "eu-west-1"):
            point = Datapoint(Series.of("N", "now", {"of": ACCOUNT}), now // 60 * 60 - 30, single(2.0))
            world.datapoints.put(Scope(ACCOUNT, region), [point])
        for _ in range(2):
            await short.page(ACCOUNT, now)
        counts.append(len(caplog.messages))
    assert counts == [1, 1, 2]
