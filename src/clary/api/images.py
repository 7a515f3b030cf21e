"""The image of a model or job: does it stand for a runtime? The one refusal of those that do not."""

from __future__ import annotations

from clary.api.call import Call
from clary.domain.errors import Invalid


def require(call: Call, image: str, training: bool = False) -> None:
    """Invalid unless the image's repository name stands for a runtime, or is one that the host's container engine may run (which it
    does for endpoints only)."""
    runtime = call.ports.runtimes.resolve(image)
    if runtime is None or (training and runtime.image):
        raise Invalid(unknown(call, image))


def unknown(call: Call, image: str) -> str:
    """Which runtimes there are, and what to do."""
    known = "; ".join(
        f"{runtime.name} ({', '.join(runtime.repositories)})"
        for runtime in call.ports.runtimes.all()
        if runtime.repositories
    )
    return (
        f"Image '{image}' stands for no runtime of Clary. Runtimes, and the image repositories that stand for them (registry, region "
        f"and tag are ignored): {known}. If the code in this image runs in one of them, say so where Clary runs: "
        f"clary runtime add {image} RUNTIME"
    )
