"""Which AWS region: one order of looking for it, and the regions that can run the stack."""

from __future__ import annotations

import os

from infra.settings import SettingError

DEFAULT = "us-east-1"

#: Commercial regions with SnapStart (Front starts from a snapshot) and arm64 functions, by AWS's documentation of
#: November 2026. Left out: ap-east-2 and ap-southeast-6 (no SnapStart), ca-west-1 (opened without arm64).
#: Each has a grid factor (lambda/overture/accounting/grid.py; a test compares): every visitor is shown energy figures.
REGIONS = (
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ca-central-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
)

#: Where CloudFormation has no such resource, by its registry of November 2026: no budget is made there, and
#: `build=cloud` is refused.
WITHOUT_BUDGETS = frozenset(
    {
        "af-south-1",
        "ap-east-1",
        "ap-northeast-3",
        "ap-south-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-7",
        "eu-central-2",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "il-central-1",
        "me-central-1",
        "mx-central-1",
    }
)
WITHOUT_CODEBUILD = frozenset({"mx-central-1"})


def find_region() -> str:
    """The region where no `region=` is given: AWS_REGION, AWS_DEFAULT_REGION, the profile's, else us-east-1.

    The CDK's CLI looks in the same order, and hands its `--profile` on as CDK_DEFAULT_REGION.
    """
    named = os.environ.get("CDK_DEFAULT_REGION") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if named:
        return named
    import boto3
    from botocore.exceptions import ProfileNotFound

    try:
        return boto3.Session().region_name or DEFAULT
    except ProfileNotFound:
        raise SettingError(
            f"The profile AWS_PROFILE={os.environ.get('AWS_PROFILE')} does not exist: "
            "name one of `aws configure list-profiles`, or unset it."
        ) from None


def check_region(region: str, *, build: str = "local") -> None:
    """Raises `SettingError` for a region that cannot run the stack."""
    if build == "cloud" and region in WITHOUT_CODEBUILD:
        raise SettingError(f"build=cloud cannot be used in {region}, which has no CodeBuild: leave it out.")
    if region not in REGIONS:
        raise SettingError(
            f"region={region} cannot be used: there is no such region, or Lambda has no SnapStart or no arm64 there; "
            f"choose one of {', '.join(REGIONS)}."
        )
