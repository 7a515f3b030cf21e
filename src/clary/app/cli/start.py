"""`clary up` and `clary down`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from clary.app import bindings, folders, notify, reach
from clary.app import up as running
from clary.app.cli.output import NOT_RUNNING, CommandRefused, plain, say, say_json, warn
from clary.app.settings import Settings, environment, load, strangers


def up(directory: str | None, flags: dict[str, Any], *, detach: bool, other_stores: bool, as_json: bool) -> None:
    settings = load({"dir": directory, **flags})
    for sentence in strangers(environment()):
        warn(sentence)
    _look(settings)
    if other_stores:
        _bind(settings)
    if detach:
        began = time.monotonic()
        settings = running.detached(settings)
        took = round(time.monotonic() - began, 2)
        if as_json:
            say_json({"endpoint": settings.endpoint, "dir": settings.dir, "seconds": took})
        else:
            say(f"Clary is ready at {settings.endpoint} ({took:g} s)")
            say(hint(settings))
        return
    if as_json or not sys.stdout.isatty():
        report = _reporter(as_json)
        running.foreground(settings, report, lambda effective: _ready(effective, as_json))
        report(ended_words(settings))
    else:
        _with_status(settings)


def _look(settings: Settings) -> None:
    """Refuse a certificate that cannot be used, and say what others should know about how Clary is reached."""
    reach.check(settings)
    for sentence in reach.cautions(settings, time.time()):
        warn(sentence)


def _bind(settings: Settings) -> None:
    """Let the folder remember the database and the object store of these settings instead of those that it had. Not below a Clary that
    runs on it: the start tells."""
    folders.claim(settings)
    folders.prepare_root(settings)
    if folders.holding(settings.root / "clary.lock") is None:
        bindings.remember(settings)


def down(directory: str | None, *, keep_jobs: bool, as_json: bool) -> None:
    settings = load({"dir": directory})
    ended = running.down(settings, keep_jobs)
    if as_json:
        say_json({"ended": ended, "dir": settings.dir})
        if not ended:
            raise SystemExit(NOT_RUNNING)
    elif not ended:
        raise CommandRefused(f"no Clary runs on {settings.dir}", NOT_RUNNING)
    else:
        say(ended_words(settings))


def _with_status(settings: Settings) -> None:
    from clary.app.cli.live import Status

    status = Status()

    def on_ready(effective: Settings) -> None:
        status.say(hint(effective) + "; Ctrl-C stops Clary")
        status.start(effective, {"pid": os.getpid(), "endpoint": effective.endpoint, "dir": effective.dir})

    try:
        running.foreground(settings, status.say, on_ready)
        status.say(ended_words(settings))
    finally:
        status.stop()


def ended_words(settings: Settings) -> str:
    kept = (settings.root / "keys").exists()
    return f"Clary stopped; its data stays in {settings.dir}" if kept else "Clary stopped and deleted its data"


def hint(settings: Settings) -> str:
    """What to type next."""
    return f'eval "$(clary env{settings.dir_option})" points AWS clients at it'


def _ready(settings: Settings, as_json: bool) -> None:
    notify.tell(environment(), notify.READY, f"STATUS={settings.client_endpoint}")
    if as_json:
        say_json({"event": "ready", "endpoint": settings.endpoint, "dir": settings.dir})
    else:
        say(hint(settings) + "; Ctrl-C stops Clary")


def _reporter(as_json: bool) -> Any:
    def report(sentence: str) -> None:
        if as_json:
            say_json({"event": "note", "at": time.time(), "text": sentence})
        else:
            say(f"{time.strftime('%H:%M:%S')}  {plain(sentence)}")

    return report
