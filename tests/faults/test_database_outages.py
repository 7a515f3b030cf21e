"""A Clary whose PostgreSQL is restarted, crashes, and is away for longer than one waits."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.faults.scene import BUCKET, Scene, until
from tests.live import Server
from tests.stores import postgres
from tests.stores.postgres import server as database

__all__ = ["database"]
pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture(scope="module")
def scene(start: Callable[..., Server], database: str) -> Scene:
    scene = Scene(start(database=database))
    scene.model("echo")
    scene.deploy("endpoint")
    return scene


class Maker:
    """Creates experiments and puts objects one after another, by boto3 as anybody makes it, and reads each again."""

    def __init__(self, scene: Scene, prefix: str) -> None:
        self.made: list[str] = []
        self.errors: list[Exception] = []
        self._sagemaker, self._s3 = (
            scene.server.client(name, retries={"mode": "legacy"}) for name in ("sagemaker", "s3")
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._names = (f"{prefix}-{n}" for n in itertools.count())

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._turn(next(self._names))
            except (BotoCoreError, ClientError) as error:
                self.errors.append(error)

    def _turn(self, name: str) -> None:
        self._sagemaker.create_experiment(ExperimentName=name)
        self._s3.put_object(Bucket=BUCKET, Key=name, Body=name.encode())
        assert self._sagemaker.describe_experiment(ExperimentName=name)["ExperimentName"] == name
        assert self._s3.get_object(Bucket=BUCKET, Key=name)["Body"].read() == name.encode()
        self.made.append(name)

    def more(self, count: int) -> None:
        enough = len(self.made) + count
        until(lambda: len(self.made) >= enough or self.errors, what="experiments and objects")

    @contextmanager
    def at_work(self) -> Iterator[Maker]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_of_the_database_fails_no_request(scene: Scene, database: str, mode: str) -> None:
    scene.train(f"job-{mode}", "import time; time.sleep(1)")
    with scene.load("endpoint", 4) as load, Maker(scene, mode).at_work() as maker:
        for _ in range(2):
            maker.more(5)
            postgres.stop(database, mode)
            postgres.start(database)
        maker.more(5)
    assert maker.errors == []
    assert load.failed == {}
    assert scene.ended(f"job-{mode}")["TrainingJobStatus"] == "Completed"


def test_a_database_that_is_away_for_long_is_told_and_predictions_go_on(scene: Scene, database: str) -> None:
    sagemaker = scene.server.client("sagemaker")
    scene.train("through", "import time; print('begun'); time.sleep(3)")
    until(lambda: "begun" in scene.lines("through"), what="the job")
    with scene.load("endpoint", 4) as load:
        postgres.stop(database, "immediate")
        try:
            with pytest.raises(ClientError) as told:
                sagemaker.create_experiment(ExperimentName="while-away")
            assert told.value.response["Error"]["Code"] == "ServiceUnavailable"
            assert "The record store does not answer" in str(told.value)
            with pytest.raises(ClientError, match="ServiceUnavailable"):
                sagemaker.describe_endpoint(EndpointName="endpoint")
            load.more(200)
        finally:
            postgres.start(database)
        assert scene.ended("through")["TrainingJobStatus"] == "Completed"
        load.more(200)
    assert load.failed == {}
    scene.in_service("endpoint")
