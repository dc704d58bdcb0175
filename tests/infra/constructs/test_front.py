from __future__ import annotations

import json
from collections.abc import Callable

from tests.infra.templates import Synthesized, flat

Synth = Callable[..., Synthesized]
FUNCTION = "AWS::Lambda::Function"


def test_is_a_small_arm64_function_that_starts_from_a_snapshot(synth: Synth) -> None:
    made = synth()
    front = made.one(FUNCTION, "Front")
    assert front["Handler"] == "front.handler.lambda_handler"
    assert (front["Runtime"], front["Architectures"]) == ("python3.13", ["arm64"])
    assert front["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert front["Timeout"] == 29
    assert front["TracingConfig"] == {"Mode": "Active"}
    # A snapshot is of a version: nothing may invoke the function without its alias.
    alias = made.name("AWS::Lambda::Alias", "Front")
    for integration in made.of("AWS::ApiGatewayV2::Integration").values():
        uri = flat(integration["Properties"]["IntegrationUri"])
        assert f"<{alias}>" in uri or "Ticket" in uri


def test_knows_the_storyteller_by_its_alias_and_the_page_by_its_origin(synth: Synth) -> None:
    made = synth(origins="https://example.org", wakes_per_day=7)
    told = made.one(FUNCTION, "Front")["Environment"]["Variables"]
    assert told["OVERTURE_STORYTELLER"] == {"Ref": made.name("AWS::Lambda::Alias", "Storyteller")}
    page = f"https://<{made.name('AWS::CloudFront::Distribution')}.DomainName>"
    assert flat(told["OVERTURE_ORIGINS"]) == f"{page},https://example.org"
    assert told["OVERTURE_WAKES_PER_DAY"] == "7"
    assert (told["OVERTURE_WORLD"], told["OVERTURE_INDEX"]) == ("/var/task/world", "/var/task/answers")
    assert told["OVERTURE_CONCURRENCY"] == "2"
    assert told["OVERTURE_WAITING_LIMIT"] == "1000"


def test_sweeps_once_a_minute(synth: Synth) -> None:
    made = synth()
    rule = made.one("AWS::Events::Rule", "FrontSweep")
    assert rule["ScheduleExpression"] == "rate(1 minute)"
    (target,) = rule["Targets"]
    assert target["Arn"] == {"Ref": made.name("AWS::Lambda::Alias", "Front")}
    assert json.loads(target["Input"]) == {"sweep": True}


def test_may_invoke_the_storytellers_alias_post_and_close_and_nothing_else(synth: Synth) -> None:
    made = synth()
    table = f"<{made.name('AWS::DynamoDB::GlobalTable')}.Arn>"
    api = made.name("AWS::ApiGatewayV2::Api", "WebSocket")
    connections = f"arn:aws:execute-api:us-east-1:<AWS::AccountId>:<{api}>/play"
    logs = f"<{made.name('AWS::Logs::LogGroup', 'FrontLogs')}.Arn>"
    assert {action: sorted(flat(one) for one in where) for action, where in made.allowed("Front").items()} == {
        **{f"dynamodb:{action}Item": [table] for action in ("Get", "Put", "Update", "Delete")},
        "dynamodb:Query": [table],
        "execute-api:ManageConnections": [
            f"{connections}/DELETE/@connections/*",
            f"{connections}/POST/@connections/*",
        ],
        "lambda:InvokeFunction": [f"<{made.name('AWS::Lambda::Alias', 'Storyteller')}>"],
        "logs:CreateLogStream": [logs],
        "logs:PutLogEvents": [logs],
        "xray:PutTelemetryRecords": ["*"],
        "xray:PutTraceSegments": ["*"],
    }


def test_no_function_has_more_than_its_own_logs_and_aws_managed_policies_none(synth: Synth) -> None:
    made = synth()
    ours = {name: one for name, one in made.of("AWS::IAM::Role").items() if not name.startswith("Custom")}
    for name, role in ours.items():
        managed = role["Properties"].get("ManagedPolicyArns", [])
        assert not managed or name.startswith("WebSocketLogRole"), f"{name} has {managed}"


def test_the_door_may_write_and_take_tickets_and_no_more(synth: Synth) -> None:
    made = synth()

    def table_actions(role: str) -> set[str]:
        return {action for action in made.allowed(role) if action.startswith("dynamodb:")}

    assert table_actions("Ticket") == {"dynamodb:PutItem", "dynamodb:UpdateItem"}
    assert table_actions("Authorizer") == {"dynamodb:UpdateItem"}
    for name in ("Ticket", "Authorizer"):
        others = {action.partition(":")[0] for action in made.allowed(name)}
        assert others == {"dynamodb", "logs", "xray"}
        assert flat(made.one(FUNCTION, name)["Environment"]["Variables"]["OVERTURE_ORIGINS"]).startswith(
            "https://<Site"
        )
