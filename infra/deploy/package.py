"""Front's package: its arm64 wheels, staged once by `make wheels`, and its code, gathered at every synth.

The wheels come from PyPI with pinned hashes (`infra/front.lock`). pip downloads them for another platform than
this one, so that no Docker and no emulation is needed. Run: `python -m infra.deploy.package`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra.settings import ROOT, SettingError, Settings

LOCK = ROOT / "infra" / "front.lock"
WHEELS = ROOT / "build" / "front" / "wheels"
IMAGE_LOCKS = (ROOT / "lambda/storyteller/requirements.lock",)
IMAGE_WHEELS = ROOT / "build" / "storyteller" / "wheels"
PACKAGE = ROOT / "build" / "front" / "package"
#: Lambda's limit for a function's code, unpacked.
MOST_BYTES = 250 * 1024 * 1024

#: Lambda's Python 3.13 has glibc 2.34.
PLATFORMS = (
    "manylinux_2_34_aarch64",
    "manylinux_2_31_aarch64",
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux_2_17_aarch64",
    "manylinux2014_aarch64",
)
_STAGED = ".lock-sha256"
#: Never used on Lambda: tests, caches, the parts of NumPy and FAISS that build other code.
_NEEDLESS = ("**/__pycache__", "**/tests", "bin", "numpy/_core/include", "numpy/f2py", "faiss/contrib")


def stage_wheels(lock: Path = LOCK, folder: Path = WHEELS) -> bool:
    """Downloads and unpacks the wheels of a lock file; False when they are there already.

    Raises `SettingError` when pip cannot get one of them.
    """
    if not _pip("install", [lock], folder, "--no-compile", f"--target={folder}"):
        return False
    for pattern in _NEEDLESS:
        for path in list(folder.glob(pattern)):
            shutil.rmtree(path, ignore_errors=True)
    return True


def download_wheels(locks: Sequence[Path] = IMAGE_LOCKS, folder: Path = IMAGE_WHEELS) -> bool:
    """Downloads the wheels of the storyteller's image, packed; False when they are there already."""
    return _pip("download", locks, folder, f"--dest={folder}")


def _pip(command: str, locks: Sequence[Path], folder: Path, *options: str) -> bool:
    wanted = _hash(*locks)
    mark = folder / _STAGED
    if mark.is_file() and mark.read_text() == wanted:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    arguments = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--no-deps"]
    arguments += ["--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.13"]
    # What a wheel asks of Python is meant for 3.13, not for the Python that runs here.
    arguments += ["--ignore-requires-python", *(f"--platform={one}" for one in PLATFORMS)]
    arguments += [*options, *(f"--requirement={lock}" for lock in locks)]
    if subprocess.run(arguments, check=False).returncode:
        shutil.rmtree(folder, ignore_errors=True)
        names = " and ".join(str(lock.relative_to(ROOT)) for lock in locks)
        raise SettingError(f"The wheels of {names} could not be downloaded: see pip's message above.")
    mark.write_text(wanted)
    return True


def _hash(*locks: Path) -> str:
    return hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()


def assemble(settings: Settings, folder: Path = PACKAGE, wheels: Path = WHEELS) -> Path:
    """Gathers the contents of /var/task: wheels, code, world, answer index. Returns the folder.

    Raises `SettingError` naming what is missing and the command that makes it.
    """
    mark = wheels / _STAGED
    if not mark.is_file() or mark.read_text() != _hash(LOCK):
        raise SettingError("Front's arm64 wheels are not staged, or are of another lock file: run make wheels.")
    world = settings.world_folder
    if not (world / "world.yaml").is_file():
        raise SettingError(
            f"world={settings.world} has no world.yaml; name a folder like prologue/worlds/emerald_city."
        )
    index = ROOT / "build" / "worlds" / world.name / "answers"
    if not index.is_dir() or not any(index.iterdir()):
        raise SettingError(
            f"The answer index {index} has not been built: run make setup, or for a world of your own "
            f"python -m prologue build --answers {settings.world}/answers.yaml --out build/worlds/{world.name}/answers."
        )
    shutil.rmtree(folder, ignore_errors=True)
    _link(wheels, folder)
    _copy(ROOT / "lambda" / "front", folder / "front")
    _copy(ROOT / "lambda" / "overture", folder / "overture")
    _copy(ROOT / "prologue", folder / "prologue", "worlds", "index_build")
    _copy(world, folder / "world")
    _copy(index, folder / "answers")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise SettingError(
            f"Front's package is {size >> 20} MB unpacked; Lambda takes {MOST_BYTES >> 20}: trim the world."
        )
    return folder


def _link(source: Path, target: Path) -> None:
    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=link, ignore=shutil.ignore_patterns(_STAGED))


def _copy(source: Path, target: Path, *left_out: str) -> None:
    shutil.copytree(
        source, target, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", *left_out)
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy.package", description="Downloads the arm64 wheels.")
    parser.add_argument("whose", nargs="?", choices=["front", "storyteller"], default="front")
    whose = parser.parse_args(argv).whose
    get, folder = (stage_wheels, WHEELS) if whose == "front" else (download_wheels, IMAGE_WHEELS)
    try:
        new = get()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    done = "downloaded to" if new else "already in"
    print(f"Arm64 wheels of {whose}: {done} {folder.relative_to(ROOT)}, {size >> 20} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
