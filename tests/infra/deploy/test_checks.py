"""The checks before a deployment: the bundle, its size, the account, Docker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.deploy import checks
from infra.deploy.checks import check, check_account, check_bundle, check_sizes, explain
from infra.settings import Settings
from tests.infra.conftest import write_manifest


def test_a_complete_bundle_passes_and_a_broken_one_is_named(bundle: Path) -> None:
    assert check_bundle(bundle) is None
    weights = bundle / "weights-001.safetensors"
    weights.write_bytes(b"weighty")
    assert "weights-001.safetensors differs from the manifest" in str(check_bundle(bundle))
    weights.unlink()
    assert "is missing, but the manifest lists it" in str(check_bundle(bundle))
    (bundle / "tokenizer.json").unlink()
    write_manifest(bundle)
    assert "lists no tokenizer or no weights" in str(check_bundle(bundle))
    (bundle / "bundle.json").write_text("[]")
    assert "is not a bundle's manifest" in str(check_bundle(bundle))
    assert "does not exist: name one with -c bundle=" in str(check_bundle(bundle / "none"))


def test_a_hugging_face_folder_needs_config_tokenizer_and_weights(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        assert check_bundle(tmp_path) is not None
        (tmp_path / name).write_bytes(b"{}")
    assert check_bundle(tmp_path) is None


def test_what_pack_writes_passes(tmp_path: Path) -> None:
    from model_build.packing.pack import pack
    from model_build.sources import open_source
    from tests.tiny_llama import write_tiny_llama

    model = write_tiny_llama(tmp_path / "llama")
    assert check_bundle(model) is None
    packed = pack(open_source(str(model), None), tmp_path / "bundle")
    assert not (packed / "config.json").exists()
    assert check_bundle(packed) is None


def test_image_and_memory_must_hold_the_model(bundle: Path) -> None:
    with (bundle / "weights-001.safetensors").open("wb") as file:
        file.truncate(4 * 1024**3)  # sparse: takes no room
    assert check_sizes(bundle, Settings()) is None
    assert "needs about 5120 MB and memory=3008 gives less" in str(check_sizes(bundle, Settings(memory=3008)))
    with (bundle / "weights-001.safetensors").open("wb") as file:
        file.truncate(10 * 1024**3)
    assert "over Lambda's 10 GB" in str(check_sizes(bundle, Settings()))


class Account:
    """Lambda's account settings."""

    def __init__(self, limit: int, reserved: int = 0) -> None:
        self.limits = {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": limit - reserved}

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": self.limits}


def test_a_new_accounts_limits_are_explained() -> None:
    concurrency, memory = check_account(Settings(), Account(10))
    assert "deploy with -c concurrency=0" in concurrency
    assert "-c memory=3008" in memory
    assert list(check_account(Settings(concurrency=0, memory=3008), Account(10))) == []
    assert list(check_account(Settings(), Account(1000))) == []
    assert len(list(check_account(Settings(concurrency=50), Account(149)))) == 1


def test_concurrency_reserved_elsewhere_counts_and_the_stacks_own_does_not() -> None:
    (refusal,) = check_account(Settings(concurrency=2), Account(1000, reserved=900))
    assert "may run 1000 functions at once, of which 100 are not reserved" in refusal
    # An upgrade of a stack that has reserved two already.
    assert list(check_account(Settings(concurrency=2), Account(1000, reserved=900), own=2)) == []


def test_what_cloudformation_says_of_a_capped_account_is_explained() -> None:
    said = "Value '10240' at 'MemorySize' failed: Member must have value less than or equal to 3008"
    assert "-c memory=3008" in str(explain(said))
    assert "-c concurrency=0" in str(explain("decreases account's UnreservedConcurrentExecution below its minimum"))
    assert "make bootstrap" in str(explain("SSM parameter /cdk-bootstrap/hnb659fds/version not found"))
    assert explain("something else") is None


def test_without_docker_the_remedy_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(checks, "require_node", lambda: None)
    assert list(check(Settings(bundle=str(bundle)), None)) == [
        "There is no docker here: install Docker, or build in the cloud with -c build=cloud."
    ]
    assert list(check(Settings(bundle=str(bundle), build="cloud"), None)) == []
    assert list(check(Settings(image="sha256:" + "0" * 64), None)) == []
