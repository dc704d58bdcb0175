"""The whole stack. `docs/architecture.md` has its diagram."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnOutput, Environment, Stack, Tags
from constructs import Construct

from infra.constructs.api.front import Front, PackagedFunction
from infra.constructs.api.site import Site
from infra.constructs.api.ticket_api import TicketApi
from infra.constructs.api.websocket import WebSocket
from infra.constructs.database import Database
from infra.constructs.model.cloud_build import CloudBuild
from infra.constructs.model.images import ImageRepository, image_code
from infra.constructs.model.storyteller import Destinations, Storyteller
from infra.constructs.nag_suppressions import suppress_cdk_own
from infra.constructs.operations.cost_guard import CostGuard
from infra.constructs.operations.monitoring import Monitoring
from infra.functions import AUTHORIZER, TICKET
from infra.settings import TAG, Settings


class OvertureStack(Stack):
    """`package` is the folder that `infra.deploy.package` assembled; unused with `image=none`."""

    def __init__(self, scope: Construct, settings: Settings, package: Path) -> None:
        super().__init__(
            scope,
            settings.stack,
            env=Environment(region=settings.region),
            description="Overture: a Llama that scales to zero behind a scripted prologue",
        )
        Tags.of(self).add(TAG, settings.tag)
        images = ImageRepository(self, "Images")
        self._output("Repository", images.repository.repository_uri, "The repository of the storyteller's image")
        if settings.image == "none":
            return

        # The page's headers and the functions' environments need the APIs' addresses, so these come first.
        websocket = WebSocket(self, "WebSocket", settings)
        ticket_api = TicketApi(self, "TicketApi", settings)
        site = Site(self, "Site", settings, websocket=websocket, ticket_api=ticket_api)
        origins = ",".join([site.url, *filter(None, [settings.origins])])

        database = Database(self, "Database")
        built = (
            CloudBuild(self, "CloudBuild", settings, repository=images.repository)
            if settings.build == "cloud"
            else None
        )
        storyteller = Storyteller(
            self,
            "Storyteller",
            settings,
            code=image_code(settings, images.repository),
            built=built,
            database=database,
            websocket=websocket,
        )
        front = Front(
            self,
            "Front",
            settings,
            package=package,
            database=database,
            websocket=websocket,
            storyteller=storyteller.alias,
            origins=origins,
        )
        ticket = PackagedFunction(
            self,
            "Ticket",
            settings,
            TICKET,
            description="gives a ticket that opens one connection within a minute",
            package=package,
            environment={"OVERTURE_ORIGINS": origins},
            database=database,
            table_actions=["dynamodb:PutItem", "dynamodb:UpdateItem"],
        )
        authorizer = PackagedFunction(
            self,
            "Authorizer",
            settings,
            AUTHORIZER,
            description="lets a connection in for a ticket, once",
            package=package,
            environment={"OVERTURE_ORIGINS": origins},
            database=database,
            # A ticket is redeemed by marking it as taken.
            table_actions=["dynamodb:UpdateItem"],
        )

        Destinations(self, "Destinations", storyteller, front.alias)
        websocket.add_routes(front.alias, authorizer.function)
        ticket_api.add_route(ticket.function, site.url)
        site.publish(websocket=websocket, ticket_api=ticket_api)

        cost_guard = CostGuard(
            self, "CostGuard", settings, storyteller=storyteller.function, storyteller_logs=storyteller.log_group
        )
        Monitoring(
            self,
            "Monitoring",
            settings,
            front=front.function,
            ticket=ticket.function,
            authorizer=authorizer.function,
            storyteller=storyteller.function,
            table=database.table,
            cost_guard=cost_guard,
        )
        suppress_cdk_own(self, site.bucket)

        self._output("Page", site.url, "The play")
        self._output("Chat", f"make chat URL={site.url}", "The play in a terminal")
        if ticket_api.members is not None:
            self._output(
                "Members", ticket_api.members.pool.user_pool_id, "The pool of members: docs/operations.md, Members"
            )
        self._output(
            "Distribution", site.distribution.distribution_domain_name, "The target of a custom domain's DNS record"
        )
        self._output(
            "StorytellerFunction", storyteller.function.function_name, "The function that the kill switch turns off"
        )

    def _output(self, name: str, value: str, description: str) -> None:
        CfnOutput(self, f"{name}Output", value=value, description=description).override_logical_id(name)
