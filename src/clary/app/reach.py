"""By which URL and certificate clients reach Clary, from elsewhere and from inside sandboxes.

A certificate is looked at by a TLS handshake in memory: what OpenSSL says of it here, it says to clients too. Owns nothing; refuses to
know nginx.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clary.app.settings import Settings
from clary.domain.errors import Unavailable

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL: whose it is and how old it is are asked apart
_LOOPBACK_NAMES = ("localhost",)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The first certificate of a chain: the names that it is for, and when it expires (epoch seconds)."""

    names: tuple[str, ...]
    expires: float


def check(settings: Settings) -> None:
    """Unavailable when TLS cannot be spoken with the certificate and key of the settings, or clients of `public_url` would not accept
    the certificate."""
    if not settings.tls_cert:
        return
    for name in ("tls_cert", "tls_key"):
        path = getattr(settings, name)
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise Unavailable(f"'{name}' cannot be read: {error.strerror}: {path}") from error
    _server(settings)
    host = urlsplit(settings.public_url).hostname if settings.public_url.startswith("https:") else None
    if host and not matches(settings, host):
        names = ", ".join(certificate(settings).names) or "no host"
        raise Unavailable(
            f"the certificate {settings.tls_cert} is for {names}, not for {host}, the host of 'public_url': get one that names it"
        )


def certificate(settings: Settings) -> Certificate:
    """What the certificate of the settings says. Unavailable when it cannot be used."""
    said = _handshake(settings, None, settings.tls_cert)
    return Certificate(
        tuple(value for _, value in said.get("subjectAltName", ())),
        float(ssl.cert_time_to_seconds(said["notAfter"])),
    )


def matches(settings: Settings, host: str) -> bool:
    """Whether a client that asks for `host` accepts the certificate, apart from who signed it and when."""
    try:
        _handshake(settings, host, settings.tls_cert)
    except ssl.SSLCertVerificationError:
        return False
    return True


def vouched(settings: Settings, host: str) -> bool:
    """Whether an authority that this machine trusts has signed the certificate for `host`: then clients need no bundle."""
    try:
        _handshake(settings, host, None)
    except (ssl.SSLError, Unavailable):
        return False
    return True


def bundle(settings: Settings, url: str) -> str:
    """What AWS_CA_BUNDLE should be for clients of this URL; "" where they need none."""
    if not settings.tls_cert or not url.startswith("https:") or vouched(settings, urlsplit(url).hostname or ""):
        return ""
    return os.path.abspath(settings.tls_cert)


def bundle_text(settings: Settings, url: str) -> Callable[[], str]:
    """What is in that file, read anew for each sandbox that is to have it: the certificate may be renewed meanwhile. "" where clients of
    this URL need none; Unavailable where the file cannot be read."""
    path = bundle(settings, url)

    def text() -> str:
        try:
            return Path(path).read_text() if path else ""
        except OSError as error:
            raise Unavailable(f"'tls_cert' cannot be read: {error.strerror}: {path}") from error

    return text


def inside(settings: Settings) -> str:
    """What AWS_ENDPOINT_URL should be in sandboxes: this machine's own address, unless the certificate is not for that one but for
    `public_url`."""
    own = urlsplit(settings.endpoint).hostname or ""
    public = settings.tls_cert and settings.public_url.startswith("https:")
    return settings.public_url if public and not matches(settings, own) else settings.endpoint


def is_loopback(host: str) -> bool:
    """Whether nobody beyond this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host in _LOOPBACK_NAMES


def cautions(settings: Settings, now: float) -> list[str]:
    """What a person should know about the way to Clary before others use them: a sentence each."""
    found = []
    if not settings.tls_cert and not is_loopback(settings.host) and not settings.public_url.startswith("https:"):
        found.append(
            f"requests to {settings.host}:{settings.port} are plain HTTP: everyone on the way can read and change data and answers; "
            "set tls_cert and tls_key, or put a TLS proxy in front and name it with public_url"
        )
    elif settings.public_url.startswith("http:") and not is_loopback(urlsplit(settings.public_url).hostname or ""):
        found.append(f"clients of {settings.public_url} (public_url) use plain HTTP: everyone on the way can read it")
    if settings.tls_cert and (left := certificate(settings).expires - now) < 0:
        found.append(f"the certificate {settings.tls_cert} expired {-left / 86400:.0f} days ago: clients refuse it")
    return found


def _server(settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", "") or ""
        raise Unavailable(
            f"'tls_cert' and 'tls_key' are no PEM certificate chain and its key, without a passphrase: {settings.tls_cert}, "
            f"{settings.tls_key}" + (f" ({reason})" if reason else "")
        ) from error
    except OSError as error:
        raise Unavailable(f"'tls_cert' or 'tls_key' cannot be read: {error.strerror}: {error.filename}") from error
    return context


def _handshake(settings: Settings, host: str | None, trusted: str | None) -> dict[str, Any]:
    """The certificate as a client sees it that asks for `host` (None: whatever it is called) and trusts the certificates of the file
    `trusted` (None: those of this machine, and looks at the date). ssl.SSLError when it refuses."""
    if trusted is None:
        client = ssl.create_default_context()
    else:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(cafile=trusted)
        client.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    client.check_hostname = host is not None
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=host)
    other = _server(settings).wrap_bio(to_server, to_client, server_side=True)
    left = [one, other]
    for _ in range(20):
        for side in list(left):
            try:
                side.do_handshake()
                left.remove(side)
            except ssl.SSLWantReadError:
                continue
        if one not in left:
            return dict(one.getpeercert() or {})
    raise ssl.SSLError("the handshake did not end")
