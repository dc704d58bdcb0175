from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from infra.bundle import bundle_hash
from infra.constructs.model.images import ignored
from infra.deploy import package
from infra.deploy.package import IMAGE_LOCKS, LOCK, assemble
from infra.settings import ROOT, SettingError, Settings


def staged(folder: Path) -> Path:
    """Wheels as `make wheels` leaves them, but small."""
    wheels = folder / "wheels"
    (wheels / "faiss").mkdir(parents=True)
    (wheels / "faiss" / "__init__.py").write_text("")
    (wheels / ".lock-sha256").write_text(hashlib.sha256(LOCK.read_bytes()).hexdigest())
    return wheels


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A repository with a world and an answer index, elsewhere than in ours."""
    root = tmp_path / "repository"
    for name in (
        "lambda/front/handler.py",
        "lambda/overture/protocol.py",
        "prologue/script.py",
        "prologue/worlds/w/x.yaml",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (root / "prologue/worlds/w/world.yaml").write_text("name: w")
    index = root / "build/worlds/w/answers"
    index.mkdir(parents=True)
    (index / "answers.json").write_text("{}")
    monkeypatch.setattr(package, "ROOT", root)
    monkeypatch.setattr("infra.settings.ROOT", root)
    return Settings(world="prologue/worlds/w")


def test_what_lambda_unpacks_has_wheels_code_world_and_index(tmp_path: Path, world: Settings) -> None:
    out = assemble(world, tmp_path / "out", staged(tmp_path))
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert there == {
        "faiss/__init__.py",
        "front/handler.py",
        "overture/protocol.py",
        "prologue/script.py",
        "world/world.yaml",
        "world/x.yaml",
        "answers/answers.json",
    }
    # Once more, with a file less: nothing of the former package stays.
    (tmp_path / "repository/lambda/front/handler.py").unlink()
    assert not (assemble(world, tmp_path / "out", tmp_path / "wheels") / "front/handler.py").exists()


def test_what_is_missing_is_named_with_the_command_that_makes_it(tmp_path: Path, world: Settings) -> None:
    with pytest.raises(SettingError, match="wheels are not staged, or are of another lock file: run make wheels"):
        assemble(world, tmp_path / "out", tmp_path / "nothing")
    wheels = staged(tmp_path)
    (tmp_path / "repository/build/worlds/w/answers/answers.json").unlink()
    with pytest.raises(SettingError, match=r"The answer index .* has not been built: run make setup"):
        assemble(world, tmp_path / "out", wheels)
    with pytest.raises(SettingError, match=r"world=prologue/worlds/none has no world\.yaml"):
        assemble(Settings(world="prologue/worlds/none"), tmp_path / "out", wheels)


def test_a_package_over_lambdas_limit_is_refused(
    tmp_path: Path, world: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "MOST_BYTES", 5)
    with pytest.raises(SettingError, match="MB unpacked; Lambda takes"):
        assemble(world, tmp_path / "out", staged(tmp_path))


BUILD_LOCK = ROOT / "lambda/storyteller/build.lock"


@pytest.mark.parametrize("lock", [LOCK, *IMAGE_LOCKS, BUILD_LOCK], ids=lambda lock: lock.name)
def test_every_wheel_is_pinned_with_a_hash(lock: Path) -> None:
    requirements = re.findall(r"^([a-z][a-z0-9.-]*)==\S+(.*(?:\n {4}--hash=.*)+)", lock.read_text(), re.MULTILINE)
    named = [line for line in lock.read_text().splitlines() if re.match(r"[a-z]", line)]
    assert len(requirements) == len(named) > 0
    assert all("--hash=sha256:" in hashes for _, hashes in requirements)


def test_what_runs_on_lambda_is_of_the_versions_that_are_tested_here() -> None:
    tested = dict(
        re.findall(r'^    "([A-Za-z0-9_.-]+)(?:\[.*\])?==([^";]+)[";]', (ROOT / "pyproject.toml").read_text(), re.M)
    )
    tested |= dict(re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.M))
    tested = {name.lower().replace("_", "-"): version for name, version in tested.items()}
    for lock in (LOCK, IMAGE_LOCKS[0]):
        for name, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", lock.read_text(), re.MULTILINE):
            # torch: the last one whose arm64 wheel on PyPI brings no CUDA.
            assert name == "torch" or tested[name] == version, f"{lock.name}: {name}"


def test_neither_function_installs_what_it_must_not() -> None:
    front = set(re.findall(r"^([a-z0-9.-]+)==", LOCK.read_text(), re.MULTILINE))
    image = set(re.findall(r"^([a-z0-9.-]+)==", IMAGE_LOCKS[0].read_text(), re.MULTILINE))
    assert not front & {"torch", "torchao", "transformers", "huggingface-hub"}
    assert not image & {"torchao", "transformers", "sympy", "networkx"}
    assert not [name for name in front | image if name.startswith("nvidia")]


def test_the_bundles_manifest_stands_for_its_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0" * 10)
    without = bundle_hash(tmp_path)
    (tmp_path / "bundle.json").write_text('{"sha256": "a"}')
    one = bundle_hash(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"1" * 10)
    assert bundle_hash(tmp_path) == one != without
    (tmp_path / "bundle.json").write_text('{"sha256": "b"}')
    assert bundle_hash(tmp_path) != one
    # Synthesizing needs no weights.
    assert bundle_hash(tmp_path / "not there")


def test_no_weights_are_among_the_assets_files() -> None:
    assert ignored()[0] == "*"
    kept = [line for line in ignored() if line.startswith("!")]
    assert kept
    assert not [line for line in kept if line.startswith(("!build", "!models"))]
