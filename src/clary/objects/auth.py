"""Authentication: signatures of requests and forms, checked against the keys.

Owns: which scheme a request uses, the cache of derived keys, what a signed payload hash demands of the body. Does not know:
operations and buckets. There is no anonymous request.
"""

from __future__ import annotations

from collections.abc import Mapping

from clary.objects.errors import S3Error
from clary.objects.request import Call
from clary.ports import Credential, Keys
from clary.wire import chunked, postpolicy, sigv2, sigv4
from clary.wire.autherrors import auth_error
from clary.wire.errors import AuthError
from clary.wire.sigv4 import ClaimedIdentity

REMEMBERED = 4096


class Authenticator:
    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._derived: dict[tuple[str, str, str, str], bytes] = {}

    def check(self, call: Call) -> None:
        """Set the call's account and how its body is to be read; AuthError when it is not who it says it is."""
        claim = sigv4.inspect(call, "s3")
        if claim is None:
            claim = sigv2.inspect(call)
            if claim is None:
                raise auth_error("missing", "s3")
        credential = self._credential(claim, call.now)
        if claim.version == 4:
            key = self._key(claim, credential)
            sigv4.check(call, claim, key, call.now)
            self._expect_body(call, claim, key)
        else:
            self._check_old(call, claim, credential)
        call.account = credential.account

    def _check_old(self, call: Call, claim: ClaimedIdentity, credential: Credential) -> None:
        resource = f"/{call.bucket}{call.path}" if call.hosted else call.path
        try:
            sigv2.check(call, claim, credential.secret, call.now, resource=resource)
        except AuthError:
            if call.key or not call.bucket or call.hosted:
                raise
            # botocore signs a bucket's own path with a slash behind it, and sends it without.
            sigv2.check(call, claim, credential.secret, call.now, resource=f"/{call.bucket}/")

    def check_form(self, call: Call, fields: Mapping[str, str]) -> tuple[int, int | None]:
        """The same for a POST form; the smallest and largest size that its policy allows."""
        claim = postpolicy.inspect(fields)
        if claim is None:
            raise auth_error("missing", "s3")
        credential = self._credential(claim, call.now)
        key = self._key(claim, credential) if claim.version == 4 else credential.secret
        postpolicy.check_signature(fields, claim, key)
        call.account = credential.account
        return postpolicy.check_conditions(fields, call.bucket, call.now)

    def accounts(self) -> set[str]:
        """Every account that has a key here."""
        return {credential.account for credential in self._keys.all()}

    def _credential(self, claim: ClaimedIdentity, now: float) -> Credential:
        credential = self._keys.find(claim.key_id, claim.token or "")
        if credential is None:
            raise auth_error("bad token" if claim.token else "unknown key", "s3")
        if credential.expires is not None and credential.expires <= now:
            raise auth_error("expired token", "s3")
        return credential

    def _key(self, claim: ClaimedIdentity, credential: Credential) -> bytes:
        if claim.service != "s3":
            raise auth_error("scope", "s3", detail=f"correct service: 's3', not {claim.service!r}")
        scope = (credential.secret, claim.date, claim.region, claim.service)
        key = self._derived.get(scope)
        if key is None:
            if len(self._derived) >= REMEMBERED:
                self._derived.clear()
            key = self._derived[scope] = sigv4.signing_key(credential.secret, claim.date, claim.region, claim.service)
        return key

    def _expect_body(self, call: Call, claim: ClaimedIdentity, key: bytes) -> None:
        payload = claim.payload_hash
        if payload is None or payload == sigv4.UNSIGNED:
            return
        if claim.chunked:
            length = call.header("x-amz-decoded-content-length")
            if not length.isdecimal() or len(length) > 15:
                raise S3Error("MissingContentLength")
            call.decoder = chunked.decoder(claim, key, int(length), call.header("x-amz-trailer"))
        elif len(payload) == 64:
            call.body_sha256 = payload
        else:
            raise S3Error(
                "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-... or a valid sha256 value.",
                ArgumentName="x-amz-content-sha256", ArgumentValue=payload[:100],
            )  # fmt: skip
