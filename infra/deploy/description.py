"""What a deployment creates and costs, in the words of docs/architecture.md."""

from __future__ import annotations

import json
from pathlib import Path

from infra.deploy.checks import size_of
from infra.deploy.prices import summary
from infra.deploy.starts import suggestion
from infra.settings import Settings

#: The parts, by how the logical ids of their resources begin.
PARTS = (
    ("Storyteller", ("Storyteller", "Destinations", "Images", "CloudBuild")),
    ("Front", ("Front",)),
    ("Connecting", ("WebSocket", "TicketApi", "Ticket", "Authorizer")),
    ("Page", ("Site", "Custom")),
    ("Table", ("Database",)),
    ("Alarms and limits", ("Monitoring", "CostGuard")),
)


def group(template: dict[str, object]) -> dict[str, dict[str, int]]:
    """How many resources of each type each part has."""
    resources = template["Resources"]
    assert isinstance(resources, dict)
    parts: dict[str, dict[str, int]] = {name: {} for name, _ in PARTS}
    for id_, resource in sorted(resources.items()):
        part = next((name for name, prefixes in PARTS if id_.startswith(prefixes)), "Page")
        kind = str(resource["Type"]).split("::", 1)[1].replace("::", " ")
        parts[part][kind] = parts[part].get(kind, 0) + 1
    return {name: kinds for name, kinds in parts.items() if kinds}


def list_parts(assembly: Path, settings: Settings) -> str:
    """The stack's resources, grouped, a line a part."""
    template = json.loads((assembly / f"{settings.stack}.template.json").read_text())
    count = len(template["Resources"])
    lines = [f"{settings.stack} in {settings.region}: {count} resource{'' if count == 1 else 's'}."]
    for part, kinds in group(template).items():
        listed = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
        lines.append(f"  {part + ':':18} {listed}")
    return "\n".join(lines)


def describe_weights(settings: Settings) -> list[str]:
    """Where the weights lie, if not in the image."""
    if settings.weights == "image":
        return []
    where = f"the bucket of the stack {settings.weights_stack}" if settings.weights_stack else settings.bundle
    return [f"The image has no model: the storyteller reads it from {where} at each start."]


def describe(assembly: Path, settings: Settings) -> str:
    """The parts, their cost, and the start that fits the model."""
    folder = settings.bundle_folder
    size = size_of(folder) if folder is not None and folder.is_dir() else 0
    lines = [list_parts(assembly, settings), *describe_weights(settings)]
    on_s3 = settings.weights == "s3"
    lines.append(summary(size, settings.memory_mb, snapstart=settings.start == "snapstart", on_s3=on_s3))
    if size:
        lines.append(suggestion(size, settings.memory_mb, settings.visits_per_day))
    lines.append(f"The kill switch turns the storyteller off at {settings.ceiling} GB-seconds in 24 hours.")
    return "\n".join(lines)
