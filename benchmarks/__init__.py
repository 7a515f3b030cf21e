"""Runnable comparisons against peers and bounds. `scripts/bench NAME`; each prints a table and, with --json, rows."""
