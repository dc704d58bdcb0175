from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.deploy import command
from infra.regions import REGIONS, WITHOUT_BUDGETS, WITHOUT_CODEBUILD, check_region, find_region
from infra.settings import SettingError
from tests.infra.templates import Synthesized


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No region in the environment, and an AWS configuration of our own."""
    for name in ("CDK_DEFAULT_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return config


def test_the_region_is_looked_for_in_the_clis_order(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_region() == "us-east-1"
    nowhere.write_text("[default]\nregion = eu-north-1\n[profile other]\nregion = eu-west-1\n")
    assert find_region() == "eu-north-1"
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert find_region() == "eu-west-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-south-1")
    assert find_region() == "ap-south-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert find_region() == "us-west-2"
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(SettingError, match="AWS_PROFILE=gone does not exist"):
        find_region()


@pytest.mark.parametrize("what", ["--bootstrap", "--destroy", "--yes"])
def test_every_command_goes_to_the_profiles_region(what: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere.write_text("[default]\nregion = eu-north-1\n")
    went: list[str] = []
    monkeypatch.setattr(command, "run_cdk", lambda _, given: went.append(given["region"]))
    monkeypatch.setattr(command, "destroy", lambda settings, **_: went.append(settings.region))
    monkeypatch.setattr(command, "deploy", lambda settings, given, **_: went.append(given["region"]))
    assert command.main([what]) == 0
    assert command.main([what, "-c", "region=us-east-2"]) == 0
    assert went == ["eu-north-1", "us-east-2"]


def test_cloudformation_has_every_resource_in_every_region_that_is_allowed(synth: Callable[..., Synthesized]) -> None:
    """By cfn-lint's copy of CloudFormation's registry."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    cloud = synth(build="cloud", bundle="s3://models/8b", email="me@example.org")
    used = {one["Type"] for one in (*cloud.resources.values(), *synth(auth="cognito").resources.values())}
    ours = {kind for kind in used if kind.startswith("AWS::") and kind != "AWS::CDK::Metadata"}
    assert {"AWS::Budgets::Budget", "AWS::CodeBuild::Project"} <= ours
    missing = {region: ours - set(PROVIDER_SCHEMA_MANAGER.get_resource_types(region)) for region in REGIONS}
    assert {one for one, kinds in missing.items() if "AWS::Budgets::Budget" in kinds} == WITHOUT_BUDGETS
    assert {one for one, kinds in missing.items() if "AWS::CodeBuild::Project" in kinds} == WITHOUT_CODEBUILD
    others = {kind for kinds in missing.values() for kind in kinds}
    assert others == {"AWS::Budgets::Budget", "AWS::CodeBuild::Project"}
    assert not synth(region="eu-north-1", email="me@example.org").of("AWS::Budgets::Budget")


@pytest.mark.parametrize("region", ["ap-southeast-6", "ap-east-2", "cn-north-1", "eu-nowhere-1"])
def test_a_region_that_cannot_run_it_is_refused_with_those_that_can(
    region: str, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingError, match="no SnapStart or no arm64 there; choose one of af-south-1, "):
        check_region(region)
    with pytest.raises(SettingError, match="has no CodeBuild"):
        check_region("mx-central-1", build="cloud")
    assert command.main(["--dry-run", "-c", f"region={region}"]) == 1
    assert capsys.readouterr().err.endswith(f"choose one of {', '.join(REGIONS)}.\n")
