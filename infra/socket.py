"""The WebSocket API: its routes, its door, its logs, and the address by which functions post to visitors.

Three routes are enough for protocol 1: `$connect` (with the authorizer), `$disconnect`, and
`$default` for every action, as Front reads `action` itself and must answer what is not JSON, too.
"""

from __future__ import annotations

from typing import Any

import jsii
from aws_cdk import ArnFormat, Aws, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.acknowledged import acknowledge
from infra.functions import make_log_group
from infra.settings import Settings

STAGE = "play"
#: Messages a second over all visitors, and how many at one moment: far above what the storytellers can tell.
RATE, BURST = 100, 200

#: What the access log keeps. No query string: the ticket stands there.
_LOGGED = {
    "time": "$context.requestTime",
    "request": "$context.requestId",
    "connection": "$context.connectionId",
    "route": "$context.routeKey",
    "event": "$context.eventType",
    "status": "$context.status",
    "latency_ms": "$context.integrationLatency",
    "error": "$context.error.message",
    "authorizer_status": "$context.authorizer.status",
    "integration_error": "$context.integrationErrorMessage",
}


@jsii.implements(apigatewayv2.IAccessLogSettings)
class AccessLog:
    """Access logs of a stage, as JSON lines."""

    def __init__(self, log_group: logs.LogGroup, logged: dict[str, str]) -> None:
        self._destination = apigatewayv2.LogGroupLogDestination(log_group)
        self._format = apigateway.AccessLogFormat.custom(Stack.of(log_group).to_json_string(logged))

    @property
    def destination(self) -> apigatewayv2.IAccessLogDestination:
        """Where to."""
        return self._destination

    @property
    def format(self) -> apigateway.AccessLogFormat:
        """What."""
        return self._format


class Socket(Construct):
    """The API and its stage. Has no routes until `open` is told who is behind them."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name)
        self._settings = settings
        self.api = apigatewayv2.WebSocketApi(
            self,
            "Api",
            description="Overture: the play, protocol 1",
            route_selection_expression="$request.body.action",
        )
        log_group = make_log_group(self, "Logs", settings)
        account = self._let_api_gateway_log()
        self.stage = apigatewayv2.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=STAGE,
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(rate_limit=RATE, burst_limit=BURST),
            access_log_settings=AccessLog(log_group, _LOGGED),
        )
        self.stage.node.add_dependency(account)

    def open(self, front: lambda_.IFunction, authorizer: lambda_.IFunction) -> None:
        """Puts Front behind the routes and the authorizer before `$connect`."""
        for id_, route in (("Connect", "$connect"), ("Disconnect", "$disconnect"), ("Default", "$default")):
            options: dict[str, Any] = {}
            if route == "$connect":
                # A browser can send no header with a WebSocket: the ticket is in the query string.
                options["authorizer"] = authorizers.WebSocketLambdaAuthorizer(
                    "Authorizer", authorizer, identity_source=["route.request.querystring.ticket"]
                )
            added = self.api.add_route(
                route, integration=integrations.WebSocketLambdaIntegration(f"{id_}Front", front), **options
            )
            if route != "$connect":
                acknowledge(
                    added,
                    "AwsSolutions-APIG4",
                    "API Gateway authorizes WebSockets on $connect only; the other routes are of a connection let in.",
                )

    @property
    def url(self) -> str:
        """Where visitors connect."""
        return f"wss://{self._host}/{STAGE}"

    @property
    def origin(self) -> str:
        """The same without the stage, for a content security policy."""
        return f"wss://{self._host}"

    @property
    def callback_url(self) -> str:
        """Where functions post to visitors."""
        return f"https://{self._host}/{STAGE}"

    def connections_arn(self, method: str) -> str:
        """The resource of posting to (POST), closing (DELETE) or looking at (GET) any connection."""
        return Stack.of(self).format_arn(
            service="execute-api",
            resource=self.api.api_id,
            resource_name=f"{STAGE}/{method}/@connections/*",
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )

    def connections_finding(self, method: str) -> str:
        """The same as cdk-nag writes it."""
        stack = Stack.of(self)
        api = stack.get_logical_id(self.api.node.default_child)  # type: ignore[arg-type]
        return (
            f"arn:<AWS::Partition>:execute-api:{stack.region}:<AWS::AccountId>:<{api}>/{STAGE}/{method}/@connections/*"
        )

    @property
    def _host(self) -> str:
        return f"{self.api.api_id}.execute-api.{Stack.of(self).region}.{Aws.URL_SUFFIX}"

    def _let_api_gateway_log(self) -> apigateway.CfnAccount:
        """A WebSocket's logs need a role that belongs to the account, one in a region.

        It stays when the stack goes: other APIs of the account may log by it, and it costs nothing.
        """
        role = iam.Role(
            self,
            "LogRole",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonAPIGatewayPushToCloudWatchLogs")
            ],
        )
        role.apply_removal_policy(RemovalPolicy.RETAIN)
        acknowledge(
            role,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
            "The account's logging role serves every API in it; AWS's own policy is what it is meant to have.",
        )
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        account.apply_removal_policy(RemovalPolicy.RETAIN)
        return account
