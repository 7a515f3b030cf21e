"""The rows of `fields` for inference experiments: (use, why, paths separated by blanks)."""

from __future__ import annotations

from collections.abc import Mapping

Row = tuple[str, str, str]
_HONOURED, _RECORDED = "honoured", "recorded"
_NO_KMS = "there is no key management service"
_VARIANT = """[].ModelName [].VariantName [].InfrastructureConfig [].InfrastructureConfig.InfrastructureType
    [].InfrastructureConfig.RealTimeInferenceConfig [].InfrastructureConfig.RealTimeInferenceConfig.InstanceType
    [].InfrastructureConfig.RealTimeInferenceConfig.InstanceCount"""


def _variants(name: str) -> str:
    return " ".join([name, *(f"{name}{path}" for path in _VARIANT.split())])


_CHANGED: tuple[Row, ...] = (
    (_HONOURED, "", f"Name Schedule Schedule.StartTime Schedule.EndTime Description {_variants('ModelVariants')}"),
    (
        _HONOURED,
        "",
        """ShadowModeConfig ShadowModeConfig.SourceModelVariantName ShadowModeConfig.ShadowModelVariants
        ShadowModeConfig.ShadowModelVariants[].ShadowModelVariantName ShadowModeConfig.ShadowModelVariants[].SamplingPercentage""",
    ),
    (
        _HONOURED,
        "",
        """DataStorageConfig DataStorageConfig.Destination DataStorageConfig.ContentType
        DataStorageConfig.ContentType.CsvContentTypes DataStorageConfig.ContentType.JsonContentTypes""",
    ),
    (_RECORDED, _NO_KMS, "DataStorageConfig.KmsKey"),
)

ROWS: Mapping[str, tuple[Row, ...]] = {
    "CreateInferenceExperiment": (
        *_CHANGED,
        (_HONOURED, "", "Type RoleArn EndpointName Tags Tags[].Key Tags[].Value"),
        (_RECORDED, _NO_KMS, "KmsKey"),
    ),
    "UpdateInferenceExperiment": _CHANGED,
    "StopInferenceExperiment": (
        (_HONOURED, "", f"Name ModelVariantActions {_variants('DesiredModelVariants')} DesiredState Reason"),
    ),
}
