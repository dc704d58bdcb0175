"""The local files that the storyteller and its image are made of: the model, its manifest, the world.

The weights are not among the CDK's assets, where five gigabytes would be copied and hashed at every synth: their
manifest stands for them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from infra.settings import ROOT, SettingError, Settings

DOCKERFILE = "lambda/storyteller/Dockerfile"
MANIFEST = "bundle.json"
#: The one file in the model's place in an image without one.
WITHOUT_MODEL = "the-weights-are-on-s3"


def world_argument(settings: Settings) -> str:
    """The world's folder as the Dockerfile wants it. Raises `SettingError` if it is outside the repository."""
    try:
        return settings.world_folder.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        raise SettingError(f"world={settings.world} lies outside the repository: put it below {ROOT}.") from None


def model_context(settings: Settings) -> Path:
    """The folder that the Dockerfile copies as the model's: with `weights=s3`, one that says where the model is."""
    if settings.weights == "s3":
        folder = ROOT / "build" / "no-model"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WITHOUT_MODEL).touch()
        return folder
    found = settings.bundle_folder
    assert found is not None
    return found


def model_key(settings: Settings) -> str:
    """What stands for the model in the image: its hash or address, or that there is none."""
    if settings.weights == "s3":
        return WITHOUT_MODEL
    folder = settings.bundle_folder
    return settings.bundle.rstrip("/") if folder is None else bundle_hash(folder)


def split_address(address: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`."""
    bucket, _, prefix = address.removeprefix("s3://").rstrip("/").partition("/")
    return bucket, prefix


def weights_prefix(folder: Path) -> str:
    """The prefix of a bundle in the bucket: its manifest's hash, so that two bundles never mix.

    Raises `SettingError` for a model that is no bundle.
    """
    if folder.is_dir() and find_manifest(folder) is None:
        raise SettingError(
            f"weights=s3 reads bundles only, and {folder} has no {MANIFEST}: pack it (python -m model_build pack), "
            "or leave weights=s3 out."
        )
    return bundle_hash(folder)


def bundle_hash(folder: Path) -> str:
    """A hash for the weights: of their manifest, or without one of names, sizes and small files.

    A missing folder has a hash too: synthesizing needs no weights, and deploying checks for them.
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
    """A bundle's manifest, which lists the other files with their hashes; None for a Hugging Face folder."""
    manifest = folder / MANIFEST
    return manifest if manifest.is_file() else None
