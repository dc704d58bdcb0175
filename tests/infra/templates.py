"""Synthesizes the stack for a test, and finds things in what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.node import require_node


@dataclass(frozen=True)
class Synthesized:
    """A template and where its assembly lies."""

    template: dict[str, Any]
    folder: Path

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        return self.template["Resources"]  # type: ignore[no-any-return]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """The resources of a type, by logical id."""
        return {name: one for name, one in self.resources.items() if one["Type"] == kind}

    def one(self, kind: str, prefix: str = "") -> dict[str, Any]:
        """The properties of the one resource of a type whose logical id begins so."""
        found = [one for name, one in self.of(kind).items() if name.startswith(prefix)]
        assert len(found) == 1, f"{len(found)} of {kind} {prefix}: {sorted(self.of(kind))}"
        return found[0].get("Properties", {})  # type: ignore[no-any-return]

    def name(self, kind: str, prefix: str = "") -> str:
        """The logical id of that one."""
        (found,) = [name for name in self.of(kind) if name.startswith(prefix)]
        return found

    def statements(self, prefix: str) -> list[dict[str, Any]]:
        """What the role whose logical id begins so may do, by every policy that names it."""
        role = {"Ref": self.name("AWS::IAM::Role", prefix)}
        return [
            statement
            for policy in self.of("AWS::IAM::Policy").values()
            if role in policy["Properties"]["Roles"]
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]

    def allowed(self, prefix: str) -> dict[str, list[Any]]:
        """Actions a role may do, each with its resources."""
        found: dict[str, list[Any]] = {}
        for statement in self.statements(prefix):
            assert statement["Effect"] == "Allow"
            for action in _listed(statement["Action"]):
                found.setdefault(action, []).extend(_listed(statement["Resource"]))
        return found


def _listed(one: Any) -> list[Any]:
    return one if isinstance(one, list) else [one]


def fake_package(folder: Path) -> Path:
    """A stand-in for Front's package: what is in it is not the template's business."""
    package = folder / "package"
    package.mkdir(exist_ok=True)
    (package / "front.py").write_text("")
    return package


def synthesize(given: dict[str, str], folder: Path) -> Synthesized:
    """Synthesizes in a folder of its own."""
    require_node()
    from aws_cdk import App
    from aws_cdk.assertions import Template

    from infra.app import add_stacks, feature_flags
    from infra.settings import Settings

    app = App(outdir=str(folder / "cdk.out"), context=feature_flags())
    stack = add_stacks(app, Settings.read(given), fake_package(folder))
    return Synthesized(dict(Template.from_stack(stack).to_json()), folder / "cdk.out")


def flat(value: Any) -> str:
    """A property with its references as `<LogicalId>`, `<LogicalId.Attribute>`: to compare and to search in."""
    if isinstance(value, dict):
        if "Ref" in value:
            return f"<{value['Ref']}>"
        if "Fn::GetAtt" in value:
            return f"<{'.'.join(value['Fn::GetAtt'])}>"
        if "Fn::Join" in value:
            separator, parts = value["Fn::Join"]
            return str(separator).join(flat(part) for part in parts)
        if "Fn::Sub" in value:
            return str(value["Fn::Sub"])
    return str(value)
