"""Exceptions of the toolkit."""

from __future__ import annotations

from clary.toolkit.content import UnsupportedFormat


class BaseInferenceToolkitError(Exception):
    """An error with a status code, which the answer will have."""

    def __init__(self, status_code: int, message: str, phrase: str = "") -> None:
        super().__init__(message)
        self.status_code = status_code
        self.message = message
        self.phrase = phrase


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    """Any error with a status code of the script's choice."""


class UnsupportedFormatError(UnsupportedFormat):
    """A content type that is not handled: answered 415."""


class UnsupportedAcceptTypeError(UnsupportedFormat):
    """An Accept that is not handled."""
