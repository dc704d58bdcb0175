"""Draws the stack as a Mermaid diagram, from the template itself: what is not in the template is not drawn.

A node is a construct that holds something worth naming; an arrow says that something of the one
refers to something of the other, in a way that this module knows how to call.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.node import require_node

#: What is drawn: Mermaid's id, and the words, by the type of a resource and how its logical id begins.
NODES = (
    ("page", "Page<br>CloudFront and S3", "AWS::CloudFront::Distribution", "Site"),
    ("door", "Door<br>HTTP API", "AWS::ApiGatewayV2::Api", "Door"),
    ("socket", "Socket<br>WebSocket API", "AWS::ApiGatewayV2::Api", "Socket"),
    ("ticket", "Ticket<br>Lambda", "AWS::Lambda::Function", "Ticket"),
    ("authorizer", "Authorizer<br>Lambda", "AWS::Lambda::Function", "Authorizer"),
    ("front", "Front<br>Lambda, SnapStart", "AWS::Lambda::Function", "Front"),
    ("storyteller", "Storyteller<br>Lambda, container", "AWS::Lambda::Function", "Storyteller"),
    ("table", "Memory<br>DynamoDB", "AWS::DynamoDB::Table", "Memory"),
    ("images", "Images<br>ECR", "AWS::ECR::Repository", "Images"),
    ("guard", "Guard<br>kill switch", "AWS::Lambda::Function", "GuardSwitch"),
    ("watch", "Watch<br>dashboard, alarms", "AWS::CloudWatch::Dashboard", "Watch"),
)


def synthesize_bare(folder: Path) -> dict[str, Any]:
    """The template with every default, of a package with nothing in it."""
    require_node()
    from aws_cdk import App
    from aws_cdk.assertions import Template

    from infra.settings import Settings
    from infra.stack import OvertureStack

    package = folder / "package"
    package.mkdir()
    (package / "front.py").write_text("")
    app = App(outdir=str(folder / "cdk.out"))
    return dict(Template.from_stack(OvertureStack(app, Settings.read({}), package)).to_json())


def draw(template: dict[str, Any]) -> str:
    """The diagram as a fenced block of Mermaid."""
    resources = template["Resources"]
    lines = ["```mermaid", "flowchart LR", '    visitor(["Visitor<br>browser or terminal"])']
    drawn = {}
    for id_, words, kind, prefix in NODES:
        found = [name for name, one in resources.items() if one["Type"] == kind and name.startswith(prefix)]
        if found:
            drawn[id_] = found[0]
            lines.append(f'    {id_}["{words}"]')
    lines += ["    visitor -->|page, config.json| page"] if "page" in drawn else []
    lines += [f"    {a} -->|{words}| {b}" for a, words, b in _arrows(resources) if {a, b} <= {*drawn, "visitor"}]
    return "\n".join([*lines, "```"]) + "\n"


def _arrows(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [*_routes(resources), *_grants(resources), *_returns(resources), *_watching(resources)]


def _routes(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    """From the visitor to the APIs, and from each to the function behind its routes."""
    behind: dict[tuple[str, str], list[str]] = {}
    for route in _of(resources, "AWS::ApiGatewayV2::Route"):
        api = _owner(route["ApiId"]["Ref"])
        integration = resources[_refs(route["Target"])[-1]]["Properties"]
        function = next(owner for owner in map(_owner, _refs(integration["IntegrationUri"])) if owner)
        behind.setdefault((api, function), []).append(route["RouteKey"])
    arrows = []
    for api in dict.fromkeys(api for api, _ in sorted(behind, key=lambda pair: pair[0] != "door")):
        arrows.append(("visitor", "wss, with a ticket" if api == "socket" else "POST /ticket", api))
    for (api, function), keys in sorted(behind.items()):
        arrows.append((api, ", ".join(sorted(keys)), function))
    for authorizer in _of(resources, "AWS::ApiGatewayV2::Authorizer"):
        for owner in map(_owner, _refs(authorizer.get("AuthorizerUri", ""))):
            if owner == "authorizer":
                arrows.append(("socket", "may they?", owner))
                break
    return arrows


def _grants(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What roles may do to other things that are drawn."""
    words = {
        "dynamodb": ("sessions", "table"),
        "execute-api": ("posts", "socket"),
    }
    arrows: dict[tuple[str, str], str] = {}
    for policy in _of(resources, "AWS::IAM::Policy"):
        who = _owner(policy["Roles"][0]["Ref"])
        for statement in policy["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            service = actions[0].partition(":")[0]
            if who == "guard" and service == "lambda":
                arrows[who, "storyteller"] = "concurrency 0"
            elif who == "front" and service == "lambda":
                arrows[who, "storyteller"] = "Event, with a lease"
            elif service in words:
                said, target = words[service]
                arrows[who, target] = "tickets" if who in {"ticket", "authorizer"} else said
    return [(who, said, target) for (who, target), said in sorted(arrows.items())]


def _returns(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    if any(True for _ in _of(resources, "AWS::Lambda::EventInvokeConfig")):
        return [("storyteller", "what came of it", "front")]
    return []


def _watching(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    arrows = [("images", "image", "storyteller")]
    called = [_refs(action) for alarm in _of(resources, "AWS::CloudWatch::Alarm") for action in alarm["AlarmActions"]]
    if any(_owner(name) == "guard" for names in called for name in names):
        arrows.append(("watch", "GB-seconds", "guard"))
    return arrows


def _of(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one["Properties"] for one in resources.values() if one["Type"] == kind]


def _owner(logical_id: str) -> str:
    """The node that a resource belongs to, by how its logical id begins."""
    for id_, _, _, prefix in NODES:
        if logical_id.startswith(prefix.removesuffix("Switch")):
            return id_
    return ""


def _refs(value: Any) -> list[str]:
    """Every logical id that a value refers to."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return [value["Ref"]]
        if set(value) == {"Fn::GetAtt"}:
            return [value["Fn::GetAtt"][0]]
        return [name for part in value.values() for name in _refs(part)]
    if isinstance(value, list):
        return [name for part in value for name in _refs(part)]
    return []
