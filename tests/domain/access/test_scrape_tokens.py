"""Tokens of /metrics: of one key pair each, and not its secret."""

from __future__ import annotations

from clary.domain.access.scrape_tokens import key_id_of, same, token_of


def test_a_token_is_of_its_key_pair() -> None:
    token = token_of("AKIA1", "secret")
    assert key_id_of(token) == "AKIA1"
    assert "secret" not in token
    assert same(token, token_of("AKIA1", "secret"))
    assert not same(token, token_of("AKIA1", "other"))
    assert not same("\udcff", token)
