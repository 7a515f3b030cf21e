"""`clary runtime`: the environments behind image names, as the control plane uses them, and the names that users give them."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clary.app.cli.output import NOT_FOUND, USAGE, CommandRefused, plain, say, say_json, table
from clary.app.cli.site import Site, find
from clary.app.workloads import backend
from clary.backends.image_names import ImageNames
from clary.backends.runtimes import UvRuntimes, create
from clary.domain.images import repository
from clary.domain.machine.workload import Environment
from clary.ports import Runtime

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")  # as registries have them


def runtimes_of(site: Site, *, builds: bool = True) -> UvRuntimes:
    """`builds`: whether it shall build any. Looking alone makes no folder."""
    settings = site.settings
    folder, given = str(settings.environments_folder), settings.build_environment()
    try:
        builder: Any = backend(settings) if builds else None
    except OSError as error:
        raise CommandRefused(
            f"{settings.dir} cannot be the state folder: {error.strerror}; --dir names another"
        ) from error
    return create(folder, builder, environment=given, names=settings.image_names)


def listed(site: Site) -> list[dict[str, Any]]:
    """Runtimes in words: a row for each environment. That of `serving` serves the models of a built-in algorithm, under a newer Python
    than it trains with."""
    runtimes = runtimes_of(site, builds=False)
    rows = []
    for runtime in runtimes.all():
        for variant in runtimes.variants(runtime):
            environment = runtimes.built(variant.runtime)
            rows.append(
                {
                    "name": runtime.name,
                    "serving": variant.runtime.serving,
                    "python": variant.python,
                    "version": variant.version,
                    "framework": runtime.framework,
                    "repositories": list(runtime.repositories),
                    "built": environment is not None,
                    "path": runtimes.place(environment).path if environment else None,
                }
            )
    return rows


def _title(name: str, serving: bool) -> str:
    """In a table or a line: which environment of the runtime is meant."""
    return f"{name} (serving)" if serving else name


def show(directory: str | None, *, as_json: bool) -> None:
    rows = listed(find(directory))
    if as_json:
        say_json(rows)
        return
    shown = (
        (
            _title(row["name"], row["serving"]),
            row["version"],
            row["python"],
            "yes" if row["built"] else "no",
            " ".join(row["repositories"]),
        )
        for row in rows
    )
    say(table(("runtime", "version", "Python", "built", "image names"), shown))


def build(directory: str | None, names: Sequence[str], *, as_json: bool) -> None:
    site = find(directory)
    writable(site.settings.environments_folder)
    runtimes = runtimes_of(site)
    chosen = [_named(runtimes, name) for name in names] or list(runtimes.all())
    rows = []
    for variant in (each for runtime in dict.fromkeys(chosen) for each in runtimes.variants(runtime)):
        runtime = variant.runtime
        began = time.monotonic()
        environment = ensure(runtimes, runtime, quiet=as_json)
        took = round(time.monotonic() - began, 1)
        row = {"name": runtime.name, "serving": runtime.serving, "python": variant.python, "version": variant.version}
        rows.append({**row, "path": runtimes.place(environment).path, "seconds": took})
        if not as_json:
            say(f"{_title(runtime.name, runtime.serving)} is built ({took:g} s)")
    if as_json:
        say_json(rows)


def writable(folder: Path) -> None:
    """Make the folder of runtimes. Refused with advice where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CommandRefused(
            f"{folder} cannot hold runtimes: {error.strerror}; CLARY_ENVIRONMENTS names another folder (and UV_CACHE_DIR uv's cache)"
        ) from error


def ensure(runtimes: UvRuntimes, runtime: Runtime, *, quiet: bool) -> Environment:
    """Its environment, which is built when it is not there yet."""
    with _progress(_title(runtime.name, runtime.serving), quiet=quiet) as log:
        return asyncio.run(runtimes.ensure(runtime, log=log))


def add(directory: str | None, image: str, name: str, *, as_json: bool) -> None:
    site = find(directory)
    runtimes = runtimes_of(site, builds=False)
    known = [runtime.name for runtime in runtimes.all()]
    if name not in known:
        raise CommandRefused(f"no runtime is called {name!r}; there are: {', '.join(known)}", NOT_FOUND)
    stored = _repository(image)
    site.settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    ImageNames(site.settings.image_names).add(stored, name)
    if as_json:
        say_json({"repository": stored, "runtime": name})
    else:
        say(f"images of the repository {stored} now run in the runtime {name}, whatever their registry and tag")


def remove(directory: str | None, image: str, *, as_json: bool) -> None:
    site = find(directory)
    stored = _repository(image)
    names = ImageNames(site.settings.image_names)
    if not names.remove(stored):
        given = ", ".join(names.all()) or "none"
        raise CommandRefused(f"the image repository {stored!r} was not added; these were: {given}", NOT_FOUND)
    found = runtimes_of(site, builds=False).resolve(stored)
    if as_json:
        say_json({"repository": stored, "runtime": found.name if found else None})
    else:
        now = f"run in the runtime {found.name} again" if found else "have no runtime any more"
        say(f"images of the repository {stored} {now}")


def _repository(image: str) -> str:
    stored = repository(image)
    if not _REPOSITORY.fullmatch(stored):
        raise CommandRefused(
            f"{image!r} is not the name of an image: give its URI, or its repository such as my-model", USAGE
        )
    return stored


def _named(runtimes: UvRuntimes, name: str) -> Runtime:
    for runtime in runtimes.all():
        if runtime.name == name:
            return runtime
    found = runtimes.resolve(name)
    if found is None:
        known = ", ".join(runtime.name for runtime in runtimes.all())
        raise CommandRefused(
            f"no runtime is called {name!r}, and no image of that name is known; there are: {known}", NOT_FOUND
        )
    return found


@contextmanager
def _progress(name: str, *, quiet: bool) -> Iterator[Callable[[str], None] | None]:
    """What uv says: in a terminal the last line beside a spinner, else line by line."""
    if quiet:
        yield None
    elif not sys.stdout.isatty():
        yield lambda line: say(f"  {name}: {plain(line)}")
    else:
        from rich.console import Console
        from rich.markup import escape

        with Console(highlight=False).status(f"building {name}") as status:
            yield lambda line: status.update(escape(f"building {name}: {plain(line)[:100]}"))
