"""Which environment replicas get: the newer Python's for a built-in algorithm, the plain one where that cannot be had."""

from __future__ import annotations

import dataclasses

import pytest

from clary.domain.errors import Invalid
from clary.loops.endpoints.replica_runtimes import ReplicaRuntimes
from clary.testing.runtimes import XGBOOST, XGBOOST_SCRIPT, MemoryRuntimes

IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def site() -> tuple[MemoryRuntimes, ReplicaRuntimes]:
    known = MemoryRuntimes()
    known.newer = True
    return known, ReplicaRuntimes(known)


async def test_only_what_has_no_program_is_served_by_the_newer() -> None:
    _, replicas = site()
    assert replicas.runtime(IMAGE, "") == dataclasses.replace(XGBOOST, serving=True)
    assert replicas.runtime(IMAGE, "inference.py") == XGBOOST_SCRIPT
    with pytest.raises(Invalid, match="'nobodys' stands for no runtime"):
        replicas.runtime("nobodys", "")
    assert not replicas.is_built("nobodys", "", "")
    assert (await replicas.ensure(replicas.runtime(IMAGE, ""))).hash == "xgboost-newer"
    assert (replicas.is_built(IMAGE, "", ""), replicas.is_built(IMAGE, "inference.py", "")) == (True, False)
    with_more = await replicas.ensure(replicas.runtime(IMAGE, ""), "pandas")
    assert with_more.hash.startswith("xgboost-")
    assert "newer" not in with_more.hash


async def test_without_an_index_the_plain_one_serves_and_says_so() -> None:
    known, replicas = site()
    serving, said = replicas.runtime(IMAGE, ""), list[str]()
    plain = await known.ensure(XGBOOST)
    known.offline = "the environment could not be built: no route to the index.\n  cause: refused"
    assert not replicas.is_built(IMAGE, "", "")
    assert await replicas.ensure(serving, "", said.append) == plain
    assert said[-1].startswith("the environment could not be built: no route to the index. Until Clary starts again, ")
    assert "`clary runtime build`" in said[-1]
    assert replicas.is_built(IMAGE, "", "")
    tried = len(known.builds)
    assert await replicas.ensure(serving) == plain  # no second try
    assert len(known.builds) == tried
    known.offline = ""
    assert (await ReplicaRuntimes(known).ensure(serving)).hash == "xgboost-newer"  # Clary starts again
    assert (await replicas.ensure(serving)).hash == "xgboost-newer"  # somebody built it


async def test_without_any_environment_the_failure_is_told() -> None:
    known, replicas = site()
    known.offline = "no route to the index"
    with pytest.raises(Invalid, match="no route to the index"):
        await replicas.ensure(replicas.runtime(IMAGE, ""))
    assert not replicas.is_built(IMAGE, "", "")


async def test_a_users_requirements_that_fail_are_not_left_out() -> None:
    known, replicas = site()
    await known.ensure(XGBOOST)
    known.broken["nope"] = "no such package: nope"
    with pytest.raises(Invalid, match="no such package"):
        await replicas.ensure(replicas.runtime(IMAGE, ""), "nope")


async def test_a_model_is_unpacked_by_whichever_is_there() -> None:
    known, replicas = site()
    plain = await known.ensure(XGBOOST)
    assert await replicas.opener(IMAGE, "", print) == plain
    newer = await replicas.ensure(replicas.runtime(IMAGE, ""))
    assert await replicas.opener(IMAGE, "", print) == newer
    assert len(known.builds) == 2


@pytest.mark.parametrize(("program", "hash_"), [("", "xgboost-newer"), ("inference.py", "xgboost")])
async def test_where_nothing_is_there_a_model_is_unpacked_by_what_its_replicas_will_have(
    program: str, hash_: str
) -> None:
    _, replicas = site()
    assert (await replicas.opener(IMAGE, program, print)).hash == hash_
