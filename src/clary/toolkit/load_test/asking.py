"""Users: threads that ask an endpoint, one request after the other, as fast as it answers."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple

from clary.toolkit.failure import log
from clary.toolkit.load_test import windows
from clary.toolkit.load_test.payloads import SamplePayload
from clary.toolkit.load_test.windows import LoadWindow, Phase, TimedAnswer

_SIGNED = 60.0  # seconds that a signed request is sent again: the load test shall not spend its CPU on signatures
_TICK = 0.1
_TIMEOUT = 70.0  # seconds: longer than a prediction may take

Ask = Callable[[SamplePayload], str]


class EndpointAsker:
    """Signed requests to one endpoint by botocore's own connections; one of these for each user. Answers the error, or ''."""

    def __init__(self, endpoint: str, accept: str) -> None:
        import boto3
        from botocore.httpsession import URLLib3Session

        client = boto3.client("sagemaker-runtime")
        self._region, self._credentials = client.meta.region_name, boto3.Session().get_credentials()
        self._url = "{}/endpoints/{}/invocations".format(client.meta.endpoint_url.rstrip("/"), endpoint)
        self._session = URLLib3Session(timeout=_TIMEOUT, max_pool_connections=1)
        self._accept = accept
        self._signed: Dict[str, Tuple[float, Any]] = {}

    def __call__(self, payload: SamplePayload) -> str:
        from botocore.exceptions import HTTPClientError

        try:
            answer = self._session.send(self._request(payload))
        except HTTPClientError as error:
            return str(error)
        if answer.status_code < 300:
            return ""
        return "HTTP {}: {}".format(answer.status_code, answer.content[:300].decode("utf-8", "replace"))

    def _request(self, payload: SamplePayload) -> Any:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        now = time.monotonic()
        known = self._signed.get(payload.name)
        if known is not None and now - known[0] < _SIGNED:
            return known[1]
        headers = {"Content-Type": payload.content_type}
        if self._accept:
            headers["Accept"] = self._accept
        request = AWSRequest("POST", self._url, headers=headers, data=payload.body)
        SigV4Auth(self._credentials, "sagemaker", self._region).add_auth(request)
        prepared = request.prepare()
        self._signed[payload.name] = (now, prepared)
        return prepared


class Users:
    """As many threads as are wanted now. `make` makes the asker of a new user."""

    def __init__(self, payloads: Sequence[SamplePayload], make: Callable[[], Ask]) -> None:
        self._payloads, self._make = payloads, make
        self._wanted = 0
        self._threads: List[threading.Thread] = []
        self._lock = threading.Lock()
        self._answered: List[TimedAnswer] = []

    def want(self, number: int) -> None:
        """From now on so many; a user who is one too many ends after its request."""
        self._wanted = number
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        busy = {thread.name for thread in self._threads}
        for at in range(number):
            if str(at) not in busy:
                thread = threading.Thread(target=self._ask, args=(at,), name=str(at), daemon=True)
                thread.start()
                self._threads.append(thread)

    def _ask(self, own: int) -> None:
        ask, at = self._make(), own
        while own < self._wanted:
            begin = time.monotonic()
            error = ask(self._payloads[at % len(self._payloads)])
            now = time.monotonic()
            with self._lock:
                self._answered.append(TimedAnswer(time.time(), now - begin, error))
            at += 1
            if error:
                time.sleep(_TICK)  # one who is refused asks again, but not as fast as it can

    def taken(self) -> List[TimedAnswer]:
        """What ended since this was asked last."""
        with self._lock:
            found, self._answered = self._answered, []
        return found


def run(phases: Sequence[Phase], limits: Dict[str, Any], users: Users) -> Tuple[List[LoadWindow], str]:
    """All phases, or until the limits say that it is enough: the windows, and why it ended."""
    found: List[LoadWindow] = []
    why = ""
    for phase in phases:
        start = time.monotonic()
        for _, end in windows.cuts(phase):
            began = time.time()
            while (now := time.monotonic() - start) < end:
                users.want(phase.users_at(now))
                time.sleep(min(_TICK, end - now))
            found.append(LoadWindow(began, time.time(), phase.users_at(end), users.taken()))
            log(_line(found[-1]))
            why = windows.over(found, limits)
            if why:
                users.want(0)
                return found, why
    users.want(0)
    return found, why


def _line(window: LoadWindow) -> str:
    return "{} users: {:.0f} invocations a minute, P50 {:.1f} ms, P95 {:.1f} ms, P99 {:.1f} ms, {} failed".format(
        window.users, window.per_minute, *(window.percentile_ms(each) for each in (50, 95, 99)), window.failed
    )
