"""The cheap look at the folders: what is missing or broken is named, with the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from local.checks import PACKAGED, check, find_model, look_over, may_be_named
from local.plan import LocalError
from tests.local.tiny_stack import make_folders
from tests.tiny_gguf import write_gguf
from tests.tiny_llama import write_tiny_llama


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return make_folders(tmp_path)


def test_whole_folders_pass(folders: dict[str, Path]) -> None:
    check(**folders)


async def test_a_model_is_found_by_its_path(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert await find_model(tmp_path) == tmp_path
    assert await find_model("nowhere") == Path("nowhere")  # `check` says what is missing
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"no GGUF at all")
    with pytest.raises(LocalError, match=r"The model \S+model\.gguf cannot be used, as is said above; run"):
        await find_model(str(broken))
    assert "model.gguf is not a GGUF file" in capfd.readouterr().err


async def test_a_gguf_file_is_written_out_as_a_folder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf", write_tiny_llama(tmp_path / "model", words=["hello"]))
    found = await find_model(str(file))
    assert found.is_dir()
    await look_over(found)


@pytest.mark.parametrize(("name", "is_one"), [(PACKAGED, True), ("someone/Llama-3", True), ("nowhere", False)])
def test_what_is_no_folder_may_be_the_name_of_a_model(name: str, is_one: bool) -> None:
    assert may_be_named(Path(name)) == is_one


def test_the_command_that_builds_an_index_can_be_pasted(folders: dict[str, Path]) -> None:
    with pytest.raises(LocalError, match=r"--answers \S+/answers\.yaml --out '\S+/an index'`\.$"):
        check(**{**folders, "index": folders["index"].with_name("an index")})


@pytest.mark.parametrize(
    ("folder", "name", "content", "said"),
    [
        ("world", "world.yaml", None, r"The world folder \S+ has no world\.yaml; give --world .+\."),
        (
            "world",
            "script.yaml",
            None,
            r"The world folder \S+ has no script\.yaml; give --world .+\.",
        ),
        (
            "index",
            "answers.json",
            None,
            r"The answer index (\S+) is empty; build it with"
            r" `\.venv/bin/python -m prologue build --answers \S+/world/answers\.yaml --out \1`\.",
        ),
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


async def test_a_model_is_looked_over_by_the_engine(tmp_path: Path) -> None:
    folder = write_tiny_llama(tmp_path / "llama")
    await look_over(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(LocalError, match=r"model\.safetensors.+\.$"):
        await look_over(folder)


@pytest.mark.parametrize("folder", ["model", "world", "index"])
def test_a_folder_that_is_not_there(folders: dict[str, Path], folder: str) -> None:
    with pytest.raises(LocalError, match="none does not exist; "):
        check(**{**folders, folder: folders[folder] / "none"})


def test_a_folder_in_the_place_of_a_file(folders: dict[str, Path]) -> None:
    (folders["world"] / "script.yaml").unlink()
    (folders["world"] / "script.yaml").mkdir()
    with pytest.raises(LocalError, match=r"script\.yaml cannot be read \(Is a directory\); give --world"):
        check(**folders)
