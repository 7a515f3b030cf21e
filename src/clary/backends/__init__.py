"""Backends by name: one row each. A backend's module is imported when it is chosen, and offers `for_site(options)` (see `choice.py`)."""

from __future__ import annotations

from types import MappingProxyType

BACKENDS = MappingProxyType({"local": "clary.backends.local", "cluster": "clary.backends.cluster"})
