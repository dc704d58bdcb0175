"""`make deploy`, `make destroy` and `make bootstrap`.

    python -m infra.deploy [-c name=value ...] [--yes] [--dry-run]
    python -m infra.deploy --destroy [-c name=value ...] [--yes]
    python -m infra.deploy --bootstrap [-c name=value ...]

The image goes into the stack's own repository, which is deleted with the stack: first the repository is deployed
(`image=none`), then the image is pushed, then the stack is deployed with the image's digest. With `weights=s3` the
stack of their bucket is deployed, and the bucket filled, before all that. (A bare `cdk deploy`
works too; its image is then in the CDK's own repository, and `--destroy` removes it from there.)
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from infra.app import synthesize
from infra.bundle import DOCKERFILE, model_context, model_key, weights_prefix, world_argument
from infra.deploy import stack_state
from infra.deploy.checks import check, explain, fit_memory
from infra.deploy.description import describe
from infra.deploy.stack_state import Client
from infra.deploy.upload import UploadError, tidy, upload
from infra.node import require_node
from infra.regions import WITHOUT_BUDGETS, check_region, find_region
from infra.settings import LIVE, ROOT, TAG, SettingError, Settings, name_weights_stack, refuse_unknown

#: The CDK's command line, pinned: 3.0.0 refuses the assemblies that our aws-cdk-lib writes.
CDK = ["npx", "--yes", "aws-cdk@2.1148.1"]
_LOG_IN = "There are no AWS credentials: run aws configure (or aws sso login), and make {} again."


class DeployError(Exception):
    """Why nothing was deployed or destroyed: one sentence with the remedy."""


def deploy(settings: Settings, given: dict[str, str], *, client: Client | None, yes: bool, dry_run: bool) -> None:
    """Checks, shows, asks, and deploys. Raises `DeployError` or `SettingError`."""
    obstacles = list(check(settings, client))
    if obstacles:
        raise DeployError("\n".join(obstacles))
    if settings.image == "none" and client is not None and stack_state.find_status(client, settings.stack) is not None:
        raise DeployError(
            f"image=none makes the repository alone; the stack {settings.stack} exists, and this would delete it: "
            "make destroy does that."
        )
    if client is not None and "api_log_role" not in given:
        given = {**given, "api_log_role": stack_state.choose_log_role(client, settings.stack)}
    assembly, _ = synthesize(given, ROOT / "cdk.out")
    print(describe(assembly, settings))
    if dry_run:
        return
    if client is None:
        raise DeployError(_LOG_IN.format("deploy"))
    if not yes and not confirm(f"Deploy {settings.stack} to {settings.region}?"):
        raise DeployError("Nothing was deployed.")
    bucket = prepare_weights(settings, given, client)
    former = stack_state.asset_files(client, settings.stack)
    # Beside the stack of the weights, the CDK wants to be told which one is meant.
    command = ["deploy", settings.stack, "--exclusively"] if bucket else ["deploy"]
    if settings.image or settings.build == "cloud":
        run_cdk(command, given)
    else:
        if stack_state.find_status(client, settings.stack) is None:
            run_cdk(command, {**given, "image": "none"})
        run_cdk(command, {**given, "image": push(settings, client)})
    stack_state.mark_live(client, settings.stack, LIVE)
    delete_former_files(settings, former, client)
    folder = settings.bundle_folder
    if bucket and folder:
        for prefix in tidy(bucket, weights_prefix(folder), client("s3")):
            print(f"Deleted the old weights s3://{bucket}/{prefix}.")
    elif stack_state.delete_stack(client, name_weights_stack(settings.stack)):
        print("Deleted the bucket of the weights, which nothing reads any more.")
    if settings.email and settings.region in WITHOUT_BUDGETS:
        print(
            f"CloudFormation has no budgets in {settings.region}: none was made. Make one in Billing, Budgets, for the "
            f"tag {TAG}={settings.tag}; the kill switch works without it."
        )
    elif settings.email and not stack_state.activate_tag(client, TAG):
        print(
            f"The budget counts nothing yet: AWS lists the tag `{TAG}` about a day after the first deployment. "
            "Run make deploy again then, or activate the tag in Billing, Cost allocation tags."
        )


def delete_former_files(settings: Settings, former: stack_state.Files | None, client: Client) -> None:
    """Deletes from the CDK's bucket what the deployment before this one had there and this one has not."""
    if former is None:
        return
    live = stack_state.asset_files(client, settings.stack)
    old = sorted(set(former.keys) - set(live.keys if live else ()))
    if old:
        stack_state.delete_asset_files(client, stack_state.Files(former.bucket, old))
        print(f"Deleted {len(old)} files of the deployment before from {former.bucket}.")


def prepare_weights(settings: Settings, given: dict[str, str], client: Client) -> str | None:
    """Makes the bucket of the weights and fills it; returns its name, or None where the stack has none of its own."""
    stack, folder = settings.weights_stack, settings.bundle_folder
    if stack is None or folder is None:
        return None
    run_cdk(["deploy", stack, "--exclusively"], {**given, "image": "none", "build": "local"})
    bucket = stack_state.find_output(client, stack, "Bucket")
    if bucket is None:
        raise DeployError(f"The stack {stack} has no bucket: run make destroy, then make deploy.")
    prefix = weights_prefix(folder)
    new = upload(folder, bucket, prefix, client("s3"))
    print(f"The model is in s3://{bucket}/{prefix}: {new / 1e6:,.0f} MB were not there yet.")
    return bucket


def push(settings: Settings, client: Client) -> str:
    """Builds the image and pushes it into the stack's repository; returns its digest."""
    repository = stack_state.find_output(client, settings.stack, "Repository")
    if repository is None:
        raise DeployError(f"The stack {settings.stack} has no image repository: run make destroy, then make deploy.")
    _log_in(repository, client)
    metadata = ROOT / "build" / "image.json"
    metadata.parent.mkdir(exist_ok=True)
    tag = f"model-{model_key(settings)[:12]}-{os.urandom(4).hex()}"
    command = ["docker", "buildx", "build", "--platform", "linux/arm64", "--provenance=false", "--push"]
    command += [
        "--build-context",
        f"model={model_context(settings)}",
        "--build-arg",
        f"WORLD={world_argument(settings)}",
    ]
    command += ["--file", DOCKERFILE, "--tag", f"{repository}:{tag}", "--metadata-file", str(metadata), "."]
    _run(command, "The image could not be built and pushed")
    return str(json.loads(metadata.read_text())["containerimage.digest"])


def _log_in(repository: str, client: Client) -> None:
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


def destroy(settings: Settings, *, client: Client | None, yes: bool) -> None:
    """Deletes the stack, the one of its weights, then what CloudFormation leaves.

    That is: images of a bare `cdk deploy`, files in the CDK's bucket, logs, the logging role.
    """
    if client is None:
        raise DeployError(_LOG_IN.format("destroy"))
    weights = name_weights_stack(settings.stack)
    there = [name for name in (settings.stack, weights) if stack_state.find_status(client, name)]
    if not there:
        raise DeployError(
            f"There is no stack {settings.stack} in {settings.region}: name another with -c stack= or -c region=."
        )
    question = (
        f"Delete {settings.stack} in {settings.region} with its page, its sessions, its model, its images and its logs?"
    )
    if not yes and not confirm(question):
        raise DeployError("Nothing was deleted.")
    images = stack_state.asset_images(client, settings.stack)
    files = stack_state.asset_files(client, settings.stack)
    functions = stack_state.find_resources(client, settings.stack, "AWS::Lambda::Function")
    role = stack_state.log_role_to_release(client, settings.stack)
    used = role is not None and stack_state.account_log_role(client) == role
    others = stack_state.other_stacks(client, settings.tag) if used else []
    # The CDK asks only on a terminal, and refuses elsewhere: the question was ours. Deleting needs the stack's name
    # alone, and its smallest form is synthesized without wheels and weights.
    if settings.stack in there:
        run_cdk(["destroy", "--force"], {"stack": settings.stack, "region": settings.region, "image": "none"})
    # After the stack that reads from it.
    if stack_state.delete_stack(client, weights):
        print("Deleted the bucket of the weights.")
    for repository, tag in images:
        client("ecr").batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": tag}])
        print(f"Deleted the image {tag[:12]} from {repository}.")
    if files is not None:
        stack_state.delete_asset_files(client, files)
        print(f"Deleted {len(files.keys)} files of the stack from {files.bucket}.")
    for name in stack_state.delete_log_groups(client, functions):
        print(f"Deleted the log group {name}.")
    if role is None:
        return
    if others:
        print(f"Kept the role {role}: API Gateway logs by it for {', '.join(others)}.")
        return
    stack_state.release_log_role(client, role)
    print("Deleted the role for API Gateway's logs.")


def confirm(question: str) -> bool:
    """Asks on the terminal. Raises `DeployError` where nobody can answer."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        raise DeployError("There is no terminal to answer on: add YES=--yes.") from None


def run_cdk(command: list[str], given: dict[str, str]) -> None:
    require_node()
    context = [part for name, value in given.items() for part in ("-c", f"{name}={value}")]
    approval = ["--require-approval", "never"] if command[0] == "deploy" else []
    _run([*CDK, *command, *approval, *context], "The CDK failed")


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
        # Cost Explorer has one address for all regions.
        return session.client(name, region_name="us-east-1" if name == "ce" else region)  # type: ignore[call-overload]

    return client


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description="Deploys the stack, or destroys it.")
    setting = "a setting (docs/settings.md)"
    parser.add_argument("-c", "--context", action="append", default=[], metavar="name=value", help=setting)
    parser.add_argument("--destroy", action="store_true", help="delete everything")
    parser.add_argument("--bootstrap", action="store_true", help="prepare the account and region for the CDK, once")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="check and show, and stop there")
    options = parser.parse_args(argv)
    from botocore.exceptions import BotoCoreError, ClientError

    given = dict(pair.partition("=")[::2] for pair in options.context)
    try:
        refuse_unknown(given)
        settings = fit_memory(Settings.read(given, region=find_region()))
        check_region(settings.region, build=settings.build)
        given = {**given, "region": settings.region, "memory": str(settings.memory_mb)}
        client = find_client(settings.region)
        if options.bootstrap:
            run_cdk(["bootstrap"], {"stack": settings.stack, "region": settings.region, "image": "none"})
        elif options.destroy:
            destroy(settings, client=client, yes=options.yes)
        else:
            deploy(settings, given, client=client, yes=options.yes, dry_run=options.dry_run)
    except (DeployError, SettingError, UploadError) as error:
        print(error, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"AWS does not answer as it should: {error}", file=sys.stderr)
        return 1
    return 0
