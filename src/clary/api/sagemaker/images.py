"""Images of Studio. Plain records: nothing is pulled; what an image of a job or model stands for is `clary runtime`'s."""

from __future__ import annotations

from clary.api.plain.noun import Noun
from clary.api.plain.operations import register

register(
    Noun(
        kind="image",
        name="Image",
        plural="Images",
        key=("ImageName",),
        status=("ImageStatus", "CREATED"),
        roles=("RoleArn",),
        removes="DeleteProperties",
        missing="No Image with the name {name} exists.",
    )
)
