"""Nodes' names, the keys of their runs, and join tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clary.domain.errors import Denied, Invalid
from clary.domain.machine.nodes import (
    HEAD,
    LEASE,
    LEAST_LOST,
    NODE,
    TOKEN_SECONDS,
    check_name,
    key_on,
    named,
    new_token,
    node_of,
    parse_place,
    parse_token,
)

SEAL = b"k" * 32
TOKEN = new_token("a" * 64, "0" * 32, SEAL, 1000.0)


def test_the_key_of_a_run_tells_where_it_is() -> None:
    assert key_on("job-1-0-algo-1", "node-2") == "job-1-0-algo-1@node-2"
    assert node_of("job-1-0-algo-1@node-2") == "node-2"
    assert key_on("job-1-0-algo-1", "") == "job-1-0-algo-1"
    assert node_of("job-1-0-algo-1") == ""


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a@b", "a/b", "a" * 64, "a b"])
def test_what_no_node_can_be_called(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be a node's name"):
        check_name(name)


def test_a_certificate_is_for_one_end() -> None:
    assert named("clary://node/a.b-1", NODE) == "a.b-1"
    assert named("clary://head/a", NODE) == ""
    assert named("clary://node/a", HEAD) == ""
    assert named("clary://node/a/b", NODE) == ""
    assert named("clary://node/", NODE) == ""


def test_a_token_holds_for_a_quarter_of_an_hour() -> None:
    read = parse_token(f" {TOKEN}\n")
    assert read == TOKEN
    read.check(SEAL, 1000.0 + TOKEN_SECONDS - 1)
    with pytest.raises(Denied, match="too old"):
        read.check(SEAL, 1000.0 + TOKEN_SECONDS)


def test_a_token_that_was_changed_or_is_another_installation_s() -> None:
    for wrong, seal in (
        (replace(TOKEN, expires=TOKEN.expires + 1), SEAL),
        (replace(TOKEN, authority="b" * 64), SEAL),
        (replace(TOKEN, nonce="1" * 32), SEAL),
        (TOKEN, b"other"),
    ):
        with pytest.raises(Denied, match="not one of this installation"):
            wrong.check(seal, 1000.0)


@pytest.mark.parametrize("text", ["", "1.2.3.4", str(TOKEN)[:-1], str(TOKEN).upper(), f"{TOKEN}.x"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(Invalid, match="no join token"):
        parse_token(text)


def test_places() -> None:
    assert parse_place("10.0.0.1:4610") == ("10.0.0.1", 4610)
    assert parse_place("[::1]:1") == ("::1", 1)
    for wrong in ("", "host", ":1", "host:", "host:x", "host:70000"):
        with pytest.raises(Invalid, match="no HOST:PORT"):
            parse_place(wrong)


def test_jobs_have_ended_themselves_before_they_may_be_started_elsewhere() -> None:
    assert LEAST_LOST - LEASE >= 10.0
