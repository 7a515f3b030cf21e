"""The edge's certificate is looked at before anything is started."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clary.app.edge import check_certificate
from clary.app.settings import Settings
from clary.domain.errors import Unavailable

OPENSSL = shutil.which("openssl")


def test_without_tls_there_is_nothing_to_look_at() -> None:
    check_certificate(Settings())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("")
    with pytest.raises(Unavailable, match=r"'tls_cert' cannot be read: No such file or directory: .*cert\.pem"):
        check_certificate(Settings(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem")))


def test_files_that_are_no_pem(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(Unavailable, match="are no PEM certificate chain and its key"):
        check_certificate(Settings(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem")))


@pytest.mark.skipif(OPENSSL is None, reason="makes its certificates with openssl")
def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    for name in ("a", "b"):
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.pem")]
        argv = [str(OPENSSL), "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, "-subj", "/CN=localhost"]
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    check_certificate(Settings(tls_cert=str(tmp_path / "a.pem"), tls_key=str(tmp_path / "a.key")))
    with pytest.raises(Unavailable, match="are no PEM certificate chain and its key"):
        check_certificate(Settings(tls_cert=str(tmp_path / "a.pem"), tls_key=str(tmp_path / "b.key")))
