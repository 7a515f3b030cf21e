"""botocore's service models, loaded when first asked for and kept.

Owns: where models come from. Does not know: which services Clary answers. Importing botocore takes a tenth of a
second and loading sagemaker's model as long again, hence nothing here happens at import.

What is kept is lean, for each process has a copy: botocore's own reader keeps every page of the reference's prose and makes
OrderedDicts, which takes three times the memory.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel


def lean(payload: bytes) -> Any:
    """A model file's JSON. Of the documentation only what may tell a default is left."""

    def without_prose(found: dict[str, Any]) -> dict[str, Any]:
        told = found.get("documentation")
        if isinstance(told, str) and "default" not in told:  # a member may have this name too
            del found["documentation"]
        return found

    return json.loads(payload, object_hook=without_prose)


def share(description: Any) -> None:
    """Let equal objects within a model be one, where they hold only plain values. Only when nothing changes them any more: the loader
    merges further files into a model."""
    known: dict[tuple[tuple[str, Any], ...], dict[str, Any]] = {}
    waiting = [description]
    while waiting:
        holder = waiting.pop()
        for place, held in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if isinstance(held, dict):
                try:
                    holder[place] = known.setdefault(tuple(held.items()), held)
                    continue
                except TypeError:  # it holds a list or an object
                    pass
            if isinstance(held, dict | list):
                waiting.append(held)


@cache
def _loader() -> Loader:
    from botocore.loaders import JSONFileLoader, Loader

    class LeanFiles(JSONFileLoader):  # type: ignore[misc]
        def _load_file(self, full_path: str, open_method: Any) -> Any:
            try:
                with open_method(full_path, "rb") as file:
                    payload = file.read()
            except FileNotFoundError:
                return None
            return lean(payload)

    # No data paths of the user's: what Clary answers must not depend on files in a home folder.
    return Loader(
        include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH], file_loader=LeanFiles()
    )


@cache
def load(service_name: str) -> ServiceModel:
    """The newest model of a service by boto3's name for it; raises LookupError for an unknown one."""
    from botocore.exceptions import UnknownServiceError
    from botocore.model import ServiceModel

    try:
        description = _loader().load_service_model(service_name, "service-2")
    except UnknownServiceError as error:
        raise LookupError(f"botocore has no service {service_name!r}") from error
    share(description)
    return ServiceModel(description, service_name)


@lru_cache(maxsize=256)
def speaking(service_model: ServiceModel, protocol: str) -> ServiceModel:
    """The same service as if ``protocol`` were its only one.

    Operation models that come from it remember the protocol they were asked in, so that the answer is given in the same.
    """
    from botocore.model import ServiceModel

    if service_model.resolved_protocol == protocol:
        return service_model
    description = dict(service_model._service_description)
    description["metadata"] = {**service_model.metadata, "protocol": protocol, "protocols": [protocol]}
    return ServiceModel(description, service_model._service_name)
