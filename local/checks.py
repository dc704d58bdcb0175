"""Looks at the folders that the play is started with: a cheap look, so that a mistake is told at once.

It knows what files there must be. Whether a model is one the engine can run is for the engine to
say, in a process of its own; whether a script can be played, for Front when it starts.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

from local.plan import LocalError

ROOT = Path(__file__).resolve().parent.parent
MODEL_REMEDY = "run `make setup` for the default one, or give a bundle, a Llama's folder, a hub id or a GGUF file"
#: The model that a package carries, as `model_build` calls it.
PACKAGED = "smollm2"
WORLD_REMEDY = "give --world a folder like prologue/worlds/emerald_city"
INDEX_REMEDY = "build it with `.venv/bin/python -m prologue build --answers {answers} --out {index}`"


def check(*, model: Path, world: Path, index: Path) -> None:
    """Raises `LocalError` for the first thing found missing."""
    _folder(model, "model folder", MODEL_REMEDY)
    _text(world, "world.yaml", "world folder", WORLD_REMEDY)
    _text(world, "script.yaml", "world folder", WORLD_REMEDY)
    _text(world, "storyteller.md", "world folder", WORLD_REMEDY)
    remedy = INDEX_REMEDY.format(answers=shlex.quote(str(world / "answers.yaml")), index=shlex.quote(str(index)))
    _folder(index, "answer index", remedy)
    if not any(index.iterdir()):
        raise LocalError(f"The answer index {index} is empty; {remedy}.")


async def find_model(name: str | Path) -> Path:
    """The folder of a model; a GGUF file is written out and a hub id downloaded by `model_build`, in a process
    of its own whose progress and complaints are seen. Raises `LocalError`."""
    if not may_be_named(Path(name)):
        return Path(name)
    finding = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "model_build",
        "folder",
        str(name),
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "lambda")))},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await finding.communicate()
    if finding.returncode:
        raise LocalError(f"The model {name} cannot be used, as is said above; {MODEL_REMEDY}.")
    return Path(said.decode().strip())


async def look_over(model: Path) -> None:
    """Has the engine look a model over, in a process of its own and without torch. Raises `LocalError`."""
    looking = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "storyteller.engine",
        str(model),
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "lambda")))},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await looking.communicate()
    if looking.returncode:
        raise LocalError(said.decode(errors="replace").strip().rpartition("\n")[2])


def may_be_named(path: Path) -> bool:
    """Whether this is a file, or the name of a model that `model_build` finds."""
    is_name = str(path) == PACKAGED or bool(re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)))
    return path.is_file() or (not path.exists() and is_name)


def _folder(folder: Path, what: str, remedy: str) -> None:
    if not folder.is_dir():
        raise LocalError(f"The {what} {folder} does not exist; {remedy}.")


def _text(folder: Path, name: str, what: str, remedy: str) -> str:
    _folder(folder, what, remedy)
    try:
        return (folder / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LocalError(f"The {what} {folder} has no {name}; {remedy}.") from None
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise LocalError(f"{folder / name} cannot be read ({why}); {remedy}.") from None
