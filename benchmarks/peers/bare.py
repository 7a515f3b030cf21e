"""The bare app that Clary is held against: uvicorn calling the model in-process. Run in the peers' environment, not in Clary's.

`python bare.py PORT MODEL KIND WORKERS`. KIND: `plain` (a prediction per request), `batched` (the same micro-batching that Clary does:
what arrives in one turn of the loop is predicted in one call), `own` (the user's functions of the no-batching row), `npy`, `slow`.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time

import numpy
import uvicorn
import xgboost

KIND = os.environ.get("BARE_KIND", "plain")
MODEL = os.environ.get("BARE_MODEL", "")
booster = xgboost.Booster()
if MODEL:
    booster.load_model(MODEL)
    booster.set_param({"nthread": 1})


def rows_of(bodies: list[bytes]) -> numpy.ndarray:
    return numpy.array([body.split(b",") for body in bodies], dtype="float32")


def plain(body: bytes) -> bytes:
    return str(booster.inplace_predict(rows_of([body]))[0]).encode()


def own(body: bytes) -> bytes:
    rows = numpy.array([[float(v) for v in line.split(",")] for line in body.decode().splitlines()], dtype="float32")
    return ",".join(str(s) for s in booster.inplace_predict(rows)).encode()


def npy(body: bytes) -> bytes:
    return str(numpy.load(io.BytesIO(body), allow_pickle=False).sum()).encode()


def slow(body: bytes) -> bytes:
    end = time.perf_counter() + 0.020
    while time.perf_counter() < end:
        pass
    return b"1"


class Batches:
    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []

    async def predict(self, body: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        if not self.waiting:
            loop.call_soon(self.run)
        self.waiting.append((body, future))
        return await future

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        scores = booster.inplace_predict(rows_of([body for body, _ in waiting]))
        for (_, future), score in zip(waiting, scores, strict=True):
            future.set_result(str(score).encode())


FUNCTIONS = {"plain": plain, "own": own, "npy": npy, "slow": slow}
function = FUNCTIONS.get(KIND)
batches = Batches()


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] != "http":
        return
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = b"".join(parts)
    answer = function(body) if function is not None else await batches.predict(body)
    headers = [(b"content-type", b"text/csv"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    os.environ["BARE_MODEL"], os.environ["BARE_KIND"] = sys.argv[2], sys.argv[3]
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    uvicorn.run(
        "bare:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(sys.argv[4]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
