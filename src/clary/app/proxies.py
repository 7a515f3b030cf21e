"""What is reached without a proxy: Clary itself, from clients and from inside sandboxes."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from clary.app.settings import Settings

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_DIRECT = ("NO_PROXY", "no_proxy")


def no_proxy(settings: Settings, given: str) -> str:
    """The hosts that are reached without a proxy: those given, and this one."""
    known = [host.strip() for host in given.split(",") if host.strip()]
    urls = (settings.client_endpoint, settings.endpoint)
    own = [*(urlsplit(url).hostname or "" for url in urls), "127.0.0.1", "localhost"]
    return ",".join(dict.fromkeys([*known, *own]))


def given_hosts(environment: Mapping[str, str]) -> str:
    """Both spellings as one: programs differ in which they read."""
    return ",".join(environment.get(name, "") for name in _DIRECT)


def passed(settings: Settings) -> Mapping[str, str]:
    """What of the machine's variables jobs and models see. A machine's proxy must not stand between them and Clary."""
    if not any(settings.passed.get(name) for name in _PROXIES):
        return settings.passed
    return {**settings.passed, **dict.fromkeys(_DIRECT, no_proxy(settings, given_hosts(settings.passed)))}
