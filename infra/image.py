"""The storyteller's image: where it is kept, what it is built from, who builds it.

The weights are no part of the asset's files: five gigabytes would be copied and hashed at every
synth. They come in as a second build context named `model`, and the bundle's manifest stands for
them in the asset's hash.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from aws_cdk import IgnoreMode, RemovalPolicy
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.settings import ROOT, SettingError, Settings

DOCKERFILE = "lambda/storyteller/Dockerfile"
#: A bundle's own manifest, and the one beside the demo model's checkpoint.
MANIFESTS = ("bundle.json", "manifest.json")


class Images(Construct):
    """The stack's own repository: what is pushed here goes when the stack goes."""

    def __init__(self, scope: Construct, name: str) -> None:
        super().__init__(scope, name)
        self.repository = ecr.Repository(
            self,
            "Repository",
            empty_on_delete=True,
            removal_policy=RemovalPolicy.DESTROY,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(description="An image and the one before it", max_image_count=2)],
        )


def image_code(settings: Settings, repository: ecr.IRepository, built: str | None) -> lambda_.DockerImageCode:
    """The code of the function: a digest in the repository (`built`, by CodeBuild), or Docker's work at deploy time."""
    digest = built or settings.image
    if digest:
        return lambda_.DockerImageCode.from_ecr(repository, tag_or_digest=digest)
    folder = settings.bundle_folder
    assert folder is not None
    return lambda_.DockerImageCode.from_image_asset(
        str(ROOT),
        file=DOCKERFILE,
        platform=ecr_assets.Platform.LINUX_ARM64,
        exclude=ignored(),
        ignore_mode=IgnoreMode.DOCKER,
        build_args={"WORLD": world_argument(settings)},
        build_contexts={"model": str(folder)},
        extra_hash=bundle_hash(folder),
    )


def ignored() -> list[str]:
    """What is no part of the asset: the very list that `docker build` reads, and the weights."""
    lines = (ROOT / f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    return [*(line for line in lines if line and not line.startswith("#")), "models"]


def world_argument(settings: Settings) -> str:
    """The world's folder as the Dockerfile wants it. Raises `SettingError` if it is outside the repository."""
    try:
        return settings.world_folder.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        raise SettingError(f"world={settings.world} lies outside the repository: put it below {ROOT}.") from None


def bundle_hash(folder: Path) -> str:
    """What stands for the weights: the hash of their manifest, or of names, sizes and small files without one.

    A folder that is not there (yet) has a hash too: synthesizing needs no weights, deploying checks for them.
    """
    manifest = find_manifest(folder)
    if manifest is not None:
        return hashlib.sha256(manifest.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        if size < 1024 * 1024:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def find_manifest(folder: Path) -> Path | None:
    """The file that names the model's other files with their hashes, if it has one."""
    return next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)
