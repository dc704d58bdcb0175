"""The cheap look at the folders: what is missing or broken is named, with the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local.checks import check
from local.plan import LocalError
from tests.local.tiny_stack import make_folders


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return make_folders(tmp_path)


def test_whole_folders_pass(folders: dict[str, Path]) -> None:
    check(**folders)


@pytest.mark.parametrize(
    ("folder", "name", "content", "said"),
    [
        ("model", "config.json", None, r"The model folder \S+ has no config\.json; give --model .+\."),
        ("model", "config.json", b"[]", r"\S+config\.json is not a JSON object, so the model is broken; give .+\."),
        ("model", "config.json", b"\xff", r"\S+config\.json cannot be read \(it is not UTF-8\); give --model .+\."),
        ("model", "tokenizer.json", b"{", r"\S+tokenizer\.json is not a JSON object, so the model is broken; .+\."),
        ("model", "model.safetensors", None, r"The model folder \S+ has no \.safetensors file; give --model .+\."),
        ("model", "model.safetensors", b"version https://git-lfs.github.com/spec/v1", r"\S+ is not a whole .+\."),
        ("model", "model.safetensors", b"", r"\S+model\.safetensors is not a whole safetensors file .+\."),
        ("world", "script.yaml", None, r"The world folder \S+ has no script\.yaml; give --world .+\."),
        ("book", "book.json", None, r"The answer book \S+ is empty; run make setup, which builds it\."),
    ],
)
def test_a_file_missing_or_broken(
    folders: dict[str, Path], folder: str, name: str, content: bytes | None, said: str
) -> None:
    if content is None:
        (folders[folder] / name).unlink()
    else:
        (folders[folder] / name).write_bytes(content)
    with pytest.raises(LocalError) as caught:
        check(**folders)
    assert re.fullmatch(said, str(caught.value))


def test_weights_cut_short(folders: dict[str, Path]) -> None:
    path = folders["model"] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LocalError, match="not a whole safetensors file"):
        check(**folders)


@pytest.mark.parametrize("folder", ["model", "world", "book"])
def test_a_folder_that_is_not_there(folders: dict[str, Path], folder: str) -> None:
    with pytest.raises(LocalError, match="none does not exist; "):
        check(**{**folders, folder: folders[folder] / "none"})


def test_a_folder_in_the_place_of_a_file(folders: dict[str, Path]) -> None:
    (folders["world"] / "script.yaml").unlink()
    (folders["world"] / "script.yaml").mkdir()
    with pytest.raises(LocalError, match=r"script\.yaml cannot be read \(Is a directory\); give --world"):
        check(**folders)
