"""The image of a model or job: does it stand for a runtime? The one refusal of those that do not."""

from __future__ import annotations

from clary.api.call import Call, Params
from clary.domain import images
from clary.domain.errors import Invalid


def require(call: Call, image: str, training: bool = False) -> None:
    """Invalid unless the image's repository name stands for a runtime, or is one that the host's container engine may run (which it
    does for endpoints only)."""
    runtime = call.ports.runtimes.resolve(image)
    if runtime is None or (training and runtime.image):
        raise Invalid(unknown(call, image))


def deployed(call: Call, image: str, since: float | None) -> Params:
    """The DeployedImage of an image that was resolved `since` then; None: it is not resolved yet."""
    shown: Params = {"SpecifiedImage": image}
    if digest := call.ports.runtimes.digest(image):
        shown["ResolvedImage"] = images.resolved(image, digest)
    return shown if since is None else {**shown, "ResolutionTime": since}


def unknown(call: Call, image: str) -> str:
    """Which runtimes and built-in algorithms there are, and what to do."""
    runtimes = call.ports.runtimes.all()
    known = "; ".join(f"{each.name} ({', '.join(each.repositories)})" for each in runtimes if each.repositories)
    algorithms = ", ".join(each.algorithm for each in runtimes if each.algorithm)
    what, instead = images.unknown(image)
    return (
        f"{what}. Runtimes, and the image repositories that stand for them (registry, region and tag are ignored): {known}. Built-in "
        f"algorithms that Clary implements: {algorithms}. {instead}"
    )
