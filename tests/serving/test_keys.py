"""Signing keys that a front may use: asked for, held, refused, revoked."""

from __future__ import annotations

from clary.serving.keys import HELD_SECONDS, KeyCache, KeyQuestion, SigningKey

QUESTION = KeyQuestion("AKIA", "", "20300101", "us-east-1")
SIGNING = SigningKey(b"k" * 32, "000000000000", "arn")


def test_a_question_that_nobody_answers_is_given_up() -> None:
    asked: list[KeyQuestion] = []
    cache = KeyCache(asked.append)
    got: list[tuple[SigningKey | None, bool]] = []
    cache.hold(QUESTION, lambda found, answered: got.append((found, answered)), 0.0)
    cache.tick(HELD_SECONDS - 1)
    assert got == []
    cache.ask_again()
    assert asked == [QUESTION, QUESTION]
    cache.tick(HELD_SECONDS)
    assert got == [(None, False)]


def test_a_refused_key_is_not_asked_for_again_at_once() -> None:
    asked: list[KeyQuestion] = []
    cache = KeyCache(asked.append)
    got: list[bool] = []
    for now in (0.0, 0.5, 2.0):
        cache.hold(QUESTION, lambda found, answered: got.append(found is None and answered), now)
        cache.answer(QUESTION, None, now)
    assert len(asked) == 2
    assert got == [True, True, True]


def test_a_revoked_key_is_forgotten() -> None:
    cache = KeyCache(lambda question: None)
    cache.answer(QUESTION, SIGNING, 0.0)
    assert cache.find(QUESTION) == SIGNING
    before = cache.generation
    cache.revoke("AKIA")
    assert cache.find(QUESTION) is None
    assert cache.generation != before


def test_what_is_known_stays_good_while_it_is_asked_for_again() -> None:
    asked: list[KeyQuestion] = []
    cache = KeyCache(asked.append)
    cache.answer(QUESTION, SIGNING, 0.0)
    before = cache.generation
    cache.ask_again()
    assert (cache.find(QUESTION), asked) == (SIGNING, [QUESTION])
    cache.answer(QUESTION, SIGNING, 1.0)
    assert cache.generation == before, "nothing that was concluded from it is void"
    cache.ask_again()
    cache.answer(QUESTION, None, 2.0)
    assert cache.find(QUESTION) is None
    assert cache.generation != before


def test_a_key_that_speaks_for_another_now_voids_what_was_concluded_from_it() -> None:
    cache = KeyCache(lambda question: None)
    cache.answer(QUESTION, SIGNING, 0.0)
    before = cache.generation
    cache.answer(QUESTION, SIGNING._replace(account="111111111111"), 1.0)
    assert cache.generation != before


def test_who_waits_for_a_key_that_is_revoked_is_asked_for_again() -> None:
    asked: list[KeyQuestion] = []
    cache = KeyCache(asked.append)
    cache.hold(QUESTION, lambda found, answered: None, 0.0)
    cache.revoke("AKIA")
    assert asked == [QUESTION, QUESTION]
