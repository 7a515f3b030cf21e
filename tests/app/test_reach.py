"""URL and certificate are looked at before anything is started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clary.app import edge, reach
from clary.app.settings import Settings, load
from clary.domain.errors import Unavailable

OPENSSL = shutil.which("openssl")


def test_without_tls_there_is_nothing_to_look_at() -> None:
    reach.check(Settings())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("")
    with pytest.raises(Unavailable, match=r"'tls_cert' cannot be read: No such file or directory: .*cert\.pem"):
        reach.check(Settings(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem")))


def test_files_that_are_no_pem(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(Unavailable, match="are no PEM certificate chain and its key"):
        reach.check(Settings(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem")))


needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="makes its certificates with openssl")


def made(folder: Path, name: str, names: str = "", days: int = 2) -> dict[str, str]:
    """A self-signed certificate for these names; the settings that use it."""
    files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
    more = ["-addext", f"subjectAltName={names}"] if names else []
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(days)]
    argv = [str(OPENSSL), "req", "-x509", *kind, *files, "-subj", "/CN=localhost", *more]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return {"tls_cert": str(folder / f"{name}.pem"), "tls_key": str(folder / f"{name}.key")}


@needs_openssl
def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    one, other = made(tmp_path, "a"), made(tmp_path, "b")
    reach.check(Settings(**one))
    with pytest.raises(Unavailable, match="are no PEM certificate chain and its key"):
        reach.check(Settings(**{**one, "tls_key": other["tls_key"]}))


@needs_openssl
def test_a_certificate_that_is_not_for_the_public_host_is_refused(tmp_path: Path) -> None:
    files = made(tmp_path, "a", "DNS:ml.example.org,DNS:*.lab.example.org,IP:10.0.0.7")
    for host in ("ml.example.org", "x.lab.example.org:8443", "10.0.0.7"):
        reach.check(Settings(**files, public_url=f"https://{host}"))
    words = r"is for ml\.example\.org, \*\.lab\.example\.org, 10\.0\.0\.7, not for www\.example\.org, the host of 'public_url'"
    with pytest.raises(Unavailable, match=words):
        reach.check(Settings(**files, public_url="https://www.example.org"))
    reach.check(Settings(**files, public_url="http://www.example.org"))  # somebody's own affair


@needs_openssl
def test_sandboxes_use_the_name_that_the_certificate_has(tmp_path: Path) -> None:
    public = made(tmp_path, "a", "DNS:ml.example.org")
    both = made(tmp_path, "b", "DNS:ml.example.org,IP:127.0.0.1")
    url = "https://ml.example.org"
    assert reach.inside(Settings(**public, public_url=url)) == url
    assert reach.inside(Settings(**both, public_url=url)) == "https://127.0.0.1:4600"
    assert reach.inside(Settings(public_url=url)) == "http://127.0.0.1:4600"
    assert reach.bundle(Settings(**both), url) == both["tls_cert"]
    assert reach.bundle(Settings(), url) == ""
    assert reach.bundle_text(Settings(), url)() == ""
    text = reach.bundle_text(Settings(**both), url)
    assert text().startswith("-----BEGIN CERTIFICATE-----")
    Path(both["tls_cert"]).write_text("renewed")
    assert text() == "renewed"
    Path(both["tls_cert"]).unlink()
    with pytest.raises(Unavailable, match="'tls_cert' cannot be read"):
        text()


@needs_openssl
def test_an_authority_that_the_machine_trusts_makes_a_bundle_needless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = made(tmp_path, "a", "DNS:ml.example.org")
    settings = Settings(**files, public_url="https://ml.example.org")
    assert reach.bundle(settings, settings.client_endpoint) == files["tls_cert"]
    monkeypatch.setenv("SSL_CERT_FILE", files["tls_cert"])  # OpenSSL's own variable: whom this machine trusts
    assert reach.bundle(settings, settings.client_endpoint) == ""
    assert reach.bundle(settings, "https://127.0.0.1:4600") == files["tls_cert"], "it is not for that name"


@needs_openssl
def test_an_expired_certificate_is_a_caution(tmp_path: Path) -> None:
    settings = Settings(
        **made(tmp_path, "a", "DNS:ml.example.org"), public_url="https://ml.example.org", host="0.0.0.0"
    )
    expires = reach.certificate(settings).expires
    assert reach.cautions(settings, expires - 60) == []
    (told,) = reach.cautions(settings, expires + 3 * 86400)
    assert told.endswith("expired 3 days ago: clients refuse it")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ""),
        ({"host": "127.0.0.9"}, ""),
        ({"host": "0.0.0.0"}, "requests to 0.0.0.0:4600 are plain HTTP"),
        ({"host": "::"}, "requests to :::4600 are plain HTTP"),
        ({"host": "ml.example.org"}, "requests to ml.example.org:4600 are plain HTTP"),
        ({"host": "0.0.0.0", "public_url": "https://ml.example.org"}, ""),
        ({"public_url": "http://ml.example.org"}, "clients of http://ml.example.org (public_url) use plain HTTP"),
        ({"public_url": "http://localhost:4600"}, ""),
    ],
)
def test_plain_http_beyond_this_machine_is_a_caution(values: dict[str, str], words: str) -> None:
    told = reach.cautions(Settings(**values), 0.0)  # type: ignore[arg-type]
    assert [sentence[: len(words)] for sentence in told] == ([words] if words else [])


def test_the_public_host_is_allowed(tmp_path: Path) -> None:
    settings = load({"dir": str(tmp_path), "public_url": "https://ml.example.org:8443/", "allowed_hosts": "a"}, {})
    assert settings.client_endpoint == "https://ml.example.org:8443"
    assert settings.further_hosts == ("a", "ml.example.org")
    assert {"a", "ml.example.org", "localhost"} <= set(edge.hosts(settings))
    assert load({"dir": str(tmp_path), "public_url": "http://[::1]:1"}, {}).further_hosts == ("[::1]",)
