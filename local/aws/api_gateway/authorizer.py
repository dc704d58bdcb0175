"""What a REQUEST authorizer's answer means: who may come in, and what the other events say of them.

The policy is IAM's: an explicit Deny wins, and without an Allow the answer is no. Pure functions.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
"""

from __future__ import annotations

import fnmatch
import json
import re
from typing import Any


class AuthorizerError(Exception):
    """The authorizer's answer is not a policy: API Gateway says 500."""


def judge(answer: Any, arn: str) -> dict[str, Any] | None:
    """The `requestContext.authorizer` of whoever may invoke `arn`; None for whoever may not.

    Context values become strings, as on AWS. Raises `AuthorizerError`.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("principalId"), str):
        raise AuthorizerError("the answer has no principalId")
    document = answer.get("policyDocument")
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not all(isinstance(one, dict) for one in statements):
        raise AuthorizerError("the answer has no policyDocument with a Statement")
    effects = {one.get("Effect") for one in statements if _covers(one, arn)}
    context = answer.get("context") or {}
    if not isinstance(context, dict) or any(isinstance(value, (dict, list)) for value in context.values()):
        raise AuthorizerError("the context may hold strings, numbers and booleans only")
    if "Deny" in effects or "Allow" not in effects:
        return None
    said = {key: value if isinstance(value, str) else json.dumps(value) for key, value in context.items()}
    return {**said, "principalId": answer["principalId"]}


def _covers(statement: dict[str, Any], arn: str) -> bool:
    return _any("execute-api:Invoke", statement.get("Action"), fold=True) and _any(arn, statement.get("Resource"))


def _any(value: str, patterns: Any, *, fold: bool = False) -> bool:
    """Whether one of IAM's patterns (`*` and `?`, nothing else is special) matches the value."""
    for pattern in [patterns] if isinstance(patterns, str) else patterns or []:
        literal = re.sub(r"\[", "[[]", str(pattern))
        if fnmatch.fnmatchcase(value.lower() if fold else value, literal.lower() if fold else literal):
            return True
    return False
