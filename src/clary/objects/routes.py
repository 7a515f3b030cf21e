"""Which operation a request is, by method, level and sub-resource: one table.

What Clary does has a function; what S3 has beside it is known by name, so that its refusal can name it. Does not know: anything
about an operation but its name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from clary.objects import buckets, forms, listing, reads, tags, writes
from clary.objects.buckets import DOCUMENTS
from clary.objects.context import Context
from clary.objects.errors import S3Error
from clary.objects.multipart import Multipart
from clary.objects.request import Call, Reply

Operation = Callable[[Context, Call], Awaitable[Reply]]
Table = Mapping[tuple[str, str], tuple[tuple[str, str], ...]]

# (method, level) -> (argument that marks it, operation), the first that fits; "" fits always.
BUCKET: Table = {
    ("GET", "bucket"): (
        ("location", "GetBucketLocation"), ("versioning", "GetBucketVersioning"), ("versions", "ListObjectVersions"),
        ("uploads", "ListMultipartUploads"), ("list-type", "ListObjectsV2"), ("policyStatus", "GetBucketPolicyStatus"),
        ("policy", "GetBucketPolicy"), ("acl", "GetBucketAcl"), ("tagging", "GetBucketTagging"), ("cors", "GetBucketCors"),
        ("lifecycle", "GetBucketLifecycleConfiguration"), ("encryption", "GetBucketEncryption"),
        ("ownershipControls", "GetBucketOwnershipControls"), ("publicAccessBlock", "GetPublicAccessBlock"),
        ("requestPayment", "GetBucketRequestPayment"), ("notification", "GetBucketNotificationConfiguration"),
        ("logging", "GetBucketLogging"), ("accelerate", "GetBucketAccelerateConfiguration"), ("website", "GetBucketWebsite"),
        ("replication", "GetBucketReplication"), ("object-lock", "GetObjectLockConfiguration"), ("session", "CreateSession"),
        ("analytics", "GetBucketAnalyticsConfiguration|ListBucketAnalyticsConfigurations"),
        ("intelligent-tiering", "GetBucketIntelligentTieringConfiguration|ListBucketIntelligentTieringConfigurations"),
        ("inventory", "GetBucketInventoryConfiguration|ListBucketInventoryConfigurations"),
        ("metrics", "GetBucketMetricsConfiguration|ListBucketMetricsConfigurations"),
        ("metadataTable", "GetBucketMetadataTableConfiguration"), ("metadataConfiguration", "GetBucketMetadataConfiguration"),
        ("abac", "GetBucketAbac"), ("", "ListObjects"),
    ),
    ("HEAD", "bucket"): (("", "HeadBucket"),),
    ("PUT", "bucket"): (
        ("versioning", "PutBucketVersioning"), ("policy", "PutBucketPolicy"), ("acl", "PutBucketAcl"),
        ("tagging", "PutBucketTagging"), ("cors", "PutBucketCors"), ("lifecycle", "PutBucketLifecycleConfiguration"),
        ("encryption", "PutBucketEncryption"), ("ownershipControls", "PutBucketOwnershipControls"),
        ("publicAccessBlock", "PutPublicAccessBlock"), ("requestPayment", "PutBucketRequestPayment"),
        ("notification", "PutBucketNotificationConfiguration"), ("logging", "PutBucketLogging"),
        ("accelerate", "PutBucketAccelerateConfiguration"), ("website", "PutBucketWebsite"),
        ("replication", "PutBucketReplication"), ("object-lock", "PutObjectLockConfiguration"),
        ("analytics", "PutBucketAnalyticsConfiguration"), ("intelligent-tiering", "PutBucketIntelligentTieringConfiguration"),
        ("inventory", "PutBucketInventoryConfiguration"), ("metrics", "PutBucketMetricsConfiguration"),
        ("metadataInventoryTable", "UpdateBucketMetadataInventoryTableConfiguration"),
        ("metadataAnnotationTable", "UpdateBucketMetadataAnnotationTableConfiguration"),
        ("metadataJournalTable", "UpdateBucketMetadataJournalTableConfiguration"), ("abac", "PutBucketAbac"), ("", "CreateBucket"),
    ),
    ("POST", "bucket"): (
        ("delete", "DeleteObjects"), ("metadataTable", "CreateBucketMetadataTableConfiguration"),
        ("metadataConfiguration", "CreateBucketMetadataConfiguration"), ("", "PostObject"),
    ),
    ("DELETE", "bucket"): (
        ("policy", "DeleteBucketPolicy"), ("tagging", "DeleteBucketTagging"), ("cors", "DeleteBucketCors"),
        ("lifecycle", "DeleteBucketLifecycle"), ("encryption", "DeleteBucketEncryption"),
        ("ownershipControls", "DeleteBucketOwnershipControls"), ("publicAccessBlock", "DeletePublicAccessBlock"),
        ("website", "DeleteBucketWebsite"), ("replication", "DeleteBucketReplication"),
        ("analytics", "DeleteBucketAnalyticsConfiguration"),
        ("intelligent-tiering", "DeleteBucketIntelligentTieringConfiguration"),
        ("inventory", "DeleteBucketInventoryConfiguration"), ("metrics", "DeleteBucketMetricsConfiguration"),
        ("metadataTable", "DeleteBucketMetadataTableConfiguration"),
        ("metadataConfiguration", "DeleteBucketMetadataConfiguration"), ("", "DeleteBucket"),
    ),
    ("GET", "service"): (("", "ListBuckets"),),
    ("POST", "service"): (("", "WriteGetObjectResponse"),),
}  # fmt: skip

OBJECT: Table = {
    ("GET", "object"): (
        ("uploadId", "ListParts"), ("attributes", "GetObjectAttributes"), ("tagging", "GetObjectTagging"), ("acl", "GetObjectAcl"),
        ("annotation", "GetObjectAnnotation|ListObjectAnnotations"), ("legal-hold", "GetObjectLegalHold"),
        ("retention", "GetObjectRetention"), ("torrent", "GetObjectTorrent"),
        ("", "GetObject"),
    ),
    ("HEAD", "object"): (("", "HeadObject"),),
    ("PUT", "object"): (
        ("uploadId", "UploadPart"), ("tagging", "PutObjectTagging"), ("acl", "PutObjectAcl"), ("annotation", "PutObjectAnnotation"),
        ("legal-hold", "PutObjectLegalHold"),
        ("retention", "PutObjectRetention"), ("renameObject", "RenameObject"), ("encryption", "UpdateObjectEncryption"),
        ("", "PutObject"),
    ),
    ("POST", "object"): (
        ("uploads", "CreateMultipartUpload"), ("uploadId", "CompleteMultipartUpload"), ("select", "SelectObjectContent"),
        ("restore", "RestoreObject"),
    ),
    ("DELETE", "object"): (
        ("uploadId", "AbortMultipartUpload"), ("tagging", "DeleteObjectTagging"), ("annotation", "DeleteObjectAnnotation"),
        ("", "DeleteObject"),
    ),
}  # fmt: skip


def operation_name(call: Call) -> str:
    """S3's name of what the request asks for; MethodNotAllowed when it is nothing."""
    level = "object" if call.key else "bucket" if call.bucket else "service"
    table = OBJECT if level == "object" else BUCKET
    args = call.args if call.query else {}
    if not args and level == "object" and call.method == "GET":
        return "GetObject"  # what is asked most
    for mark, name in table.get((call.method, level), ()):
        if not mark or mark in args:
            return _refine(name, call, args)
    raise S3Error("MethodNotAllowed", Method=call.method, ResourceType=level.upper())


def _refine(name: str, call: Call, args: Mapping[str, str]) -> str:
    if name == "PutObject" and "x-amz-copy-source" in call.headers:
        return "CopyObject"
    if name == "UploadPart" and "x-amz-copy-source" in call.headers:
        return "UploadPartCopy"
    if name == "ListBuckets" and args.get("x-id") == "ListDirectoryBuckets":
        return "ListDirectoryBuckets"
    one, _, several = name.partition("|")
    return one if not several or "id" in args or "annotationName" in args else several


def operations(multipart: Multipart) -> dict[str, Operation]:
    """Every operation that is done, by its name."""
    done: dict[str, Operation] = {
        "ListBuckets": buckets.list_buckets, "CreateBucket": buckets.create_bucket, "HeadBucket": buckets.head_bucket,
        "DeleteBucket": buckets.delete_bucket, "GetBucketLocation": buckets.get_location,
        "GetBucketVersioning": buckets.get_versioning, "PutBucketVersioning": buckets.put_versioning,
        "GetBucketPolicy": buckets.get_policy, "PutBucketPolicy": buckets.put_policy,
        "DeleteBucketPolicy": buckets.delete_policy, "GetBucketPolicyStatus": buckets.get_policy_status,
        "GetBucketAcl": buckets.get_acl, "PutBucketAcl": buckets.put_acl,
        "ListObjects": listing.list_objects, "ListObjectsV2": listing.list_objects_v2,
        "ListObjectVersions": listing.list_object_versions,
        "GetObject": reads.get_object, "HeadObject": reads.head_object, "GetObjectAttributes": reads.get_object_attributes,
        "PutObject": writes.put_object, "CopyObject": writes.copy_object, "DeleteObject": writes.delete_object,
        "DeleteObjects": writes.delete_objects, "PostObject": forms.post_object,
        "GetObjectTagging": tags.get_tagging, "PutObjectTagging": tags.put_tagging,
        "DeleteObjectTagging": tags.delete_tagging, "GetObjectAcl": tags.get_acl, "PutObjectAcl": tags.put_acl,
        "CreateMultipartUpload": multipart.create, "UploadPart": multipart.upload_part,
        "UploadPartCopy": multipart.upload_part_copy, "CompleteMultipartUpload": multipart.complete,
        "AbortMultipartUpload": multipart.abort, "ListParts": multipart.list_parts,
        "ListMultipartUploads": multipart.list_uploads,
    }  # fmt: skip
    for (method, level), rows in BUCKET.items():
        make = {"GET": buckets.get_document, "PUT": buckets.put_document, "DELETE": buckets.delete_document}.get(method)
        for mark, name in rows:
            if level == "bucket" and make is not None and mark in DOCUMENTS:
                done[name] = make(DOCUMENTS[mark])
    return done
