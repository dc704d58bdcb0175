"""cdk-nag findings that are accepted, each with its reason."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Annotations, Stack, Validations
from aws_cdk.aws_s3 import Bucket, CfnBucket
from constructs import IConstruct


def suppress(construct: IConstruct, rule: str, reason: str) -> None:
    """Accepts a finding on this construct and on what it contains."""
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason))


def suppress_runtime(function: IConstruct) -> None:
    suppress(
        function,
        "AwsSolutions-L1",
        "Wheels, image and tests are of Python 3.13; they move to a newer version together.",
    )


def suppress_snap_start_warning(function: IConstruct) -> None:
    """The CDK warns that a snapshot needs a published version; every function here has its alias."""
    Annotations.of(function).acknowledge_warning("@aws-cdk/aws-lambda:snapStartRequirePublish", "Invoked by its alias.")


def suppress_cdk_own(stack: Stack, bucket: Bucket) -> None:
    """Accepts findings on the functions that the CDK adds to upload the page and to empty buckets."""
    reason = "Part of the CDK: runs while deploying or destroying, never for a visitor, and takes no other role."
    pages = bucket.node.default_child
    assert isinstance(pages, CfnBucket)
    assets = f"arn:aws:s3:::{asset_bucket(stack)}/*"
    for child in stack.node.children:
        if not child.node.id.startswith("Custom::"):
            continue
        for rule in (
            "AwsSolutions-L1",
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
            "AwsSolutions-IAM5[Resource::*]",
            f"AwsSolutions-IAM5[Resource::<{stack.get_logical_id(pages)}.Arn>/*]",
            f"AwsSolutions-IAM5[Resource::{assets}]",
            *(
                f"AwsSolutions-IAM5[Action::s3:{action}*]"
                for action in ("Abort", "DeleteObject", "GetBucket", "GetObject", "List")
            ),
        ):
            suppress(child, rule, reason)


def asset_bucket(stack: Stack) -> str:
    """The CDK's bucket for assets, as cdk-nag writes it."""
    qualifier = stack.synthesizer.bootstrap_qualifier or "hnb659fds"
    return f"cdk-{qualifier}-assets-<AWS::AccountId>-{stack.region}"
