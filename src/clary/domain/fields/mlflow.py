"""Members of requests about MLflow servers (`table.py` says what the words mean). Pure."""

from __future__ import annotations

from collections.abc import Mapping

Rows = tuple[tuple[str, str, str], ...]
_WINDOW = (
    "recorded",
    "Clary takes no server down by itself; its MLflow changes with Clary",
    "WeeklyMaintenanceWindowStart",
)
_OWNER = (
    "recorded",
    "the server reads and writes as its role in its own account, which Clary's S3 checks at each request",
    "S3BucketOwnerAccountId S3BucketOwnerVerification",
)
_DEFAULT = ("recorded", "Clary has no Studio that would open it", "AccountDefaultStatus DefaultDomainIdList")
_TAGS = "Tags Tags[].Key Tags[].Value"

ROWS: Mapping[str, Rows] = {
    "CreateMlflowTrackingServer": (
        ("honoured", "", f"TrackingServerName ArtifactStoreUri RoleArn {_TAGS}"),
        ("honoured", "memory, vCPUs and worker processes", "TrackingServerSize"),
        ("honoured", "Clary runs one version; another major version is refused", "MlflowVersion"),
        ("honoured", "registered models become versions in the registry", "AutomaticModelRegistration"),
        _WINDOW,
        _OWNER,
    ),
    "UpdateMlflowTrackingServer": (
        ("honoured", "", "TrackingServerName ArtifactStoreUri TrackingServerSize AutomaticModelRegistration"),
        _WINDOW,
        _OWNER,
    ),
    "CreateMlflowApp": (
        ("honoured", "", f"Name ArtifactStoreUri RoleArn {_TAGS}"),
        ("honoured", "registered models become versions in the registry", "ModelRegistrationMode"),
        ("refused", "Clary does not encrypt data", "KmsKeyId"),
        _WINDOW,
        _DEFAULT,
    ),
    "UpdateMlflowApp": (
        ("honoured", "", "Arn Name ArtifactStoreUri ModelRegistrationMode"),
        _WINDOW,
        _DEFAULT,
    ),
}
