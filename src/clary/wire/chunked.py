"""S3's ``aws-chunked`` bodies, decoded piece by piece.

Owns: the framing, the chain of chunk signatures, signed and unsigned trailers and their checksums. Does not know:
sockets and storage: bytes are fed as they come and the payload comes out as soon as it is known to be right. A signed
chunk is held until its signature is checked, so nothing unverified leaves; unsigned chunks pass straight through and
the trailer's checksum is checked at the end, before ``finish`` returns.

Forms: ``STREAMING-AWS4-HMAC-SHA256-PAYLOAD``, ``…-PAYLOAD-TRAILER``, ``STREAMING-UNSIGNED-PAYLOAD-TRAILER`` ("Signature
calculations for the authorization header: transferring payload in multiple chunks", S3 API Reference).
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from clary.wire.autherrors import auth_error
from clary.wire.checksums import ALGORITHMS, Checksum, checksum
from clary.wire.errors import ServiceError
from clary.wire.sigv4 import EMPTY_SHA256, ClaimedIdentity

MAX_SIGNED_CHUNK = 16 * 1024 * 1024
_MAX_LINE = 1024
_MAX_TRAILER = 16 * 1024


class ChunkSigner:
    """The chain of signatures that starts from the request's own: each chunk signs the one before."""

    def __init__(self, key: bytes, claim: ClaimedIdentity) -> None:
        self._key = key
        scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
        self._chunk = f"AWS4-HMAC-SHA256-PAYLOAD\n{claim.timestamp}\n{scope}\n"
        self._trailer = f"AWS4-HMAC-SHA256-TRAILER\n{claim.timestamp}\n{scope}\n"
        self._previous = claim.signature

    def check_chunk(self, digest: str, signature: str) -> None:
        """Raise AuthError unless ``signature`` is that of the next chunk, whose SHA-256 is ``digest`` (hex)."""
        self._compare(f"{self._chunk}{self._previous}\n{EMPTY_SHA256}\n{digest}", signature)

    def check_trailer(self, digest: str, signature: str) -> None:
        """Raise AuthError unless ``signature`` is that of the trailer, whose SHA-256 is ``digest`` (hex)."""
        self._compare(f"{self._trailer}{self._previous}\n{digest}", signature)

    def _compare(self, text: str, signature: str) -> None:
        wanted = hmac.digest(self._key, text.encode(), "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace")):
            raise auth_error("mismatch", "s3")
        self._previous = wanted


def decoder(claim: ClaimedIdentity, key: bytes, decoded_length: int, trailers: str | None) -> ChunkDecoder:
    """The decoder that a request's ``x-amz-content-sha256``, ``x-amz-decoded-content-length`` and ``x-amz-trailer`` ask for.

    ``key`` is the derived signing key (unused where chunks are unsigned).
    """
    form = claim.payload_hash or ""
    signer = None if form.startswith("STREAMING-UNSIGNED") else ChunkSigner(key, claim)
    names = [name.strip().lower() for name in (trailers or "").split(",") if name.strip()]
    if bool(names) != form.endswith("-TRAILER"):
        raise _malformed("x-amz-trailer and x-amz-content-sha256 do not agree")
    return ChunkDecoder(decoded_length, signer, names)


class ChunkDecoder:
    """Takes the encoded body in any pieces, gives the payload; raises on the first thing that is wrong."""

    def __init__(self, decoded_length: int, signer: ChunkSigner | None, trailers: list[str]) -> None:
        self._left = decoded_length
        self._signer = signer
        self._sums = {name: _trailer_sum(name) for name in trailers}
        self._held = bytearray()
        self._state = self._size_line
        self._remaining = 0
        self._signature = ""
        self._done = False
        self.trailers: dict[str, str] = {}

    @property
    def done(self) -> bool:
        """Whether the last chunk and the trailers have been read and were right."""
        return self._done

    def feed(self, data: bytes) -> bytes:
        """The payload bytes that are known to be right now."""
        self._held += data
        out: list[bytes] = []
        while self._state(out):
            pass
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> None:
        """Raise unless the body has ended where it had to."""
        if not self._done:
            raise ServiceError("IncompleteBody", "The request body terminated unexpectedly", 400)

    # Each state consumes what it can and says whether the next may go on.

    def _size_line(self, out: list[bytes]) -> bool:
        line = self._take_line(_MAX_LINE)
        if line is None:
            return False
        text, _, extension = line.partition(b";")
        if not text or len(text) > 12 or text.strip(b"0123456789abcdefABCDEF"):
            raise _malformed("a chunk has no size")
        size = int(text, 16)
        self._signature = ""
        if self._signer is not None:
            name, _, value = extension.partition(b"=")
            if name.strip() != b"chunk-signature":
                raise _malformed("a chunk has no signature")
            self._signature = value.strip().decode("latin-1")
            if size > MAX_SIGNED_CHUNK:
                raise _malformed(f"a signed chunk exceeds {MAX_SIGNED_CHUNK} bytes")
        if size > self._left:
            raise _malformed("the body is longer than x-amz-decoded-content-length")
        self._remaining = size
        if size == 0:
            if self._left:
                raise _malformed("the body is shorter than x-amz-decoded-content-length")
            if self._signer is not None:
                self._signer.check_chunk(EMPTY_SHA256, self._signature)
            self._state = self._trailer
        else:
            self._state = self._data if self._signer is None else self._signed_data
        return True

    def _data(self, out: list[bytes]) -> bool:
        if not self._held:
            return False
        piece = bytes(self._held[: self._remaining])
        del self._held[: len(piece)]
        self._remaining -= len(piece)
        self._give(piece, out)
        if self._remaining:
            return False
        self._state = self._chunk_end
        return True

    def _signed_data(self, out: list[bytes]) -> bool:
        if len(self._held) < self._remaining:
            return False
        piece = bytes(self._held[: self._remaining])
        del self._held[: self._remaining]
        if self._signer is not None:
            self._signer.check_chunk(hashlib.sha256(piece).hexdigest(), self._signature)
        self._give(piece, out)
        self._state = self._chunk_end
        return True

    def _give(self, piece: bytes, out: list[bytes]) -> None:
        for found in self._sums.values():
            found.update(piece)
        self._left -= len(piece)
        out.append(piece)

    def _chunk_end(self, out: list[bytes]) -> bool:
        if len(self._held) < 2:
            return False
        if self._held[:2] != b"\r\n":
            raise _malformed("a chunk is longer than its size")
        del self._held[:2]
        self._state = self._size_line
        return True

    def _trailer(self, out: list[bytes]) -> bool:
        line = self._take_line(_MAX_TRAILER)
        if line is None:
            return False
        if line:
            name, colon, value = line.partition(b":")
            if not colon or len(self.trailers) > 16:
                raise _malformed("a trailer is malformed")
            self.trailers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
            return True
        self._check_trailers()
        self._done = True
        self._state = self._nothing_more
        return True

    def _nothing_more(self, out: list[bytes]) -> bool:
        if self._held and bytes(self._held).strip(b"\r\n"):
            raise _malformed("bytes follow the last chunk")
        return False

    def _check_trailers(self) -> None:
        stated = dict(self.trailers)
        signature = stated.pop("x-amz-trailer-signature", None)
        if set(stated) != set(self._sums):
            raise _malformed("the trailers are not those that x-amz-trailer announced")
        if self._signer is not None and self._sums:
            text = "".join(f"{name}:{value}\n" for name, value in sorted(stated.items()))
            self._signer.check_trailer(hashlib.sha256(text.encode("latin-1")).hexdigest(), signature or "")
        for name, found in self._sums.items():
            if stated[name] != base64.b64encode(found.digest()).decode():
                algorithm = name.removeprefix("x-amz-checksum-").upper()
                raise ServiceError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")

    def _take_line(self, limit: int) -> bytes | None:
        end = self._held.find(b"\r\n", 0, limit + 2)
        if end < 0:
            if len(self._held) > limit:
                raise _malformed("a line is too long")
            return None
        line = bytes(self._held[:end])
        del self._held[: end + 2]
        return line


def _trailer_sum(name: str) -> Checksum:
    algorithm = name.removeprefix("x-amz-checksum-")
    if not name.startswith("x-amz-checksum-") or algorithm not in ALGORITHMS:
        raise ServiceError(
            "InvalidRequest", f"The value specified in the x-amz-trailer header is not supported: {name:.80}"
        )
    return checksum(algorithm)


def _malformed(why: str) -> ServiceError:
    return ServiceError("InvalidRequest", f"The aws-chunked body is malformed: {why}.", 400)
