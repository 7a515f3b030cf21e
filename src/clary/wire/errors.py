"""Every way in which ``wire`` says no.

All of them carry ``code``, ``message``, ``status`` and ``members``, so that one place (``asgi``) answers them in the
protocol of the request. Does not know: which operation meant what by its error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServiceError(Exception):
    """An answer of AWS's that is an error.

    ``code`` is the error shape's name or wire code, ``members`` the modelled members besides the message, ``status``
    the HTTP status (None: the model's own status for that shape, else 400).
    """

    def __init__(
        self, code: str, message: str = "", status: int | None = None, members: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members: Mapping[str, Any] = members or {}


class SerializationError(ServiceError):
    """The bytes do not say what the model says they must (AWS: SerializationException, 400)."""

    def __init__(self, message: str, code: str = "SerializationException", status: int = 400) -> None:
        super().__init__(code, message, status)


class UnknownOperation(ServiceError):
    """No such operation among the services asked; ``name`` is what the request called it, ``service`` where known."""

    def __init__(self, name: str, service: str | None = None) -> None:
        message = f"Clary does not know the operation {name:.200}; docs/operations.md lists what it does."
        super().__init__("UnknownOperationException", message, 400)
        self.name = name
        self.service = service


class AuthError(ServiceError):
    """The request is not who it says it is; the code is the one that the service in question answers."""

    def __init__(self, code: str, message: str, status: int = 403, members: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message, status, members)


class ValidationError(ServiceError):
    """Parameters of the right types that break the model's constraints."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(code, message, 400)
