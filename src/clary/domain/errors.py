"""The errors that Clary's own code raises, one tree; `api/errors.py` turns them into AWS's codes.

ClaryError
  +-- NotFound            no record of that name (in this account and region)
  +-- AlreadyExists       the name is taken
  +-- InUse               the thing is in a state, or in a use, that forbids the request
  +-- Invalid             the request itself is wrong
  |    +-- InvalidValue   one parameter's value is: CloudWatch has a code of its own for it
  +-- LimitExceeded       a quota or the machine's capacity
  +-- Denied              authenticated, but not allowed
  +-- IllegalTransition   a fact that this status does not admit (lifecycle tables)
  +-- Stale               a guarded save lost: the record changed, or the lease is gone
  +-- Unschedulable       a backend cannot run this workload, and says why
  +-- Unavailable         a part of Clary is restarting; the client may retry
"""

from __future__ import annotations


class ClaryError(Exception):
    """Something a user can be told. `message` is one sentence: what, where, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotFound(ClaryError): ...


class AlreadyExists(ClaryError): ...


class InUse(ClaryError): ...


class Invalid(ClaryError): ...


class InvalidValue(Invalid): ...


class LimitExceeded(ClaryError): ...


class Denied(ClaryError): ...


class IllegalTransition(ClaryError): ...


class Stale(ClaryError): ...


class Unschedulable(ClaryError): ...


class Unavailable(ClaryError): ...


class NoRoom(Unavailable):
    """A disk is full."""
