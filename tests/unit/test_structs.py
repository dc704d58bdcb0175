"""msgspec 0.22 frees a text with a `pattern` wrongly where a union has it beside a list: the process then dies."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ_ALL = """
import importlib, pkgutil, msgspec
for package in ("client", "overture", "planner", "prologue"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if not module.name.endswith(("__main__", ".dashboard")):
            importlib.import_module(module.name)
def kinds(kind):
    for each in kind.__subclasses__():
        yield each
        yield from kinds(each)
found = list(kinds(msgspec.Struct))
for kind in found:
    msgspec.json.Decoder(kind)
print(len(found))
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    # The checking allocator finds every wrong release, the usual one seldom.
    environment = os.environ | {"PYTHONMALLOC": "debug", "PYTHONPATH": f"{ROOT}:{ROOT / 'lambda'}"}
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
    )


def test_every_struct_is_freed_without_harm() -> None:
    ended = run(READ_ALL)

    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 40


def test_the_fault_that_the_test_above_looks_for_is_found_where_it_is() -> None:
    ended = run(
        "import msgspec; from typing import Annotated, Union\n"
        "Text = Annotated[str, msgspec.Meta(pattern='x')]\n"
        "class Entry(msgspec.Struct):\n    texts: Union[Text, list[str]] = []\n"
        "msgspec.json.Decoder(Entry)\n"
    )

    assert ended.returncode != 0, "msgspec is mended: `yaml_file.Text` may be a pattern again, and this test go."
