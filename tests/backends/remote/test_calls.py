"""Every coroutine of the port crosses the wire with its own types."""

from __future__ import annotations

import json

import pytest

from clary.backends.remote.calls import CALLS, error_of, failure
from clary.domain import errors
from clary.domain.errors import ClaryError, Invalid, Unavailable
from clary.domain.machine.workload import Collected, Laid, ModelFiles, Objects, Observation, RunFailure, RunState
from clary.domain.s3 import Location

MODEL = ModelFiles(
    "digest",
    "000000000000",
    {"model": Objects("000000000000", "bucket", {"k": "model"}, "below")},
    {"code": Location("bucket", "code.tar.gz")},
)
SEEN = Observation(
    RunState.EXITED,
    started_at=1.5,
    exit_code=3,
    failure=RunFailure("no", client=True),
    laid={"c": Laid(7, True, 1, "d", (("key", "etag"),))},
)


def test_all_coroutines_of_the_port_are_there() -> None:
    asked = "start observe stop resize forget read write place model make_model keep_models content names small collect handles"
    assert set(CALLS) == set(asked.split())


def test_what_is_asked_comes_back_as_it_was() -> None:
    asked = json.loads(json.dumps(CALLS["make_model"].asked({"model": MODEL, "opener": None, "seconds": 2.5})))
    assert CALLS["make_model"].given(asked) == {"model": MODEL, "opener": None, "seconds": 2.5}
    assert CALLS["keep_models"].asked({"digests": {"one"}}) == {"digests": ["one"]}


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("observe", SEEN),
        ("observe", None),
        ("content", b"\x00\xff"),
        ("collect", {"s3://bucket/key": Collected("etag", 3)}),
        ("names", ("a", "b/c")),
        ("model", {"inside": True, "scripts": ["x"]}),
        ("handles", ["a"]),
        ("write", True),
    ],
)
def test_what_is_answered_comes_back_as_it_was(call: str, answer: object) -> None:
    assert CALLS[call].told(json.loads(json.dumps(CALLS[call].answered(answer)))) == answer


def test_arguments_of_a_later_release_are_refused() -> None:
    """A node that passed one over would do something else than it was asked."""
    with pytest.raises(Invalid, match="does not know harder: give all machines the same Clary"):
        CALLS["stop"].given({"handle": "a", "harder": True})


def test_errors_cross_as_what_they_are() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClaryError)]
    for kind in kinds:
        if kind is not ClaryError:
            again = error_of(failure(kind("why")))
            assert (type(again), again.message) == (kind, "why")
    assert isinstance(error_of({"error": "Unheard", "message": "why"}), Unavailable)
