"""The generic Python runtime: the toolkit's defaults and nothing to import."""

from __future__ import annotations

from clary.toolkit.frameworks.defaults import Defaults

DEFAULTS = Defaults()
