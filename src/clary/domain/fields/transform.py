"""The rows of `fields` for transform jobs: (use, why, paths separated by blanks)."""

from __future__ import annotations

Row = tuple[str, str, str]
_HONOURED, _RECORDED = "honoured", "recorded"

CREATE_TRANSFORM_JOB: tuple[Row, ...] = (
    (
        _HONOURED,
        "",
        """TransformJobName ModelName MaxConcurrentTransforms MaxPayloadInMB BatchStrategy Environment ModelClientConfig
        ModelClientConfig.InvocationsTimeoutInSeconds ModelClientConfig.InvocationsMaxRetries TransformInput
        TransformInput.DataSource TransformInput.DataSource.S3DataSource TransformInput.DataSource.S3DataSource.S3Uri
        TransformInput.ContentType TransformInput.CompressionType TransformInput.SplitType TransformOutput
        TransformOutput.S3OutputPath TransformOutput.Accept TransformOutput.AssembleWith TransformResources
        TransformResources.InstanceType TransformResources.InstanceCount DataProcessing DataProcessing.InputFilter
        DataProcessing.OutputFilter DataProcessing.JoinSource DataCaptureConfig DataCaptureConfig.DestinationS3Uri
        DataCaptureConfig.GenerateInferenceId Tags Tags[].Key Tags[].Value""",
    ),
    (
        _HONOURED,
        "S3Prefix and ManifestFile; AugmentedManifestFile and Converse are refused",
        "TransformInput.DataSource.S3DataSource.S3DataType",
    ),
    (
        _RECORDED,
        "Clary does not encrypt data",
        "TransformOutput.KmsKeyId TransformResources.VolumeKmsKeyId DataCaptureConfig.KmsKeyId",
    ),
    (_RECORDED, "images name runtimes, and not machine images", "TransformResources.TransformAmiVersion"),
    (
        _HONOURED,
        "the job's trial component joins the trial, where there is such a one when the job is created",
        """ExperimentConfig ExperimentConfig.ExperimentName ExperimentConfig.TrialName
        ExperimentConfig.TrialComponentDisplayName ExperimentConfig.RunName""",
    ),
)
