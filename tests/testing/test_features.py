import pytest

from clary.testing.features import FeatureRecordsConformance, MemoryFeatures


class TestMemory(FeatureRecordsConformance):
    @pytest.fixture
    def features(self) -> MemoryFeatures:
        return MemoryFeatures()
