"""The page: a private bucket behind CloudFront, with headers that let it talk to this stack only."""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_s3_deployment as deployment
from constructs import Construct

from infra.constructs.api.ticket_api import TicketApi
from infra.constructs.api.websocket import WebSocket
from infra.constructs.nag_suppressions import suppress
from infra.constructs.private_bucket import make_private_bucket
from infra.constructs.roles import make_log_group
from infra.settings import ROOT, SettingError, Settings

PROTOCOL = 1
PAGES = ROOT / "client" / "web"


class Site(Construct):
    def __init__(
        self, scope: Construct, name: str, settings: Settings, *, websocket: WebSocket, ticket_api: TicketApi
    ) -> None:
        super().__init__(scope, name)
        self._settings = settings
        if not (PAGES / "index.html").is_file():
            raise SettingError(f"{PAGES} has no index.html: get the whole repository.")
        self.bucket = bucket = make_private_bucket(
            self, "Pages", settings, unlogged="Its files are public through CloudFront, and nothing else reads it."
        )
        certificate = (
            acm.Certificate.from_certificate_arn(self, "Certificate", settings.certificate) if settings.domain else None
        )
        # CloudFront is global: without the region in their names, the same stack in a second region could not be made.
        self._name = f"{settings.stack}-{settings.region}"
        access = cloudfront.S3OriginAccessControl(self, "Access", origin_access_control_name=self._name)
        self.distribution = cloudfront.Distribution(
            self,
            "Distribution",
            comment=f"{settings.stack}: the page",
            default_root_object="index.html",
            domain_names=[settings.domain] if settings.domain else None,
            certificate=certificate,
            # CloudFront's own certificate has its own protocols.
            minimum_protocol_version=(cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021 if settings.domain else None),
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            price_class=cloudfront.PriceClass.PRICE_CLASS_100,
            default_behavior=cloudfront.BehaviorOptions(
                origin=origins.S3BucketOrigin.with_origin_access_control(bucket, origin_access_control=access),
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                cache_policy=cloudfront.CachePolicy.CACHING_OPTIMIZED,
                response_headers_policy=self._headers(websocket, ticket_api),
                compress=True,
            ),
        )
        suppress(self.distribution, "AwsSolutions-CFR1", "The story is for everyone, wherever they are.")
        suppress(
            self.distribution,
            "AwsSolutions-CFR2",
            "A web ACL costs five dollars a month when idle; behind CloudFront are static files only.",
        )
        suppress(
            self.distribution,
            "AwsSolutions-CFR3",
            "Fetching the page is not logged; connections are, in the access logs of the two APIs.",
        )
        if not settings.domain:
            suppress(
                self.distribution,
                "AwsSolutions-CFR4",
                "CloudFront's own domain comes with its own certificate and protocol policy; -c domain=… raises it.",
            )
        self.url = f"https://{settings.domain or self.distribution.distribution_domain_name}"

    def publish(self, *, websocket: WebSocket, ticket_api: TicketApi) -> None:
        """Uploads the page, and `config.json` with the addresses it needs."""
        config: dict[str, Any] = {"socket": websocket.url, "ticket": ticket_api.url, "protocol": PROTOCOL}
        if ticket_api.members is not None:
            config["members"] = ticket_api.members.config
        deployment.BucketDeployment(
            self,
            "Upload",
            sources=[
                deployment.Source.asset(str(PAGES)),
                deployment.Source.json_data("config.json", config),
            ],
            destination_bucket=self.bucket,
            distribution=self.distribution,
            # A browser asks each time whether it has the newest; CloudFront keeps all until the next deployment.
            cache_control=[deployment.CacheControl.from_string("no-cache")],
            memory_limit=512,
            log_group=make_log_group(self, "UploadLogs", self._settings),
        )

    def _headers(self, websocket: WebSocket, ticket_api: TicketApi) -> cloudfront.ResponseHeadersPolicy:
        connect = f"'self' {websocket.origin} {ticket_api.origin}"
        if ticket_api.members is not None:
            connect += f" {ticket_api.members.origin}"
        policy = "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "img-src 'self' data: blob:",
                "media-src 'self' blob:",
                "font-src 'self'",
                "manifest-src 'self'",
                "worker-src 'self'",
                f"connect-src {connect}",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )
        return cloudfront.ResponseHeadersPolicy(
            self,
            "Headers",
            response_headers_policy_name=self._name,
            comment="Overture: the page talks to its own stack only",
            security_headers_behavior=cloudfront.ResponseSecurityHeadersBehavior(
                content_security_policy=cloudfront.ResponseHeadersContentSecurityPolicy(
                    content_security_policy=policy, override=True
                ),
                strict_transport_security=cloudfront.ResponseHeadersStrictTransportSecurity(
                    access_control_max_age=Duration.days(730), include_subdomains=True, override=True
                ),
                content_type_options=cloudfront.ResponseHeadersContentTypeOptions(override=True),
                frame_options=cloudfront.ResponseHeadersFrameOptions(
                    frame_option=cloudfront.HeadersFrameOption.DENY, override=True
                ),
                referrer_policy=cloudfront.ResponseHeadersReferrerPolicy(
                    referrer_policy=cloudfront.HeadersReferrerPolicy.NO_REFERRER, override=True
                ),
            ),
            custom_headers_behavior=cloudfront.ResponseCustomHeadersBehavior(
                custom_headers=[
                    cloudfront.ResponseCustomHeader(
                        header="permissions-policy", value="camera=(), geolocation=(), microphone=()", override=True
                    )
                ]
            ),
        )
