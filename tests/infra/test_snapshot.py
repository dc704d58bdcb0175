"""The whole template against the one last reviewed (`template.yaml`), with what differs to read.

    UPDATE=1 .venv/bin/python -m pytest tests/infra/test_snapshot.py

takes the present one; the diff of that file is then what is reviewed.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.templates import Synthesized, flat

SNAPSHOT = Path(__file__).with_name("template.yaml")
_HASH = re.compile(r"[0-9a-f]{64}")


def readable(template: dict[str, Any]) -> str:
    """A template as YAML: references short, hashes of assets and versions left out, in a steady order."""
    resources = {name: one for name, one in template["Resources"].items() if one["Type"] != "AWS::CDK::Metadata"}
    # A version's logical id ends in a hash of the function it is of.
    versions = {
        name: re.sub(r"[0-9a-f]{32}$", "", name)
        for name, one in resources.items()
        if one["Type"] == "AWS::Lambda::Version"
    }
    text = yaml.safe_dump(
        {"Resources": _short(resources), "Outputs": _short(template["Outputs"])}, sort_keys=True, width=120
    )
    for name, short in versions.items():
        text = text.replace(name, short)
    return _HASH.sub("HASH", text)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) == 1 and next(iter(value)) in {"Ref", "Fn::GetAtt", "Fn::Join", "Fn::Sub"}:
            return flat(value)
        return {key: _short(part) for key, part in value.items() if key != "Metadata"}
    return [_short(part) for part in value] if isinstance(value, list) else value


def test_the_template_is_the_one_that_was_reviewed(synth: Callable[..., Synthesized]) -> None:
    now = readable(synth().template)
    if os.environ.get("UPDATE"):
        SNAPSHOT.write_text(now)
    was = SNAPSHOT.read_text()
    if now != was:
        lines = difflib.unified_diff(was.splitlines(), now.splitlines(), "reviewed", "now", lineterm="", n=6)
        pytest.fail(
            "The template has changed. If that is meant, take it with UPDATE=1 (see this file):\n" + "\n".join(lines),
            pytrace=False,
        )
