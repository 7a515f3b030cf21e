"""The fake that loops are tested with keeps the same promises as the stores."""

import pytest

from clary.testing.artifacts import BUCKET, ArtifactsConformance
from clary.testing.memory_artifacts import MemoryArtifacts


class TestMemoryArtifacts(ArtifactsConformance):
    @pytest.fixture
    def artifacts(self) -> MemoryArtifacts:
        return MemoryArtifacts({BUCKET: {}})
