"""Access logs of an API Gateway stage, as JSON lines."""

from __future__ import annotations

import jsii
from aws_cdk import Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_logs as logs


@jsii.implements(apigatewayv2.IAccessLogSettings)
class AccessLog:
    """`fields` maps names to API Gateway's context variables."""

    def __init__(self, log_group: logs.LogGroup, fields: dict[str, str]) -> None:
        self._destination = apigatewayv2.LogGroupLogDestination(log_group)
        self._format = apigateway.AccessLogFormat.custom(Stack.of(log_group).to_json_string(fields))

    @property
    def destination(self) -> apigatewayv2.IAccessLogDestination:
        return self._destination

    @property
    def format(self) -> apigateway.AccessLogFormat:
        return self._format
