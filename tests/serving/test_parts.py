"""The pure parts of serving, one by one."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.fakes import replica, route, variant

from clary.domain.metrics.datapoints import bucket, middle
from clary.serving import answers, boost, invoke, joins
from clary.serving.counters import KEPT, Counters
from clary.serving.keys import HELD_SECONDS, KeyCache, KeyQuestion, SigningKey
from clary.serving.prediction import Prediction
from clary.serving.routefiles import RouteFiles
from clary.serving.routing import Shares
from clary.toolkit import frames

# -- routing ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weights", [{"a": 1, "b": 1}, {"a": 9, "b": 1}, {"a": 0.7, "b": 0.2, "c": 0.1}, {"a": 1, "b": 999},
     {"a": 3, "b": 0}, {"a": 1 / 3, "b": 2 / 3}]
)  # fmt: skip
def test_shares_are_within_a_tenth_of_a_percent_over_10_000_requests(weights: dict[str, float]) -> None:
    turns = Shares(weights)
    chosen = Counter(turns.choose() for _ in range(10_000))
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(chosen[name] / 10_000 - weight / total) <= 0.001


def test_shares_come_smoothly() -> None:
    turns = Shares({"a": 5, "b": 1, "c": 1})
    assert "".join(turns.choose() or "" for _ in range(7)) == "aabacaa"


def test_no_weight_is_no_choice() -> None:
    assert Shares({}).choose() is None
    assert Shares({"a": 0}).choose() is None


# -- boost ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((3, 100.0, 0.1, 5, 1, 8, None), 8),  # no objective: the allowance itself
        ((0, 0.0, 0.1, 0, 1, 8, 0.5), 1),  # idle: the base
        ((0, 30.0, 0.1, 0, 1, 8, 0.5), 3),  # load of 3 workers
        ((0, 30.0, 0.1, 10, 1, 8, 0.5), 5),  # and 10 queued: 2 more to be rid of them within the objective
        ((6, 1.0, 0.1, 0, 1, 8, 0.5), 6),  # never below what is busy
        ((0, 1000.0, 0.1, 0, 1, 8, 0.5), 8),  # never above the allowance
        (
            (3, 10.0, 0.1, 2, 1, 8, 0.5, 0.01),
            5,
        ),  # a queue that may take no time: a worker for each request that waits, and no more
    ],
)
def test_boost(arguments: tuple[Any, ...], wanted: int) -> None:
    assert boost.allowed(*arguments) == wanted


@given(
    st.integers(0, 20), st.floats(0, 1e4), st.floats(0, 10), st.integers(0, 10_000),
    st.integers(1, 4), st.integers(4, 64), st.floats(0.01, 10)
)  # fmt: skip
def test_boost_stays_between_base_and_allowance(
    busy: int, rate: float, service: float, queued: int, base: int, ceiling: int, objective: float
) -> None:
    assert base <= boost.allowed(busy, rate, service, queued, base, ceiling, objective) <= ceiling


@pytest.mark.parametrize(
    ("held", "service", "wanted"),
    [
        (0, 0.0001, False),  # nothing before it: that is not ahead
        (1, 0.0001, True),
        (23, 0.0005, True),
        (24, 0.0005, False),
        (31, 0.00001, True),
        (32, 0.00001, False),
        (1, 0.0039, True),
        (5, 0.0021, True),
        (6, 0.0021, False),
        (3, 0.0039, True),
        (4, 0.0039, False),
        (1, 0.004, False),
        (1, float("inf"), False),
    ],
)
def test_requests_go_ahead_while_they_are_expected_to_be_done_soon(held: int, service: float, wanted: bool) -> None:
    assert boost.sends_ahead(held, service) is wanted


def test_one_slow_prediction_stops_sending_ahead_for_long() -> None:
    service = boost.smoothed(float("inf"), 0.0002)
    assert service == 0.0002
    service = boost.smoothed(service, 1.0)
    waited = 0
    while not boost.sends_ahead(1, service):
        service = boost.smoothed(service, 0.0002)
        waited += 1
    assert 150 < waited < 500


def test_the_pace_of_batches_follows_what_was_quick_sooner() -> None:
    pace = boost.paced(float("inf"), 0.00002)
    assert pace == 0.00002
    slower, quicker = boost.paced(pace, 0.00003), boost.paced(pace, 0.00001)
    assert slower - pace < (pace - quicker) / 3


@pytest.mark.parametrize(
    ("waiting", "pace", "wanted"),
    [(1, 0.00001, True), (64, 0.00001, True), (100, 0.00001, False), (1, 0.001, False), (1, float("inf"), False)],
)
def test_requests_stay_together_where_that_costs_them_little(waiting: int, pace: float, wanted: bool) -> None:
    assert boost.together(waiting, pace) is wanted


@pytest.mark.parametrize(
    ("rate", "wanted"), [(0, 0), (2_500, 0), (7_999, 0), (8_000, 8), (20_000, 20), (1_000_000, 64)]
)
def test_batches_are_waited_for_at_high_rates_only(rate: float, wanted: int) -> None:
    assert boost.gathered(rate) == wanted


def test_answers_rest_only_while_their_worker_has_work_for_longer() -> None:
    assert boost.rest(15, 0.0002) == pytest.approx(0.0015)
    assert boost.rest(14, 0.0002) == 0
    assert boost.rest(3, 0.0011) == 0
    assert boost.rest(30, 0.0005) == boost.REST
    assert all(
        2 * service <= boost.rest(held, service) <= held * service / 2
        for held in range(1, boost.AHEAD_MOST)
        for service in (0.0001, 0.0003, 0.001, 0.003, 0.0039)
        if boost.rest(held, service)
    )


def test_a_worker_whose_answers_rest_is_not_taken_to_hang() -> None:
    assert boost.REST + boost.QUICK <= boost.HANGING / 2


# -- counters ---------------------------------------------------------------------------------------------------------------------


def test_quantiles_are_of_the_last_answers() -> None:
    counters = Counters()
    assert counters.quantiles(0.5, 0.99) == [0.0, 0.0]
    for number in range(KEPT * 2):
        counters.record(float(number), 0.0)
    p50, p99 = counters.quantiles(0.5, 0.99)
    assert p50 == KEPT * 1.5
    assert p99 >= KEPT * 1.98
    assert counters.completed == KEPT * 2


@pytest.mark.parametrize("steps", [(3,), (KEPT,), (KEPT - 1, 3), (KEPT, 1, KEPT), (KEPT + 500, 10)])
def test_distributions_count_every_answer(steps: tuple[int, ...]) -> None:
    counters = Counters()
    for step in steps:
        for _ in range(step):
            counters.record(0.0015, 0.001)
        counters.tally()
        counters.tally()
    for buckets, micros in ((counters.model_buckets, 1000), (counters.overhead_buckets, 500)):
        ((number, count),) = buckets.items()
        assert (middle(number), count) == (pytest.approx(micros, rel=0.011), pytest.approx(sum(steps)))


def test_only_new_answers_are_tallied() -> None:
    counters = Counters()
    for model in (0.001, 0.002):
        for _ in range(KEPT // 2 + 7):
            counters.record(model, model)
        counters.tally()
    assert sorted(counters.model_buckets.values()) == pytest.approx([KEPT // 2 + 7] * 2)


def test_each_latency_is_in_its_own_bucket() -> None:
    counters = Counters()
    models = [0.0, 1e-9, 1e-6, 1.0000001e-6, 0.00317, 0.9, 60.0, 3600.0]
    for model in models:
        counters.record(model, model)
    counters.tally()
    assert counters.model_buckets == dict(Counter(bucket(model * 1e6) for model in models))
    assert counters.overhead_buckets == {0: len(models)}


def test_sums_are_of_all_answers_and_never_fall() -> None:
    counters = Counters()
    before = (0, 0.0, 0.0)
    for number in range(KEPT + 10):
        counters.hand_on(0.0005)
        counters.record(0.003 + number * 1e-6, 0.001, 0.0005)
        if number % 97 == 0 or number > KEPT - 3:
            now = (counters.completed, counters.model_seconds, counters.overhead_seconds)
            assert all(a > b for a, b in zip(now, before, strict=True))
            before = now
    count = KEPT + 10
    overhead = count * 0.0015 + 1e-6 * count * (count - 1) / 2
    assert before == pytest.approx((count, count * 0.0015, overhead))


def test_what_was_not_answered_is_an_error_of_the_model_and_what_was_refused_is_not() -> None:
    counters = Counters()
    counters.failed()
    counters.refuse()
    assert (counters.errors_5xx, counters.model_errors, counters.unanswered, counters.refused) == (2, 1, 1, 1)


# -- invoke -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iris", "Iris-1", "a" * 63])
def test_names_of_endpoints(name: str) -> None:
    assert invoke.endpoint_name("POST", f"/endpoints/{name}/invocations") == name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no_such%21", "1 validation error detected: Value 'no_such!' at 'endpointName' failed to satisfy constraint: Member must "
         "satisfy regular expression pattern: ^[a-zA-Z0-9](-*[a-zA-Z0-9])*"),
        ("a" * 64, f"1 validation error detected: Value '{'a' * 64}' at 'endpointName' failed to satisfy constraint: Member must "
         "have length less than or equal to 63"),
        ("_" * 64, "2 validation errors detected: "),
        ("%61", "1 validation error detected: Value '%61' at"),
    ],
)  # fmt: skip
def test_what_is_wrong_about_a_name(name: str, told: str) -> None:
    with pytest.raises(invoke.Refusal) as caught:
        invoke.endpoint_name("POST", f"/endpoints/{name}/invocations")
    assert (caught.value.code, caught.value.message[: len(told)]) == ("ValidationError", told)


@pytest.mark.parametrize(
    "path",
    ["/endpoints//invocations", "/endpoints/../invocations", "/endpoints/a%2e/invocations", "/endpoints/a/b/invocations",
     "/endpoints/" + "a" * 64 + "/invocations", "/endpoints/a_b/invocations", "/endpoints/é/invocations", "/", "/ping", "/endpoints"],
)  # fmt: skip
def test_no_other_name_gets_through(path: str) -> None:
    with pytest.raises(invoke.Refusal):
        invoke.endpoint_name("POST", path)


@pytest.mark.parametrize(
    ("headers", "more"),
    [
        ({}, True),
        ({"amz-sdk-request": "attempt=1"}, True),
        ({"amz-sdk-request": "attempt=1; max=3"}, True),
        ({"amz-sdk-request": "ttl=20300101T000000Z; attempt=2; max=3"}, True),
        ({"amz-sdk-request": "attempt=3; max=3"}, False),
        ({"amz-sdk-request": "attempt=5"}, False),
        ({"amz-sdk-request": "nonsense;;=;attempt=x"}, True),
    ],
)
def test_who_may_come_back(headers: dict[str, str], more: bool) -> None:
    assert invoke.may_retry(headers) is more


@given(
    st.dictionaries(
        st.sampled_from(["content-type", "accept", "x-amzn-sagemaker-custom-attributes"]), st.text(max_size=50)
    )
)
def test_headers_are_passed_or_refused(headers: dict[str, str]) -> None:
    plain = all(value.isascii() and value.isprintable() for value in headers.values())
    if plain:
        assert invoke.passed("iris", headers)[1] is None
    else:
        with pytest.raises(invoke.Refusal):
            invoke.passed("iris", headers)


def test_what_names_a_model_is_read_alike_the_second_time() -> None:
    headers = {"content-type": "text/csv", "x-amzn-sagemaker-target-model": "a.tar.gz"}
    first = invoke.passed("iris", headers)
    assert first == invoke.passed("iris", headers)
    assert frames.decode_request_meta(first[0]) == ("text/csv", "", {"x-amzn-sagemaker-target-model": "a.tar.gz"})
    assert invoke.passed("iris", {**headers, "x-amzn-sagemaker-target-model": "b.tar.gz"}) != first
    assert invoke.passed("iris", {**headers, "accept": "text/csv"}) != first
    _, aim = invoke.passed("iris", {**headers, "x-amzn-sagemaker-target-variant": "blue"})
    assert aim is not None
    assert aim.variant == "blue"
    for _ in range(2):
        with pytest.raises(invoke.Refusal):
            invoke.passed("iris", {**headers, "x-amzn-sagemaker-target-model": "//"})


# -- answers ----------------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=200), st.binary(max_size=200))
def test_errors_are_well_formed_whatever_they_tell(message: str, body: bytes) -> None:
    errors = answers.ModelErrors("000000000000", "us-east-1", "iris", "primary")
    for answer in (answers.error(400, "ValidationError", message, b"id"), errors.answered(500, body, b"id")):
        head, _, content = answer.partition(b"\r\n\r\n")
        assert head.count(b"\r\n") == 4
        assert f"Content-Length: {len(content)}".encode() in head
        json.loads(content)


# -- joins ------------------------------------------------------------------------------------------------------------------------


def key(number: int) -> joins.JoinKey:
    return joins.JoinKey(("a", "r", "e"), "/", str(number), "00")


def test_answers_are_kept_for_a_minute() -> None:
    memory = joins.Joins()
    memory.keep(key(1), b"answer", 100.0)
    assert memory.answer(key(1), 159.9) == b"answer"
    assert memory.answer(key(1), 160.0) is None
    assert len(memory) == 0


def test_the_memory_of_answers_is_bounded() -> None:
    memory = joins.Joins()
    for number in range(joins.KEPT_NUMBER + 10):
        memory.keep(key(number), b"x", 0.0)
    assert len(memory) == joins.KEPT_NUMBER
    assert memory.answer(key(0), 0.0) is None
    big = bytes(joins.KEPT_BYTES // 5)
    for number in range(10):
        memory.keep(key(-1 - number), big, 0.0)
    assert len(memory) <= 5
    assert memory.answer(key(-10), 0.0) == big


# -- predictions ------------------------------------------------------------------------------------------------------------------


class Waiter:
    def __init__(self) -> None:
        self.gone = False
        self.answers: list[bytes] = []

    def answer(self, response: bytes) -> None:
        self.answers.append(response)


def test_everybody_is_answered_once() -> None:
    first, second = Waiter(), Waiter()
    prediction = Prediction(first, b"", b"", False)
    prediction.waiters = [second]
    told: list[bool] = []
    prediction.settled = lambda prediction, response, modelled: told.append(modelled)
    prediction.settle(b"one", True)
    prediction.settle(b"two", False)
    assert first.answers == second.answers == [b"one"]
    assert told == [True]


# -- keys -------------------------------------------------------------------------------------------------------------------------

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


# -- files ------------------------------------------------------------------------------------------------------------------------


def test_routes_come_back_from_disk_and_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    files = RouteFiles(tmp_path / "routes")
    assert files.load() == []
    one, two = route(variant("a", 1, replica("r1")), name="one"), route(variant("b", 0.5), name="two")
    files.save(one)
    files.save(two)
    (tmp_path / "routes" / "x.json").write_text('{"account"')
    assert sorted(files.load(), key=lambda r: r.name) == [one, two]
    assert (tmp_path / "routes" / "x.bad").exists()
    files.remove(one.account, one.region, "one")
    files.remove(one.account, one.region, "one")
    assert files.load() == [two]
