"""Any S3 server as Artifacts: SeaweedFS out of its wheel, and our own store as if it were a stranger's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests import weed as seaweed

from clary.objects.external import ExternalArtifacts
from clary.testing.artifacts import BUCKET, ArtifactsConformance


@pytest.fixture(scope="module")
def weed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with seaweed.running(tmp_path_factory.mktemp("weed")) as server:
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield server.endpoint


@pytest.mark.slow
class TestSeaweed(ArtifactsConformance):
    @pytest.fixture
    def artifacts(self, weed: str) -> Iterator[ExternalArtifacts]:
        found = ExternalArtifacts(weed, seaweed.KEY, seaweed.SECRET, "us-east-1")
        yield found
        found.close()


class TestOurs(ArtifactsConformance):
    @pytest.fixture
    def artifacts(self, live: Any) -> Iterator[ExternalArtifacts]:
        client = live.client()
        client.create_bucket(Bucket=BUCKET)
        client.close()
        found = ExternalArtifacts(live.endpoint, live.key.access_key_id, live.key.secret, "us-east-1")
        yield found
        found.close()
