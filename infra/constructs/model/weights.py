"""`weights=s3`: the bucket that the storyteller reads its model from, in a small stack of its own.

A stack of its own, because the model must be there before the version of the storyteller that reads it, also where the
rest runs already with the model in its image. `make deploy` makes it, uploads, then deploys the rest; `make destroy`
deletes both. (The CDK's own bucket for assets would keep every model after that.) Each bundle has a prefix of its own,
the hash of its manifest: what a running storyteller reads is never overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import Aws, CfnOutput, Duration, Environment, Fn, Stack, Tags
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.bundle import split_address, weights_prefix
from infra.constructs.nag_suppressions import suppress, suppress_cdk_own
from infra.constructs.private_bucket import make_private_bucket
from infra.constructs.roles import allow
from infra.settings import TAG, Settings


@dataclass(frozen=True)
class Weights:
    """A bundle on S3. `shown` is the bucket as cdk-nag writes it."""

    bucket: str
    prefix: str
    shown: str

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def grant_read(self, role: iam.Role) -> None:
        """Lets a role read this bundle's files, and list nothing."""
        arn = f"arn:{Aws.PARTITION}:s3:::{self.bucket}/{self.prefix}/*"
        allow(role, ["s3:GetObject"], arn)
        suppress(
            role,
            f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::{self.shown}/{self.prefix}/*]",
            "All files of the model, and nothing beside them.",
        )


def export_name(stack: str) -> str:
    """The name by which a stack finds its bucket."""
    return f"{stack}-weights-bucket"


def find_weights(settings: Settings) -> Weights | None:
    """The model on S3; None with `weights=image`. Raises `SettingError` for a model that is no bundle."""
    if settings.weights == "image":
        return None
    folder = settings.bundle_folder
    if folder is None:
        bucket, prefix = split_address(settings.bundle)
        return Weights(bucket, prefix, shown=bucket)
    exported = export_name(settings.stack)
    return Weights(Fn.import_value(exported), weights_prefix(folder), shown=exported)


class WeightsStack(Stack):
    """The bucket, private and emptied when it is deleted; the deploy command puts bundles into it."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(
            scope,
            name,
            env=Environment(region=settings.region),
            description=f"Overture: the weights that {settings.stack} reads",
        )
        Tags.of(self).add(TAG, settings.tag)
        bucket = make_private_bucket(
            self,
            "Weights",
            settings,
            unlogged="Read by the storyteller at each start; there is no secret in it.",
            rules=[s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(1))],
        )
        suppress_cdk_own(self, bucket)
        CfnOutput(
            self,
            "BucketOutput",
            value=bucket.bucket_name,
            export_name=export_name(settings.stack),
            description="The bucket of the weights",
        ).override_logical_id("Bucket")
