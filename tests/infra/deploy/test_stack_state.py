"""What is asked of AWS about a stack, against moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from infra.deploy import stack_state


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def boto3_client(name: str) -> Any:
    return boto3.client(name)  # type: ignore[call-overload]


class Described:
    """CloudFormation with one stack in a state."""

    def __init__(self, status: str) -> None:
        self.status = status

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        return {"Stacks": [{"StackStatus": self.status}]}


def test_no_stack_is_no_obstacle(aws: None) -> None:
    assert stack_state.find_status(boto3_client, "Overture") is None
    assert stack_state.check_status(boto3_client, "Overture") is None
    assert stack_state.find_output(boto3_client, "Overture", "Repository") is None
    assert stack_state.own_reservation(boto3_client, "Overture") == 0


@pytest.mark.parametrize("status", [*stack_state.STUCK, "UPDATE_IN_PROGRESS"])
def test_a_stack_that_cannot_be_deployed_gets_a_sentence_with_the_remedy(status: str) -> None:
    said = str(stack_state.check_status(lambda _: Described(status), "Overture"))
    assert status in said
    assert "make de" in said
    assert said.endswith(".")


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_whole_stack_is_no_obstacle(status: str) -> None:
    assert stack_state.check_status(lambda _: Described(status), "Overture") is None


def test_a_stack_without_outputs_has_none() -> None:
    assert stack_state.find_output(lambda _: Described("ROLLBACK_COMPLETE"), "Overture", "Repository") is None


def test_the_accounts_own_logging_role_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_state, "own_log_role", lambda *_: "Overture-WebSocketLogRole-1")
    for account, choice in ((None, "stack"), ("Overture-WebSocketLogRole-1", "stack"), ("Theirs", "account")):
        monkeypatch.setattr(stack_state, "account_log_role", lambda _, account=account: account)
        assert stack_state.choose_log_role(boto3_client, "Overture") == choice


class Images:
    """A function of an image, and the repository that has it."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.tagged: list[dict[str, str]] = []

    def get_function(self, FunctionName: str, Qualifier: str) -> dict[str, Any]:
        assert (FunctionName, Qualifier) == ("storyteller", "live")
        return {"Code": {"ResolvedImageUri": self.uri}}

    def batch_get_image(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        return {"images": [{"imageManifest": f"manifest of {imageIds[0]['imageDigest']}"}]}

    def put_image(self, **given: str) -> None:
        if given in self.tagged:
            raise ClientError({"Error": {"Code": "ImageAlreadyExistsException"}}, "PutImage")
        self.tagged.append(given)


def test_the_live_tag_moves_to_the_image_that_is_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_state, "find_output", lambda *_: "storyteller")
    monkeypatch.setattr(stack_state, "find_resource", lambda *_: "images")
    aws = Images("1.dkr.ecr.us-east-1.amazonaws.com/images@sha256:ab")
    for _ in range(2):  # again on the image that has it already
        stack_state.mark_live(lambda _: aws, "Overture", "live")
    assert aws.tagged == [{"repositoryName": "images", "imageManifest": "manifest of sha256:ab", "imageTag": "live"}]


def test_an_image_in_the_cdks_own_repository_is_not_tagged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_state, "find_output", lambda *_: "storyteller")
    monkeypatch.setattr(stack_state, "find_resource", lambda *_: "images")
    aws = Images("1.dkr.ecr.us-east-1.amazonaws.com/cdk-hnb659fds-container-assets-1-us-east-1@sha256:ab")
    stack_state.mark_live(lambda _: aws, "Overture", "live")
    assert aws.tagged == []


def test_the_budgets_tag_is_activated_when_aws_lists_it() -> None:
    class Costs:
        errors: list[dict[str, str]] = []  # noqa: RUF012

        def update_cost_allocation_tags_status(self, CostAllocationTagsStatus: list[dict[str, str]]) -> dict[str, Any]:
            assert CostAllocationTagsStatus == [{"TagKey": "overture", "Status": "Active"}]
            return {"Errors": self.errors}

    costs = Costs()
    assert stack_state.activate_tag(lambda _: costs, "overture")
    costs.errors = [{"TagKey": "overture", "Code": "TagKeysNotFoundException"}]
    assert not stack_state.activate_tag(lambda _: costs, "overture")


def test_a_stacks_files_in_the_cdks_bucket_are_read_from_its_template(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deployed:
        def get_template(self, StackName: str) -> dict[str, Any]:
            bucket = {"Fn::Sub": "cdk-hnb659fds-assets-${AWS::AccountId}-eu-west-1"}
            code = [{"S3Bucket": bucket, "S3Key": f"{letter * 64}.zip"} for letter in "abb"]
            return {"TemplateBody": {"Resources": {str(n): {"Code": one} for n, one in enumerate(code)}}}

        def get_caller_identity(self) -> dict[str, str]:
            return {"Account": "123"}

    monkeypatch.setattr(stack_state, "find_status", lambda *_: "CREATE_COMPLETE")
    files = stack_state.asset_files(lambda _: Deployed(), "Overture")
    assert files == ("cdk-hnb659fds-assets-123-eu-west-1", [f"{letter * 64}.zip" for letter in "ab"])
    monkeypatch.setattr(stack_state, "find_status", lambda *_: None)
    assert stack_state.asset_files(lambda _: Deployed(), "Overture") is None
