"""The kill switch against moto's Lambda, and the two ends of the cloud build against a server of our own."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.constructs.cloud_build_starter import handler as build
from infra.constructs.kill_switch import handler as kill

NAME = "storyteller"


@pytest.fixture
def lambda_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "STORYTELLER": NAME,
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        role = boto3.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as file:
            file.writestr("a.py", "")
        client = boto3.client("lambda")
        client.create_function(
            FunctionName=NAME, Role=role, Handler="a.b", Runtime="python3.13", Code={"ZipFile": code.getvalue()}
        )
        client.put_function_concurrency(FunctionName=NAME, ReservedConcurrentExecutions=2)
        yield client


def test_a_ringing_alarm_lets_no_storyteller_start(lambda_client: Any) -> None:
    assert kill.lambda_handler({"alarmData": {"state": {"value": "ALARM"}}}, None) == {"killed": True}
    assert lambda_client.get_function_concurrency(FunctionName=NAME)["ReservedConcurrentExecutions"] == 0


def test_an_alarm_that_is_over_changes_nothing(lambda_client: Any) -> None:
    for event in ({"alarmData": {"state": {"value": "OK"}}}, {}):
        assert kill.lambda_handler(event, None) == {"killed": False}
    assert lambda_client.get_function_concurrency(FunctionName=NAME)["ReservedConcurrentExecutions"] == 2


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
    for name, value in {**variables, "CODEBUILD_BUILD_SUCCEEDING": "1"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "built.json").write_text('{"containerimage.digest": "sha256:ab"}')
    assert build.main() == 0
    monkeypatch.setenv("CODEBUILD_BUILD_SUCCEEDING", "0")
    assert build.main() == 0
    assert [(one["Status"], one["Data"]) for one in answers] == [
        ("SUCCESS", {"Digest": "sha256:ab"}),
        ("FAILED", {}),
    ]
    # The same resource each time: another physical id would make CloudFormation delete the former one.
    assert {one["PhysicalResourceId"] for one in answers} == {"image"}


def test_cloudformation_hears_at_once_of_a_build_that_cannot_start(
    waiting: tuple[str, list[dict[str, Any]]], lambda_client: Any
) -> None:
    url, answers = waiting
    with pytest.raises(Exception, match=r"no-such-project|Project"):
        build.lambda_handler(event(url), None)
    build.lambda_handler(event(url, RequestType="Delete"), None)
    assert [one["Status"] for one in answers] == ["FAILED", "SUCCESS"]
