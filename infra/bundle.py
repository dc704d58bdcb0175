"""The local files that the storyteller's image is built from: the model, its manifest, the world.

The weights are not among the CDK's assets, where five gigabytes would be copied and hashed at every synth: their
manifest stands for them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from infra.settings import ROOT, SettingError, Settings

DOCKERFILE = "lambda/storyteller/Dockerfile"
MANIFEST = "bundle.json"


def world_argument(settings: Settings) -> str:
    """The world's folder as the Dockerfile wants it. Raises `SettingError` if it is outside the repository."""
    try:
        return settings.world_folder.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        raise SettingError(f"world={settings.world} lies outside the repository: put it below {ROOT}.") from None


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
