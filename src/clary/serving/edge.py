"""nginx's configuration, rendered once at start: the only network listener, and static.

Owns which request goes where (credential scope, then `X-Amz-Target`, then known paths, else S3), limits, timeouts, the edge's own error
bodies in the protocol of the request, the access log. Does not know endpoints: their home is a hash of their name (`homes.py`).
Pure: text out of settings; `app` writes it and starts nginx. Works with nginx 1.22 and newer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clary.serving.edgeerrors import locations, sizes
from clary.serving.homes import home, shares

__all__ = ["EdgeSettings", "home", "render"]

SLACK = 1 << 20  # bytes over max_payload that still reach the front, whose answer names the size
HEAD = (400, 405, 501)  # errors of a head of which enough is read to know what it is for
KEEPS = 2  # seconds an idle connection to a front is kept; a front that drains waits for it (process.py)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """What the edge is told. `listen` is the address of the inherited socket as nginx writes it (`127.0.0.1:4600`, `[::1]:4600`);
    `hosts` are the Host names allowed (`*.name` allows its sub-domains); paths are absolute; `folder` is writable by nginx's workers."""

    listen: str
    fronts: tuple[str, ...]
    control: str
    objects: str
    features: str
    folder: str
    pid: str
    access_log: str
    error_log: str
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    tls_cert: str = ""
    tls_key: str = ""
    user: str = ""
    workers: int = 1
    connections: int = 16384  # per worker process; a proxied request takes two
    open_files: int = 0  # RLIMIT_NOFILE of the workers; 0: as inherited
    max_payload: int = 25 << 20
    max_answer: int = 25 << 20
    max_control: int = 8 << 20
    max_object: int = 5 << 30  # AWS's largest single PUT or part
    control_paths: tuple[str, ...] = ("/console", "/metrics", "/capacity", "/nodes", "/costs", "/drift", "/_mlflow")


def render(settings: EdgeSettings) -> str:
    """The whole nginx.conf. ValueError for a path or name that cannot stand in it."""
    blocks = (
        _main(settings),
        "http {",
        _http(settings),
        _maps(settings),
        _upstreams(settings),
        _stranger(settings),
        _server(settings),
        "}",
    )
    return "\n".join(blocks) + "\n"


def _quoted(text: str) -> str:
    if any(c in text for c in "\"'\\$;{}\n\r\0") or not text:
        raise ValueError(f"{text!r} cannot stand in nginx's configuration")
    return f'"{text}"'


def _main(settings: EdgeSettings) -> str:
    user = f"user {settings.user};\n" if settings.user else ""
    files = f"worker_rlimit_nofile {settings.open_files};\n" if settings.open_files else ""
    return f"""\
# Made by Clary at every start. Changes here are lost.
daemon off;
{user}worker_processes {settings.workers};
{files}pid {_quoted(settings.pid)};
error_log {_quoted(settings.error_log)} warn;
worker_shutdown_timeout 3700s;
pcre_jit on;
events {{
    worker_connections {settings.connections};
    multi_accept on;
}}"""


def _http(settings: EdgeSettings) -> str:
    temp = "\n".join(
        f"    {kind}_temp_path {_quoted(f'{settings.folder}/{kind}')};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
{temp}
    default_type application/octet-stream;
    server_tokens off;
    merge_slashes off;
    absolute_redirect off;
    underscores_in_headers on;
    ignore_invalid_headers off;
    large_client_header_buffers 4 32k;
    client_header_buffer_size 4k;
    client_header_timeout 20s;
    client_body_timeout 30s;
    send_timeout 60s;
    reset_timedout_connection on;
    keepalive_timeout 75s;
    keepalive_requests 1000000;
    lingering_time 10s;
    tcp_nodelay on;
    sendfile on;
    server_names_hash_bucket_size 256;
    server_names_hash_max_size 4096;
    map_hash_bucket_size 256;
    limit_conn_zone $server_port zone=open:1m;
    limit_conn_status 503;

    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header Connection "";
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_next_upstream off;
    proxy_connect_timeout 75s;
    proxy_send_timeout 300s;
    proxy_read_timeout 3700s;
    proxy_max_temp_file_size 0;
    proxy_buffer_size 16k;
    proxy_buffers 16 32k;
    proxy_busy_buffers_size 64k;
    proxy_redirect off;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Charset;

    log_format clary escape=json '{{"time":"$time_iso8601","client":"$remote_addr","method":"$request_method","host":"$http_host",'
        '"path":"$clary_path","to":"$clary_to","scope":"$clary_scope","status":$status,"received":$request_length,"sent":$bytes_sent,'
        '"seconds":$request_time,"upstream":"$upstream_response_time","request":"$upstream_http_x_amzn_requestid",'
        '"agent":"$http_user_agent"}}';
    access_log {_quoted(settings.access_log)} clary buffer=64k flush=1s;
"""


def _maps(settings: EdgeSettings) -> str:
    """Which process a request is for, from what its client wrote."""
    return _scopes() + _places(settings) + _bucket_hosts(settings) + sizes()


def _scopes() -> str:
    slash = "(?:%2F|/)"
    return f"""\
    # 1. The credential scope's service: in the Authorization header, or in a presigned query. S3's older signatures have no scope.
    map $http_authorization $clary_header_scope {{
        default "";
        "~^AWS4-HMAC-SHA256 .*Credential=[^/,]+/[0-9]+/[^/,]+/([a-z0-9-]+)/aws4_request" $1;
        "~^AWS " s3;
    }}
    map $args $clary_query_scope {{
        default "";
        "~*(?:^|&)X-Amz-Credential=[^&/%]+{slash}[0-9]+{slash}[^&/%]+{slash}([a-z0-9-]+){slash}aws4_request" $1;
        "~(?:^|&)AWSAccessKeyId=" s3;
    }}
    map $clary_header_scope $clary_scope {{
        default $clary_header_scope;
        "" $clary_query_scope;
    }}
"""


def _places(settings: EdgeSettings) -> str:
    known = "|".join(path.strip("/").replace(".", r"\.") for path in settings.control_paths)
    return f"""\
    # 2. X-Amz-Target.  3. Known paths, as sent.
    map $http_x_amz_target $clary_target {{
        default target;
        "" -;
    }}
    map $request_uri $clary_known {{
        default -;
        "~^/endpoints/[^/?]+/async-invocations(?:[?]|$)" control;
        "~^/endpoints/[^/?]+/" endpoint;
        "~^/service/[^/?]+/operation/" control;
        "~^/(?:FeatureGroup/|Batch(?:Get|Write)Record(?:[?]|$))" features;
        "~^/(?:20[0-9][0-9]-[0-9][0-9]-[0-9][0-9]|schedules|schedule-groups|tags|Batch(?:Get|Put)Metrics)(?:[/?]|$)" control;
        "~^/(?:{known})(?:[/?]|$)" control;
    }}
    map $request_uri $clary_endpoint {{
        default "";
        "~^/endpoints/([^/?]+)/" $1;
    }}
    map $request_uri $clary_path {{
        default $request_uri;
        "~^([^?]*)" $1;
    }}
    map "$request_method $clary_known $content_type" $clary_form {{
        default -;
        "~^POST - application/x-www-form-urlencoded" form;
    }}
    # Nearly every request is one of these three: an exact key costs a hash, the patterns below a walk.
    map "$clary_scope $clary_target $clary_known" $clary_to {{
        default $clary_other;
        "sagemaker - endpoint" front;
        "sagemaker target -" control;
        "sagemaker - features" features;
        "s3 - -" objects;
    }}
    map "$clary_scope $clary_target $clary_known $clary_form" $clary_other {{
        default objects;
        "~^s3 target " control;  # no client of S3 names a target: who signed is told so in the words of the service
        "~^s3 " objects;
        "~^(?:sts|iam|sns) " query;
        "~^[^ ]* - - form$" query;
        "~^[^ ]+ " control;
        "~^ target " control;
        "~^ - endpoint " front;
        "~^ - features " features;
        "~^ - control " control;
    }}
    map $clary_to $clary_strange {{
        default control;
        query query;
        objects $clary_bucket_host;
    }}
    split_clients $clary_endpoint $clary_home {{
{_homes(len(settings.fronts))}
    }}
"""


def _bucket_hosts(settings: EdgeSettings) -> str:
    """BUCKET.HOST of an allowed Host is S3's way to name a bucket. A proxy in front of Clary passes its own name on, and S3's signature
    covers it: where X-Forwarded-For says that there is a proxy, the object store checks that signature, which no web page can make."""
    names = [
        host for host in settings.hosts if not host.startswith(("*", "[")) and not host.replace(".", "").isdecimal()
    ]
    return f"""\
    map "$clary_scope $http_x_forwarded_for" $clary_proxied {{
        default strange;
        "~^s3 ." objects;
    }}
    map $host $clary_bucket_host {{
        hostnames;
        default $clary_proxied;
{"".join(f"        {_quoted('*.' + name)} objects;{chr(10)}" for name in names)}    }}
"""


def _homes(count: int) -> str:
    return "\n".join(f"        {share} clary_front_{index};" for index, share in enumerate(shares(count)))


def _upstreams(settings: EdgeSettings) -> str:
    def upstream(name: str, path: str, keep: int, seconds: int) -> str:
        return f"""\
    upstream {name} {{
        server {_quoted("unix:" + path)} max_fails=0;
        keepalive {keep};
        keepalive_requests 100000000;
        keepalive_timeout {seconds}s;
    }}"""

    fronts = [upstream(f"clary_front_{index}", path, 512, KEEPS) for index, path in enumerate(settings.fronts)]
    others = [
        upstream("clary_control", settings.control, 64, KEEPS),
        upstream("clary_objects", settings.objects, 64, KEEPS),
        upstream("clary_features", settings.features, 64, KEEPS),
    ]
    return "\n".join([*fronts, *others]) + "\n"


def _listener(settings: EdgeSettings, more: str = "") -> str:
    if not settings.tls_cert:
        return f"        listen {settings.listen}{more};"
    return f"""\
        listen {settings.listen} ssl{more};
        ssl_certificate {_quoted(settings.tls_cert)};
        ssl_certificate_key {_quoted(settings.tls_key)};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:4m;"""


def _stranger(settings: EdgeSettings) -> str:
    """Requests whose Host is not one of ours: DNS rebinding ends here, on every door. Names of a bucket at an allowed Host
    and signed requests that a proxy passes on go to the object store."""
    limits = {"control": settings.max_control, "query": settings.max_control, "objects": settings.max_object}
    return f"""\
    server {{
{_listener(settings, " default_server")}
        server_name "";
        default_type application/json;
        access_log {_quoted(settings.access_log)} clary buffer=64k flush=1s;
{_pages("control", "        ", "/-/")}
{locations({"control": settings.max_control}, "= /-/")}
        location / {{
            rewrite ^ /-/$clary_strange last;
        }}
        location = /-/objects {{
{_to_objects(settings)}
        }}
{_turned_away("control", "control")}
{_turned_away("query", "query")}
{_turned_away("strange", "objects")}
{locations(limits)}
    }}
"""


def _turned_away(name: str, where: str) -> str:
    return f"""\
        location = /-/{name} {{
            internal;
            error_page 421 = @{where}_421;
            return 421;
        }}"""


def _to_objects(settings: EdgeSettings) -> str:
    return f"""\
            internal;
            client_max_body_size {settings.max_object};
            client_body_buffer_size 512k;
            proxy_request_buffering off;
            proxy_pass http://clary_objects$request_uri;
{_pages("objects")}"""


def _server(settings: EdgeSettings) -> str:
    names = " ".join(_quoted(host) for host in settings.hosts)
    limits = {
        "front": settings.max_payload,
        "control": settings.max_control,
        "features": settings.max_control,
        "query": settings.max_control,
        "objects": settings.max_object,
    }
    return f"""\
    server {{
{_listener(settings)}
        server_name {names};
        limit_conn open {settings.connections * settings.workers // 2 - 256};

{_pages("control", "        ", head="@head")}

        # Before any location is looked for: each has its own body limit. $request_uri stays as it was sent.
        rewrite ^ /-/$clary_to last;

        location = /-/front {{
            internal;
            client_max_body_size {settings.max_payload + SLACK};
            client_body_buffer_size 1m;
            # a front looks at no X-Forwarded-*: two headers less to parse
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            # a client that reads slowly holds a file here, and no worker of a model
            proxy_max_temp_file_size {settings.max_answer + SLACK};
            proxy_pass http://$clary_home$request_uri;
{_pages("front")}
        }}
        location = /-/control {{
            internal;
            client_max_body_size {settings.max_control};
            client_body_buffer_size 256k;
            proxy_pass http://clary_control$request_uri;
{_pages("control")}
        }}
        location = /-/features {{
            internal;
            client_max_body_size {settings.max_control};
            client_body_buffer_size 256k;
            proxy_pass http://clary_features$request_uri;
{_pages("features")}
        }}
        location = /-/query {{
            internal;
            client_max_body_size {settings.max_control};
            client_body_buffer_size 256k;
            proxy_pass http://clary_control$request_uri;
{_pages("query")}
        }}
        location = /-/objects {{
{_to_objects(settings)}
        }}
{locations(limits)}
{_head_errors(limits)}
    }}
"""


def _head_errors(limits: Mapping[str, int]) -> str:
    """What nginx refuses before it looks for a location, told in the protocol of the request all the same."""
    turns = "\n".join(
        f"""\
        location @head_{status} {{
            rewrite ^ /-/head_${{clary_to}}_{status} last;
        }}"""
        for status in HEAD
    )
    return turns + "\n" + locations(limits, "= /-/head_", HEAD)


def _pages(where: str, indent: str = "            ", prefix: str = "@", head: str = "") -> str:
    """Which location answers which error of the edge's own; with `head`, those of `HEAD` have one that asks for the protocol."""
    pages = (
        ("400 494", 400),
        ("405", 405),
        ("408", 408),
        ("413", 413),
        ("414", 414),
        ("497", 497),
        ("500", 500),
        ("501", 501),
        ("502 503 504", 503),
        ("505", 505),
    )
    return "\n".join(
        f"{indent}error_page {statuses} = {f'{head}_{page}' if head and page in HEAD else f'{prefix}{where}_{page}'};"
        for statuses, page in pages
    )
