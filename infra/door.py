"""The door: an HTTP API with one route, `POST /ticket`, and with `auth=cognito` who may knock at it.

The page asks it directly, not through CloudFront: the limit for each address needs the visitor's
own address, and CloudFront would show its own. The ticket function answers the page's origin itself.
"""

from __future__ import annotations

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.acknowledged import acknowledge
from infra.functions import make_log_group
from infra.settings import Settings
from infra.socket import AccessLog

PATH = "/ticket"
RATE, BURST = 20, 40

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


class Door(Construct):
    """The API. Has no route until `open` is told who is behind it."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name)
        self._settings = settings
        # With a token the browser asks first (OPTIONS), which the API answers to every page:
        # which of them gets a ticket is decided by the function.
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
            cors_preflight=cors if settings.auth == "cognito" else None,
        )
        apigatewayv2.HttpStage(
            self,
            "Stage",
            http_api=self.api,
            stage_name="$default",
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(rate_limit=RATE, burst_limit=BURST),
            access_log_settings=AccessLog(make_log_group(self, "Logs", settings), _LOGGED),
        )
        self.members = Members(self, "Members", settings) if settings.auth == "cognito" else None

    def open(self, ticket: lambda_.IFunction, page: str) -> None:
        """Puts the ticket function behind the route. `page`: where who has signed in comes back to."""
        (route,) = self.api.add_routes(
            path=PATH,
            methods=[apigatewayv2.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Ticket", ticket),
            authorizer=self.members.admit(page) if self.members else None,
        )
        if self.members is None:
            acknowledge(
                route,
                "AwsSolutions-APIG4",
                "Every visitor of the page may have a ticket; its function limits them by origin, address and minute.",
            )

    @property
    def origin(self) -> str:
        """The API's address."""
        return f"https://{self.api.api_id}.execute-api.{Stack.of(self).region}.{Aws.URL_SUFFIX}"

    @property
    def url(self) -> str:
        """Where tickets are asked for."""
        return self.origin + PATH


class Members(Construct):
    """A Cognito user pool with its pages to sign in at: who has done so gets tickets."""

    def __init__(self, scope: Construct, name: str, settings: Settings) -> None:
        super().__init__(scope, name)
        self.pool = cognito.UserPool(
            self,
            "Pool",
            sign_in_aliases=cognito.SignInAliases(email=True),
            self_sign_up_enabled=False,
            account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
            mfa=cognito.Mfa.OPTIONAL,
            mfa_second_factor=cognito.MfaSecondFactor(otp=True, sms=False),
            password_policy=cognito.PasswordPolicy(
                min_length=12, require_digits=True, require_lowercase=True, require_symbols=True, require_uppercase=True
            ),
            removal_policy=RemovalPolicy.DESTROY,
        )
        # The name must be nobody else's in the region, hence the account's number.
        prefix = f"{settings.stack.lower()}-{Aws.ACCOUNT_ID}"
        self.pool.add_domain("Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=prefix))
        #: Where the page sends who has not signed in, and asks for tokens.
        self.origin = f"https://{prefix}.auth.{Stack.of(self).region}.amazoncognito.com"
        self._client: cognito.UserPoolClient | None = None
        acknowledge(
            self.pool,
            "AwsSolutions-COG2",
            "A second factor is offered and not forced: what a member can do here is hear a story.",
        )
        acknowledge(
            self.pool,
            "AwsSolutions-COG8",
            "The Plus plan is paid for each member and month; this house costs nothing while nobody comes.",
        )
        acknowledge(self.pool, "AwsSolutions-COG3", "Threat protection is part of the Plus plan: see COG8.")

    def admit(self, page: str) -> authorizers.HttpJwtAuthorizer:
        """Lets the page at this address sign people in; what it gets for it opens the door."""
        client = self.pool.add_client(
            "Page",
            # Code and PKCE: the page can keep no secret, and never sees a password.
            generate_secret=False,
            o_auth=cognito.OAuthSettings(
                flows=cognito.OAuthFlows(authorization_code_grant=True),
                scopes=[cognito.OAuthScope.OPENID],
                callback_urls=[f"{page}/"],
                logout_urls=[f"{page}/"],
            ),
            supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
            prevent_user_existence_errors=True,
            enable_token_revocation=True,
            access_token_validity=Duration.hours(1),
            refresh_token_validity=Duration.days(30),
        )
        self._client = client
        return authorizers.HttpJwtAuthorizer(
            "Members", self.pool.user_pool_provider_url, jwt_audience=[client.user_pool_client_id]
        )

    @property
    def config(self) -> dict[str, str]:
        """What `config.json` says of it. Known once the page has been admitted."""
        assert self._client is not None
        return {"at": self.origin, "client": self._client.user_pool_client_id}
