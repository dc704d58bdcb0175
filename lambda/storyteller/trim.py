"""Deletes from installed packages what the storyteller never uses: `python trim.py FOLDER`, as the image is built."""

import shutil
import sys
from pathlib import Path

FOLDERS = (
    "bin",
    "torch/include",
    "torch/share",
    "torch/test",
    "numpy/_core/include",
    "numpy/f2py",
    "numpy/tests",
    "numpy/*/tests",
)
FILES = ("torch/lib/*test*.so", "**/*.pyi")
#: The one program of torch/bin that torch looks for when it is imported.
KEPT = "torch_shm_manager"


def trim(site: Path) -> None:
    for pattern in FOLDERS:
        for folder in site.glob(pattern):
            shutil.rmtree(folder)
    files = [file for pattern in FILES for file in site.glob(pattern)]
    files += [file for file in (site / "torch" / "bin").glob("*") if file.name != KEPT]
    for file in files:
        file.unlink()


if __name__ == "__main__":
    trim(Path(sys.argv[1]))
