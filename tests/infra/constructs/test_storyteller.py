from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from infra.settings import LIVE
from tests.infra.templates import Synthesized, flat

Synth = Callable[..., Synthesized]
FUNCTION = "AWS::Lambda::Function"


def test_is_an_arm64_image_with_ten_gigabytes_a_reserve_and_a_trace(synth: Synth) -> None:
    made = synth()
    function = made.one(FUNCTION, "Storyteller")
    assert function["PackageType"] == "Image"
    assert function["Architectures"] == ["arm64"]
    assert function["MemorySize"] == 10_240
    assert function["ReservedConcurrentExecutions"] == 2
    assert function["TracingConfig"] == {"Mode": "Active"}
    assert function["Timeout"] == 900
    assert "SnapStart" not in function
    assert made.one("AWS::Logs::LogGroup", "Storyteller")["RetentionInDays"] == 14
    assert function["LoggingConfig"]["LogGroup"] == {"Ref": made.name("AWS::Logs::LogGroup", "Storyteller")}


def test_is_told_where_things_are(synth: Synth) -> None:
    made = synth(linger=30, concurrency=5, region="eu-north-1")
    told = made.one(FUNCTION, "Storyteller")["Environment"]["Variables"]
    api = made.name("AWS::ApiGatewayV2::Api", "WebSocket")
    assert flat(told["AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"]) == (
        f"https://<{api}>.execute-api.eu-north-1.<AWS::URLSuffix>/play"
    )
    assert told["OVERTURE_TABLE"] == {"Ref": made.name("AWS::DynamoDB::GlobalTable")}
    assert (told["OVERTURE_LINGER_S"], told["OVERTURE_CONCURRENCY"]) == ("30", "5")


def test_neither_the_alias_nor_the_latest_version_tries_an_event_twice_and_front_hears_of_both_ends(
    synth: Synth,
) -> None:
    made = synth()
    function = {"Ref": made.name(FUNCTION, "Storyteller")}
    front = {"Ref": made.name("AWS::Lambda::Alias", "Front")}
    configs = [one["Properties"] for one in made.of("AWS::Lambda::EventInvokeConfig").values()]
    assert sorted(one["Qualifier"] for one in configs) == ["$LATEST", "live"]
    for config in configs:
        assert config["FunctionName"] == function
        assert config["MaximumRetryAttempts"] == 0
        assert config["MaximumEventAgeInSeconds"] == 60
        assert config["DestinationConfig"] == {
            "OnFailure": {"Destination": front},
            "OnSuccess": {"Destination": front},
        }


def test_may_do_its_work_and_nothing_else(synth: Synth) -> None:
    made = synth()
    allowed = made.allowed("Storyteller")
    table = f"<{made.name('AWS::DynamoDB::GlobalTable')}.Arn>"
    api = made.name("AWS::ApiGatewayV2::Api", "WebSocket")
    assert {action: [flat(one) for one in where] for action, where in allowed.items()} == {
        **{f"dynamodb:{action}Item": [table] for action in ("Get", "Put", "Update", "Delete")},
        "dynamodb:Query": [table],
        "execute-api:ManageConnections": [
            f"arn:aws:execute-api:us-east-1:<AWS::AccountId>:<{api}>/play/POST/@connections/*"
        ],
        "lambda:InvokeFunction": [f"<{made.name('AWS::Lambda::Alias', 'Front')}>"],
        "logs:CreateLogStream": [f"<{made.name('AWS::Logs::LogGroup', 'Storyteller')}.Arn>"],
        "logs:PutLogEvents": [f"<{made.name('AWS::Logs::LogGroup', 'Storyteller')}.Arn>"],
        "xray:PutTelemetryRecords": ["*"],
        "xray:PutTraceSegments": ["*"],
    }


def test_starts_from_a_snapshot_when_told_to(synth: Synth) -> None:
    made = synth(start="snapstart")
    function = made.one(FUNCTION, "Storyteller")
    assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    # What SnapStart refuses: more room in /tmp than 512 MB, and provisioned concurrency.
    assert "EphemeralStorage" not in function
    assert all(
        "ProvisionedConcurrencyConfig" not in one["Properties"] for one in made.of("AWS::Lambda::Alias").values()
    )


def test_reserves_nothing_where_the_account_has_nothing_to_reserve(synth: Synth) -> None:
    made = synth(concurrency=0, memory=3008)
    function = made.one(FUNCTION, "Storyteller")
    assert "ReservedConcurrentExecutions" not in function
    assert function["MemorySize"] == 3008
    assert function["Environment"]["Variables"]["OVERTURE_CONCURRENCY"] == "0"


def test_a_pushed_image_comes_from_the_stacks_own_repository(synth: Synth) -> None:
    digest = "sha256:" + "0a" * 32
    made = synth(image=digest)
    repository = made.name("AWS::ECR::Repository")
    uri = flat(made.one(FUNCTION, "Storyteller")["Code"]["ImageUri"])
    assert uri.endswith(f"/<{repository}>@{digest}")
    assert (
        'dockerImages": {}' in (made.folder / "Overture.assets.json").read_text()
        or "dockerImages" not in (made.folder / "Overture.assets.json").read_text()
    )


def test_the_repository_goes_with_the_stack_and_never_expires_the_live_image(synth: Synth) -> None:
    made = synth(image="none")
    # The first step of `make deploy`: the repository and nothing that could want an image.
    assert [one["Type"] for one in made.resources.values()] == ["AWS::ECR::Repository"]
    (repository,) = made.resources.values()
    assert repository["DeletionPolicy"] == "Delete"
    assert repository["Properties"]["EmptyOnDelete"] is True
    live, newest = json.loads(repository["Properties"]["LifecyclePolicy"]["LifecyclePolicyText"])["rules"]
    assert (live["rulePriority"], live["selection"]["tagPrefixList"]) == (1, [LIVE])
    # The one image that has the tag is never one too many, and a later rule cannot expire what an earlier one matches.
    assert (live["selection"]["countType"], live["selection"]["countNumber"]) == ("imageCountMoreThan", 1)
    assert (newest["rulePriority"], newest["selection"]["countNumber"]) == (2, 10)
    assert repository["Properties"]["ImageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    (mutable,) = repository["Properties"]["ImageTagMutabilityExclusionFilters"]
    assert mutable["ImageTagMutabilityExclusionFilterValue"] == LIVE


def test_a_line_of_visitors_is_no_runaway_loop(synth: Synth) -> None:
    """Front → storyteller → destination → Front goes on as long as anybody waits."""
    made = synth()
    for name in ("StorytellerFunction", "FrontFunction"):
        assert made.one(FUNCTION, name)["RecursiveLoop"] == "Allow"
    for name in ("Ticket", "Authorizer", "CostGuardSwitch"):
        assert "RecursiveLoop" not in made.one(FUNCTION, name)


@pytest.mark.parametrize("setting", ["start=cold", "start=snapstart"])
def test_the_alias_is_of_a_published_version(synth: Synth, setting: str) -> None:
    made = synth(start=setting.partition("=")[2])
    alias = made.one("AWS::Lambda::Alias", "Storyteller")
    assert alias["Name"] == "live"
    version = made.one("AWS::Lambda::Version", "Storyteller")
    assert version["FunctionName"] == {"Ref": made.name(FUNCTION, "Storyteller")}
    assert alias["FunctionVersion"]["Fn::GetAtt"][1] == "Version"
