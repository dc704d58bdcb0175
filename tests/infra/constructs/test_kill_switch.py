"""The kill switch, against moto's Lambda."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

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
