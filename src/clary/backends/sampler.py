"""The port `Sampler` over Optuna, in an environment and a process of its own.

The environment (runtime `tuning`) is built where it is first asked for; the process is started with the first request, speaks JSON lines
(`toolkit/tuning_sampler.py`) and ends when it rests, or with this process, whose end closes its input. A request whose process died
is sent to another one: the answer is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clary.domain.errors import Invalid, Unavailable
from clary.ports import Runtimes

log = logging.getLogger(__name__)

RUNTIME = "tuning"
SCRIPT = Path(__file__).resolve().parent.parent / "toolkit" / "tuning_sampler.py"
_ATTEMPTS = 5  # processes that may die under one request
_LONGEST = 1 << 20  # bytes of an answer


class OptunaSampler:
    """`runtimes` builds the environment; `pid` is the process's, None while there is none."""

    def __init__(self, runtimes: Runtimes) -> None:
        self._runtimes = runtimes
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def suggest(self, study: Mapping[str, Any]) -> dict[str, float | int | str]:
        found: dict[str, float | int | str] = await self._ask("suggest", study)
        return found

    async def importances(self, study: Mapping[str, Any]) -> dict[str, float]:
        found: dict[str, float] = await self._ask("importances", study)
        return found

    async def rest(self) -> None:
        async with self._turn:
            await self._end()

    async def _ask(self, what: str, study: Mapping[str, Any]) -> Any:
        async with self._turn:
            for _ in range(_ATTEMPTS):
                number = next(self._numbers)
                line = json.dumps({"id": number, "do": what, "study": study}).encode() + b"\n"
                try:
                    answer = await self._exchange(line)
                except BaseException:
                    await self._end()  # an answer that nobody waits for must not be taken for the next request's
                    raise
                if answer is not None:
                    break
                log.warning("the sampler's process ended in the middle of a request; it is asked again")
                await self._end()
            else:
                raise Unavailable(f"the sampler's process ended {_ATTEMPTS} times in the middle of a request")
        if "error" in answer:
            raise Unavailable(f"Optuna answered: {answer['error']}")
        return answer["answer"]

    async def _exchange(self, line: bytes) -> dict[str, Any] | None:
        """The answer to that line; None when the process ended before it came."""
        process = await self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line)
            await process.stdin.drain()
            read = await process.stdout.readline()
        except (BrokenPipeError, ConnectionResetError):
            return None
        if not read.endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(read)
        return answer

    async def _started(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        runtime = next((each for each in self._runtimes.all() if each.name == RUNTIME), None)
        if runtime is None:
            raise Unavailable(f"there is no runtime {RUNTIME}")
        try:
            environment = await self._runtimes.ensure(runtime, log=log.info)
        except Invalid as error:
            raise Unavailable(error.message) from None
        # Clary's own code over numbers and names that were checked: it needs no sandbox.
        self._process = await asyncio.create_subprocess_exec(
            self._runtimes.place(environment).python,
            "-I",
            str(SCRIPT),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            limit=_LONGEST,
        )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
