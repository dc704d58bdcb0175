"""Makes a small world to begin from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from prologue.yaml_file import WorldError

TEMPLATE = Path(__file__).with_name("starter_world")


def make_world(name: str, worlds: Path) -> Path:
    """Writes the template as the world `name` into the folder `worlds`; gives the world's folder.

    Raises `WorldError` for a name that cannot be one, or that is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", name):
        raise WorldError(f"A world cannot be called {name!r}: use lower-case letters, digits and _.")
    folder = worlds / name
    if folder.exists():
        raise WorldError(f"{folder} is there already: choose another name, or remove it.")
    shutil.copytree(TEMPLATE, folder)
    file = folder / "world.yaml"
    title = name.replace("_", " ").capitalize()
    text = file.read_text(encoding="utf-8").replace("name: template", f"name: {name}", 1)
    file.write_text(text.replace("title: A small world", f"title: {title}", 1), encoding="utf-8")
    return folder
