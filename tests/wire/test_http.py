"""Requests and headers as values."""

import pytest

from clary.wire.http import Headers, Response, as_request


def test_headers_answer_in_any_case_and_keep_every_line() -> None:
    headers = Headers([("X-A", " 1 "), ("x-a", "2"), ("Host", "h")])
    assert headers["X-A"] == headers["x-a"] == headers.get("X-a") == "1,2"
    assert "HOST" in headers
    assert headers.get("other") is None
    assert headers.all("X-A") == ["1", "2"]
    assert headers.pairs() == [("x-a", "1"), ("x-a", "2"), ("host", "h")]
    assert dict(headers) == {"x-a": "1,2", "host": "h"}
    with pytest.raises(KeyError):
        headers["other"]


def test_responses_find_headers_in_any_case() -> None:
    response = Response(200, [("Content-Type", "a/b")], b"")
    assert response.header("content-type") == "a/b"
    assert response.header("other") is None


@pytest.mark.parametrize(
    ("given", "path", "query", "body"),
    [
        ({"uri": "/a?b=c"}, "/a", "b=c", b""),
        ({"url_path": "/a?b", "query_string": {"c": ["1", "2"]}}, "/a", "b&c=1&c=2", b""),
        ({"path": "/a", "query": "?b=c"}, "/a", "b=c", b""),
        ({"url": "https://host:1/a/%20b?c=d#e", "body": {"k": "v w"}}, "/a/%20b", "c=d", b"k=v+w"),
        ({"url": "https://host"}, "/", "", b""),
        ({"body": "é"}, "/", "", "é".encode()),
    ],
)
def test_mappings_become_requests(given: dict[str, object], path: str, query: str, body: bytes) -> None:
    request = as_request(given)
    assert (request.method, request.path, request.query, request.body) == ("POST", path, query, body)
