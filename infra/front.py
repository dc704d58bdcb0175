"""Front and the door: one package of code, three functions.

*Front* answers every frame and sends for the storyteller; the *ticket* function and the *authorizer*
are the door. Only Front starts from a snapshot: the others import little.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.acknowledged import acknowledge, acknowledge_runtime
from infra.functions import NAMESPACE, allow, make_footing
from infra.package import BOOK_PATH, WORLD_PATH
from infra.settings import Settings
from infra.socket import Socket

RUNTIME = lambda_.Runtime.PYTHON_3_13
# Its snapshot is paid by the gigabyte, day and night; bench/front.py measures what less of a processor costs.
FRONT_MB, DOOR_MB = 512, 512


class FrontFunction(Construct):
    """A function of Front's package, with its own role and logs."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        description: str,
        package: Path,
        handler: str,
        memory: int,
        timeout: Duration,
        environment: dict[str, str],
        snap_start: bool = False,
    ) -> None:
        super().__init__(scope, name)
        footing = make_footing(self, settings)
        self.role = footing.role
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            code=lambda_.Code.from_asset(str(package)),
            handler=handler,
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=memory,
            timeout=timeout,
            role=footing.role,
            log_group=footing.log_group,
            tracing=lambda_.Tracing.ACTIVE,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snap_start else None,
            environment={
                "POWERTOOLS_SERVICE_NAME": name.lower(),
                "POWERTOOLS_METRICS_NAMESPACE": NAMESPACE,
                **environment,
            },
        )
        acknowledge_runtime(self.function)


class Front(Construct):
    """Front itself, by its alias: a snapshot is of a published version only."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        settings: Settings,
        *,
        package: Path,
        table: dynamodb.Table,
        socket: Socket,
        storyteller: lambda_.IFunction,
        origins: str,
    ) -> None:
        super().__init__(scope, name)
        front = FrontFunction(
            self,
            "Front",
            settings,
            description="Overture: answers visitors' frames, plays the prologue, sends for the storyteller",
            package=package,
            handler="front.handler.lambda_handler",
            memory=FRONT_MB,
            # The integration's own limit for a WebSocket.
            timeout=Duration.seconds(29),
            snap_start=True,
            environment={
                "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": socket.callback_url,
                "OVERTURE_TABLE": table.table_name,
                "OVERTURE_STORYTELLER": storyteller.function_arn,
                "OVERTURE_WORLD": WORLD_PATH,
                "OVERTURE_BOOK": BOOK_PATH,
                "OVERTURE_ORIGINS": origins,
                "OVERTURE_CONCURRENCY": str(settings.concurrency),
                "OVERTURE_WAKES_PER_DAY": str(settings.wakes_per_day),
                "OVERTURE_GRID_KG_PER_KWH": str(settings.grid_kg_per_kwh),
                "OVERTURE_ANSWER_BUDGET": str(settings.answer_budget),
                "OVERTURE_KNOWLEDGE_TOKENS": str(settings.knowledge_tokens),
            },
        )
        table.grant(
            front.role,
            "dynamodb:GetItem",
            "dynamodb:Query",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:DeleteItem",
        )
        for method in ("POST", "DELETE"):
            allow(front.role, ["execute-api:ManageConnections"], socket.connections_arn(method))
            acknowledge(
                front.role,
                f"AwsSolutions-IAM5[Resource::{socket.connections_finding(method)}]",
                "A connection's id is part of the resource, and known only while it lasts.",
            )
        allow(front.role, ["lambda:InvokeFunction"], storyteller.function_arn)
        self.function = front.function
        self.alias = lambda_.Alias(self, "Live", alias_name="live", version=front.function.current_version)


class AtTheDoor(FrontFunction):
    """One of the two small functions that let visitors in: each may do to the table what its work asks, and no more."""

    about: ClassVar[str]
    handled_by: ClassVar[str]
    may: ClassVar[tuple[str, ...]]

    def __init__(
        self, scope: Construct, name: str, settings: Settings, *, package: Path, table: dynamodb.Table, origins: str
    ) -> None:
        super().__init__(
            scope,
            name,
            settings,
            description=f"Overture: {self.about}",
            package=package,
            handler=self.handled_by,
            memory=DOOR_MB,
            timeout=Duration.seconds(10),
            environment={"OVERTURE_TABLE": table.table_name, "OVERTURE_ORIGINS": origins},
        )
        table.grant(self.role, *self.may)


class Ticket(AtTheDoor):
    """Gives tickets: writes them, and counts them by address."""

    about = "gives a ticket that opens one connection within a minute"
    handled_by = "front.ticket.lambda_handler"
    may = ("dynamodb:PutItem", "dynamodb:UpdateItem")


class Authorizer(AtTheDoor):
    """Takes tickets: removing one is how it is redeemed."""

    about = "lets a connection in for a ticket, once"
    handled_by = "front.authorizer.lambda_handler"
    may = ("dynamodb:DeleteItem",)
