"""Lambda's Invoke: a function runs where functions run (`ports.Functions`); an event that may wait is a record, which a loop takes up."""

from __future__ import annotations

import base64
import json

from clary.api.call import Call, Params
from clary.api.errors import ApiError
from clary.api.lambda_functions.functions import called
from clary.api.registry import operation
from clary.domain.errors import Invalid
from clary.domain.functions import events
from clary.domain.functions import record as functions


@operation("lambda", "Invoke")
async def invoke(call: Call, params: Params) -> Params:
    """Run the function and answer what it returns (RequestResponse), keep the event for it (Event), or only check (DryRun)."""
    id_ = call.new_id()
    function = await called(call, params["FunctionName"], params.get("Qualifier"), id_)
    payload = bytes(params.get("Payload") or b"")
    kind = params.get("InvocationType") or "RequestResponse"
    most = functions.LARGEST_EVENT if kind == "Event" else functions.LARGEST_PAYLOAD
    if len(payload) > most:
        raise ApiError(
            "RequestTooLargeException",
            f"Request must be smaller than {most} bytes for the {kind} invocation type; this has {len(payload)}",
            413,
        )
    _check(payload)
    context = _context(params.get("ClientContext"))
    if kind == "DryRun":
        return {"StatusCode": 204}
    if kind == "Event":
        await call.store.add(events.new(function, payload.decode(), call.now, id_, context))
        return {"StatusCode": 202}
    tail = params.get("LogType") == "Tail"
    done = await call.ports.functions.invoke(function, payload, id_=id_, client_context=context, tail=tail)
    answer: Params = {"StatusCode": 200, "Payload": done.payload, "ExecutedVersion": functions.version(function)}
    if done.error:
        answer["FunctionError"] = done.error
    if tail:
        answer["LogResult"] = base64.b64encode(done.log).decode()
    return answer


def _check(payload: bytes) -> None:
    try:
        json.loads(payload or b"{}")
    except (ValueError, RecursionError) as error:
        raise ApiError(
            "InvalidRequestContentException", f"Could not parse request body into json: {str(error)[:200]}", 400
        ) from None


def _context(text: str | None) -> str:
    """The client's context, as JSON."""
    if not text:
        return ""
    try:
        found = base64.b64decode(text, validate=True).decode()
        json.loads(found)
    except (ValueError, RecursionError):
        raise Invalid("Client context must be a valid Base64-encoded JSON object.") from None
    return found
