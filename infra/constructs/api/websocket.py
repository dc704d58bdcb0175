"""The WebSocket API: three routes, an authorizer before `$connect`, access logs, and posting to connections."""

from __future__ import annotations

from typing import Any

from aws_cdk import ArnFormat, Aws, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.api.access_log import AccessLog
from infra.constructs.nag_suppressions import suppress
from infra.constructs.roles import allow, make_log_group
from infra.functions import TICKET_PARAMETER, WEBSOCKET_ROUTES
from infra.settings import Settings

STAGE = "play"

#: No query string: the ticket is in it.
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


class WebSocket(Construct):
    """The API and its stage, without routes: the functions behind them need the API's address first."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name)
        self.api = apigatewayv2.WebSocketApi(
            self,
            "Api",
            description="Overture: the play, protocol 1",
            route_selection_expression="$request.body.action",
        )
        account = self._make_logging_role() if settings.api_log_role == "stack" else None
        self.stage = apigatewayv2.WebSocketStage(
            self,
            "Stage",
            web_socket_api=self.api,
            stage_name=STAGE,
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(
                rate_limit=settings.frames_per_second, burst_limit=2 * settings.frames_per_second
            ),
            access_log_settings=AccessLog(make_log_group(self, "Logs", settings), _LOGGED),
        )
        if account is not None:
            self.stage.node.add_dependency(account)

    def add_routes(self, front: lambda_.IFunction, authorizer: lambda_.IFunction) -> None:
        """Routes everything to Front, with the authorizer before `$connect`."""
        for route in WEBSOCKET_ROUTES:
            options: dict[str, Any] = {}
            if route == "$connect":
                # A browser can send no header with a WebSocket: the ticket is in the query string.
                options["authorizer"] = authorizers.WebSocketLambdaAuthorizer(
                    "Authorizer", authorizer, identity_source=[f"route.request.querystring.{TICKET_PARAMETER}"]
                )
            id_ = route.removeprefix("$").capitalize()
            added = self.api.add_route(
                route, integration=integrations.WebSocketLambdaIntegration(f"{id_}Front", front), **options
            )
            if route != "$connect":
                suppress(
                    added,
                    "AwsSolutions-APIG4",
                    "API Gateway authorizes WebSockets on $connect only; other routes belong to an open connection.",
                )

    @property
    def url(self) -> str:
        """Where visitors connect."""
        return f"{self.origin}/{STAGE}"

    @property
    def origin(self) -> str:
        """The same without the stage, for a content security policy."""
        return f"wss://{self._host}"

    @property
    def callback_url(self) -> str:
        """Where functions post to connections."""
        return f"https://{self._host}/{STAGE}"

    def grant_connections(self, role: iam.Role, *methods: str) -> None:
        """Lets a role post to (POST) or close (DELETE) any connection."""
        stack = Stack.of(self)
        api = stack.get_logical_id(self.api.node.default_child)  # type: ignore[arg-type]
        for method in methods:
            arn = stack.format_arn(
                service="execute-api",
                resource=self.api.api_id,
                resource_name=f"{STAGE}/{method}/@connections/*",
                arn_format=ArnFormat.SLASH_RESOURCE_NAME,
            )
            allow(role, ["execute-api:ManageConnections"], arn)
            finding = f"arn:aws:execute-api:{stack.region}:<AWS::AccountId>:<{api}>"
            suppress(
                role,
                f"AwsSolutions-IAM5[Resource::{finding}/{STAGE}/{method}/@connections/*]",
                "A connection's id is part of the resource, and known only while it lasts.",
            )

    @property
    def _host(self) -> str:
        return f"{self.api.api_id}.execute-api.{Stack.of(self).region}.{Aws.URL_SUFFIX}"

    def _make_logging_role(self) -> apigateway.CfnAccount:
        """Access logs of a WebSocket need the account's logging role, one in a region.

        `make deploy` leaves out this one where the account has a role. CloudFormation must not delete it while other
        APIs may log by it; `make destroy` takes it out of the account's settings first.
        """
        role = iam.Role(
            self,
            "LogRole",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonAPIGatewayPushToCloudWatchLogs")
            ],
        )
        role.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        suppress(
            role,
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs]",
            "The account's logging role serves every API in it; AWS's own policy is what it is meant to have.",
        )
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        account.apply_removal_policy(RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE)
        return account
