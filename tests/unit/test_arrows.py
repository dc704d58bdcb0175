"""Who may import whom: the arrows between packages, held against the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Each of our packages, where it lies, and which others it may import.
PACKAGES: dict[str, tuple[str, set[str]]] = {
    "overture": ("lambda/overture", set()),
    "front": ("lambda/front", {"overture", "prologue"}),
    "storyteller": ("lambda/storyteller", {"overture", "prologue"}),
    "storyteller.engine": ("lambda/storyteller/engine", set()),
    "prologue": ("prologue", set()),
    "model_build": ("model_build", {"storyteller", "prologue"}),
    "local": ("local", set()),
    "client": ("client", set()),
    "infra": ("infra", set()),
    "planner": ("planner", {"overture", "infra"}),
}
NAMES = {name.partition(".")[0] for name in PACKAGES} | {"bench", "tests"}

#: Libraries with one home, and where that is.
HOMES = {
    "torch": {"storyteller.engine", "model_build"},
    "torchao": {"model_build"},
    "transformers": {"model_build"},
    "gguf": {"model_build"},
    "peft": {"model_build"},
    "boto3": {"storyteller", "infra", "planner"},
    "botocore": {"overture", "front", "storyteller", "infra", "planner"},
    "aws_cdk": {"infra"},
}


def imports(path: Path) -> set[str]:
    """The top-level names that a file imports from elsewhere."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


def files(package: str) -> list[Path]:
    folder = ROOT / PACKAGES[package][0]
    inner = {ROOT / place for name, (place, _) in PACKAGES.items() if name.startswith(f"{package}.")}
    return [path for path in folder.rglob("*.py") if not any(one in path.parents for one in inner)]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_arrows(package: str) -> None:
    allowed = PACKAGES[package][1] | {package.partition(".")[0]}
    for path in files(package):
        own = imports(path) & NAMES
        assert own <= allowed, f"{path.relative_to(ROOT)} imports {own - allowed}"
        for library in imports(path) & set(HOMES):
            assert package in HOMES[library], f"{path.relative_to(ROOT)} imports {library}"


def test_the_clients_and_the_engine_exist_where_the_test_looks() -> None:
    assert all(files(package) for package in ("overture", "front", "storyteller.engine", "prologue", "local", "client"))


def test_front_never_loads_torch() -> None:
    script = (
        "import sys, front.actions, front.ticket, front.authorizer, prologue.answers.index;"
        "print([name for name in ('torch', 'moto') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'lambda'}", "AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin"},
    )
    assert result.stdout.strip() == "[]"


def test_the_storyteller_needs_neither_torchao_nor_transformers() -> None:
    script = (
        "import sys, storyteller.worker, storyteller.engine, storyteller.engine.loading, storyteller.engine.model;"
        "print([name for name in ('torchao', 'transformers', 'moto') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'lambda'}", "AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin"},
    )
    assert result.stdout.strip() == "[]"


def test_the_planner_takes_nothing_but_prices_from_infra() -> None:
    for path in files("planner"):
        nodes = ast.walk(ast.parse(path.read_text()))
        modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {module for module in modules if module.startswith("infra")} <= {"infra.deploy.prices"}, path.name
