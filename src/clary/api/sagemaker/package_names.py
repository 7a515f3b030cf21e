"""Model packages by name, ARN or alias, and the tags by which versions get aliases and endpoints follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clary.api import records
from clary.api.call import Call
from clary.domain.errors import Invalid, NotFound
from clary.domain.monitoring import retraining
from clary.domain.registry import aliases
from clary.domain.resources import Record

PACKAGE, GROUP = "model-package", "model-package-group"
Tag = Mapping[str, str]


async def package_named(call: Call, name: str) -> Record:
    """The package of that name or ARN, or the version that an alias (`GROUP@ALIAS`, also at the end of an ARN) names now. NotFound."""
    beginning, at, alias = name.partition("@")
    if not at:
        return await records.named(call, PACKAGE, name)
    group = await records.named(call, GROUP, beginning.replace(":model-package/", ":model-package-group/", 1))
    held = {each.lower(): each for each in group.document.get("aliases", {})}
    number = aliases.version_of(group, held.get(alias.lower(), ""))  # SageMaker's SDKs write ARNs in lower case
    if number is None:
        known = ", ".join(sorted(held.values())) or "none"
        raise NotFound(f"Model package group {group.name} has no alias '{alias}'. Its aliases: {known}.")
    return await records.find(call, PACKAGE, f"{group.name}/{number}")


async def tagged(call: Call, record: Record, tags: Sequence[Tag]) -> list[Tag]:
    """Give a version the aliases that the tags say; the tags that are left to write on the record. Invalid for aliases of anything else."""
    for tag in tags:
        if tag["Key"] == aliases.FOLLOW and record.kind == "endpoint":
            aliases.followed(tag["Value"])
        if tag["Key"] == retraining.TAG and record.kind == "endpoint":
            retraining.RetrainPlan.read(tag["Value"])
    own = [tag for tag in tags if tag["Key"] == aliases.TAG] if record.kind == PACKAGE else []
    if own:
        wanted = aliases.parsed(own[-1]["Value"])
        if not record.document["group"]:
            raise Invalid(f"{record.arn} belongs to no group: aliases are for versions of a model package group.")
        await _set(call, record, wanted)
    return [tag for tag in tags if tag not in own]


async def untagged(call: Call, record: Record, keys: Sequence[str]) -> None:
    """Take the aliases from a version whose tag is deleted."""
    if record.kind == PACKAGE and aliases.TAG in keys and record.document["group"]:
        await _set(call, record, ())


async def _set(call: Call, package: Record, wanted: tuple[str, ...]) -> None:
    version = int(package.document["version"])
    await records.amend(
        call,
        lambda: records.find(call, GROUP, package.document["group"]),
        lambda group: aliases.set_to(group, version, wanted),
    )


async def shown(call: Call, record: Record) -> list[Tag]:
    """The tag with a version's aliases, which its group keeps."""
    if record.kind != PACKAGE or not record.document["group"]:
        return []
    group = await call.store.get(GROUP, record.scope, record.document["group"])
    held = aliases.of(group, record.document["version"]) if group is not None else ()
    return [{"Key": aliases.TAG, "Value": " ".join(held)}] if held else []
