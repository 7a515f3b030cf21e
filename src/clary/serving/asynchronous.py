"""How a front knows a prediction that the control plane asks for an asynchronous endpoint's queue.

It is an ordinary signed InvokeEndpoint over the front's own socket, signed with a key that no client can have: its id is none that a
key pair can get, its secret is derived from Clary's own, and what stands for the session token is the account. So there is no mark
that could be forged, and no door beside the one that checks signatures. The other end is `predictor.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clary.serving.invoke import Refusal
from clary.serving.keys import SigningKey
from clary.wire.sigv4 import signing_key

KEY_ID = "clary-asynchronous"
PRINCIPAL = "clary:asynchronous"
TIMEOUT_HEADER = "x-clary-timeout"


def answer_key(question: Mapping[str, Any], secret: str) -> dict[str, Any]:
    """What a front that asks for this key is told."""
    derived = signing_key(secret, str(question["date"]), str(question["region"]), "sagemaker")
    account = str(question["session_token"])
    return {"key": derived.hex(), "account": account, "principal": PRINCIPAL, "expires": None}


def timeout_of(name: str, asynchronous: bool, key: SigningKey, headers: Mapping[str, str]) -> float:
    """The deadline that a request brings along (0: the variant's own). Refusal when it is not for this kind of endpoint."""
    if key.principal == PRINCIPAL:
        if not asynchronous:
            raise Refusal(400, "ValidationError", f"Endpoint {name} is not asynchronous any more.")
        return float(headers.get(TIMEOUT_HEADER, "0"))
    if asynchronous:
        raise Refusal(400, "ValidationError", f"Endpoint {name} is asynchronous: it takes InvokeEndpointAsync only.")
    return 0.0
