"""The HTTP API with one route, `POST /ticket`.

The page asks it directly, not through CloudFront: the limit for each address needs the visitor's
own address, and CloudFront would show its own. The ticket function answers the page's origin itself.
"""

from __future__ import annotations

from aws_cdk import Aws, Duration, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.api.access_log import AccessLog
from infra.constructs.api.members import Members
from infra.constructs.nag_suppressions import suppress
from infra.constructs.roles import make_log_group
from infra.functions import TICKET_PATH
from infra.settings import Settings

_LOGGED = {
    "time": "$context.requestTime",
    "request": "$context.requestId",
    "address": "$context.identity.sourceIp",
    "route": "$context.routeKey",
    "status": "$context.status",
    "latency_ms": "$context.responseLatency",
    "error": "$context.error.message",
    "integration_error": "$context.integrationErrorMessage",
}


class TicketApi(Construct):
    """The API without its route: the route's function needs the page's address, which needs the API's."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name)
        # Any page may read the answers, the API's own 429 among them: the stack's page then says that it is busy.
        # Which pages get a ticket is decided by the function. (The page's address cannot be named here: it depends,
        # by the page's headers, on this API's.)
        cors = apigatewayv2.CorsPreflightOptions(
            allow_origins=["*"],
            allow_methods=[apigatewayv2.CorsHttpMethod.POST],
            allow_headers=["authorization"],
            max_age=Duration.hours(1),
        )
        self.api = apigatewayv2.HttpApi(
            self,
            "Api",
            description="Overture: tickets",
            create_default_stage=False,
            cors_preflight=cors,
        )
        apigatewayv2.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(
                rate_limit=settings.tickets_per_second, burst_limit=2 * settings.tickets_per_second
            ),
            access_log_settings=AccessLog(make_log_group(self, "Logs", settings), _LOGGED),
        )
        self.members = Members(self, "Members", settings) if settings.auth == "cognito" else None

    def add_route(self, ticket: lambda_.IFunction, page: str) -> None:
        """Routes to the ticket function. `page` is where a member comes back to after signing in."""
        (route,) = self.api.add_routes(
            path=TICKET_PATH,
            methods=[apigatewayv2.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Ticket", ticket),
            authorizer=self.members.make_authorizer(page) if self.members else None,
        )
        if self.members is None:
            suppress(
                route,
                "AwsSolutions-APIG4",
                "Every visitor of the page may have a ticket; its function limits them by origin, address and minute.",
            )

    @property
    def origin(self) -> str:
        return f"https://{self.api.api_id}.execute-api.{Stack.of(self).region}.{Aws.URL_SUFFIX}"

    @property
    def url(self) -> str:
        return self.origin + TICKET_PATH
