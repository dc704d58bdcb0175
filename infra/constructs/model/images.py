"""The storyteller's image: its repository, and what it is built from.

The weights come in as a second build context named `model`; their manifest is in the asset's hash. With `weights=s3`
there are none in it.
"""

from __future__ import annotations

from aws_cdk import IgnoreMode, RemovalPolicy
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.bundle import DOCKERFILE, model_context, model_key, world_argument
from infra.settings import LIVE, ROOT, Settings


class ImageRepository(Construct):
    """The stack's own repository: its images are deleted with the stack."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        self.repository = ecr.Repository(
            self,
            "Repository",
            empty_on_delete=True,
            removal_policy=RemovalPolicy.DESTROY,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE_WITH_EXCLUSION,
            image_tag_mutability_exclusion_filters=[ecr.ImageTagMutabilityExclusionFilter.wildcard(LIVE)],
            lifecycle_rules=[
                # One image at most has this tag, so the rule never expires it, and no later rule may.
                ecr.LifecycleRule(
                    description="The image that is live", rule_priority=1, tag_prefix_list=[LIVE], max_image_count=1
                ),
                ecr.LifecycleRule(
                    description="The ten newest images: their layers are mostly shared",
                    rule_priority=2,
                    max_image_count=10,
                ),
            ],
        )


def image_code(settings: Settings, repository: ecr.IRepository) -> lambda_.DockerImageCode:
    """An image in the repository, by its digest, or one that the CDK builds and pushes.

    With `build=cloud` the digest is not known yet: `Storyteller` writes the address.
    """
    if settings.image or settings.build == "cloud":
        return lambda_.DockerImageCode.from_ecr(repository, tag_or_digest=settings.image or None)
    return lambda_.DockerImageCode.from_image_asset(
        str(ROOT),
        file=DOCKERFILE,
        platform=ecr_assets.Platform.LINUX_ARM64,
        exclude=ignored(),
        ignore_mode=IgnoreMode.DOCKER,
        build_args={"WORLD": world_argument(settings)},
        build_contexts={"model": str(model_context(settings))},
        extra_hash=model_key(settings),
    )


def ignored() -> list[str]:
    """What is no part of the asset: what `docker build` ignores, and the weights."""
    lines = (ROOT / f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "!build/models"))]
