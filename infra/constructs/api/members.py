"""With `auth=cognito`: a user pool and its sign-in pages. Only its members get tickets."""

from __future__ import annotations

from aws_cdk import Aws, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_cognito as cognito
from constructs import Construct

from infra.constructs.nag_suppressions import suppress
from infra.settings import Settings


class Members(Construct):
    """`origin` is where the page sends a visitor to sign in, and where it asks for tokens."""

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
        # The domain must be unique in the region, so the account's number is in it.
        prefix = f"{settings.stack.lower()}-{Aws.ACCOUNT_ID}"
        self.pool.add_domain("Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=prefix))
        self.origin = f"https://{prefix}.auth.{Stack.of(self).region}.amazoncognito.com"
        self._client: cognito.UserPoolClient | None = None
        suppress(
            self.pool,
            "AwsSolutions-COG2",
            "A second factor is offered and not forced: all that a member can do here is hear a story.",
        )
        suppress(
            self.pool,
            "AwsSolutions-COG8",
            "The Plus plan is paid for each member and month; an idle stack should cost almost nothing.",
        )
        suppress(self.pool, "AwsSolutions-COG3", "Threat protection is part of the Plus plan: see COG8.")

    def make_authorizer(self, page: str) -> authorizers.HttpJwtAuthorizer:
        """Lets the page at this address sign members in; the ticket API accepts the tokens it gets."""
        client = self.pool.add_client(
            "Page",
            # Authorization code with PKCE: the page can keep no secret, and never sees a password.
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
        """The part of `config.json` about signing in. Needs `make_authorizer` first."""
        assert self._client is not None
        return {"at": self.origin, "client": self._client.user_pool_client_id}
