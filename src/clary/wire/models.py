"""botocore's service models, loaded when first asked for and kept.

Owns: where models come from. Does not know: which services Clary answers. Importing botocore takes a tenth of a
second and loading sagemaker's model as long again, hence nothing here happens at import.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel


@cache
def _loader() -> Loader:
    from botocore.loaders import Loader

    # No data paths of the user's: what Clary answers must not depend on files in a home folder.
    return Loader(include_default_search_paths=False, extra_search_paths=[Loader.BUILTIN_DATA_PATH])


@cache
def load(service_name: str) -> ServiceModel:
    """The newest model of a service by boto3's name for it; raises LookupError for an unknown one."""
    from botocore.exceptions import UnknownServiceError
    from botocore.model import ServiceModel

    try:
        description = _loader().load_service_model(service_name, "service-2")
    except UnknownServiceError as error:
        raise LookupError(f"botocore has no service {service_name!r}") from error
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
