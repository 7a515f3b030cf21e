"""`clary env`: what points AWS clients at this Clary, and the file that keeps the `sagemaker` SDKs from leaving the machine.

Without that file a plain `sagemaker.Session()` asks a fixed STS address on the internet for its bucket's name, and sends telemetry.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from clary.app import reach
from clary.app.cli.output import USAGE, CommandRefused, say, say_json, warn
from clary.app.cli.site import Site, find
from clary.app.proxies import given_hosts, no_proxy
from clary.app.settings import REGION, Settings, environment
from clary.domain.access.roles import default_role_arn
from clary.ports import Credential

# Variables of other accounts and endpoints that would win over ours, and switches that botocore refuses an endpoint URL for.
_CLASHING = re.compile(
    r"AWS_(SESSION_TOKEN|SECURITY_TOKEN|CREDENTIAL_EXPIRATION|PROFILE|DEFAULT_PROFILE|ENDPOINT_URL_\w+"
    r"|IGNORE_CONFIGURED_ENDPOINT_URLS|USE_FIPS_ENDPOINT|USE_DUALSTACK_ENDPOINT)"
)
ALWAYS_UNSET = ("AWS_SESSION_TOKEN", "AWS_PROFILE")
_PROFILE = re.compile(r"[\w.@-]{1,64}")


def env(
    directory: str | None, region: str | None, account: str | None, *, ipython: bool, profile: str | None, as_json: bool
) -> None:
    site = find(directory)
    if account is not None and account != site.settings.account:
        site = site.of(account)
    given = environment()
    values = variables(site, region, given)
    if not site.running:
        warn(f"no Clary runs on {site.settings.dir} now: this is for one that listens at {values['AWS_ENDPOINT_URL']}")
    clashing = unset(given)
    if profile is not None:
        files = write_profile(profile, values, given)
        if as_json:
            say_json({"profile": profile, "files": files})
        else:
            say(f"wrote the profile {profile} to {' and '.join(files)}")
            say(f"export AWS_PROFILE={profile} chooses it; the sagemaker SDKs also need")
            say(f"export SAGEMAKER_USER_CONFIG_OVERRIDE={shlex.quote(values['SAGEMAKER_USER_CONFIG_OVERRIDE'])}")
    elif as_json:
        say_json(values)
    elif ipython:
        for name in clashing:
            if name in given:
                say(f"%env {name}=")
        for name, value in values.items():
            say(f"%env {name}={value}")
    else:
        say(f"unset {' '.join(clashing)}")
        for name, value in values.items():
            say(f"export {name}={shlex.quote(value)}")


def variables(site: Site, region: str | None, given: Mapping[str, str]) -> dict[str, str]:
    """The variables for a client of this Clary. Writes the SDKs' configuration file. `given`: the environment they are added to."""
    settings, credential = site.settings, site.credential()
    region = region or settings.region
    if not REGION.fullmatch(region):
        raise CommandRefused(f"--region takes a name such as eu-west-1, not {region!r}", USAGE)
    return _variables(settings, credential, region, str(write_sdk_config(settings, region, site.account)), given)


def unset(given: Mapping[str, str]) -> list[str]:
    """Names of variables that would win over ours."""
    return sorted({*ALWAYS_UNSET, *(name for name in given if _CLASHING.fullmatch(name))})


def _variables(
    settings: Settings, credential: Credential, region: str, config: str, given: Mapping[str, str]
) -> dict[str, str]:
    direct = no_proxy(settings, given_hosts(given))
    values = {
        "CLARY_DIR": settings.dir,  # commands in that shell are about this Clary
        "AWS_ENDPOINT_URL": settings.client_endpoint,
        "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": settings.client_endpoint,  # AWS's plugin of MLflow looks at no other
        "AWS_ACCESS_KEY_ID": credential.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credential.secret,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "SAGEMAKER_USER_CONFIG_OVERRIDE": config,
    }
    bundle = reach.bundle(settings, settings.client_endpoint)
    return {**values, "AWS_CA_BUNDLE": bundle} if bundle else values


def sdk_config(settings: Settings, region: str) -> str:
    """Configuration of `sagemaker` v2 and v3: telemetry off, default bucket, default roles, and an image for remote functions: the SDKs
    have one for Python 3.10 only. (JSON is YAML.)"""
    role = default_role_arn(settings.account, region)
    bucket = settings.bucket or f"sagemaker-{region}-{settings.account}"
    image = f"{settings.account}.dkr.ecr.{region}.amazonaws.com/sagemaker-base-python:1.0"
    remote = {"ImageUri": image, "InstanceType": "ml.m5.large", "RoleArn": role}
    session = {"TelemetryOptOut": True, "Session": {"DefaultS3Bucket": bucket}, "RemoteFunction": remote}
    kinds = {
        "PythonSDK": {"Modules": session},
        "TrainingJob": {"RoleArn": role},
        "ProcessingJob": {"RoleArn": role},
        "AutoMLJob": {"RoleArn": role},
        "Pipeline": {"RoleArn": role},
        "Model": {"ExecutionRoleArn": role},
    }
    return json.dumps({"SchemaVersion": "1.0", "SageMaker": kinds}, indent=2) + "\n"


def sdk_file(settings: Settings, region: str, account: str) -> Path:
    """One file per region and account ("": the settings' own), so that none changes under a running notebook."""
    return settings.root / "sdk" / f"{f'{account}-' if account else ''}{region}.yaml"


def write_sdk_config(settings: Settings, region: str, account: str = "") -> Path:
    """Where it is."""
    path = sdk_file(settings, region, account)
    text = sdk_config(settings, region)
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").rename(path)
    return path


def write_profile(name: str, values: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """Put a profile into the AWS files (or replace it there); nothing else in them changes. The files' names back."""
    if not _PROFILE.fullmatch(name):
        raise CommandRefused(f"a profile's name has letters, digits, '.', '_', '@' and '-' only, not {name!r}", USAGE)
    home = Path(given.get("HOME", "~")).expanduser() / ".aws"
    config = Path(given.get("AWS_CONFIG_FILE") or home / "config").expanduser()
    credentials = Path(given.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials").expanduser()
    lines = {"region": values["AWS_REGION"], "endpoint_url": values["AWS_ENDPOINT_URL"]}
    if "AWS_CA_BUNDLE" in values:
        lines["ca_bundle"] = values["AWS_CA_BUNDLE"]
    keys = {
        "aws_access_key_id": values["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": values["AWS_SECRET_ACCESS_KEY"],
    }
    _put(config, "default" if name == "default" else f"profile {name}", lines)
    _put(credentials, name, keys)
    return [str(config), str(credentials)]


def _put(path: Path, section: str, lines: Mapping[str, str]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else ""
    new = path.with_name(f".{path.name}.clary")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(with_section(text, section, lines))
    new.rename(path.resolve())


def with_section(text: str, section: str, lines: Mapping[str, str]) -> str:
    """An INI text with this section in place of the one of that name; the rest, comments too, stays as it is."""
    body = "".join(f"{name} = {value}\n" for name, value in lines.items())
    fresh = f"[{section}]\n{body}"
    head = re.compile(rf"(?ms)^\[\s*{re.escape(section)}\s*\][^\n]*\n?.*?(?=^\[|\Z)")
    found = head.search(text)
    if found is None:
        return (text.rstrip("\n") + "\n\n" if text.strip() else "") + fresh
    rest = text[found.end() :]
    return text[: found.start()] + fresh + ("\n" if rest else "") + rest
