"""What `make deploy` checks first: Node, the bundle, its size, Docker, the account.

Each check returns a sentence with the remedy, or None.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.bundle import MANIFEST, find_manifest, split_address, weights_prefix
from infra.deploy import starts
from infra.deploy.stack_state import Client, check_status, own_reservation
from infra.node import require_node
from infra.settings import NEW_ACCOUNT_MEMORY_MB, SettingError, Settings

GB = 1024**3
#: Lambda's limit for an image, and what of it is not the model.
MOST_IMAGE_BYTES, IMAGE_BESIDE_MODEL = 10 * GB, GB
#: Lambda keeps at least this many executions unreserved.
UNRESERVED = 100


def check(settings: Settings, client: Client | None) -> Iterator[str]:
    """Every obstacle. `client` makes AWS clients; None without credentials."""
    try:
        require_node()
    except SettingError as error:
        yield str(error)
    folder = settings.bundle_folder
    if folder is not None and not settings.image:
        broken = check_bundle(folder)
        if broken:
            yield broken
            return
        yield from filter(None, [check_form(folder, settings), check_sizes(folder, settings)])
    if settings.build == "local" and not settings.image:
        yield from filter(None, [check_docker()])
    if client is not None:
        yield from filter(None, [check_status(client, settings.stack)])
        if settings.weights_stack:
            yield from filter(None, [check_status(client, settings.weights_stack)])
        elif settings.weights == "s3":
            yield from filter(None, [check_address(settings.bundle, client("s3"))])
        yield from check_account(settings, client("lambda"), own_reservation(client, settings.stack))


def check_bundle(folder: Path) -> str | None:
    """Checks that the model is complete: a bundle by its manifest, a Hugging Face folder by its file names."""
    if not folder.is_dir():
        return f"The model {folder} does not exist: name one with -c bundle=FOLDER."
    manifest = find_manifest(folder)
    if manifest is not None:
        return _check_manifest(manifest)
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            return (
                f"The model {folder} has no {name}: name a bundle or a Hugging Face Llama folder with -c bundle=FOLDER."
            )
    if not any(folder.glob("*.safetensors")):
        return f"The model {folder} has no weights (.safetensors): pack or download it again."
    return None


def _check_manifest(manifest: Path) -> str | None:
    """Checks every file of a bundle against its size and hash. (The manifest itself has the model's config.)"""
    try:
        files = {
            name: (part["bytes"], part["sha256"]) for name, part in json.loads(manifest.read_text())["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{manifest} is not a bundle's manifest: pack the model again."
    if "tokenizer.json" not in files or not any(name.endswith(".safetensors") for name in files):
        return f"{manifest} lists no tokenizer or no weights: pack the model again."
    for name, (size, digest) in files.items():
        path = manifest.parent / name
        if not path.is_file():
            return f"{path} is missing, but the manifest lists it: pack or copy the model again."
        if path.stat().st_size != size or _sha256(path) != digest:
            return f"{path} differs from the manifest: pack or copy the model again."
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_form(folder: Path, settings: Settings) -> str | None:
    """Checks that what is to be read from S3 is a bundle."""
    if settings.weights == "s3":
        try:
            weights_prefix(folder)
        except SettingError as error:
            return str(error)
    return None


def check_address(address: str, client: Any) -> str | None:
    """Checks that there is a bundle at an address on S3."""
    from botocore.exceptions import ClientError

    bucket, prefix = split_address(address)
    try:
        client.head_object(Bucket=bucket, Key=f"{prefix}/{MANIFEST}")
    except ClientError as error:
        return (
            f"bundle={address} has no {MANIFEST} that you may read ({error}): copy a whole bundle there "
            "(aws s3 cp --recursive), or correct the address."
        )
    return None


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_sizes(folder: Path, settings: Settings) -> str | None:
    """Checks that image and memory hold the model."""
    size = size_of(folder)
    if settings.weights == "image" and size + IMAGE_BESIDE_MODEL > MOST_IMAGE_BYTES:
        return f"The model has {size / GB:.1f} GB; the image would be over Lambda's 10 GB: pack it to INT4."
    needed = size // 1024**2 + starts.MEMORY_BESIDE_MODEL_MB
    if needed > settings.memory_mb:
        return (
            f"The model needs about {needed} MB and memory={settings.memory_mb} gives less: "
            "raise it with -c memory=, or take a smaller model."
        )
    return None


def fit_memory(settings: Settings) -> Settings:
    """The settings with memory that fits the model, where none is given and the model is on this machine."""
    folder = settings.bundle_folder
    if settings.memory or folder is None or not folder.is_dir():
        return settings
    return replace(settings, memory=starts.fit_memory(size_of(folder)))


def check_docker() -> str | None:
    """Checks that Docker is installed and running. It need not run arm64 programs: the Dockerfile runs none."""
    remedy = "or build in the cloud with -c build=cloud"
    if shutil.which("docker") is None:
        return f"There is no docker here: install Docker, {remedy}."
    done = subprocess.run(["docker", "buildx", "inspect"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"Docker cannot build ({_first(done.stderr)}): start it or install its buildx, {remedy}."
    return None


def check_account(settings: Settings, client: Any, own: int = 0) -> Iterator[str]:
    """Checks the account's concurrency and a new account's memory limit. `own`: what the stack has reserved already."""
    limits = client.get_account_settings()["AccountLimit"]
    limit, free = int(limits["ConcurrentExecutions"]), int(limits["UnreservedConcurrentExecutions"]) + own
    if settings.concurrency and free - settings.concurrency < UNRESERVED:
        yield (
            f"This account may run {limit} functions at once, of which {free} are not reserved, and {UNRESERVED} must "
            f"stay so: {settings.concurrency} storytellers cannot be reserved; "
            "deploy with -c concurrency=0, or raise the quota "
            "`Concurrent executions` (AWS console, Service Quotas, AWS Lambda)."
        )
    if limit < UNRESERVED and settings.memory_mb > NEW_ACCOUNT_MEMORY_MB:
        yield (
            f"This looks like a new account, and those are capped at {NEW_ACCOUNT_MEMORY_MB} MB a function: "
            f"deploy with -c memory={NEW_ACCOUNT_MEMORY_MB} and a model of 1B or less, "
            "or ask AWS Support for more Lambda memory."
        )


def explain(output: str) -> str | None:
    """The remedy for an error of CloudFormation that new accounts meet; None for another."""
    if "MemorySize" in output and str(NEW_ACCOUNT_MEMORY_MB) in output:
        return (
            f"This account is capped at {NEW_ACCOUNT_MEMORY_MB} MB a function: deploy with "
            f"-c memory={NEW_ACCOUNT_MEMORY_MB} and a model of 1B or less, or ask AWS Support for more Lambda memory."
        )
    if "UnreservedConcurrentExecution" in output:
        return "This account has too little concurrency to reserve any: deploy with -c concurrency=0."
    if "cdk bootstrap" in output or "/cdk-bootstrap/" in output:
        return "This account and region have not been prepared for the CDK: run make bootstrap once."
    return None


def _first(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "no reason given"
