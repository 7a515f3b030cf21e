"""`python -m clary.toolkit.fetch`: the program of the image `clary-fetch`, which `clary data fetch` runs as a processing job.

Reads /opt/ml/processing/input/spec/spec.json: `{"url": http(s) URL, "limit": bytes}`. Only what the operator's setting `egress` lists is
reached (CLARY_EGRESS, which no request can set): the URL itself, and each that it redirects to. Once all of it is there, it writes below
/opt/ml/processing/output `data/SHA256/NAME`, and last `provenance/SHA256/TIME.json`: where from by which way, when, with which headers.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import sys
import urllib.error
import urllib.request
from datetime import datetime, timezone
from typing import IO, Any, Dict, List, Optional, Sequence
from urllib.parse import unquote, urlsplit

from clary.toolkit.failure import UserError, exit_message, log

ML = "/opt/ml"
REDIRECTS = 5
SECONDS = 60.0  # without a byte
CHUNK = 1 << 20
_PORTS = {"http": 80, "https": 443}
_SECRET = ("set-cookie", "set-cookie2", "authorization", "proxy-authenticate", "www-authenticate")


def main(base: str = ML) -> int:
    os.umask(0o022)
    try:
        with open(os.path.join(base, "processing", "input", "spec", "spec.json"), encoding="utf-8") as file:
            spec = json.load(file)
        told = fetch(spec["url"], int(spec["limit"]), json.loads(os.environ.get("CLARY_EGRESS", "[]")), base)
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        exit_message(str(error), base)
        return 1
    log("{} bytes from {}, SHA-256 {}".format(told["bytes"], told["final_url"], told["sha256"]))
    return 0


def fetch(url: str, limit: int, allowed: Sequence[str], base: str) -> Dict[str, Any]:
    """Writes content and provenance; answers the latter. UserError for what may not be had, or broke off: then nothing is written."""
    check(url, allowed)
    output = os.path.join(base, "processing", "output")
    os.makedirs(output, exist_ok=True)
    partial = os.path.join(base, "processing", "fetched")  # beside the outputs: what broke off is not uploaded
    way = Redirects(allowed)
    request = urllib.request.Request(url, headers={"User-Agent": "clary-fetch", "Accept-Encoding": "identity"})
    begun = _now()
    try:
        with opener(way).open(request, timeout=SECONDS) as answer:
            digest, size = _copied(answer, partial, limit)
            status, final, headers = int(answer.status), str(answer.geturl()), _headers(answer.headers.items())
    except urllib.error.HTTPError as error:
        raise UserError("{} answered {} {}".format(error.url, error.code, error.reason)) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        why = getattr(error, "reason", None) or error
        raise UserError("{} cannot be fetched: {}".format(url, why if str(why) else type(error).__name__)) from error
    told: Dict[str, Any] = {
        "url": url,
        "final_url": final,
        "redirects": way.taken,
        "status": status,
        "headers": headers,
        "bytes": size,
        "sha256": digest,
        "name": name_of(final),
        "begun": begun,
        "fetched": _now(),
    }
    where = os.path.join(output, "data", digest)
    os.makedirs(where, exist_ok=True)
    shutil.move(partial, os.path.join(where, told["name"]))  # the output is a mount of its own
    where = os.path.join(output, "provenance", digest)
    os.makedirs(where, exist_ok=True)
    with open(os.path.join(where, told["fetched"].replace(":", "") + ".json"), "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)
    return told


def _copied(answer: Any, path: str, limit: int) -> "tuple[str, int]":
    """The body into the file; its SHA-256 and bytes. A body that is shorter than its Content-Length broke off."""
    digest, size = hashlib.sha256(), 0
    length = answer.headers.get("Content-Length")
    with open(path, "wb") as file:
        while True:
            chunk = answer.read(CHUNK)
            if not chunk:
                break
            size += len(chunk)
            if size > limit:
                raise UserError("It has more than {:,} bytes: allow more with --limit.".format(limit))
            digest.update(chunk)
            file.write(chunk)
    if length is not None and size != int(length):
        raise UserError("The source broke off after {:,} of {:,} bytes: nothing is stored.".format(size, int(length)))
    return digest.hexdigest(), size


def name_of(url: str) -> str:
    """What the last part of the path calls it, in letters that an S3 key and a file take."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9._-]", "_", last).strip(".")[-100:] or "content"


# -- what may be reached ------------------------------------------------------------------------------------------------------


def check(url: str, allowed: Sequence[str]) -> str:
    """The entry that allows the URL. UserError where none does, or it is none that is fetched."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UserError("{!r} is no URL: {}".format(url, error)) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise UserError("Only http:// and https:// URLs are fetched, not {!r}.".format(url))
    if "@" in parts.netloc:
        raise UserError("A URL with a name or password in it is not fetched: it would be on record for ever.")
    if re.search(r"[\x00-\x20\\]", url):
        raise UserError("The URL has a space, a backslash or a control character: encode it with %.")
    for entry in allowed:
        if _allows(entry, parts.scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path or "/"):
            return entry
    known = ", ".join(allowed) or "nothing"
    raise UserError(
        "{}://{} may not be reached: the setting egress allows {}. The operator lists hosts and URL prefixes there.".format(
            parts.scheme, parts.netloc, known
        )
    )


def _allows(entry: str, scheme: str, host: str, port: int, path: str) -> bool:
    whole = entry if "://" in entry else "https://" + entry
    parts = urlsplit(whole)
    wanted = (parts.hostname or "").lower()
    below = wanted.startswith("*.") and (host.lower() == wanted[2:] or host.lower().endswith(wanted[1:]))
    if scheme != parts.scheme or port != (parts.port or _PORTS[parts.scheme]) or not (below or host.lower() == wanted):
        return False
    segments = unquote(path).split("/")
    return ".." not in segments and path.startswith(parts.path or "/")


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows where the list allows it, and remembers the way."""

    max_redirections = REDIRECTS

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = allowed
        self.taken: List[str] = []

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[urllib.request.Request]:
        try:
            check(newurl, self._allowed)
        except UserError as error:
            raise UserError("{} leads elsewhere: {}".format(req.full_url, error)) from error
        if req.full_url.startswith("https:") and newurl.startswith("http:"):
            raise UserError("{} leads from https to http, to {}: it is not followed.".format(req.full_url, newurl))
        if len(self.taken) >= REDIRECTS:
            raise UserError("{} leads on more than {} times.".format(self.taken[0], REDIRECTS))
        self.taken.append(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener(way: Redirects) -> urllib.request.OpenerDirector:
    """Asks through the proxies of the environment where there are any, which then resolve names; else what a name resolves to is looked at.
    Nothing but HTTP: no files, no FTP."""
    made = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(),
        _Https(),
        way,
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        made.add_handler(handler)
    return made


def check_address(host: str, address: str) -> None:
    """UserError where a name leads into the machine itself. A literal address is the operator's own word."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inside = found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified
    if inside and host.strip("[]") not in (address, "localhost"):
        raise UserError("{} resolves to {}, an address of the machine itself: it is not fetched.".format(host, address))


class _Watched(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        check_address(self.host, self.sock.getpeername()[0])


class _WatchedTls(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        if not getattr(self, "_tunnel_host", None):
            check_address(self.host, self.sock.getpeername()[0])


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        kind: Any = http.client.HTTPConnection if req.has_proxy() else _Watched
        return self.do_open(kind, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        kind: Any = _WatchedTls
        return self.do_open(kind, req)


def _headers(pairs: Any) -> Dict[str, str]:
    return {name.lower(): value for name, value in pairs if name.lower() not in _SECRET}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    sys.exit(main())
