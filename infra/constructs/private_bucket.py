"""A bucket that nobody reads but by a grant, and that goes with its stack."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.nag_suppressions import suppress
from infra.constructs.roles import log_bucket_deletion
from infra.settings import Settings


def make_private_bucket(
    scope: Construct, name: str, settings: Settings, *, unlogged: str, rules: Sequence[s3.LifecycleRule] | None = None
) -> s3.Bucket:
    """An encrypted bucket, emptied when it is deleted. `unlogged`: why nobody needs a log of who reads it."""
    bucket = s3.Bucket(
        scope,
        name,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        encryption=s3.BucketEncryption.S3_MANAGED,
        enforce_ssl=True,
        removal_policy=RemovalPolicy.DESTROY,
        auto_delete_objects=True,
        lifecycle_rules=rules,
    )
    log_bucket_deletion(scope, settings)
    suppress(bucket, "AwsSolutions-S1", unlogged)
    return bucket
