from __future__ import annotations

from typing import Any

import pytest

from clary.api.call import Call
from clary.api.errors import ApiError, translate
from clary.api.records import amend, find
from clary.domain.errors import Stale
from clary.domain.resources import Scope


async def test_what_clary_lacks_is_named(ask: Any) -> None:
    with pytest.raises(ApiError, match=r"sagemaker CreateAutoMLJobV2.*docs/operations\.md") as caught:
        await ask("CreateAutoMLJobV2")
    assert translate("sagemaker", "CreateAutoMLJobV2", caught.value)[0] == "UnknownOperationException"


async def test_an_amendment_that_always_loses_gives_up_with_a_code_that_clients_retry(
    ask: Any, ports: Any, config: str
) -> None:
    call = Call(ports, "sagemaker", "AddTags", Scope("000000000000", "eu-west-1"), "p")

    async def read() -> Any:
        record = await find(call, "model", "m")
        await ports.store.save(record)  # somebody is always faster
        return record

    with pytest.raises(Stale) as caught:
        await amend(call, read, lambda record: record)
    assert translate("sagemaker", "AddTags", caught.value)[0] == "ThrottlingException"
