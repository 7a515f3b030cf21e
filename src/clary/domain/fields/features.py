"""Members of requests about feature groups (`table.py` says what the words mean). Pure."""

from __future__ import annotations

from collections.abc import Mapping

Rows = tuple[tuple[str, str, str], ...]
_ENCRYPTS = "Clary does not encrypt data"
_DEFINED = "FeatureName FeatureType CollectionType CollectionConfig CollectionConfig.VectorConfig CollectionConfig.VectorConfig.Dimension"
_THROUGHPUT = (
    "recorded",
    "Clary has no capacity units: nothing is throttled",
    """ThroughputConfig ThroughputConfig.ThroughputMode ThroughputConfig.ProvisionedReadCapacityUnits
    ThroughputConfig.ProvisionedWriteCapacityUnits""",
)


def _features(member: str) -> str:
    return " ".join([member, *(f"{member}[].{name}" for name in _DEFINED.split())])


ROWS: Mapping[str, Rows] = {
    "CreateFeatureGroup": (
        (
            "honoured",
            "",
            f"""FeatureGroupName RecordIdentifierFeatureName EventTimeFeatureName {_features("FeatureDefinitions")} Tags Tags[].Key
            Tags[].Value RoleArn Description OnlineStoreConfig OnlineStoreConfig.EnableOnlineStore OnlineStoreConfig.TtlDuration
            OnlineStoreConfig.TtlDuration.Unit OnlineStoreConfig.TtlDuration.Value OfflineStoreConfig OfflineStoreConfig.S3StorageConfig
            OfflineStoreConfig.S3StorageConfig.S3Uri OfflineStoreConfig.DataCatalogConfig OfflineStoreConfig.DataCatalogConfig.TableName
            OfflineStoreConfig.DataCatalogConfig.Catalog OfflineStoreConfig.DataCatalogConfig.Database""",
        ),
        (
            "honoured",
            "there is one kind of online store; UpdateRecord needs Standard_V2 or InMemory, as on AWS",
            "OnlineStoreConfig.StorageType",
        ),
        ("honoured", "Default and Glue; Iceberg is refused", "OfflineStoreConfig.TableFormat"),
        (
            "recorded",
            _ENCRYPTS,
            "OnlineStoreConfig.SecurityConfig OnlineStoreConfig.SecurityConfig.KmsKeyId OfflineStoreConfig.S3StorageConfig.KmsKeyId",
        ),
        (
            "recorded",
            "the table can always be queried",
            "OfflineStoreConfig.DisableGlueTableCreation",
        ),
        ("ignored", "Clary tells where it is", "OfflineStoreConfig.S3StorageConfig.ResolvedOutputS3Uri"),
        _THROUGHPUT,
    ),
    "UpdateFeatureGroup": (
        (
            "honoured",
            "",
            f"""FeatureGroupName {_features("FeatureAdditions")} OnlineStoreConfig OnlineStoreConfig.TtlDuration
            OnlineStoreConfig.TtlDuration.Unit OnlineStoreConfig.TtlDuration.Value""",
        ),
        ("refused", "the kind of an online store does not change", "OnlineStoreConfig.StorageType"),
        _THROUGHPUT,
    ),
}
