"""The CDK app: `python -m infra.app [-c name=value ...]`, run by the CDK CLI and by `make synth`.

Needs no credentials, Docker or weights, only Node and Front's wheels (`make wheels` downloads them once).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from infra.deploy.package import PACKAGE, assemble
from infra.node import require_node
from infra.settings import ROOT, SettingError, Settings, refuse_unknown

if TYPE_CHECKING:
    from aws_cdk import App


def read_settings(app: App, given: dict[str, str]) -> Settings:
    """Settings from the CDK's context (`-c` of its CLI), overridden by our own command line."""
    refuse_unknown(given)
    context = {one.name: app.node.try_get_context(one.name) for one in fields(Settings)}
    found = {name: str(value) for name, value in context.items() if value is not None}
    return Settings.read({**found, **given}, region=os.environ.get("CDK_DEFAULT_REGION"))


def synthesize(given: dict[str, str], outdir: Path) -> Path:
    """Writes the cloud assembly and returns its folder. Raises `SettingError`."""
    require_node()  # before the CDK is imported, which starts it
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.stack import OvertureStack

    app = App(outdir=str(outdir))
    settings = read_settings(app, given)
    package = PACKAGE if settings.image == "none" else assemble(settings)
    OvertureStack(app, settings, package)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    return Path(app.synth().directory)


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
        synthesize(parse(argv), Path(os.environ.get("CDK_OUTDIR", ROOT / "cdk.out")))
    except SettingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
