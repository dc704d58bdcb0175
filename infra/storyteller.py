"""The storyteller: a container with the model in it, invoked asynchronously by Front, never by anyone else.

What comes of an invocation goes back to Front (`Returns`), as a construct of its own: the function
must not wait for Front, which waits for the function.
"""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.acknowledged import acknowledge
from infra.functions import NAMESPACE, allow, make_footing
from infra.settings import Settings
from infra.socket import Socket

#: How long an invocation may wait for its start. Front's reservation of the lease outlives it.
EVENT_AGE = Duration.seconds(60)


class Storyteller(Construct):
    """The function, its published version, and the alias by which alone it is invoked."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        code: lambda_.DockerImageCode,
        table: dynamodb.Table,
        socket: Socket,
    ) -> None:
        super().__init__(scope, name)
        footing = make_footing(self, settings)
        self.role = footing.role
        self.log_group = footing.log_group
        self.function = lambda_.DockerImageFunction(
            self,
            "Function",
            description="Overture: the storyteller, a Llama that sleeps until somebody comes",
            code=code,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=settings.memory,
            timeout=Duration.minutes(15),
            reserved_concurrent_executions=settings.concurrency or None,
            role=footing.role,
            log_group=footing.log_group,
            tracing=lambda_.Tracing.ACTIVE,
            # The engine logs its kernel at INFO, by Python's own logging: this is what lets it through.
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            # Lambda's own report on each invocation: the kill switch counts what it says is billed.
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            environment={
                "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": socket.callback_url,
                "POWERTOOLS_SERVICE_NAME": "storyteller",
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                "OVERTURE_TABLE": table.table_name,
                "OVERTURE_CONCURRENCY": str(settings.concurrency),
                "OVERTURE_LINGER_S": str(settings.linger),
                "OVERTURE_GRID_KG_PER_KWH": str(settings.grid_kg_per_kwh),
                "OVERTURE_KNOWLEDGE_TOKENS": str(settings.knowledge_tokens),
            },
        )
        if settings.start == "snapstart":
            resource = self.function.node.default_child
            assert isinstance(resource, lambda_.CfnFunction)
            resource.snap_start = lambda_.CfnFunction.SnapStartProperty(apply_on="PublishedVersions")
        table.grant(
            footing.role,
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
        )
        allow(footing.role, ["execute-api:ManageConnections"], socket.connections_arn("POST"))
        acknowledge(
            footing.role,
            f"AwsSolutions-IAM5[Resource::{socket.connections_finding('POST')}]",
            "A connection's id is part of the resource, and known only while it lasts.",
        )
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=self.function.current_version)


class Returns(Construct):
    """Sends what came of each invocation to Front, and tries none twice: Front decides that by the lease."""

    def __init__(self, scope: Construct, name: str, storyteller: Storyteller, front: lambda_.IFunction) -> None:
        super().__init__(scope, name)
        # In a policy of its own: as part of the role's, the function would wait for it, and for Front.
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
        # A configuration holds for one qualifier only: without the alias's own, its events would be tried thrice.
        for id_, qualifier in (("Alias", storyteller.alias.alias_name), ("Latest", "$LATEST")):
            config = lambda_.CfnEventInvokeConfig(
                self,
                id_,
                function_name=storyteller.function.function_name,
                qualifier=qualifier,
                maximum_retry_attempts=0,
                maximum_event_age_in_seconds=EVENT_AGE.to_seconds(),
                destination_config=destination,
            )
            config.node.add_dependency(policy, storyteller.alias)
