"""Batch transform inside its sandbox: objects become records and requests, answers become the objects that are stored.

Pure: `splitting`, `paths`, `joining`. With I/O: `calls` (one request to the front), `driver` (the process). Standard library only.
"""
