"""What is asked of AWS about a stack, against moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.deploy import stack_state

MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {
        "mediaType": "application/vnd.docker.container.image.v1+json",
        "size": 1,
        "digest": "sha256:" + "1" * 64,
    },
    "layers": [],
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


class Described:
    """CloudFormation with one stack in a state."""

    def __init__(self, status: str) -> None:
        self.status = status

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        return {"Stacks": [{"StackStatus": self.status}]}


def test_no_stack_is_no_obstacle(aws: None) -> None:
    assert stack_state.find_status(boto3.client, "Overture") is None
    assert stack_state.check_status(boto3.client, "Overture") is None
    assert stack_state.find_output(boto3.client, "Overture", "Repository") is None
    assert stack_state.own_reservation(boto3.client, "Overture") == 0


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
        assert stack_state.choose_log_role(boto3.client, "Overture") == choice


def test_the_live_tag_moves_to_the_image_that_is_deployed(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName="images")
    digests = []
    for number in range(2):
        manifest = json.dumps({**MANIFEST, "number": number})
        put = ecr.put_image(repositoryName="images", imageManifest=manifest, imageTag=f"model-{number}")
        digests.append(put["image"]["imageId"]["imageDigest"])
    monkeypatch.setattr(stack_state, "find_output", lambda *_: "storyteller")
    monkeypatch.setattr(stack_state, "find_resource", lambda *_: "images")

    class Function:
        uri = ""

        def get_function(self, **_: str) -> dict[str, Any]:
            return {"Code": {"ResolvedImageUri": self.uri}}

    function = Function()

    def client(name: str) -> Any:
        return function if name == "lambda" else boto3.client(name)  # type: ignore[call-overload]

    for digest in (digests[0], digests[1], digests[1], digests[0]):
        function.uri = f"1.dkr.ecr.us-east-1.amazonaws.com/images@{digest}"
        stack_state.mark_live(client, "Overture", "live")
        (live,) = ecr.describe_images(repositoryName="images", imageIds=[{"imageTag": "live"}])["imageDetails"]
        assert live["imageDigest"] == digest


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
