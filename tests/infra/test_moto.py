"""A smoke test: CloudFormation, as far as moto plays it, takes the template and makes what it knows.

It covers that references resolve, and that roles, policies, functions, versions, table, log groups, bucket,
topic and repository can be made from the properties given. It does not cover what moto's CloudFormation has
not: aliases, permissions, the APIs and their routes, CloudFront and its headers, alarms, dashboard, budget, event
configurations, what CDK's custom resources do, SnapStart. Nor does moto judge what roles may do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.infra.templates import Synthesized

COVERED = {
    "AWS::DynamoDB::GlobalTable",
    "AWS::ECR::Repository",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Lambda::Version",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield


def playable(template: dict[str, Any]) -> dict[str, Any]:
    """The part of a template that moto plays; references to the rest become their logical ids."""
    kept = {
        name: {key: part for key, part in one.items() if key not in {"DependsOn", "Metadata"}}
        for name, one in template["Resources"].items()
        if one["Type"] in COVERED and not name.startswith("Custom")
    }

    def cut(value: Any) -> Any:
        if isinstance(value, dict):
            if set(value) == {"Ref"} and value["Ref"] not in kept and not value["Ref"].startswith("AWS::"):
                return f"arn:aws:moto:us-east-1:123456789012:{value['Ref']}"
            if set(value) == {"Fn::GetAtt"} and value["Fn::GetAtt"][0] not in kept:
                return ".".join(value["Fn::GetAtt"])
            return {key: cut(part) for key, part in value.items()}
        return [cut(part) for part in value] if isinstance(value, list) else value

    for one in kept.values():
        if one["Type"] == "AWS::Lambda::Function" and "ImageUri" not in one["Properties"]["Code"]:
            # The asset lies in a bucket that is not played.
            one["Properties"]["Code"] = {"ZipFile": "def lambda_handler(event, context): ..."}
        if one["Type"] == "AWS::ECR::Repository":
            # moto makes up a name with capitals, and then refuses it.
            one["Properties"]["RepositoryName"] = "storyteller"
    return {"Resources": cut(kept)}


def test_cloudformation_makes_what_it_can_of_it(synth: Callable[..., Synthesized], aws: None) -> None:
    made = synth(image="sha256:" + "0" * 64)
    part = playable(made.template)
    assert {one["Type"] for one in part["Resources"].values()} == COVERED
    # A function of an image wants the image to be there.
    images = next(one for name, one in part["Resources"].items() if name.startswith("StorytellerFunction"))
    images["Properties"]["Code"] = {"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/storyteller:1"}
    client = boto3.client("cloudformation")
    client.create_stack(StackName="Overture", TemplateBody=json.dumps(part), Capabilities=["CAPABILITY_NAMED_IAM"])
    assert client.describe_stacks(StackName="Overture")["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"

    functions = {one["FunctionName"]: one for one in boto3.client("lambda").list_functions()["Functions"]}
    assert len(functions) == 5
    assert max(one["MemorySize"] for one in functions.values()) == 10_240
    (table,) = boto3.client("dynamodb").list_tables()["TableNames"]
    assert {one["Environment"]["Variables"].get("OVERTURE_TABLE") for one in functions.values()} == {table, None}
    described = boto3.client("dynamodb").describe_table(TableName=table)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert all("retentionInDays" in one for one in boto3.client("logs").describe_log_groups()["logGroups"])
    client.delete_stack(StackName="Overture")
    assert boto3.client("lambda").list_functions()["Functions"] == []
