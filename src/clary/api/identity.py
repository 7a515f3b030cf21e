"""Authentication: checks a request's signature against the keys, for every service but S3 (which has its own in `objects`)."""

from __future__ import annotations

from collections import OrderedDict

from clary.ports import Clock, Credential, Keys
from clary.wire.autherrors import auth_error
from clary.wire.http import Request
from clary.wire.sigv4 import ClaimedIdentity, check, signing_key

REMEMBERED = 4096


class Identity:
    """`wire.asgi`'s `authenticate`. Derived signing keys are kept (they depend on secret, date, region and service)."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._derived: OrderedDict[tuple[str, str, str, str], bytes] = OrderedDict()

    async def __call__(self, request: Request, claim: ClaimedIdentity) -> Credential:
        """The credential that signed. AuthError otherwise, in the words of the claim's service."""
        target, now = "x-amz-target" in request.headers, self._clock.now()
        credential = self._keys.find(claim.key_id, claim.token or "")
        if credential is None:
            raise auth_error("bad token" if claim.token else "unknown key", claim.service, target=target)
        if credential.expires is not None and credential.expires <= now:
            raise auth_error("expired token", claim.service, target=target)
        check(request, claim, self._key(credential, claim), now)
        return credential

    def _key(self, credential: Credential, claim: ClaimedIdentity) -> bytes:
        scope = (credential.secret, claim.date, claim.region, claim.service)
        key = self._derived.get(scope)
        if key is None:
            key = self._derived[scope] = signing_key(credential.secret, claim.date, claim.region, claim.service)
            if len(self._derived) > REMEMBERED:
                self._derived.popitem(last=False)
        return key
