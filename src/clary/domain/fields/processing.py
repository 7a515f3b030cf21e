"""The fields of CreateProcessingJob. Rows are (use, why, paths); `table.py` makes the tables."""

from __future__ import annotations

from collections.abc import Mapping

_SOURCE = "ProcessingInputs[].S3Input"
_ATHENA = "ProcessingInputs[].DatasetDefinition.AthenaDatasetDefinition"
_REDSHIFT = "ProcessingInputs[].DatasetDefinition.RedshiftDatasetDefinition"
_TARGET = "ProcessingOutputConfig.Outputs[]"
_CLUSTER = "ProcessingResources.ClusterConfig"


def _below(top: str, names: str) -> str:
    return " ".join([top, *(f"{top}.{name}" for name in names.split())])


ROWS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "CreateProcessingJob": (
        ("honoured", "", "ProcessingJobName RoleArn Environment Tags Tags[].Key Tags[].Value"),
        ("honoured", "", _below("AppSpecification", "ImageUri ContainerEntrypoint ContainerArguments")),
        ("honoured", "", "ProcessingInputs ProcessingInputs[].InputName"),
        ("honoured", "the application fetches it by itself", "ProcessingInputs[].AppManaged"),
        (
            "honoured",
            "",
            _below(_SOURCE, "S3Uri LocalPath S3DataType S3InputMode S3DataDistributionType S3CompressionType"),
        ),
        ("honoured", "", _below("ProcessingInputs[].DatasetDefinition", "LocalPath DataDistributionType InputMode")),
        ("honoured", "", _below(_REDSHIFT, "QueryString OutputS3Uri OutputFormat OutputCompression")),
        ("honoured", "a source of the settings: docs/sources.md", f"{_REDSHIFT}.ClusterId"),
        (
            "recorded",
            "the source's URL decides",
            f"{_REDSHIFT}.Database {_REDSHIFT}.DbUser {_REDSHIFT}.ClusterRoleArn",
        ),
        ("refused", "Clary does not encrypt data", f"{_REDSHIFT}.KmsKeyId"),
        ("honoured", "", _below(_ATHENA, "Catalog Database QueryString OutputS3Uri OutputCompression")),
        ("honoured", "PARQUET, JSON, TEXTFILE; ORC and AVRO are refused", f"{_ATHENA}.OutputFormat"),
        ("recorded", "there is one work group", f"{_ATHENA}.WorkGroup"),
        ("refused", "Clary does not encrypt data", f"{_ATHENA}.KmsKeyId"),
        ("honoured", "", f"ProcessingOutputConfig ProcessingOutputConfig.Outputs {_TARGET}.OutputName"),
        ("honoured", "", _below(f"{_TARGET}.S3Output", "S3Uri LocalPath S3UploadMode")),
        ("honoured", "the application stores it by itself", f"{_TARGET}.AppManaged"),
        (
            "recorded",
            "the container itself puts the records",
            _below(f"{_TARGET}.FeatureStoreOutput", "FeatureGroupName"),
        ),
        ("recorded", "Clary does not encrypt data", f"ProcessingOutputConfig.KmsKeyId {_CLUSTER}.VolumeKmsKeyId"),
        ("honoured", "", f"ProcessingResources {_below(_CLUSTER, 'InstanceType InstanceCount')}"),
        ("honoured", "as a quota on what a host may write", f"{_CLUSTER}.VolumeSizeInGB"),
        (
            "refused",
            "instance preferences are not available; name an InstanceType",
            f"{_below(f'{_CLUSTER}.InstancePreferences', '')} {_CLUSTER}.InstancePreferences[].InstanceType "
            f"{_CLUSTER}.InstancePreferences[].InstanceCount {_CLUSTER}.SelectedInstanceType {_CLUSTER}.SelectedInstanceCount",
        ),
        ("honoured", "", "StoppingCondition StoppingCondition.MaxRuntimeInSeconds"),
        ("honoured", "", "NetworkConfig NetworkConfig.EnableNetworkIsolation"),
        ("recorded", "the hosts of a job share one machine", "NetworkConfig.EnableInterContainerTrafficEncryption"),
        (
            "recorded",
            "Clary has no VPC; EnableNetworkIsolation disables the network",
            _below("NetworkConfig.VpcConfig", "SecurityGroupIds Subnets"),
        ),
        (
            "honoured",
            "the job's trial component joins the trial, where there is such a one when the job is created",
            _below("ExperimentConfig", "ExperimentName TrialName TrialComponentDisplayName RunName"),
        ),
    ),
}
