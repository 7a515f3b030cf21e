"""What Clary will not have of Lambda."""

from __future__ import annotations

from collections.abc import Mapping

_LAYERS = (
    "Clary has no layers. Put the packages into the function's archive: numpy, pandas and boto3 are there without."
)
_SOURCES = (
    "Clary polls no queues or streams for functions. Let an EventBridge rule or a schedule invoke the function, or SNS."
)
_URLS = "Clary has no function URLs. Call Invoke; an endpoint serves requests over HTTP."
_CONCURRENCY = "Clary reserves no sandboxes: those that are there are used again for five minutes."

ROWS: Mapping[tuple[str, str], str] = {
    **{
        ("lambda", name): _LAYERS
        for name in (
            "PublishLayerVersion",
            "GetLayerVersion",
            "GetLayerVersionByArn",
            "DeleteLayerVersion",
            "ListLayers",
            "ListLayerVersions",
            "AddLayerVersionPermission",
            "RemoveLayerVersionPermission",
            "GetLayerVersionPolicy",
        )
    },
    **{
        ("lambda", f"{verb}EventSourceMapping{'s' if verb == 'List' else ''}"): _SOURCES
        for verb in ("Create", "Get", "List", "Update", "Delete")
    },
    **{
        ("lambda", f"{verb}FunctionUrlConfig{'s' if verb == 'List' else ''}"): _URLS
        for verb in ("Create", "Get", "List", "Update", "Delete")
    },
    **{
        ("lambda", f"{verb}ProvisionedConcurrencyConfig{'s' if verb == 'List' else ''}"): _CONCURRENCY
        for verb in ("Put", "Get", "List", "Delete")
    },
    **{("lambda", f"{verb}FunctionConcurrency"): _CONCURRENCY for verb in ("Put", "Get", "Delete")},
}
