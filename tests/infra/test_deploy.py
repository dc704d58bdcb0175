"""The checks before a deployment, the order of its steps, the documents and figures made of the stack."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import overture.costs
from bench import costs
from infra.deploy import checks, prices
from infra.deploy import command as deploy
from infra.deploy.checks import check, check_account, check_bundle, check_sizes, explain
from infra.settings import Settings
from tests.infra.templates import Synthesized

ROOT = Path(__file__).resolve().parents[2]


def write_manifest(folder: Path) -> None:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in folder.iterdir()
        if path.name != "bundle.json"
    }
    (folder / "bundle.json").write_text(json.dumps({"files": files}))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A complete bundle: as `model_build pack` writes it, it has no `config.json`."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(b"{}")
    (folder / "weights-001.safetensors").write_bytes(b"weights")
    write_manifest(folder)
    return folder


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
    from model_build.pack import pack
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

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": self.limit}}


def test_a_new_accounts_limits_are_explained() -> None:
    concurrency, memory = check_account(Settings(), Account(10))
    assert "deploy with -c concurrency=0" in concurrency
    assert "-c memory=3008" in memory
    assert list(check_account(Settings(concurrency=0, memory=3008), Account(10))) == []
    assert list(check_account(Settings(), Account(1000))) == []
    assert len(list(check_account(Settings(concurrency=50), Account(149)))) == 1


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


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a deployment does, instead of doing it."""
    done: list[str] = []

    def cdk(command: list[str], given: dict[str, str], *, only_if_missing: object = None) -> None:
        if only_if_missing is None or "there" not in done:
            done.append(" ".join([*command, *(f"{name}={value}" for name, value in given.items())]))

    monkeypatch.setattr(deploy, "_cdk", cdk)

    def push(settings: Settings, client: object) -> str:
        done.append("push")
        return "sha256:ab"

    monkeypatch.setattr(deploy, "push", push)
    monkeypatch.setattr(deploy, "check", lambda settings, client: iter(()))
    monkeypatch.setattr(deploy, "synthesize", lambda given, folder: folder)
    monkeypatch.setattr(deploy, "describe", lambda assembly, settings: "so much")
    return done


def client(name: str) -> Any:
    raise AssertionError(name)


def test_the_repository_comes_first_then_the_image_then_the_rest(steps: list[str]) -> None:
    deploy.deploy(Settings(), {"linger": "5"}, client=client, yes=True, dry_run=False)
    assert steps == ["deploy linger=5 image=none", "push", "deploy linger=5 image=sha256:ab"]


def test_an_image_that_is_there_or_built_in_the_cloud_is_one_step(steps: list[str]) -> None:
    deploy.deploy(Settings(build="cloud"), {"build": "cloud"}, client=client, yes=True, dry_run=False)
    digest = "sha256:" + "0" * 64
    deploy.deploy(Settings(image=digest), {"image": digest}, client=client, yes=True, dry_run=False)
    assert steps == ["deploy build=cloud", f"deploy image={digest}"]


def test_nothing_is_deployed_without_a_yes_or_without_credentials(
    steps: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.deploy(Settings(), {}, client=None, yes=True, dry_run=True)
    assert "so much" in capsys.readouterr().out
    with pytest.raises(deploy.DeployError, match="no AWS credentials"):
        deploy.deploy(Settings(), {}, client=None, yes=True, dry_run=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    with pytest.raises(deploy.DeployError, match="Nothing was deployed"):
        deploy.deploy(Settings(), {}, client=client, yes=False, dry_run=False)
    assert steps == []


def test_destroying_takes_along_what_a_bare_cdk_deploy_left(steps: list[str]) -> None:
    removed: list[Any] = []
    uri = "${AWS::AccountId}.dkr.ecr/cdk-hnb659fds-container-assets-${AWS::AccountId}-us-east-1:" + "a" * 64

    class Clients:
        def get_template(self, StackName: str) -> dict[str, Any]:
            return {"TemplateBody": {"Resources": {"F": {"Code": {"ImageUri": {"Fn::Sub": uri}}}}}}

        def get_caller_identity(self) -> dict[str, str]:
            return {"Account": "123"}

        def batch_delete_image(self, **what: Any) -> None:
            removed.append(what)

    deploy.destroy(Settings(), {}, client=lambda name: Clients(), yes=True)
    assert steps == ["destroy --force stack=Overture region=us-east-1 image=none"]
    assert removed == [
        {
            "repositoryName": "cdk-hnb659fds-container-assets-123-us-east-1",
            "imageIds": [{"imageTag": "a" * 64}],
        }
    ]


def test_what_is_shown_before_has_what_it_will_cost(synth: Callable[..., Synthesized]) -> None:
    made = synth()
    said = deploy.describe(made.folder, Settings())
    assert f"{len(made.resources)} resources" in said
    assert "1 DynamoDB::Table" in said
    assert "Idle: about $" in said
    assert "150000 GB-seconds" in said


def test_every_construct_of_the_stack_is_a_box_of_the_diagram_and_the_other_way_round(
    synth: Callable[..., Synthesized],
) -> None:
    tree = json.loads((synth().folder / "tree.json").read_text())["tree"]["children"]["Overture"]["children"]
    ours = {
        name
        for name, construct in tree.items()
        if construct.get("children") and not re.match(r"Custom::|.*Output$|CDK|BootstrapVersion|CheckBootstrap", name)
    }
    page = (ROOT / "docs" / "architecture.md").read_text()
    diagram = page.partition("```mermaid")[2].partition("```")[0]
    boxes = set(re.findall(r"^    ([A-Z]\w+)[\[(]", diagram, re.MULTILINE))
    assert boxes == ours
    arrows = re.findall(r"^    (\w+) -->(?:\|.*\|)? (\w+)$", diagram, re.MULTILINE)
    assert {end for arrow in arrows for end in arrow} == boxes | {"visitor"}


def test_the_costs_are_computed_from_one_table_of_prices(synth: Callable[..., Synthesized]) -> None:
    assert costs.main(["--check"]) == 0, "docs/costs.md is out of date: run make docs."
    assert prices.PRICES["lambda"].usd == overture.costs.USD_PER_GB_S
    made = synth()
    assert len(made.of("AWS::CloudWatch::Alarm")) == prices.ALARMS
    assert made.one("AWS::Lambda::Function", "Front")["MemorySize"] == prices.FRONT_GB * 1024
    assert made.one("AWS::Lambda::Function", "Storyteller")["MemorySize"] == prices.STORYTELLER_GB * 1024


def test_costs_add_up() -> None:
    # By hand: 10 GB for 50 s; 39 dollars of snapshot a month; 688 of a machine.
    assert costs.start(costs.BIG) == pytest.approx(0.0066667)
    assert prices.idle(5.0, snapstart=True)["the storyteller's snapshot"] == pytest.approx(39.0, rel=0.001)
    assert costs.break_even(costs.BIG) == pytest.approx(0.94256 * 730 / 30 / costs.session(costs.BIG))
    assert costs.session(costs.BIG) == pytest.approx(
        costs.start(costs.BIG) + costs.telling(costs.BIG) + sum(prices.around().values())
    )
