"""Which Clary a command is about: its settings, whether it runs, its key pair, a client of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clary.app import folders
from clary.app.cli.client import TIMEOUT, Client
from clary.app.cli.output import NOT_FOUND, NOT_RUNNING, USAGE, CommandRefused
from clary.app.keys import open_keys
from clary.app.settings import REGION, Settings, environment, load
from clary.ports import Credential


@dataclass(frozen=True, slots=True)
class Site:
    """A state folder. `facts` (pid, endpoint, dir) are those of the Clary that runs on it, or None; then `settings` are the
    effective ones of that Clary (its real port)."""

    settings: Settings
    facts: dict[str, object] | None
    account: str = ""  # another than the settings' own

    def of(self, account: str) -> Site:
        """The same Clary for another account. Refused when that cannot be one."""
        if not (account.isascii() and account.isdigit() and len(account) == 12):
            raise CommandRefused(f"an account is 12 digits, not {account!r}", USAGE)
        return replace(self, settings=replace(self.settings, account=account), account=account)

    @property
    def running(self) -> bool:
        return self.facts is not None

    def is_at(self, url: str) -> bool:
        """Whether clients with this AWS_ENDPOINT_URL reach this Clary."""
        return url.rstrip("/") in (self.settings.endpoint, self.settings.client_endpoint)

    def typed(self, words: str) -> str:
        """A command about this Clary as the user has to type it."""
        return f"clary {words}{self.settings.dir_option}"

    def no_endpoint(self, name: str) -> CommandRefused:
        """To be raised where there is no endpoint of that name."""
        return CommandRefused(f"there is no endpoint {name!r}: `{self.typed('ps')}` lists endpoints", NOT_FOUND)

    def require(self) -> None:
        if not self.running:
            raise CommandRefused(
                f"no Clary runs on {self.settings.dir}: `{self.typed('up --detach')}` starts it", NOT_RUNNING
            )

    def credential(self) -> Credential:
        """The account's first key pair. Refused before the first start."""
        if not (self.settings.root / "keys").is_dir():
            up = self.typed("up --detach")
            raise CommandRefused(
                f"{self.settings.dir} has no key pair: `{up}` makes one at its first start", NOT_RUNNING
            )
        return open_keys(self.settings).ensure(self.settings.account, "clary")

    def client(self, timeout: float = TIMEOUT) -> Client:
        self.require()
        settings = self.settings
        return Client(settings.endpoint, self.credential(), settings.region, settings.tls_cert, timeout)


def find(directory: str | None = None, **flags: Any) -> Site:
    """The Clary of a folder: the given one, CLARY_DIR's, or the default."""
    settings = load({"dir": directory, **flags})
    facts = folders.holding(settings.root / "clary.lock")
    effective = settings.run / "settings.json"
    if facts is not None and effective.exists():
        settings = Settings.read(effective)
    return Site(settings, facts)


def endpoint_name(said: str) -> str:
    """An endpoint as it may be said: its name, `endpoint/NAME` or its ARN."""
    return said.rpartition("/")[2] if said.startswith(("arn:", "endpoint/")) else said


def here(directory: str | None = None) -> Site:
    """`find`, for the account and region of this shell where its AWS clients reach that very Clary (`eval "$(clary env)"`): a command
    speaks of what they make."""
    return of_shell(find(directory), environment())


def of_shell(site: Site, given: Mapping[str, str]) -> Site:
    """The site for the account and region that this environment gives to clients of it."""
    if not site.running or not site.is_at(given.get("AWS_ENDPOINT_URL", "")):
        return site
    keys = open_keys(site.settings)
    key = keys.find(given.get("AWS_ACCESS_KEY_ID", ""), given.get("AWS_SESSION_TOKEN", ""))
    if key is not None and key.account != site.settings.account:
        site = site.of(key.account)
    region = given.get("AWS_DEFAULT_REGION") or given.get("AWS_REGION") or ""  # boto3 reads the first
    return replace(site, settings=replace(site.settings, region=region)) if REGION.fullmatch(region) else site
