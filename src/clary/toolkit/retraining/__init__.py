"""The two programs of the template pipeline that `clary retrain --init` makes; the image is `clary-retrain`.

`collect` (module `collecting`) makes data of captured requests and the labels that came for them; `gate` (module `gating`) says whether the
new model may take the incumbent's place.
"""
