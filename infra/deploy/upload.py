"""Puts a bundle into the bucket of the weights: only what is not there yet, the manifest last.

Each file keeps its sha256 as metadata; a file of that size and hash is not uploaded again. A prefix with a manifest is
therefore a whole bundle.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.bundle import MANIFEST, bundle_hash

#: Parts of the size that the storyteller reads.
_PART_BYTES = 8 << 20
_SHA256 = "sha256"


class UploadError(Exception):
    """Why a bundle is not in the bucket: one sentence with the remedy."""


def upload(folder: Path, bucket: str, prefix: str, client: Any) -> int:
    """Uploads a bundle's files under the prefix; returns how many bytes were not there. `client` is S3's."""
    from boto3.exceptions import S3UploadFailedError
    from boto3.s3.transfer import TransferConfig
    from botocore.exceptions import BotoCoreError, ClientError
    from tqdm import tqdm

    listed = json.loads((folder / MANIFEST).read_text())["files"]
    files = {name: (int(one["bytes"]), str(one["sha256"])) for name, one in listed.items()}
    files[MANIFEST] = ((folder / MANIFEST).stat().st_size, bundle_hash(folder))
    config = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES)
    name = ""
    try:
        missing = [name for name, found in files.items() if not _is_there(client, bucket, f"{prefix}/{name}", *found)]
        total = sum(files[name][0] for name in missing)
        with tqdm(total=total, unit="B", unit_scale=True, desc="uploading the model", disable=None) as bar:
            for name in missing:
                client.upload_file(
                    str(folder / name),
                    bucket,
                    f"{prefix}/{name}",
                    ExtraArgs={"Metadata": {_SHA256: files[name][1]}},
                    Callback=bar.update,
                    Config=config,
                )
    except (S3UploadFailedError, BotoCoreError, ClientError, OSError) as error:
        raise UploadError(
            f"{folder / name} could not be uploaded to s3://{bucket}/{prefix} ({error}): run make deploy again; "
            "it goes on with what is missing."
        ) from error
    return total


def _is_there(client: Any, bucket: str, key: str, size: int, digest: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        found = client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise
    return bool(found["ContentLength"] == size and found["Metadata"].get(_SHA256) == digest)


def tidy(bucket: str, live: str, client: Any) -> list[str]:
    """Deletes old bundles, but for the live one and the newest beside it; returns the prefixes that are gone.

    The one before stays: environments of the version before may still be reading it.
    """
    newest: dict[str, Any] = {}
    keys: dict[str, list[dict[str, str]]] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page.get("Contents", []):
            prefix = one["Key"].partition("/")[0]
            keys.setdefault(prefix, []).append({"Key": one["Key"]})
            newest[prefix] = max(one["LastModified"], newest.get(prefix, one["LastModified"]))
    others = sorted((prefix for prefix in keys if prefix != live), key=lambda prefix: newest[prefix], reverse=True)
    gone = others[1:]
    for prefix in gone:
        client.delete_objects(Bucket=bucket, Delete={"Objects": keys[prefix][:1000], "Quiet": True})
    return gone
