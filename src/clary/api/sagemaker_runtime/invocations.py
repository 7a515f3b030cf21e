"""InvokeEndpointAsync: the call is recorded and answered; the loop of asynchronous inference does what it asks for.

Predictions that a client waits for never come here: the fronts answer them.
"""

from __future__ import annotations

from clary.api.call import Call, Params
from clary.api.registry import operation
from clary.domain.endpoints import async_inference
from clary.domain.errors import AlreadyExists, Invalid, NotFound
from clary.domain.resources import Record


@operation("sagemaker-runtime", "InvokeEndpointAsync")
async def invoke_endpoint_async(call: Call, params: Params) -> Params:
    """Queue the invocation, durably, once: a client's own retry of it gets the first one's answer."""
    name = params["EndpointName"]
    endpoint = await call.store.get("endpoint", call.scope, name)
    config = None if endpoint is None else async_inference.config_of(endpoint)
    if endpoint is None or config is None:
        raise NotFound(f"Endpoint {name} of account {call.scope.account} not found.")
    if not config:
        raise Invalid(
            f"Endpoint {name} is not asynchronous: it takes InvokeEndpoint only (its config has no AsyncInferenceConfig)."
        )
    id_ = async_inference.retry_name(endpoint.arn, call.retry_token, params) if call.retry_token else call.new_id()
    document = async_inference.document(params, config, call.scope, id_)
    kind = async_inference.KIND
    record = Record(kind, call.scope, id_, call.arn(kind, id_), async_inference.QUEUED, call.now, call.now, document)
    try:
        await call.store.add(record)
    except AlreadyExists:
        found = await call.store.get(kind, call.scope, id_)
        document = dict(found.document) if found is not None else document
    answer = {"InferenceId": document["inference"], "OutputLocation": document["output"]}
    return {**answer, "FailureLocation": document["failure"]} if document["failure"] else answer
