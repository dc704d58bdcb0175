"""Front, the ticket function and the authorizer: one package of code, three functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.api.websocket import WebSocket
from infra.constructs.database import Database
from infra.constructs.nag_suppressions import suppress_runtime, suppress_snap_start_warning
from infra.constructs.roles import NAMESPACE, RECURSIVE_LOOP, allow, make_role_and_logs, service_name
from infra.functions import FRONT, INDEX_PATH, SWEEP_EVENT, SWEEP_S, WORLD_PATH, FunctionSpec
from infra.settings import Settings


class PackagedFunction(Construct):
    """A function of Front's package, with a role and logs of its own.

    `table_actions` is all that it may do to the table.
    """

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        spec: FunctionSpec,
        *,
        description: str,
        package: Path,
        environment: Mapping[str, str],
        database: Database,
        table_actions: Sequence[str] = (),
        snap_start: bool = False,
        recursive_loop: lambda_.RecursiveLoop | None = None,
    ) -> None:
        super().__init__(scope, name)
        own = make_role_and_logs(self, settings)
        self.role = own.role
        self.function = lambda_.Function(
            self,
            "Function",
            description=f"Overture: {description}",
            code=lambda_.Code.from_asset(str(package)),
            handler=spec.handler,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=spec.memory_mb,
            timeout=Duration.seconds(spec.timeout_s),
            role=own.role,
            log_group=own.log_group,
            tracing=lambda_.Tracing.ACTIVE,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            recursive_loop=recursive_loop,
            environment={
                "POWERTOOLS_SERVICE_NAME": service_name(settings, spec.name),
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                "OVERTURE_TABLE": database.table.table_name,
                **environment,
            },
        )
        if table_actions:
            database.table.grant(own.role, *table_actions)
        suppress_runtime(self.function)
        if snap_start:
            suppress_snap_start_warning(self.function)


class Front(Construct):
    """Front with its alias: only a published version starts from a snapshot."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        package: Path,
        database: Database,
        websocket: WebSocket,
        storyteller: lambda_.IFunction,
        origins: str,
    ) -> None:
        super().__init__(scope, name)
        front = PackagedFunction(
            self,
            "Front",
            settings,
            FRONT,
            description="answers visitors' frames, plays the prologue, invokes the storyteller",
            package=package,
            database=database,
            snap_start=True,
            recursive_loop=RECURSIVE_LOOP,
            environment={
                "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": websocket.callback_url,
                "OVERTURE_STORYTELLER": storyteller.function_arn,
                "OVERTURE_WORLD": WORLD_PATH,
                "OVERTURE_INDEX": INDEX_PATH,
                "OVERTURE_ORIGINS": origins,
                "OVERTURE_CONCURRENCY": str(settings.concurrency),
                "OVERTURE_WAITING_LIMIT": str(settings.waiting_limit),
                "OVERTURE_WAKES_PER_DAY": str(settings.wakes_per_day),
                "OVERTURE_STORYTELLER_MB": str(settings.memory_mb),
                "OVERTURE_ANSWER_BUDGET": str(settings.answer_budget),
                "OVERTURE_KNOWLEDGE_TOKENS": str(settings.knowledge_tokens),
            },
        )
        database.grant_sessions(front.role)
        websocket.grant_connections(front.role, "POST", "DELETE")
        allow(front.role, ["lambda:InvokeFunction"], storyteller.function_arn)
        self.function = front.function
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=front.function.current_version)
        events.Rule(
            self,
            "Sweep",
            description="Overture: once a minute Front mends what a failure left",
            schedule=events.Schedule.rate(Duration.seconds(SWEEP_S)),
            # A sweep that fails is the next one's.
            targets=[
                targets.LambdaFunction(
                    self.alias, event=events.RuleTargetInput.from_object(SWEEP_EVENT), retry_attempts=0
                )
            ],
        )
