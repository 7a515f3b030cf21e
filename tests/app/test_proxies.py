"""Between Clary and those who use it there is no proxy."""

from __future__ import annotations

from pathlib import Path

from clary.app.proxies import no_proxy, passed
from clary.app.settings import load
from clary.app.wiring import job_settings, serving_settings


def test_hosts_that_are_reached_directly(tmp_path: Path) -> None:
    settings = load({"dir": str(tmp_path)}, {})
    assert no_proxy(settings, "") == "127.0.0.1,localhost"
    assert no_proxy(settings, "a, 127.0.0.1") == "a,127.0.0.1,localhost"
    assert no_proxy(load({"dir": str(tmp_path), "host": "10.1.2.3"}, {}), "") == "10.1.2.3,127.0.0.1,localhost"


def test_jobs_and_models_reach_clary_past_the_machines_proxy(tmp_path: Path) -> None:
    proxy = {"HTTPS_PROXY": "http://proxy.example:3128", "http_proxy": "http://proxy.example:3128", "no_proxy": ".corp"}
    settings = load({"dir": str(tmp_path)}, proxy)
    wanted = {**proxy, "no_proxy": ".corp,127.0.0.1,localhost", "NO_PROXY": ".corp,127.0.0.1,localhost"}
    assert passed(settings) == wanted
    assert job_settings(settings).passed == serving_settings(settings).passed == wanted


def test_without_a_proxy_nothing_is_added(tmp_path: Path) -> None:
    assert passed(load({"dir": str(tmp_path)}, {"PIP_CERT": "/c.pem"})) == {"PIP_CERT": "/c.pem"}
