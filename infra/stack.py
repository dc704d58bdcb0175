"""The whole house as one stack. Reads like the diagram in `docs/architecture.md`, which is drawn from it."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import CfnOutput, Environment, Stack
from constructs import Construct

from infra.acknowledged import acknowledge_cdk_own
from infra.cloud_build import CloudBuild
from infra.door import Door
from infra.front import Authorizer, Front, Ticket
from infra.guard import Guard
from infra.image import Images, image_code
from infra.memory import Memory
from infra.settings import Settings
from infra.site import Site
from infra.socket import Socket
from infra.storyteller import Returns, Storyteller
from infra.watch import Watch


class OvertureStack(Stack):
    """Everything. `package` is the folder that `infra.package` assembled; unused with `image=none`."""

    def __init__(self, scope: Construct, settings: Settings, package: Path) -> None:
        super().__init__(
            scope,
            settings.stack,
            env=Environment(region=settings.region),
            description="Overture: a storyteller that scales to zero, and nobody waits for it",
        )
        images = Images(self, "Images")
        self._put("Repository", images.repository.repository_uri, "Where the storyteller's image is kept")
        if settings.image == "none":
            return

        # Addresses first: what the page may talk to, and where functions post to, hang on them.
        socket = Socket(self, "Socket", settings)
        door = Door(self, "Door", settings)
        site = Site(self, "Site", settings, socket=socket, door=door)
        origins = ",".join([site.url, *filter(None, [settings.origins])])

        # Then what works.
        memory = Memory(self, "Memory")
        built = (
            CloudBuild(self, "CloudBuild", settings, repository=images.repository)
            if settings.build == "cloud"
            else None
        )
        storyteller = Storyteller(
            self,
            "Storyteller",
            settings,
            code=image_code(settings, images.repository, built.digest if built else None),
            table=memory.table,
            socket=socket,
        )
        front = Front(
            self,
            "Front",
            settings,
            package=package,
            table=memory.table,
            socket=socket,
            storyteller=storyteller.alias,
            origins=origins,
        )
        ticket = Ticket(self, "Ticket", settings, package=package, table=memory.table, origins=origins)
        authorizer = Authorizer(self, "Authorizer", settings, package=package, table=memory.table, origins=origins)

        # Then the ways between them.
        Returns(self, "Returns", storyteller, front.alias)
        socket.open(front.alias, authorizer.function)
        door.open(ticket.function, site.url)
        site.publish(socket=socket, door=door)

        # And who looks after it.
        guard = Guard(self, "Guard", settings, storyteller=storyteller.function, storyteller_logs=storyteller.log_group)
        Watch(
            self,
            "Watch",
            settings,
            front=front.function,
            door=[ticket.function, authorizer.function],
            storyteller=storyteller.function,
            table=memory.table,
            guard=guard,
        )
        acknowledge_cdk_own(self, site.bucket)
        self._put("Page", site.url, "The play")
        self._put("Chat", f"make chat URL={site.url}", "The play in a terminal")
        if door.members is not None:
            self._put(
                "Members", door.members.pool.user_pool_id, "Whose members may come in: docs/operations.md, Members"
            )
        self._put("Distribution", site.distribution.distribution_domain_name, "What a domain's DNS should point at")
        self._put(
            "StorytellerFunction", storyteller.function.function_name, "Whose concurrency the kill switch sets to 0"
        )

    def _put(self, name: str, value: str, description: str) -> None:
        CfnOutput(self, f"{name}Output", value=value, description=description).override_logical_id(name)
