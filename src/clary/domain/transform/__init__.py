"""Batch transform: how objects become records and requests, and how answers become the objects that are stored."""
