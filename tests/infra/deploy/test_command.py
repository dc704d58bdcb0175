"""The order of a deployment's steps, and of a deletion's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.deploy import command as deploy
from infra.deploy import stack_state
from infra.settings import Settings
from tests.infra.deploy.conftest import ROLE, State, client


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
