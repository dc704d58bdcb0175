"""`make deploy` and `make destroy`: checks, what it will cost, the image, the stack.

    python -m infra.deploy [-c name=value ...] [--yes] [--dry-run]
    python -m infra.deploy --destroy [-c name=value ...]

The image goes into the stack's own repository, which is deleted with the stack: first the repository is deployed
(`image=none`), then the image is pushed, then the stack is deployed with the image's digest. (A bare `cdk deploy`
works too; its image is then in the CDK's own repository, and `--destroy` removes it from there.)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.app import synthesize
from infra.bundle import DOCKERFILE, bundle_hash, world_argument
from infra.deploy.checks import Client, check, explain, size_of
from infra.deploy.prices import summary
from infra.node import require_node
from infra.settings import ROOT, SettingError, Settings, refuse_unknown

#: The CDK's command line, pinned: 3.0.0 refuses the assemblies that our aws-cdk-lib writes.
CDK = ["npx", "--yes", "aws-cdk@2.1148.1"]


class DeployError(Exception):
    """Why nothing was deployed or destroyed: one sentence with the remedy."""


def deploy(settings: Settings, given: dict[str, str], *, client: Client | None, yes: bool, dry_run: bool) -> None:
    """Deploys. Raises `DeployError` or `SettingError`."""
    obstacles = list(check(settings, client))
    if obstacles:
        raise DeployError("\n".join(obstacles))
    assembly = synthesize(given, ROOT / "cdk.out")
    print(describe(assembly, settings))
    if dry_run:
        return
    if client is None:
        raise DeployError("There are no AWS credentials: run aws configure (or aws sso login), and make deploy again.")
    if not yes and input("Deploy? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise DeployError("Nothing was deployed.")
    if settings.image or settings.build == "cloud":
        _cdk(["deploy"], given)
        return
    _cdk(["deploy"], {**given, "image": "none"}, only_if_missing=(client, settings.stack))
    digest = push(settings, client)
    _cdk(["deploy"], {**given, "image": digest})


def describe(assembly: Path, settings: Settings) -> str:
    """What will be created, and its cost."""
    template = json.loads((assembly / f"{settings.stack}.template.json").read_text())
    kinds: dict[str, int] = {}
    for resource in template["Resources"].values():
        kinds[resource["Type"]] = kinds.get(resource["Type"], 0) + 1
    shown = ", ".join(
        f"{count} {kind.removeprefix('AWS::')}" for kind, count in sorted(kinds.items()) if kind.startswith("AWS::")
    )
    folder = settings.bundle_folder
    size = size_of(folder) if folder is not None and folder.is_dir() else 0
    lines = [
        f"{settings.stack} in {settings.region}: {len(template['Resources'])} resources ({shown}).",
        summary(size, settings.memory, snapstart=settings.start == "snapstart"),
        f"The kill switch turns the storyteller off at {settings.ceiling} GB-seconds in 24 hours.",
    ]
    return "\n".join(lines)


def push(settings: Settings, client: Client) -> str:
    """Builds the image and pushes it into the stack's repository; returns its digest."""
    outputs = client("cloudformation").describe_stacks(StackName=settings.stack)["Stacks"][0]["Outputs"]
    repository = next(one["OutputValue"] for one in outputs if one["OutputKey"] == "Repository")
    _log_in(repository, client)
    folder = settings.bundle_folder
    assert folder is not None
    metadata = ROOT / "build" / "image.json"
    metadata.parent.mkdir(exist_ok=True)
    tag = f"model-{bundle_hash(folder)[:12]}-{os.urandom(4).hex()}"
    command = ["docker", "buildx", "build", "--platform", "linux/arm64", "--provenance=false", "--push"]
    command += ["--build-context", f"model={folder}", "--build-arg", f"WORLD={world_argument(settings)}"]
    command += ["--file", DOCKERFILE, "--tag", f"{repository}:{tag}", "--metadata-file", str(metadata), "."]
    _run(command, "The image could not be built and pushed")
    return str(json.loads(metadata.read_text())["containerimage.digest"])


def _log_in(repository: str, client: Client) -> None:
    import base64

    token = client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    host = repository.partition("/")[0]
    done = subprocess.run(
        ["docker", "login", "--username", user, "--password-stdin", host],
        input=password,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(f"Docker could not log in to {host}: {done.stderr.strip()}")


def destroy(settings: Settings, given: dict[str, str], *, client: Client | None, yes: bool) -> None:
    """Destroys the stack, and the images that a bare `cdk deploy` left in the CDK's repository."""
    if client is None:
        raise DeployError("There are no AWS credentials: run aws configure (or aws sso login), and make destroy again.")
    left = asset_images(client, settings.stack)
    # A destroy needs the stack's name only: its smallest form synthesizes without wheels and weights.
    context = {"stack": settings.stack, "region": settings.region, "image": "none"}
    _cdk(["destroy", *(["--force"] if yes else [])], context)
    for repository, tag in left:
        client("ecr").batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
        print(f"Removed the image {tag[:12]} from {repository}.")


def asset_images(client: Client, stack: str) -> list[tuple[str, str]]:
    """The deployed stack's images in the CDK's own repository, as repository and tag (of a bare `cdk deploy`)."""
    from botocore.exceptions import ClientError

    try:
        template = client("cloudformation").get_template(StackName=stack)["TemplateBody"]
    except ClientError:
        return []
    text = template if isinstance(template, str) else json.dumps(template)
    account = client("sts").get_caller_identity()["Account"]
    name = r"cdk-\w+-container-assets-(?:\$\{AWS::AccountId\}|\d+)-[a-z0-9-]+"
    found = re.findall(f"({name}):([0-9a-f]{{64}})", text)
    return [(name.replace("${AWS::AccountId}", account), tag) for name, tag in dict.fromkeys(found)]


def _cdk(command: list[str], given: dict[str, str], *, only_if_missing: tuple[Client, str] | None = None) -> None:
    if only_if_missing is not None and _is_there(*only_if_missing):
        return
    require_node()
    context = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
    _run([*CDK, *command, "--require-approval", "never", *context], "The CDK failed")


def _is_there(client: Client, stack: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        client("cloudformation").describe_stacks(StackName=stack)
    except ClientError:
        return False
    return True


def _run(command: list[str], what: str) -> None:
    """Runs a command, shows its output, and explains the errors that are known."""
    environment = {**os.environ, "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        print(line, end="", flush=True)
        said.append(line)
    if process.wait():
        raise DeployError(explain("".join(said)) or f"{what}: see its output above.")


def find_client(region: str) -> Client | None:
    """A function that makes AWS clients, or None without credentials."""
    import boto3

    session = boto3.Session(region_name=region)
    if session.get_credentials() is None:
        return None

    def client(name: str) -> Any:
        return session.client(name)  # type: ignore[call-overload]

    return client


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploys the stack, or destroys it.")
    setting = "a setting (docs/settings.md)"
    parser.add_argument("-c", "--context", action="append", default=[], metavar="name=value", help=setting)
    parser.add_argument("--destroy", action="store_true", help="take everything down")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="check and show, and stop there")
    options = parser.parse_args(argv)
    given = dict(pair.partition("=")[::2] for pair in options.context)
    try:
        refuse_unknown(given)
        settings = Settings.read(given, region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))
        given = {**given, "region": settings.region}
        client = find_client(settings.region)
        if options.destroy:
            destroy(settings, given, client=client, yes=options.yes)
        else:
            deploy(settings, given, client=client, yes=options.yes, dry_run=options.dry_run)
    except (DeployError, SettingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
