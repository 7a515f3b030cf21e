"""What is fetched, what is not, and what is kept of it. The server is on loopback, named by its address."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from clary.toolkit import fetch
from clary.toolkit.failure import UserError

BODY = b"id,x\n" + b"1,2\n" * 100_000


class Site(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        to = {
            "/moved": "/data.csv",
            "/away": "http://localhost:1/secret",
            "/down": "file:///etc/passwd",
            "/loop": "/loop",
        }
        if self.path in to:
            self.send_response(302)
            self.send_header("Location", to[self.path])
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(BODY)))
        self.send_header("ETag", '"1"')
        self.send_header("Set-Cookie", "secret=1")
        self.end_headers()
        self.wfile.write(BODY[:1000] if self.path == "/dies" else BODY)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def files(base: Path) -> list[str]:
    return sorted(
        str(p.relative_to(base / "processing/output")) for p in (base / "processing/output").rglob("*") if p.is_file()
    )


def test_content_lies_under_its_hash_with_where_it_came_from(site: str, tmp_path: Path) -> None:
    told = fetch.fetch(f"{site}/moved", len(BODY), [f"{site}/"], str(tmp_path))
    digest = hashlib.sha256(BODY).hexdigest()
    assert (told["sha256"], told["bytes"], told["redirects"]) == (digest, len(BODY), [f"{site}/data.csv"])
    content, provenance = files(tmp_path)
    assert content == f"data/{digest}/data.csv"
    assert (tmp_path / "processing/output" / content).read_bytes() == BODY
    kept = json.loads((tmp_path / "processing/output" / provenance).read_text())
    assert (kept["url"], kept["final_url"], kept["headers"]["etag"]) == (f"{site}/moved", f"{site}/data.csv", '"1"')
    assert "set-cookie" not in kept["headers"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/away", "leads elsewhere: http://localhost:1 may not be reached"),
        ("/down", "is not allowed"),
        ("/loop", "redirect|leads on"),
        ("/none", "answered 404"),
        ("/dies", "broke off|IncompleteRead|cannot be fetched"),
    ],
)
def test_what_is_not_fetched_leaves_nothing(site: str, tmp_path: Path, path: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        fetch.fetch(site + path, 1 << 30, [f"{site}/"], str(tmp_path))
    assert files(tmp_path) == []


def test_a_limit(site: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="more than 1,000 bytes"):
        fetch.fetch(f"{site}/data.csv", 1000, [f"{site}/"], str(tmp_path))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "entry", "allowed"),
    [
        ("https://data.example.org/x", "data.example.org", True),
        ("https://DATA.example.org/x", "data.example.org", True),
        ("https://data.example.org:443/x", "data.example.org", True),
        ("https://data.example.org:8443/x", "data.example.org", False),
        ("https://data.example.org:8443/x", "data.example.org:8443", True),
        ("http://data.example.org/x", "data.example.org", False),
        ("https://a.b.example.org/x", "*.example.org", True),
        ("https://example.org/x", "*.example.org", True),
        ("https://evilexample.org/x", "*.example.org", False),
        ("https://example.org.evil.net/x", "example.org", False),
        ("https://h.org/public/x", "https://h.org/public/", True),
        ("https://h.org/private/x", "https://h.org/public/", False),
        ("https://h.org/public/../private/x", "https://h.org/public/", False),
        ("https://h.org/public/%2e%2e/private/x", "https://h.org/public/", False),
        ("http://h.org/x", "http://h.org/", True),
        ("https://me:secret@h.org/x", "h.org", False),
        ("ftp://h.org/x", "h.org", False),
        ("file:///etc/passwd", "h.org", False),
        ("https://h.org\\@evil.net/x", "h.org", False),
        ("https://h.org/a b", "h.org", False),
    ],
)
def test_the_list(url: str, entry: str, allowed: bool) -> None:
    if allowed:
        assert fetch.check(url, ["other.example.org", entry]) == entry
    else:
        with pytest.raises(UserError) as caught:
            fetch.check(url, ["other.example.org", entry])
        assert "secret" not in str(caught.value)
    with pytest.raises(UserError):
        fetch.check(url, [])


def test_a_name_that_leads_into_the_machine() -> None:
    for address in ("127.0.0.1", "::1", "169.254.169.254", "fe80::1%eth0", "0.0.0.0"):
        with pytest.raises(UserError, match="the machine itself"):
            fetch.check_address("data.example.org", address)
    fetch.check_address("127.0.0.1", "127.0.0.1")
    fetch.check_address("data.example.org", "192.0.2.1")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h.org/a/b.csv?x=1", "b.csv"),
        ("https://h.org/", "content"),
        ("https://h.org/a/..%2f..%2fetc", "_.._etc"),
        ("https://h.org/a%00b c", "a_b_c"),
    ],
)
def test_names(url: str, name: str) -> None:
    assert fetch.name_of(url) == name
