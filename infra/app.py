"""The CDK app: `python -m infra.app [-c name=value ...]`, run by the CDK CLI and by `make synth`.

Needs no credentials, Docker or weights, only Node and Front's wheels (`make wheels` downloads them once).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.deploy.checks import fit_memory
from infra.deploy.description import list_parts
from infra.deploy.package import PACKAGE, assemble
from infra.node import require_node
from infra.regions import check_region, find_region
from infra.settings import ROOT, SettingError, Settings, refuse_unknown

if TYPE_CHECKING:
    from aws_cdk import App

    from infra.stack import OvertureStack


def feature_flags() -> dict[str, Any]:
    """The CDK's feature flags in cdk.json. Its CLI passes them on; here they hold without the CLI as well."""
    return dict(json.loads((ROOT / "cdk.json").read_text())["context"])


def read_settings(app: App, given: dict[str, str]) -> Settings:
    """Settings from the CDK's context (`-c` of its CLI), overridden by our own command line."""
    refuse_unknown(given)
    context = {one.name: app.node.try_get_context(one.name) for one in fields(Settings)}
    found = {name: str(value) for name, value in context.items() if value is not None}
    settings = Settings.read({**found, **given}, region=find_region())
    check_region(settings.region, build=settings.build)
    return fit_memory(settings)


def add_stacks(app: App, settings: Settings, package: Path) -> OvertureStack:
    """The stack, and with `weights=s3` the one of its weights before it."""
    from infra.constructs.model.weights import WeightsStack
    from infra.stack import OvertureStack

    stack = OvertureStack(app, settings, package)
    if settings.weights_stack:
        stack.add_stack_dependency(WeightsStack(app, settings.weights_stack, settings))
    return stack


def synthesize(given: dict[str, str], outdir: Path) -> tuple[Path, Settings]:
    """Writes the cloud assembly; returns its folder, and the settings that it is made of. Raises `SettingError`."""
    require_node()  # before the CDK is imported, which starts it
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks

    app = App(outdir=str(outdir), context=feature_flags())
    settings = read_settings(app, given)
    package = PACKAGE if settings.image == "none" else assemble(settings)
    add_stacks(app, settings, package)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return Path(app.synth().directory), settings


def parse(argv: Sequence[str] | None = None) -> dict[str, str]:
    parser = argparse.ArgumentParser(prog="python -m infra.app", description="Synthesizes the stack.")
    parser.add_argument(
        "-c", "--context", action="append", default=[], metavar="name=value", help="a setting (docs/settings.md)"
    )
    given = {}
    for pair in parser.parse_args(argv).context:
        name, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"-c {pair} has no value: write -c {pair}=VALUE")
        given[name] = value
    return given


def main(argv: Sequence[str] | None = None) -> int:
    try:
        assembly, settings = synthesize(parse(argv), Path(os.environ.get("CDK_OUTDIR", ROOT / "cdk.out")))
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    if "CDK_OUTDIR" not in os.environ:  # the CDK's CLI sets it, and speaks itself
        print(f"{list_parts(assembly, settings)}\nWritten to {assembly.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
