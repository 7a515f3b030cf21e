"""Members of other operations than those of `fields.py` that do not act as on AWS: by service and operation, (use, why, paths). What is
not named here is honoured: tests/api/test_members.py finds the members that no handler reads. Pure."""

from __future__ import annotations

from collections.abc import Mapping

Rows = tuple[tuple[str, str, str], ...]
_POLICIES = "policies restrict nothing here, whatever they say"
_LINKED = "no accounts are linked here"
_MASKED = "nothing is masked here"
_SESSION = "what a session may do does not depend on it: everything in its account"

ROWS: Mapping[str, Rows] = {
    "application-autoscaling PutScalingPolicy": (
        ("refused", "predictive scaling is not available", "PredictiveScalingPolicyConfiguration"),
    ),
    "cloudwatch DescribeAlarmHistory": (("refused", "alarms have no contributors here", "AlarmContributorId"),),
    "cloudwatch ListMetrics": (("ignored", _LINKED, "IncludeLinkedAccounts"),),
    "cloudwatch PutMetricData": (
        ("ignored", "nothing tells metrics by entities here", "EntityMetricData[].Entity StrictEntityValidation"),
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
        ("recorded", "there is no KMS here; data rests in Clary's own folder", "kmsKeyId"),
        ("recorded", "every group can do what STANDARD can", "logGroupClass"),
    ),
    "logs AssociateKmsKey": (("recorded", "there is no KMS here; data rests in Clary's own folder", "kmsKeyId"),),
    "logs DescribeLogGroups": (("ignored", _LINKED, "accountIdentifiers includeLinkedAccounts"),),
    "logs FilterLogEvents": (
        ("ignored", _MASKED, "unmask"),
        ("ignored", "streams are always interleaved, as on AWS since 2019", "interleaved"),
    ),
    "logs GetLogEvents": (("ignored", _MASKED, "unmask"),),
    "logs PutLogEvents": (
        ("ignored", "as on AWS since 2023", "sequenceToken"),
        ("ignored", "nothing tells events by entities here", "entity"),
    ),
    "sagemaker DescribeModelPackage": (("ignored", "nothing is encrypted here: all data is shown", "IncludedData"),),
    "sagemaker ListTags": (("ignored", "all tags are in one page: 50 at most", "MaxResults"),),
    "sagemaker UpdateModelPackage": (("ignored", "the same update twice changes nothing", "ClientToken"),),
    "sns Publish": (
        ("refused", "text messages to phones are not available", "PhoneNumber"),
        ("refused", "FIFO topics are not available", "MessageDeduplicationId"),
        ("ignored", "there are no queues here whose messages are grouped", "MessageGroupId"),
    ),
    "sns Subscribe": (("ignored", "the ARN is always answered", "ReturnSubscriptionArn"),),
    "sts AssumeRole": (
        (
            "ignored",
            _SESSION,
            "Tags TransitiveTagKeys ExternalId SerialNumber TokenCode ProvidedContexts MinimumSessionTokenSize",
        ),
    ),
    "sts GetSessionToken": (("ignored", _SESSION, "SerialNumber TokenCode MinimumSessionTokenSize"),),
}
