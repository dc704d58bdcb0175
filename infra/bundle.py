"""What the storyteller's image is built from, as files on this machine: the model, its manifest, the world.

The weights are no part of the asset's files, since five gigabytes would be copied and hashed at every
synth: their manifest stands for them. Knows no constructs.
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
    """The bundle manifest, which names the model's other files with their hashes."""
    manifest = folder / MANIFEST
    return manifest if manifest.is_file() else None
