"""The authority of an installation: made once, and what its certificates say."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from clary.domain.errors import Invalid
from clary.domain.machine.nodes import CERTIFICATE_SECONDS
from clary.stores.authority import CERTIFICATE, KEY, asked_identity, digest_of, expiry, open_authority


def test_it_is_made_once_and_its_key_is_nobody_else_s(tmp_path: Path) -> None:
    made, again = open_authority(tmp_path, time.time()), open_authority(tmp_path, time.time())
    assert made.certificate == again.certificate
    assert made.digest == digest_of((tmp_path / CERTIFICATE).read_text())
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600


def test_a_certificate_names_its_node_whatever_the_request_says(tmp_path: Path) -> None:
    now = float(int(time.time()))
    _, request = asked_identity("somebody-else")
    made = open_authority(tmp_path, now).node("node-1", request, now)
    read = x509.load_pem_x509_certificate(made.encode())
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["clary://node/node-1"]
    assert expiry(made) == now + CERTIFICATE_SECONDS
    assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_request_that_is_none(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, time.time())
    with pytest.raises(Invalid, match="no certificate signing request"):
        authority.node("node-1", "nonsense", time.time())
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(Invalid, match="P-256"):
        authority.node("node-1", other.public_bytes(serialization.Encoding.PEM).decode(), time.time())


def test_a_damaged_authority_is_told_and_not_made_anew(tmp_path: Path) -> None:
    before = open_authority(tmp_path, time.time()).certificate
    (tmp_path / KEY).unlink()
    with pytest.raises(Invalid, match="damaged"):
        open_authority(tmp_path, time.time())
    assert (tmp_path / CERTIFICATE).read_text() == before
