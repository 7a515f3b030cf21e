"""Members of other operations than those of `fields.py` that do not act as on AWS: by service and operation, (use, why, paths). What is
not named here is honoured: tests/api/test_members.py finds the members that no handler reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Rows = tuple[tuple[str, str, str], ...]
_POLICIES = "Clary does not enforce policies"
_LINKED = "Clary links no accounts"
_MASKED = "Clary masks no data"
_SESSION = "without effect: a session may do everything in its account"

ROWS: Mapping[str, Rows] = {
    "application-autoscaling PutScalingPolicy": (
        ("refused", "predictive scaling is not available", "PredictiveScalingPolicyConfiguration"),
    ),
    "cloudwatch DescribeAlarmHistory": (("refused", "Clary's alarms have no contributors", "AlarmContributorId"),),
    "cloudwatch ListMetrics": (("ignored", _LINKED, "IncludeLinkedAccounts"),),
    "cloudwatch PutMetricData": (
        ("ignored", "Clary does not group metrics by entities", "EntityMetricData[].Entity StrictEntityValidation"),
    ),
    "iam SimulatePrincipalPolicy": (
        (
            "ignored",
            _POLICIES,
            "PolicyInputList PermissionsBoundaryPolicyInputList PolicyExclusionList ResourcePolicy ResourceOwner CallerArn "
            "ContextEntries ResourceHandlingOption",
        ),
    ),
    "iam CreateRole": (("recorded", _POLICIES, "PermissionsBoundary"),),
    "logs CreateLogGroup": (
        ("recorded", "Clary does not encrypt data", "kmsKeyId"),
        ("recorded", "every group can do what STANDARD can", "logGroupClass"),
    ),
    "logs AssociateKmsKey": (("recorded", "Clary does not encrypt data", "kmsKeyId"),),
    "logs DescribeLogGroups": (("ignored", _LINKED, "accountIdentifiers includeLinkedAccounts"),),
    "logs FilterLogEvents": (
        ("ignored", _MASKED, "unmask"),
        ("ignored", "streams are always interleaved, as on AWS since 2019", "interleaved"),
    ),
    "logs GetLogEvents": (("ignored", _MASKED, "unmask"),),
    "logs PutLogEvents": (
        ("ignored", "as on AWS since 2023", "sequenceToken"),
        ("ignored", "Clary does not group events by entities", "entity"),
    ),
    "sagemaker CreateModelCard": (
        ("recorded", "Clary does not encrypt data", "SecurityConfig SecurityConfig.KmsKeyId"),
    ),
    "sagemaker DescribeModelCard": (("ignored", "Clary encrypts nothing: all data is shown", "IncludedData"),),
    "sagemaker DescribeModelPackage": (("ignored", "Clary encrypts nothing: all data is shown", "IncludedData"),),
    "sagemaker ListResourceCatalogs": (
        (
            "ignored",
            "there are no catalogs: Clary shares nothing between accounts",
            "NameContains CreationTimeAfter CreationTimeBefore SortOrder SortBy MaxResults",
        ),
    ),
    "sagemaker ListTags": (("ignored", "all tags are in one page: 50 at most", "MaxResults"),),
    "sagemaker CreatePipeline": (
        ("refused", "the latest version of the object is read", "PipelineDefinitionS3Location.VersionId"),
    ),
    "sagemaker DeletePipeline": (("ignored", "the same deletion twice changes nothing", "ClientRequestToken"),),
    "sagemaker StartPipelineExecution": (("refused", "MLflow is not available yet", "MlflowExperimentName"),),
    "sagemaker StopPipelineExecution": (("ignored", "the same stop twice changes nothing", "ClientRequestToken"),),
    "sagemaker UpdatePipeline": (
        ("refused", "the latest version of the object is read", "PipelineDefinitionS3Location.VersionId"),
    ),
    "sagemaker UpdateModelPackage": (("ignored", "the same update twice changes nothing", "ClientToken"),),
    "sns Publish": (
        ("refused", "text messages to phones are not available", "PhoneNumber"),
        ("refused", "FIFO topics are not available", "MessageDeduplicationId"),
        ("ignored", "Clary has no queues that group messages", "MessageGroupId"),
    ),
    "sns Subscribe": (("ignored", "the ARN is always answered", "ReturnSubscriptionArn"),),
    "sqs ReceiveMessage": (
        ("ignored", "a repeated receipt waits for the visibility timeout", "ReceiveRequestAttemptId"),
    ),
    "sts AssumeRole": (
        (
            "ignored",
            _SESSION,
            "Tags TransitiveTagKeys ExternalId SerialNumber TokenCode ProvidedContexts MinimumSessionTokenSize",
        ),
    ),
    "sts GetSessionToken": (("ignored", _SESSION, "SerialNumber TokenCode MinimumSessionTokenSize"),),
}
