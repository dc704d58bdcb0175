"""The cloud build: what the stack makes of it, and its answers, against a server in CloudFormation's place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from infra.constructs.cloud_build_starter import handler as build
from infra.constructs.model import cloud_build
from tests.infra.templates import Synthesized, flat, synthesize

CLOUD = {"build": "cloud", "bundle": "s3://models/8b"}
FUNCTION = "AWS::Lambda::Function"


@pytest.fixture
def waiting() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """CloudFormation's end: an address, and what was put there."""
    answers: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", answers
        server.shutdown()
        thread.join()


def event(url: str, **more: Any) -> dict[str, Any]:
    return {
        "RequestType": "Create",
        "ResponseURL": url,
        "StackId": "s",
        "RequestId": "r",
        "LogicalResourceId": "l",
        "ResourceProperties": {"Project": "no-such-project"},
        **more,
    }


def test_a_finished_build_answers_with_its_digest(
    waiting: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = waiting
    monkeypatch.chdir(tmp_path)
    variables = {"RESPONSE_URL": url, "STACK_ID": "s", "REQUEST_ID": "r", "LOGICAL_RESOURCE_ID": "l"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "built.json").write_text('{"containerimage.digest": "sha256:ab"}')
    assert build.main() == 0
    assert [(one["Status"], one["Data"]) for one in answers] == [("SUCCESS", {"Digest": "sha256:ab"})]


@pytest.mark.parametrize("status", ["FAILED", "STOPPED", "TIMED_OUT"])
def test_a_build_that_ends_without_an_image_is_answered_at_once(
    waiting: tuple[str, list[dict[str, Any]]], status: str
) -> None:
    url, answers = waiting
    given = {"RESPONSE_URL": url, "STACK_ID": "s", "REQUEST_ID": "r", "LOGICAL_RESOURCE_ID": "l", "OTHER": "x"}
    variables = [{"name": name, "value": value, "type": "PLAINTEXT"} for name, value in given.items()]
    detail = {
        "build-id": "arn:aws:codebuild:us-east-1:1:build/Project:0a",
        "build-status": status,
        "additional-information": {"environment": {"environment-variables": variables}},
    }
    build.lambda_handler({"source": "aws.codebuild", "detail": detail}, None)
    (answer,) = answers
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("FAILED", "image")
    assert answer["Reason"] == f"The image's build ended as {status}; its log has the reason: Project:0a."


def test_a_build_that_nobody_waits_for_is_not_answered() -> None:
    detail: dict[str, Any] = {"additional-information": {"environment": {"environment-variables": []}}}
    build.lambda_handler({"source": "aws.codebuild", "detail": detail}, None)
    assert build.main() == 0


def test_cloudformation_hears_at_once_of_a_build_that_cannot_start(
    waiting: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = waiting

    def refuse(name: str) -> Any:
        raise RuntimeError("no such project")

    monkeypatch.setattr("boto3.client", refuse)
    event = {"RequestType": "Create", "ResponseURL": url, "StackId": "s", "RequestId": "r", "LogicalResourceId": "l"}
    event |= {"ResourceProperties": {"Project": "p"}}  # type: ignore[dict-item]
    with pytest.raises(RuntimeError, match="no such project"):
        build.lambda_handler(event, None)
    build.lambda_handler({**event, "RequestType": "Delete"}, None)
    # The same resource each time: with another physical id CloudFormation would delete the former one.
    assert [(one["Status"], one["PhysicalResourceId"]) for one in answers] == [
        ("FAILED", "image"),
        ("SUCCESS", "image"),
    ]


def test_the_image_is_named_by_its_digest(synth: Callable[..., Synthesized]) -> None:
    made = synth(**CLOUD)
    uri = flat(made.one(FUNCTION, "StorytellerFunction")["Code"]["ImageUri"])
    repository, resource = made.name("AWS::ECR::Repository"), made.name("AWS::CloudFormation::CustomResource")
    assert uri.endswith(f"/<{repository}>@<{resource}.Digest>")


def test_a_change_of_what_is_built_publishes_a_new_version(
    synth: Callable[..., Synthesized], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, again = synth(**CLOUD), synthesize(CLOUD, tmp_path / "again")
    version = "AWS::Lambda::Version", "Storyteller"
    assert again.name(*version) == before.name(*version)
    monkeypatch.setattr(cloud_build, "ignored", lambda: ["*", "!lambda/storyteller/handler.py"])
    changed = synthesize(CLOUD, tmp_path / "changed")
    assert changed.name(*version) != before.name(*version)
    assert flat(changed.one("AWS::Lambda::Alias", "Storyteller")["FunctionVersion"]) == (
        f"<{changed.name(*version)}.Version>"
    )


def test_every_end_of_a_build_but_success_reaches_the_starter(synth: Callable[..., Synthesized]) -> None:
    made = synth(**CLOUD)
    rule = made.one("AWS::Events::Rule", "CloudBuild")
    project = {"Ref": made.name("AWS::CodeBuild::Project")}
    assert rule["EventPattern"]["detail"] == {
        "project-name": [project],
        "build-status": [{"anything-but": ["IN_PROGRESS", "SUCCEEDED"]}],
    }
    starter = made.name(FUNCTION, "CloudBuildStarter")
    assert rule["Targets"][0]["Arn"] == {"Fn::GetAtt": [starter, "Arn"]}
    described = made.one("AWS::CodeBuild::Project")
    # The build ends, and is answered, before CloudFormation gives up.
    waited = made.one("AWS::CloudFormation::CustomResource")["ServiceTimeout"]
    assert 60 * (described["TimeoutInMinutes"] + described["QueuedTimeoutInMinutes"]) < waited <= 3600
    # One phase: a failure in an earlier one would skip the commands of later ones.
    spec = json.loads(flat(described["Source"]["BuildSpec"]))
    assert list(spec["phases"]) == ["build"]
    commands = spec["phases"]["build"]["commands"]
    assert commands[-1] == "python3 infra/constructs/cloud_build_starter/handler.py"
