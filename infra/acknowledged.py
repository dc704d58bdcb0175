"""cdk-nag's findings that stand, each with the reason it does."""

from __future__ import annotations

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk.aws_s3 import Bucket, CfnBucket
from constructs import IConstruct


def acknowledge(construct: IConstruct, rule: str, reason: str) -> None:
    """Lets a finding of cdk-nag stand on this construct and what it contains."""
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::{rule}", reason=reason))


def acknowledge_runtime(function: IConstruct) -> None:
    """Python 3.13 for all: what the wheels are pinned for, and the image's Python as well."""
    acknowledge(
        function, "AwsSolutions-L1", "Wheels, image and tests are of Python 3.13; they move to another together."
    )


def acknowledge_cdk_own(stack: Stack, bucket: Bucket) -> None:
    """CDK brings functions of its own that upload the page and empty buckets; they work at deploy time only."""
    reason = (
        "Part of the CDK: runs while deploying or destroying, never for a visitor, and cannot be given another role."
    )
    pages = bucket.node.default_child
    assert isinstance(pages, CfnBucket)
    qualifier = stack.synthesizer.bootstrap_qualifier or "hnb659fds"
    assets = f"arn:<AWS::Partition>:s3:::cdk-{qualifier}-assets-<AWS::AccountId>-{stack.region}/*"
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
            acknowledge(child, rule, reason)
