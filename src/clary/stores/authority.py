"""The certificate authority of an installation, by which its heads and nodes know each other: files in `keys/` (`nodes-ca.pem` with the
certificate, `nodes-ca.key` with the key, which only heads have).

P-256 throughout. A certificate names its owner as a URI (`domain/machine/nodes.py`), holds for a day, and is good for one end of a
connection only: a node cannot be taken for a head. Needs the extra `clary[nodes]`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from clary.domain.errors import Invalid, Unavailable
from clary.domain.machine.nodes import CERTIFICATE_SECONDS, HEAD, NODE, check_name

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:
    raise Unavailable("nodes need the Python package cryptography: install clary[nodes] on every machine") from error

CERTIFICATE, KEY = "nodes-ca.pem", "nodes-ca.key"
_AGES = timedelta(days=3650)
_SKEW = timedelta(minutes=15)  # by which clocks of machines may differ


@dataclass(frozen=True, slots=True)
class Identity:
    """A key and its certificate, as PEM."""

    certificate: str
    key: str

    @property
    def expires(self) -> float:
        """Epoch seconds."""
        return expiry(self.certificate)


@dataclass(frozen=True, slots=True)
class Authority:
    """`certificate` is what others trust (PEM)."""

    certificate: str
    _key: ec.EllipticCurvePrivateKey

    @property
    def digest(self) -> str:
        return digest_of(self.certificate)

    def head(self, name: str, now: float) -> Identity:
        """A new certificate of a head."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._issue(HEAD + check_name(name), key.public_key(), ExtendedKeyUsageOID.SERVER_AUTH, now)
        return Identity(made, _pem(key))

    def node(self, name: str, request: str, now: float) -> str:
        """The certificate (PEM) of a node that asks with this signing request (PEM). Its name is the caller's word, never the request's.
        Invalid where the request is not one of ours."""
        try:
            asked = x509.load_pem_x509_csr(request.encode())
            key = asked.public_key()
            good = asked.is_signature_valid
        except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise Invalid(f"that is no certificate signing request: {error}") from error
        if not good or not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Invalid("a node's key is one of the curve P-256, and signs its own request")
        return self._issue(NODE + check_name(name), key, ExtendedKeyUsageOID.CLIENT_AUTH, now)

    def _issue(self, uri: str, key: ec.EllipticCurvePublicKey, use: x509.ObjectIdentifier, now: float) -> str:
        begins = datetime.fromtimestamp(now, UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.load_pem_x509_certificate(self.certificate.encode()).subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins - _SKEW)
            .not_valid_after(begins + timedelta(seconds=CERTIFICATE_SECONDS))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode()


def open_authority(folder: Path, now: float) -> Authority:
    """That of this folder; made where there is none. Invalid where its files are damaged."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / ".nodes-ca.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / CERTIFICATE).exists():
            made, fresh = _new(now)
            _write(folder / KEY, _pem(fresh))
            _write(folder / CERTIFICATE, made)  # last: with it the authority is there
        certificate = (folder / CERTIFICATE).read_text()
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
    except (ValueError, FileNotFoundError) as error:
        raise Invalid(f"{folder / CERTIFICATE} or {folder / KEY} is damaged: restore both from a backup") from error
    finally:
        os.close(lock)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Invalid(f"{folder / KEY} is no key of the curve P-256")
    return Authority(certificate, key)


def asked_identity(name: str) -> tuple[str, str]:
    """A new key of a node, and its signing request; both PEM. The key never leaves the node."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(name)).sign(key, hashes.SHA256())
    return _pem(key), request.public_bytes(serialization.Encoding.PEM).decode()


def expiry(certificate: str) -> float:
    """When a certificate (PEM) ends, in epoch seconds."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc.timestamp()


def digest_of(certificate: str) -> str:
    """SHA-256 of a certificate (PEM), hexadecimal. Invalid where it is none."""
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise Invalid("that is no certificate") from error
    return hashlib.sha256(found.public_bytes(serialization.Encoding.DER)).hexdigest()


def _new(now: float) -> tuple[str, ec.EllipticCurvePrivateKey]:
    key, begins = ec.generate_private_key(ec.SECP256R1()), datetime.fromtimestamp(now, UTC)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name("Clary nodes"))
        .issuer_name(_name("Clary nodes"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - _SKEW)
        .not_valid_after(begins + _AGES)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), key


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    form, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(form, kind, serialization.NoEncryption()).decode()


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(path.suffix + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
