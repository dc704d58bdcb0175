"""The checks before a deployment, the order of its steps, the documents and figures made of the stack."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import overture.prices
from bench import costs
from infra.deploy import checks, prices, stack_state
from infra.deploy import command as deploy
from infra.deploy.checks import check, check_account, check_bundle, check_sizes, explain
from infra.deploy.description import describe
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


class State:
    """What is on AWS, and what a deployment does to it."""

    def __init__(self, status: str | None = None, weights: str | None = None) -> None:
        self.status = status
        self.weights = weights
        self.done: list[str] = []
        self.files: list[stack_state.Files | None] = []


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> State:
    state = State()

    def cdk(command: list[str], given: dict[str, str]) -> None:
        state.done.append(" ".join([*command, *(f"{name}={value}" for name, value in given.items())]))

    def note(name: str, result: Any = None) -> Callable[..., Any]:
        def act(*_: object) -> Any:
            state.done.append(name)
            return result

        return act

    monkeypatch.setattr(deploy, "run_cdk", cdk)
    monkeypatch.setattr(deploy, "push", note("push", "sha256:ab"))
    monkeypatch.setattr(deploy, "check", lambda settings, client: iter(()))
    monkeypatch.setattr(deploy, "synthesize", lambda given, folder: (folder, Settings()))
    monkeypatch.setattr(deploy, "describe", lambda assembly, settings: "so much")
    monkeypatch.setattr(
        stack_state, "find_status", lambda _, stack: state.weights if stack.endswith("-Weights") else state.status
    )
    monkeypatch.setattr(stack_state, "find_output", lambda _, stack, name: f"{stack} {name}".lower().replace(" ", "-"))
    monkeypatch.setattr(stack_state, "mark_live", note("mark live"))
    monkeypatch.setattr(stack_state, "asset_files", lambda *_: state.files.pop(0) if state.files else None)
    monkeypatch.setattr(stack_state, "choose_log_role", lambda *_: "account")
    return state


def client(name: str) -> Any:
    raise AssertionError(name)


ROLE = "api_log_role=account"


def test_the_repository_comes_first_then_the_image_then_the_rest(aws: State) -> None:
    deploy.deploy(Settings(), {"linger": "5"}, client=client, yes=True, dry_run=False)
    assert aws.done == [
        f"deploy linger=5 {ROLE} image=none",
        "push",
        f"deploy linger=5 {ROLE} image=sha256:ab",
        "mark live",
    ]


def test_an_upgrade_begins_with_the_image(aws: State) -> None:
    aws.status = "UPDATE_COMPLETE"
    deploy.deploy(Settings(), {}, client=client, yes=True, dry_run=False)
    assert aws.done == ["push", f"deploy {ROLE} image=sha256:ab", "mark live"]


def test_a_deployment_deletes_the_files_of_the_one_before(aws: State) -> None:
    aws.status = "UPDATE_COMPLETE"
    aws.files = [stack_state.Files("assets", ["a.zip", "b.zip"]), stack_state.Files("assets", ["b.zip", "c.zip"])]
    deleted: list[dict[str, Any]] = []

    class S3:
        def delete_objects(self, **what: Any) -> None:
            deleted.append(what)

    deploy.deploy(Settings(), {}, client=lambda _: S3(), yes=True, dry_run=False)
    assert aws.done[-1] == "mark live"
    assert deleted == [{"Bucket": "assets", "Delete": {"Objects": [{"Key": "a.zip"}], "Quiet": True}}]


def test_an_image_that_is_there_or_built_in_the_cloud_is_one_step(aws: State) -> None:
    deploy.deploy(Settings(build="cloud"), {"build": "cloud"}, client=client, yes=True, dry_run=False)
    digest = "sha256:" + "0" * 64
    deploy.deploy(Settings(image=digest), {"image": digest}, client=client, yes=True, dry_run=False)
    assert aws.done == [f"deploy build=cloud {ROLE}", "mark live", f"deploy image={digest} {ROLE}", "mark live"]


def test_a_repository_alone_never_replaces_a_stack_that_exists(aws: State) -> None:
    deploy.deploy(Settings(image="none"), {"image": "none"}, client=client, yes=True, dry_run=False)
    assert aws.done == [f"deploy image=none {ROLE}", "mark live"]
    aws.status = "UPDATE_COMPLETE"
    for dry_run in (False, True):
        with pytest.raises(deploy.DeployError, match="Overture exists, and this would delete it: make destroy does"):
            deploy.deploy(Settings(image="none"), {"image": "none"}, client=client, yes=True, dry_run=dry_run)
    assert len(aws.done) == 2


def test_nothing_is_deployed_without_a_yes_or_without_credentials(
    aws: State, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.deploy(Settings(), {}, client=None, yes=True, dry_run=True)
    assert "so much" in capsys.readouterr().out
    with pytest.raises(deploy.DeployError, match="no AWS credentials"):
        deploy.deploy(Settings(), {}, client=None, yes=True, dry_run=False)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    with pytest.raises(deploy.DeployError, match="Nothing was deployed"):
        deploy.deploy(Settings(), {}, client=client, yes=False, dry_run=False)
    assert aws.done == []


class Leftovers:
    """AWS with a bare `cdk deploy`'s image, a log group of Lambda's own, and the stack's logging role."""

    def __init__(self, role: str = "Overture-WebSocketLogRole-1", others: Sequence[str] = ()) -> None:
        self.role, self.others = role, others
        self.removed: list[Any] = []

    def get_template(self, StackName: str) -> dict[str, Any]:
        uri = "${AWS::AccountId}.dkr.ecr/cdk-hnb659fds-container-assets-${AWS::AccountId}-us-east-1:" + "a" * 64
        return {"TemplateBody": {"Resources": {"F": {"Code": {"ImageUri": {"Fn::Sub": uri}}}}}}

    def get_caller_identity(self) -> dict[str, str]:
        return {"Account": "123"}

    def get_paginator(self, name: str) -> Any:
        found = {
            "list_stack_resources": {
                "StackResourceSummaries": [
                    {"ResourceType": kind, "LogicalResourceId": id_, "PhysicalResourceId": f"Overture-{id_}-1"}
                    for kind, id_ in (
                        ("AWS::Lambda::Function", "Front"),
                        ("AWS::Lambda::Function", "CustomCDK"),
                        ("AWS::IAM::Role", self.role.split("-")[1]),
                    )
                    if kind != "AWS::IAM::Role" or self.role.startswith("Overture-")
                ]
            },
            "get_resources": {
                "ResourceTagMappingList": [
                    {"Tags": [{"Key": "overture", "Value": stack}]} for stack in ("Overture-us-east-1", *self.others)
                ]
            },
        }[name]

        class Pages:
            def paginate(self, **_: Any) -> list[Any]:
                return [found]

        return Pages()

    def get_account(self) -> dict[str, str]:
        return {"cloudwatchRoleArn": f"arn:aws:iam::123:role/{self.role}"}

    def list_role_tags(self, RoleName: str) -> dict[str, Any]:
        return {"Tags": [{"Key": "overture", "Value": "gone"}] if "WebSocketLogRole" in RoleName else []}

    def delete_log_group(self, logGroupName: str) -> None:
        if "CustomCDK" not in logGroupName:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DeleteLogGroup")
        self.removed.append(("delete_log_group", {"logGroupName": logGroupName}))

    def list_attached_role_policies(self, RoleName: str) -> dict[str, Any]:
        return {"AttachedPolicies": [{"PolicyArn": "arn:policy"}]}

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda **what: self.removed.append((name, what))


def test_destroying_takes_along_what_cloudformation_leaves(aws: State) -> None:
    aws.status, aws.files = "CREATE_COMPLETE", [stack_state.Files("cdk-hnb659fds-assets-123-us-east-1", ["b.zip"])]
    left = Leftovers()
    deploy.destroy(Settings(), client=lambda _: left, yes=True)
    assert aws.done == ["destroy --force stack=Overture region=us-east-1 image=none"]
    role = "Overture-WebSocketLogRole-1"
    assert left.removed == [
        (
            "batch_delete_image",
            {
                "repositoryName": "cdk-hnb659fds-container-assets-123-us-east-1",
                "imageIds": [{"imageTag": "a" * 64}],
            },
        ),
        (
            "delete_objects",
            {
                "Bucket": "cdk-hnb659fds-assets-123-us-east-1",
                "Delete": {"Objects": [{"Key": "b.zip"}], "Quiet": True},
            },
        ),
        ("delete_log_group", {"logGroupName": "/aws/lambda/Overture-CustomCDK-1"}),
        ("update_account", {"patchOperations": [{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}]}),
        ("detach_role_policy", {"RoleName": role, "PolicyArn": "arn:policy"}),
        ("delete_role", {"RoleName": role}),
    ]


@pytest.mark.parametrize(
    ("left", "released"),
    [
        (Leftovers(others=["Second-us-east-1"]), False),  # the stack's own role, by which another one logs
        (Leftovers(role="First-WebSocketLogRole-1"), True),  # the role of a stack that went before, and nobody is left
        (Leftovers(role="Their-Role"), False),  # not ours
    ],
    ids=["another stack", "the last stack", "the account's own"],
)
def test_the_role_for_logs_goes_with_the_last_stack(
    left: Leftovers, released: bool, aws: State, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.status = "CREATE_COMPLETE"
    deploy.destroy(Settings(), client=lambda _: left, yes=True)
    assert (("delete_role", {"RoleName": left.role}) in left.removed) is released
    assert released or not [one for one in left.removed if "role" in one[0] or one[0] == "update_account"]
    assert ("logs by it for Second-us-east-1." in capsys.readouterr().out) is bool(left.others)


def test_destroying_asks_first_and_says_so_where_nobody_can_answer(aws: State, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.status = "CREATE_COMPLETE"
    asked: list[str] = []

    def refuse(question: str) -> str:
        asked.append(question)
        return ""

    monkeypatch.setattr("builtins.input", refuse)
    with pytest.raises(deploy.DeployError, match="Nothing was deleted"):
        deploy.destroy(Settings(), client=client, yes=False)
    assert asked == [
        "Delete Overture in us-east-1 with its page, its sessions, its model, its images and its logs? [y/N] "
    ]

    def end(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(deploy.DeployError, match="no terminal to answer on: add YES=--yes"):
        deploy.destroy(Settings(), client=client, yes=False)
    aws.status = None
    with pytest.raises(deploy.DeployError, match="There is no stack Overture in us-east-1"):
        deploy.destroy(Settings(), client=client, yes=True)
    assert aws.done == []


@pytest.mark.parametrize(("command", "approval"), [("deploy", True), ("destroy", False)])
def test_the_cdk_gets_no_option_that_it_does_not_know(
    command: str, approval: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(deploy, "require_node", lambda: None)
    monkeypatch.setattr(deploy, "_run", lambda command, what: ran.append(command))
    deploy.run_cdk([command], {"stack": "Overture"})
    assert ("--require-approval" in ran[0]) is approval


def test_what_is_shown_before_has_what_it_will_cost(synth: Callable[..., Synthesized]) -> None:
    made = synth()
    said = describe(made.folder, Settings())
    assert f"Overture in us-east-1: {len(made.resources)} resources." in said
    parts = dict(
        line.strip().split(":", 1) for line in said.splitlines() if line.startswith("  ") and "start=" not in line
    )
    assert list(parts) == ["Storyteller", "Front", "Connecting", "Page", "Table", "Alarms and limits"]
    assert parts["Table"].strip() == "DynamoDB GlobalTable"
    assert "CloudFront Distribution" in parts["Page"]
    assert "CloudWatch Dashboard" in parts["Alarms and limits"]
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
    assert prices.PRICES["lambda"].usd == overture.prices.PRICES["lambda"].usd
    made = synth()
    alarms = [one["Properties"] for one in made.of("AWS::CloudWatch::Alarm").values()]
    assert len(alarms) == prices.ALARMS
    # AWS charges for each metric that an alarm reads.
    read = [sum("MetricStat" in metric for metric in one["Metrics"]) if "Metrics" in one else 1 for one in alarms]
    assert sum(read) == prices.ALARM_METRICS
    assert made.one("AWS::Lambda::Function", "Front")["MemorySize"] == prices.FRONT_GB * 1024


def test_the_readmes_sums_are_those_of_the_costs_page() -> None:
    page = (ROOT / "docs" / "costs.md").read_text().splitlines()
    rows = [line for line in page if line.startswith(("| Llama 3.1 8B", "| one provisioned", "| an r8g.4xlarge"))]
    sums = re.findall(r"\$([\d.]+)", " ".join(rows))
    readme = (ROOT / "README.md").read_text()
    told = re.search(r"it costs about\s+\$(\S+) a month while nobody comes and \$(\S+) for a visit", readme)
    table = re.search(r"^\| Overture, an 8B on Lambda \| \$(\S+) \| \$(\S+) \|", readme, re.MULTILINE)
    held = re.search(r"provisioned concurrency \| \$(\S+) \|", readme)
    machine = re.search(r"\(r8g.4xlarge\) \| \$(\S+) \|", readme)
    assert told and table and held and machine, "README has lost a sum"  # noqa: PT018
    assert told.groups() == table.groups()
    for said in (*table.groups(), held[1], machine[1]):
        places = len(said.partition(".")[2])
        assert said in {f"{float(one):.{places}f}" for one in sums}, f"README says ${said}; docs/costs.md does not"


def test_costs_add_up() -> None:
    # By hand: 10 GB for 8 + 39.5 s; 39 dollars of snapshot a month; 688 of a machine.
    assert costs.BIG.memory_mb == 10_240
    assert costs.start(costs.BIG) == pytest.approx(10 * 47.48 * 0.0000133334, rel=1e-3)
    assert prices.idle(5.0, snapshot_gb=10)["the storyteller's snapshot"] == pytest.approx(39.0, rel=0.001)
    assert costs.break_even(costs.BIG, 688) == pytest.approx(688 / 30 / costs.session(costs.BIG))
    # Three instances, one in each zone, with a fee of 15%.
    assert costs.managed("r8g.4xlarge") == pytest.approx(3 * 0.94256 * 730 * 1.15)
    assert "Lambda Managed Instances, 3 r8g.4xlarge (priced, not deployable yet) | $2,374 |" in costs.tables()
    assert costs.session(costs.BIG) == pytest.approx(
        costs.start(costs.BIG) + costs.telling(costs.BIG) + costs.sweeps(costs.BIG) + sum(prices.around().values())
    )
