"""Folders of the toolkit itself. Nothing is imported for it: every worker starts with this."""

from __future__ import annotations

import os

OWN = os.path.dirname(os.path.abspath(__file__))
# What stands in for the Python packages of AWS's own containers: goes to the end of the path.
COMPAT = os.path.join(OWN, "compat")
