"""What a request to the data plane says: its path, its headers, and what is refused about them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.serving import invoke
from clary.toolkit import frames


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
