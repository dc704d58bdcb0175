"""What an authorizer's answer means."""

from __future__ import annotations

from typing import Any

import pytest

from local.aws.api_gateway.authorizer import AuthorizerError, judge
from local.aws.api_gateway.events import method_arn

ARN = method_arn()


def answer(*statements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"principalId": "v", "policyDocument": {"Version": "2012-10-17", "Statement": list(statements)}, **more}


def allow(resource: Any = ARN, action: Any = "execute-api:Invoke") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.mark.parametrize(
    "statement",
    [
        allow(),
        allow("*"),
        allow([ARN]),
        allow(["arn:aws:execute-api:*:*:other/*", ARN.rpartition("/")[0] + "/*"]),
        allow(ARN.replace("local", "loc?l")),
        allow(action="execute-api:*"),
        allow(action=["s3:GetObject", "Execute-API:invoke"]),
        allow(action="*"),
    ],
)
def test_allowed(statement: dict[str, Any]) -> None:
    assert judge(answer(statement), ARN) == {"principalId": "v"}


@pytest.mark.parametrize(
    "statements",
    [
        [],
        [allow(ARN + "x")],
        [allow(action="execute-api:ManageConnections")],
        [allow(ARN.replace("local0", "[l]ocal0"))],
        [allow(), {**allow(), "Effect": "Deny"}],
        [{**allow("*"), "Effect": "Deny"}, allow()],
        [{"Effect": "Allow"}],
    ],
)
def test_not_allowed(statements: list[dict[str, Any]]) -> None:
    assert judge(answer(*statements), ARN) is None


def test_one_statement_needs_no_list() -> None:
    assert judge({"principalId": "v", "policyDocument": {"Statement": allow()}}, ARN) == {"principalId": "v"}


def test_the_context_becomes_text() -> None:
    context = {"text": "a", "count": 3, "half": 0.5, "yes": True, "nothing": None}
    assert judge(answer(allow(), context=context), ARN) == {
        "principalId": "v", "text": "a", "count": "3", "half": "0.5", "yes": "true", "nothing": "null",
    }  # fmt: skip


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        {"isAuthorized": True},
        {"principalId": "v"},
        {"principalId": 7, "policyDocument": {"Statement": []}},
        {"principalId": "v", "policyDocument": {"Statement": ["Allow"]}},
        answer(allow(), context={"list": []}),
        answer(allow(), context=["a"]),
    ],
)
def test_no_policy_at_all(found: Any) -> None:
    with pytest.raises(AuthorizerError):
        judge(found, ARN)
