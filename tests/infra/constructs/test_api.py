"""The WebSocket API, the ticket's HTTP API, the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.infra.templates import Synthesized, flat

Synth = Callable[..., Synthesized]


def test_the_sockets_routes_all_go_to_front_and_only_connect_is_guarded(synth: Synth) -> None:
    made = synth()
    socket = {"Ref": made.name("AWS::ApiGatewayV2::Api", "WebSocket")}
    routes = {
        one["Properties"]["RouteKey"]: one["Properties"]
        for one in made.of("AWS::ApiGatewayV2::Route").values()
        if one["Properties"]["ApiId"] == socket
    }
    assert sorted(routes) == ["$connect", "$default", "$disconnect"]
    assert routes["$connect"]["AuthorizationType"] == "CUSTOM"
    assert routes["$default"]["AuthorizationType"] == routes["$disconnect"]["AuthorizationType"] == "NONE"
    assert made.one("AWS::ApiGatewayV2::Api", "WebSocket")["RouteSelectionExpression"] == "$request.body.action"
    authorizer = made.one("AWS::ApiGatewayV2::Authorizer")
    assert authorizer["AuthorizerType"] == "REQUEST"
    # Browsers send no headers of their own with a WebSocket; and an answer kept would let a ticket in twice.
    assert authorizer["IdentitySource"] == ["route.request.querystring.ticket"]
    assert authorizer.get("AuthorizerResultTtlInSeconds", 0) == 0


def test_the_sockets_stage_is_throttled_and_logs_without_the_ticket(synth: Synth) -> None:
    made = synth()
    stage = made.one("AWS::ApiGatewayV2::Stage", "WebSocket")
    assert stage["StageName"] == "play"
    assert stage["AutoDeploy"] is True
    throttle = stage["DefaultRouteSettings"]
    assert (throttle["ThrottlingRateLimit"], throttle["ThrottlingBurstLimit"]) == (100, 200)
    # Data traces and execution logs would have the query string, and the ticket in it.
    assert "LoggingLevel" not in throttle
    assert not throttle.get("DataTraceEnabled", False)
    written = json.loads(stage["AccessLogSettings"]["Format"])
    assert written["route"] == "$context.routeKey"
    assert not [value for value in written.values() if "querystring" in value.lower() or "path" in value.lower()]
    # Without the account's logging role a stage with logs cannot be made.
    (resource,) = [one for name, one in made.of("AWS::ApiGatewayV2::Stage").items() if name.startswith("WebSocket")]
    assert made.name("AWS::ApiGateway::Account") in resource["DependsOn"]


def test_the_limits_of_both_stages_are_settings(synth: Synth) -> None:
    made = synth(tickets_per_second=50, frames_per_second=300)
    limits = {
        name: made.one("AWS::ApiGatewayV2::Stage", name)["DefaultRouteSettings"] for name in ("WebSocket", "TicketApi")
    }
    assert limits["TicketApi"] == {"ThrottlingRateLimit": 50, "ThrottlingBurstLimit": 100}
    assert limits["WebSocket"] == {"ThrottlingRateLimit": 300, "ThrottlingBurstLimit": 600}


def test_the_same_stack_in_two_regions_shares_no_name(synth: Synth) -> None:
    """CloudFront is global: two of its policies with one name exclude each other."""

    def names(region: str) -> set[str]:
        made = synth(region=region, email="me@example.org")
        return {
            made.one("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]["Name"],
            made.one("AWS::CloudFront::OriginAccessControl")["OriginAccessControlConfig"]["Name"],
            made.one("AWS::CloudWatch::Dashboard")["DashboardName"],
            *(one["Properties"]["Budget"]["BudgetName"] for one in made.of("AWS::Budgets::Budget").values()),
        }

    assert not names("us-east-1") & names("eu-north-1")


def test_the_ticket_has_one_route_throttled_and_logged(synth: Synth) -> None:
    made = synth()
    door = {"Ref": made.name("AWS::ApiGatewayV2::Api", "TicketApi")}
    (route,) = [
        one["Properties"] for one in made.of("AWS::ApiGatewayV2::Route").values() if one["Properties"]["ApiId"] == door
    ]
    assert route["RouteKey"] == "POST /ticket"
    assert route["AuthorizationType"] == "NONE"
    stage = made.one("AWS::ApiGatewayV2::Stage", "TicketApi")
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 20
    assert "$context.identity.sourceIp" in stage["AccessLogSettings"]["Format"]
    # API Gateway's own answers, such as a 429, carry these headers; the function's are for its own.
    assert made.one("AWS::ApiGatewayV2::Api", "TicketApi")["CorsConfiguration"]["AllowOrigins"] == ["*"]
    (integration,) = [
        one["Properties"]
        for one in made.of("AWS::ApiGatewayV2::Integration").values()
        if one["Properties"]["ApiId"] == door
    ]
    assert integration["PayloadFormatVersion"] == "2.0"


def test_cognito_stands_before_the_ticket_when_told_to(synth: Synth) -> None:
    made = synth(auth="cognito")
    authorizer = made.one("AWS::ApiGatewayV2::Authorizer", "TicketApi")
    assert authorizer["AuthorizerType"] == "JWT"
    pool, client = made.name("AWS::Cognito::UserPool"), made.name("AWS::Cognito::UserPoolClient")
    assert flat(authorizer["JwtConfiguration"]["Issuer"]) == (
        f"https://cognito-idp.us-east-1.<AWS::URLSuffix>/<{pool}>"
    ) or f"<{pool}" in flat(authorizer["JwtConfiguration"]["Issuer"])
    assert authorizer["JwtConfiguration"]["Audience"] == [{"Ref": client}]
    (route,) = [
        one["Properties"]
        for one in made.of("AWS::ApiGatewayV2::Route").values()
        if one["Properties"]["RouteKey"] == "POST /ticket"
    ]
    assert route["AuthorizationType"] == "JWT"
    # The page's own way: a code and its verifier, back to the page and nowhere else.
    page = made.one("AWS::Cognito::UserPoolClient")
    home = [f"https://<{made.name('AWS::CloudFront::Distribution')}.DomainName>/"]
    assert [flat(url) for url in page["CallbackURLs"]] == [flat(url) for url in page["LogoutURLs"]] == home
    assert (page["AllowedOAuthFlows"], page["GenerateSecret"]) == (["code"], False)
    prefix = flat(made.one("AWS::Cognito::UserPoolDomain")["Domain"])
    assert prefix == "overture-<AWS::AccountId>"
    at = f"https://{prefix}.auth.us-east-1.amazoncognito.com"
    assert _config(made) | {"socket": "", "ticket": ""} == {
        "socket": "",
        "ticket": "",
        "protocol": 1,
        "members": {"at": at, "client": f"<{client}>"},
    }
    headers = made.one("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    allowed = flat(headers["SecurityHeadersConfig"]["ContentSecurityPolicy"]["ContentSecurityPolicy"])
    assert f" {at};" in allowed
    assert made.one("AWS::Cognito::UserPool")["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    # A token makes the browser ask first: that question has no token, and must be answered.
    cors = made.one("AWS::ApiGatewayV2::Api", "TicketApi")["CorsConfiguration"]
    assert cors["AllowHeaders"] == ["authorization"]


def test_the_page_is_private_on_s3_and_served_by_cloudfront_alone(synth: Synth) -> None:
    made = synth()
    bucket = made.one("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert "BucketEncryption" in bucket
    distribution = made.one("AWS::CloudFront::Distribution")["DistributionConfig"]
    (origin,) = distribution["Origins"]
    assert origin["OriginAccessControlId"] == {"Fn::GetAtt": [made.name("AWS::CloudFront::OriginAccessControl"), "Id"]}
    assert distribution["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "redirect-to-https"
    assert distribution["DefaultRootObject"] == "index.html"
    readers = [
        statement["Principal"]
        for statement in made.one("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and "s3:GetObject" in statement["Action"]
    ]
    assert {"Service": "cloudfront.amazonaws.com"} in readers


def test_the_pages_headers_let_it_talk_to_its_own_house_only(synth: Synth) -> None:
    made = synth()
    headers = made.one("AWS::CloudFront::ResponseHeadersPolicy")["ResponseHeadersPolicyConfig"]
    security = headers["SecurityHeadersConfig"]
    policy = dict(
        part.split(" ", 1) for part in flat(security["ContentSecurityPolicy"]["ContentSecurityPolicy"]).split("; ")
    )
    socket, door = (made.name("AWS::ApiGatewayV2::Api", name) for name in ("WebSocket", "TicketApi"))
    host = "execute-api.us-east-1.<AWS::URLSuffix>"
    assert policy["connect-src"] == f"'self' wss://<{socket}>.{host} https://<{door}>.{host}"
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in str(policy)
    assert security["StrictTransportSecurity"]["AccessControlMaxAgeSec"] >= 31_536_000
    behavior = made.one("AWS::CloudFront::Distribution")["DistributionConfig"]["DefaultCacheBehavior"]
    assert behavior["ResponseHeadersPolicyId"] == {"Ref": made.name("AWS::CloudFront::ResponseHeadersPolicy")}


def test_the_page_finds_the_socket_by_config_json(synth: Synth) -> None:
    made = synth()
    assert len(made.one("Custom::CDKBucketDeployment")["SourceObjectKeys"]) == 2  # the page, and config.json
    config = _config(made)
    assert config["socket"].startswith("wss://")
    assert config["socket"].endswith("/play")
    assert config["ticket"].endswith("/ticket")
    assert config["protocol"] == 1
    assert "members" not in config


def _config(made: Synthesized) -> dict[str, Any]:
    """`config.json` as it will be uploaded, with its markers replaced as the upload does."""
    (found,) = made.folder.glob("asset.*/config.json")
    written = found.read_text()
    for one in made.one("Custom::CDKBucketDeployment")["SourceMarkers"]:
        for marker, value in one.items():
            written = written.replace(marker, flat(value))
    return dict(json.loads(written))


def test_a_domain_of_ones_own_has_its_certificate(synth: Synth) -> None:
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b"
    made = synth(domain="play.example.org", certificate=certificate)
    distribution = made.one("AWS::CloudFront::Distribution")["DistributionConfig"]
    assert distribution["Aliases"] == ["play.example.org"]
    assert distribution["ViewerCertificate"]["AcmCertificateArn"] == certificate
    assert distribution["ViewerCertificate"]["MinimumProtocolVersion"] == "TLSv1.2_2021"
    origins = made.one("AWS::Lambda::Function", "Front")["Environment"]["Variables"]["OVERTURE_ORIGINS"]
    assert origins == "https://play.example.org"
    assert made.template["Outputs"]["Chat"]["Value"] == "make chat URL=https://play.example.org"
