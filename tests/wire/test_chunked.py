"""aws-chunked bodies in every form and in any pieces; and everything that can be wrong with one."""

import base64
import hashlib
import hmac
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.wire.checksums import checksum
from clary.wire.chunked import ChunkDecoder, decoder
from clary.wire.errors import AuthError, ServiceError
from clary.wire.sigv4 import EMPTY_SHA256, ClaimedIdentity, signing_key

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
KEY = signing_key("secret", "20260101", "eu-central-1", "s3")
STAMP, SCOPE = "20260101T000000Z", "20260101/eu-central-1/s3/aws4_request"
CHUNKS = [b"a" * 1000, b"b" * 1000, b"c" * 77]


def claim(form: str) -> ClaimedIdentity:
    return ClaimedIdentity(4, "key", "20260101", "eu-central-1", "s3", STAMP, "host", "5eed", None, form, None)


def encoded(form: str, chunks: list[bytes], algorithm: str = "crc32", seed: str = "5eed") -> bytes:
    previous = seed

    def sign(title: str, *hashes: str) -> str:
        text = "\n".join([title, STAMP, SCOPE, previous, *hashes])
        return hmac.digest(KEY, text.encode(), "sha256").hex()

    out = b""
    for chunk in [*chunks, b""]:
        size = f"{len(chunk):x}".encode()
        if form != UNSIGNED_TRAILER:
            previous = sign("AWS4-HMAC-SHA256-PAYLOAD", EMPTY_SHA256, hashlib.sha256(chunk).hexdigest())
            size += b";chunk-signature=" + previous.encode()
        out += size + b"\r\n" + chunk + (b"\r\n" if chunk or form == SIGNED else b"")
    if form == SIGNED:
        return out
    found = checksum(algorithm)
    found.update(b"".join(chunks))
    line = f"x-amz-checksum-{algorithm}:{base64.b64encode(found.digest()).decode()}"
    out += line.encode() + b"\r\n"
    if form == SIGNED_TRAILER:
        mark = sign("AWS4-HMAC-SHA256-TRAILER", hashlib.sha256(line.encode() + b"\n").hexdigest())
        out += b"x-amz-trailer-signature:" + mark.encode() + b"\r\n"
    return out + b"\r\n"


def made(form: str, length: int, algorithm: str = "crc32") -> ChunkDecoder:
    return decoder(claim(form), KEY, length, None if form == SIGNED else f"x-amz-checksum-{algorithm}")


def decoded(form: str, body: bytes, length: int, step: int = 1 << 30, algorithm: str = "crc32") -> bytes:
    reader = made(form, length, algorithm)
    out = b"".join(reader.feed(body[at : at + step]) for at in range(0, len(body), step))
    reader.finish()
    return out


@pytest.mark.parametrize("form", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_decodes_in_any_pieces(form: str, step: int) -> None:
    assert decoded(form, encoded(form, CHUNKS), 2077, step) == b"".join(CHUNKS)


@pytest.mark.parametrize("algorithm", ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"])
def test_every_checksum(algorithm: str) -> None:
    body = encoded(UNSIGNED_TRAILER, CHUNKS, algorithm)
    assert decoded(UNSIGNED_TRAILER, body, 2077, algorithm=algorithm) == b"".join(CHUNKS)
    with pytest.raises(ServiceError) as caught:
        decoded(UNSIGNED_TRAILER, body.replace(b"aaaa", b"aaba", 1), 2077, algorithm=algorithm)
    assert caught.value.code == "BadDigest"


@pytest.mark.parametrize("form", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_an_empty_body(form: str) -> None:
    assert decoded(form, encoded(form, []), 0) == b""


def test_nothing_of_a_forged_chunk_comes_out() -> None:
    body = encoded(SIGNED, CHUNKS).replace(b"bbb", b"b!b", 1)
    reader = made(SIGNED, 2077)
    out: list[bytes] = []

    def feed_all() -> None:
        out.extend(reader.feed(body[at : at + 1]) for at in range(len(body)))

    with pytest.raises(AuthError, match="SignatureDoesNotMatch"):
        feed_all()
    assert b"".join(out) == CHUNKS[0]


def test_the_chain_starts_at_the_request() -> None:
    with pytest.raises(AuthError):
        decoded(SIGNED, encoded(SIGNED, CHUNKS, seed="other"), 2077)


def test_a_trailer_is_signed() -> None:
    body = encoded(SIGNED_TRAILER, CHUNKS)
    at = body.index(b"x-amz-trailer-signature:") + len(b"x-amz-trailer-signature:")
    for spoilt in (body[:at] + b"0" * 64 + body[at + 64 :], body[: at - 24] + b"\r\n"):
        with pytest.raises(AuthError):
            decoded(SIGNED_TRAILER, spoilt, 2077)


@pytest.mark.parametrize("length", [0, 2076, 2078])
def test_the_decoded_length_is_as_announced(length: int) -> None:
    with pytest.raises(ServiceError):
        decoded(SIGNED, encoded(SIGNED, CHUNKS), length)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"zz\r\n",
        b"-1\r\n",
        b"fffffffffffffffff\r\n",
        b"4\r\ndataXX",
        b"4\r\ndata\r\n0\r\n\r\n",
        b"4\r\ndata\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n",
        b"4\r\ndata\r\n0\r\nno colon\r\n\r\n",
        b"4\r\ndata\r\n0\r\nx-amz-checksum-crc32:rfPz6A==\r\n\r\nmore",
        b"4" * 2000,
    ],
)
def test_malformed_bodies_are_refused(body: bytes) -> None:
    with pytest.raises(ServiceError):
        decoded(UNSIGNED_TRAILER, body, 4)


@pytest.mark.parametrize("cut", [0, 1, 5, 500, -1, -3])
def test_a_body_that_stops_early_is_refused(cut: int) -> None:
    with pytest.raises(ServiceError) as caught:
        decoded(UNSIGNED_TRAILER, encoded(UNSIGNED_TRAILER, CHUNKS)[:cut], 2077)
    assert caught.value.code == "IncompleteBody"


DISAGREEING = [
    (SIGNED, "x-amz-checksum-crc32"),
    (UNSIGNED_TRAILER, None),
    (UNSIGNED_TRAILER, "x-amz-meta-a"),
    (UNSIGNED_TRAILER, "x-amz-checksum-crc128"),
]


@pytest.mark.parametrize(("form", "trailers"), DISAGREEING)
def test_headers_that_do_not_agree_are_refused(form: str, trailers: str | None) -> None:
    with pytest.raises(ServiceError):
        decoder(claim(form), KEY, 1, trailers)


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(1, 50), st.sampled_from([SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER]))
def test_noise_only_raises_service_errors(body: bytes, step: int, form: str) -> None:
    try:
        decoded(form, body, 10, step)
    except ServiceError:
        pass


@given(st.lists(st.binary(max_size=200), max_size=5), st.integers(1, 64))
def test_checksums_do_not_depend_on_the_pieces(parts: list[bytes], step: int) -> None:
    whole = b"".join(parts)
    for algorithm in ("crc32", "crc32c", "crc64nvme"):
        one, many = checksum(algorithm), checksum(algorithm)
        one.update(whole)
        for at in range(0, len(whole), step):
            many.update(whole[at : at + step])
        assert one.digest() == many.digest()
    assert int.from_bytes(_crc32(whole), "big") == zlib.crc32(whole)


def _crc32(data: bytes) -> bytes:
    found = checksum("crc32")
    found.update(data)
    return found.digest()
