"""The storyteller: a container with the model in it (or that reads it from S3), invoked asynchronously by Front."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.api.websocket import WebSocket
from infra.constructs.database import Database
from infra.constructs.model.cloud_build import CloudBuild
from infra.constructs.model.weights import find_weights
from infra.constructs.nag_suppressions import suppress_snap_start_warning
from infra.constructs.roles import NAMESPACE, RECURSIVE_LOOP, make_role_and_logs, service_name
from infra.functions import STORYTELLER, STORYTELLER_EVENT_AGE_S, STORYTELLER_RETRIES
from infra.settings import Settings


class Storyteller(Construct):
    """The function, its published version, and the alias by which alone it is invoked."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        code: lambda_.DockerImageCode,
        built: CloudBuild | None,
        database: Database,
        websocket: WebSocket,
    ) -> None:
        super().__init__(scope, name)
        own = make_role_and_logs(self, settings)
        weights = find_weights(settings)
        self.role = own.role
        self.log_group = own.log_group
        self.function = lambda_.DockerImageFunction(
            self,
            "Function",
            description="Overture: the storyteller, a Llama that scales to zero",
            code=code,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=settings.memory_mb,
            timeout=Duration.seconds(STORYTELLER.timeout_s),
            reserved_concurrent_executions=settings.concurrency or None,
            role=own.role,
            log_group=own.log_group,
            tracing=lambda_.Tracing.ACTIVE,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if settings.start == "snapstart" else None,
            recursive_loop=RECURSIVE_LOOP,
            # The engine logs its kernel at INFO, by Python's own logging: this is what lets it through.
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            # Lambda's own report on each invocation: the kill switch counts what it says is billed.
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            environment={
                "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": websocket.callback_url,
                "POWERTOOLS_SERVICE_NAME": service_name(settings, STORYTELLER.name),
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                "OVERTURE_TABLE": database.table.table_name,
                "OVERTURE_CONCURRENCY": str(settings.concurrency),
                "OVERTURE_LINGER_S": str(settings.linger),
                "OVERTURE_KNOWLEDGE_TOKENS": str(settings.knowledge_tokens),
                **({"OVERTURE_MODEL": weights.address} if weights else {}),
            },
        )
        if built is not None:
            # The CDK sees a digest only in a literal, and a version's id does not depend on tokens: the address is
            # written here, and what the image is built from makes the new version.
            resource = self.function.node.default_child
            assert isinstance(resource, lambda_.CfnFunction)
            resource.add_property_override("Code.ImageUri", built.image_uri)
            self.function.invalidate_version_based_on(built.inputs)
        suppress_snap_start_warning(self.function)
        if weights:
            weights.grant_read(own.role)
        database.grant_sessions(own.role)
        websocket.grant_connections(own.role, "POST")
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=self.function.current_version)


class Destinations(Construct):
    """Sends the record of each invocation to Front and retries none.

    A construct of its own: the storyteller's function must not wait for Front, which waits for the function.
    """

    def __init__(self, scope: Construct, name: str, storyteller: Storyteller, front: lambda_.IFunction) -> None:
        super().__init__(scope, name)
        # A policy of its own: as part of the role's, the function would wait for it, and for Front.
        policy = iam.Policy(
            self,
            "Policy",
            roles=[storyteller.role],
            statements=[iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[front.function_arn])],
        )
        destination = lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
            on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=front.function_arn),
            on_success=lambda_.CfnEventInvokeConfig.OnSuccessProperty(destination=front.function_arn),
        )
        # A configuration holds for one qualifier only: without the alias's own, its events would be tried three times.
        for id_, qualifier in (("Alias", storyteller.alias.alias_name), ("Latest", "$LATEST")):
            config = lambda_.CfnEventInvokeConfig(
                self,
                id_,
                function_name=storyteller.function.function_name,
                qualifier=qualifier,
                maximum_retry_attempts=STORYTELLER_RETRIES,
                maximum_event_age_in_seconds=STORYTELLER_EVENT_AGE_S,
                destination_config=destination,
            )
            config.node.add_dependency(policy, storyteller.alias)
