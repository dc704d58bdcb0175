"""The table, the kill switch, the budget, the dashboard, the alarms, what is left after a destroy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.templates import Synthesized, flat

Synth = Callable[..., Synthesized]
ROOT = Path(__file__).resolve().parents[3]
TABLE_ID = "DatabaseTableF104A135"


def test_the_table_is_paid_by_use_forgets_by_itself_and_can_be_brought_back(synth: Synth) -> None:
    table = synth().one("AWS::DynamoDB::GlobalTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    (replica,) = table["Replicas"]
    assert replica["Region"] == "us-east-1"
    assert replica["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS"}


def test_an_upgrade_does_not_replace_the_table(synth: Synth) -> None:
    """CloudFormation replaces a table, and loses every session, for another logical id or another key.

    A change here needs a migration first: docs/operations.md, Upgrading.
    """
    made = synth()
    assert made.name("AWS::DynamoDB::GlobalTable") == TABLE_ID
    table = made.one("AWS::DynamoDB::GlobalTable")
    assert "TableName" not in table
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    assert {one["AttributeType"] for one in table["AttributeDefinitions"]} == {"S"}
    chapters = (ROOT / "docs" / "operations.md").read_text()
    assert "## Upgrading" in chapters
    assert "replaces the table" in chapters


def test_the_kill_switch_may_turn_the_storyteller_off_and_rings_on_gb_seconds(synth: Synth) -> None:
    made = synth(ceiling=5000, memory=2048)
    storyteller = made.name("AWS::Lambda::Function", "Storyteller")
    switch = made.name("AWS::Lambda::Function", "CostGuardSwitch")
    counted = {}
    for name, id_ in (("CostGuardCeiling", "handled"), ("CostGuardBilledCeiling", "billed")):
        alarm = made.one("AWS::CloudWatch::Alarm", name)
        assert alarm["Threshold"] == 5000
        assert {"Fn::GetAtt": [switch, "Arn"]} in alarm["AlarmActions"]
        expression, duration = sorted(alarm["Metrics"], key=lambda one: "Expression" not in one)
        assert expression["Expression"] == f"2 * {id_} / 1000"
        assert (duration["MetricStat"]["Stat"], duration["MetricStat"]["Period"]) == ("Sum", 86_400)
        counted[name] = duration["MetricStat"]["Metric"]
    assert counted["CostGuardCeiling"]["MetricName"] == "Duration"
    assert counted["CostGuardCeiling"]["Dimensions"] == [{"Name": "FunctionName", "Value": {"Ref": storyteller}}]
    # Duration has no init: the other alarm goes by Lambda's report of what is billed.
    read = made.one("AWS::Logs::MetricFilter")
    assert read["FilterPattern"] == '{ $.type = "platform.report" }'
    assert read["LogGroupName"] == {"Ref": made.name("AWS::Logs::LogGroup", "StorytellerLogs")}
    (written,) = read["MetricTransformations"]
    assert written["MetricValue"] == "$.record.metrics.billedDurationMs"
    assert counted["CostGuardBilledCeiling"] == {
        "MetricName": written["MetricName"],
        "Namespace": written["MetricNamespace"],
    }
    logged = made.one("AWS::Lambda::Function", "Storyteller")["LoggingConfig"]
    assert (logged["LogFormat"], logged["SystemLogLevel"]) == ("JSON", "INFO")
    assert made.allowed("CostGuardRole")["lambda:PutFunctionConcurrency"] == [{"Fn::GetAtt": [storyteller, "Arn"]}]
    assert made.one("AWS::Lambda::Function", "CostGuardSwitch")["Environment"]["Variables"] == {
        "STORYTELLER": {"Ref": storyteller}
    }
    permissions = [
        one["Properties"]["FunctionName"]
        for one in made.of("AWS::Lambda::Permission").values()
        if one["Properties"]["Principal"] == "lambda.alarms.cloudwatch.amazonaws.com"
    ]
    assert permissions == [{"Fn::GetAtt": [switch, "Arn"]}] * 2


def test_with_an_address_alarms_and_budget_write_to_it(synth: Synth) -> None:
    made = synth(email="me@example.org", budget=50)
    assert made.one("AWS::SNS::Subscription")["Endpoint"] == "me@example.org"
    budget = made.one("AWS::Budgets::Budget")
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 50, "Unit": "USD"}
    # Of this stack alone, by the tag that everything in it has.
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:overture$Overture-us-east-1"]}
    # It warns; it does nothing.
    assert {one["Subscribers"][0]["Address"] for one in budget["NotificationsWithSubscribers"]} == {"me@example.org"}
    topic = {"Ref": made.name("AWS::SNS::Topic")}
    alarms = made.of("AWS::CloudWatch::Alarm")
    assert all(topic in one["Properties"]["AlarmActions"] for one in alarms.values())


TAGGED = (
    "AWS::ApiGatewayV2::Api",
    "AWS::ApiGatewayV2::Stage",
    "AWS::CloudFront::Distribution",
    "AWS::CloudWatch::Alarm",
    "AWS::DynamoDB::GlobalTable",
    "AWS::ECR::Repository",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
)


@pytest.mark.parametrize("kind", TAGGED)
def test_what_costs_has_the_tag_that_the_budget_counts_by(kind: str, synth: Synth) -> None:
    """With the region in it: AWS adds up a tag's costs over all regions."""
    found = {name: one for name, one in synth().of(kind).items() if not name.startswith("Custom")}
    assert found
    for name, one in found.items():
        properties = one["Properties"]
        tags = properties["Replicas"][0]["Tags"] if kind.endswith("GlobalTable") else properties["Tags"]
        named = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
        assert named["overture"] == "Overture-us-east-1", name


def test_cloudwatch_may_publish_alarms(synth: Synth) -> None:
    made = synth()
    (allowed,) = [
        one for one in made.one("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"] if one["Effect"] == "Allow"
    ]
    assert (allowed["Principal"], allowed["Action"]) == ({"Service": "cloudwatch.amazonaws.com"}, "sns:Publish")
    assert allowed["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def read_by(alarm: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The metrics of an alarm's sum: name and the value of its one dimension, by id."""
    return {
        one["Id"]: (
            one["MetricStat"]["Metric"]["MetricName"],
            flat(one["MetricStat"]["Metric"]["Dimensions"][0]["Value"]),
        )
        for one in alarm["Metrics"]
        if "MetricStat" in one
    }


@pytest.mark.parametrize(
    ("alarm", "services"), [("MonitoringFrontErrors", ["front"]), ("MonitoringConnectErrors", ["ticket", "authorizer"])]
)
def test_faults_that_a_handler_caught_ring_like_errors(alarm: str, services: list[str], synth: Synth) -> None:
    made = synth()
    found = made.one("AWS::CloudWatch::Alarm", alarm)
    expected: dict[str, tuple[str, str]] = {}
    for one in services:
        function = made.name("AWS::Lambda::Function", f"{one.capitalize()}F")
        expected |= {f"{one}_errors": ("Errors", f"<{function}>"), f"{one}_faults": ("Faults", f"Overture-{one}")}
    assert read_by(found) == expected
    # Without FILL a sum has no value where one metric has none, and faults are written only when there are some.
    (summed,) = [one["Expression"] for one in found["Metrics"] if "Expression" in one]
    assert summed == " + ".join(f"FILL({id_}, 0)" for id_ in expected)
    assert {one["MetricStat"]["Stat"] for one in found["Metrics"] if "MetricStat" in one} == {"Sum"}


def test_throttling_rings_only_when_it_lasts(synth: Synth) -> None:
    alarms = synth().of("AWS::CloudWatch::Alarm")
    periods = {name: one["Properties"]["EvaluationPeriods"] for name, one in alarms.items()}
    (throttled,) = [name for name in alarms if name.startswith("MonitoringStorytellerThrottled")]
    assert alarms[throttled]["Properties"]["Period"] == 300
    assert periods.pop(throttled) == 3
    assert set(periods.values()) == {1}


def test_a_table_that_throttles_reads_alone_rings(synth: Synth) -> None:
    made = synth()
    found = made.one("AWS::CloudWatch::Alarm", "MonitoringTableThrottled")
    table = f"<{made.name('AWS::DynamoDB::GlobalTable')}>"
    assert read_by(found) == {"read": ("ReadThrottleEvents", table), "write": ("WriteThrottleEvents", table)}
    assert "FILL(read, 0) + FILL(write, 0)" in [one.get("Expression") for one in found["Metrics"]]


def test_two_stacks_in_one_region_do_not_count_together(synth: Synth) -> None:
    def own(stack: str) -> set[str]:
        made = synth(stack=stack)
        return {
            one["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
            for name, one in made.of("AWS::Lambda::Function").items()
            if name.startswith(("Front", "Ticket", "Authorizer", "Storyteller"))
        }

    assert own("Overture") == {f"Overture-{one}" for one in ("front", "ticket", "authorizer", "storyteller")}
    assert not own("Overture") & own("Second")


def test_every_alarm_says_where_to_read_on_and_the_chapter_exists(synth: Synth) -> None:
    chapters = {line.removeprefix("## ").strip() for line in (ROOT / "docs" / "operations.md").read_text().splitlines()}
    for name, alarm in synth().of("AWS::CloudWatch::Alarm").items():
        said = re.search(r"docs/operations\.md, (.+)\.$", alarm["Properties"]["AlarmDescription"])
        assert said, f"{name} names no chapter"
        assert said[1] in chapters, f"{name} names a chapter that is not there: {said[1]}"


def test_the_dashboard_shows_the_metrics_that_the_functions_write(synth: Synth) -> None:
    made = synth()
    body = json.loads(flat(made.one("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    shown = {
        (metric[3], metric[1])
        for widget in body["widgets"]
        for metric in widget["properties"].get("metrics", [])
        if metric[0] == "Overture" and metric[2] == "service"
    }
    assert ("Overture-ticket", "Faults") in shown
    code = {"front": "front", "ticket": "front", "authorizer": "front", "storyteller": "storyteller"}
    for named, name in sorted(shown):
        service = named.removeprefix("Overture-")
        sources = " ".join(path.read_text() for path in (ROOT / "lambda" / code[service]).glob("*.py"))
        assert re.search(rf'"{name}"', sources), f"no function writes {name}"
        function = made.one("AWS::Lambda::Function", service.capitalize())
        assert function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == named
        assert function["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] == "Overture"


def test_the_dashboard_sums_each_day(synth: Synth) -> None:
    body = json.loads(flat(synth().one("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    days = [one["properties"] for one in body["widgets"] if one["properties"].get("title", "").startswith("A day: ")]
    assert {one["title"].removeprefix("A day: ").split(" ")[0] for one in days} == {
        "lines",
        "share",
        "energy",
        "carbon",
    }
    for one in days:
        assert (one["period"], one["start"]) == (86_400, "-P28D")
        assert {metric[-1]["period"] for metric in one["metrics"] if isinstance(metric[-1], dict)} == {86_400}


def test_nothing_that_costs_money_outlives_the_stack(synth: Synth) -> None:
    made = synth(email="me@example.org", auth="cognito")
    kept = {
        one["Type"]
        for one in made.resources.values()
        if one.get("DeletionPolicy") in {"Retain", "Snapshot", "RetainExceptOnCreate"}
    }
    # API Gateway's logging role belongs to the account, and `make destroy` releases it; after a failed first
    # deployment CloudFormation deletes it.
    assert kept == {"AWS::IAM::Role", "AWS::ApiGateway::Account"}
    assert {one.get("DeletionPolicy") for one in made.of("AWS::ApiGateway::Account").values()} == {
        "RetainExceptOnCreate"
    }
    alone = synth(api_log_role="account")
    assert not alone.of("AWS::ApiGateway::Account")
    assert all(one.get("DeletionPolicy", "Delete") == "Delete" for one in alone.resources.values())
    assert made.one("AWS::ECR::Repository")["EmptyOnDelete"] is True
    assert len(made.of("Custom::S3AutoDeleteObjects")) == len(made.of("AWS::S3::Bucket"))


def test_no_log_is_kept_for_ever(synth: Synth) -> None:
    made = synth(retention=30)
    groups = made.of("AWS::Logs::LogGroup")
    assert {one["Properties"]["RetentionInDays"] for one in groups.values()} == {30}
    assert len(groups) == 9
    # The CDK's own functions too: Lambda would make them log groups that outlive the stack.
    functions = made.of("AWS::Lambda::Function").values()
    assert all("LogGroup" in one["Properties"].get("LoggingConfig", {}) for one in functions)
    assert {one.get("DeletionPolicy") for one in groups.values()} == {"Delete"}
